"""EnergAIzer's kernel lists: the language models, which have no source hwsim could capture.

Lists exist for bf16. The same model in fp32 runs the same kernels on operands twice as wide, without the conversions.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from hwsim.backends.processor.kernels import Bytes, Kernel, KernelTable, Kind
from hwsim.backends.processor.loops import FLOPS
from hwsim.core.errors import UsageError

#: Operands of an elementwise kernel, by what its name says: `pointwise_*` reads two tensors, `scalar_*` one.
_TWO_OPERANDS = ("pointwise_", "unspecified_tensor")
_LOW, _WIDE = 2.0, 4.0
#: What the artifact's names call the formats, and the bytes of an operand.
_FORMATS = {"bf16": _LOW, "fp32": _WIDE}


def read_kernel_lists(folder: Path) -> Mapping[str, KernelTable]:
    """Workload -> kernels, from `workloads.csv` and `kernels.csv` beside a measured file; empty if they are not there.

    Shapes hold the whole batch, so a table is evaluated at one sample. Raises UsageError for a row that cannot be read.
    """
    lists, shapes = folder / "workloads.csv", folder / "kernels.csv"
    if not (lists.is_file() and shapes.is_file()):
        return {}
    try:
        with shapes.open(newline="", encoding="utf-8") as file:
            rows = {row["kernel_id"]: row for row in csv.DictReader(file)}
        with lists.open(newline="", encoding="utf-8") as file:
            listed = {row["workload"]: row["kernel_ids"].split() for row in csv.DictReader(file)}
        return {
            workload.replace("_pbf16_", f"_p{form}_"): _table([rows[number] for number in numbers], form)
            for workload, numbers in listed.items()
            for form in _FORMATS
        }
    except (KeyError, ValueError) as error:
        raise UsageError(f"the kernel lists in {folder} cannot be read: {error!r}") from error


def _table(rows: Sequence[Mapping[str, str]], form: str) -> KernelTable:
    kernels: dict[str, Kernel] = {}
    for row in rows:
        if row["kernel_id"] not in kernels:
            kernels[row["kernel_id"]] = _kernel(row, form)
    return KernelTable(
        tuple(kernels[row["kernel_id"]] for row in rows if form != "fp32" or not row["op"].startswith("typecast"))
    )


def _kernel(row: Mapping[str, str], form: str) -> Kernel:
    if row["kind"] in ("gemm", "conv2d"):
        return _product(row, form)
    name, width = (row["op"] or row["kind"],), _FORMATS[form]
    if row["kind"] == "elementwise":
        elements = float(row["dim"])
        reads = _WIDE if row["op"] == "typecast_to_bf16" else width * (1 + row["op"].startswith(_TWO_OPERANDS))
        writes = _WIDE if row["op"] == "typecast_to_fp32" else width
    else:
        elements, reads, writes = float(row["batch"]) * float(row["dim"]), width, width
    work = FLOPS.get({"layernorm": "layer_norm"}.get(name[0], name[0]), 1.0) * elements
    read, write = Bytes(fixed=reads * elements), Bytes(fixed=writes * elements)
    return Kernel(name, Kind.STREAM, read, write, fixed=True, flops=work)


def _product(row: Mapping[str, str], form: str) -> Kernel:
    """A listed product; convolutions listed dense although grouped in the model carry their groups."""
    products, width = float(row["batch"] or 1) * float(row["groups_in_model"] or 1), _FORMATS[form]
    m, n = float(row["dim_m"]), float(row["dim_n"]) / float(row["groups_in_model"] or 1)
    k = float(row["dim_k"]) / float(row["groups_in_model"] or 1)
    kind = Kind.CONV if row["kind"] == "conv2d" else Kind.GEMM if products == 1 else Kind.MATMUL
    read = Bytes(fixed=width * products * (m * k + k * n))
    write = Bytes(fixed=width * products * m * n)
    return Kernel((row["kind"],), kind, read, write, products, m, n, k, fixed=True, format=form)
