"""timm's benchmark files as rows with kernels: what was run, how, and where the kernels are."""

from __future__ import annotations

import json
import lzma
from dataclasses import dataclass
from pathlib import Path

from hwsim.backends.processor.kernels import KernelTable
from hwsim.backends.processor.runtime import Runtime
from hwsim.measure.rows import MeasuredRow, read_measured

FOLDER = Path(__file__).parent
#: Vision transformers and hybrids, by timm's module.
FAMILIES = frozenset(
    (
        "beit", "cait", "coat", "convit", "crossvit", "csatv2", "davit", "deit", "edgenext", "efficientformer",
        "efficientformer_v2", "efficientvit_mit", "efficientvit_msra", "eva", "fastvit", "gcvit", "hiera",
        "hieradet_sam2", "levit", "maxxvit", "metaformer", "mobilevit", "mvitv2", "naflexvit", "nest", "nextvit",
        "pit", "pvt_v2", "repvit", "sam", "shvit", "swiftformer", "swin_transformer", "swin_transformer_v2",
        "swin_transformer_v2_cr", "tiny_vit", "tnt", "twins", "visformer", "vision_transformer",
        "vision_transformer_hybrid", "vision_transformer_relpos", "vision_transformer_sam", "vitamin", "volo", "xcit",
    )
)  # fmt: skip
#: Measured after their branches were merged (their parameter counts say so), which the captured graphs are not.
REPARAMETERIZED = frozenset({"fastvit", "repvit"})


@dataclass(frozen=True)
class File:
    """One benchmark file of a folder of `measured`: its arch, and the runtime its name states."""

    csv: str
    arch: str
    runtime: Runtime
    folder: str = "timm"


def _gpu(mode: str, pytorch: tuple[int, int]) -> Runtime:
    return Runtime(mode, "amp_fp16", True, "gpu", pytorch)


FILES = {
    "4090_compiled": File("benchmark-infer-amp-nchw-pt291-cu128-4090-dynamo.csv", "rtx4090", _gpu("compiled", (2, 9))),
    "4090_eager": File("benchmark-infer-amp-nchw-pt291-cu128-4090.csv", "rtx4090", _gpu("eager", (2, 9))),
    "4090_compiled_2.4": File(
        "benchmark-infer-amp-nchw-pt240-cu124-rtx4090-dynamo.csv", "rtx4090", _gpu("compiled", (2, 4))
    ),
    "4090_eager_2.4": File("benchmark-infer-amp-nchw-pt240-cu124-rtx4090.csv", "rtx4090", _gpu("eager", (2, 4))),
    "3090_eager_2.4": File("benchmark-infer-amp-nchw-pt240-cu124-rtx3090.csv", "rtx3090", _gpu("eager", (2, 4))),
    "v100_eager_fp32": File(
        "benchmark-infer-fp32-nchw-pt180-v100.csv", "v100_sxm2", Runtime("eager", "fp32", False, "gpu", (1, 8)),
        "swin",
    ),
    "i7_compiled": File(
        "benchmark-infer-fp32-nchw-pt240-cpu-i7_12700h-dynamo.csv", "core_i7_12700h",
        Runtime("compiled", "fp32", True, "cpu", (2, 4)),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """A measured row with its kernels and its family; `gmacs` and `macts` are the file's own, per image."""

    key: str
    family: str
    measured: MeasuredRow
    table: KernelTable
    gmacs: float
    macts: float

    @property
    def plain(self) -> bool:
        """A plain ViT or DeiT: no windows, stages, hybrids or relative positions."""
        return self.family in ("vision_transformer", "deit") and self.key.startswith(("vit_", "deit"))


def key_of(row: MeasuredRow) -> str:
    return f"{(row.source or '').removeprefix('timm:')}@{row.input_size}"


def kernel_file(name: str) -> Path:
    return FOLDER / "kernels" / f"{name}.json.xz"


def measured_file(name: str) -> Path:
    return FOLDER / "measured" / FILES[name].folder / FILES[name].csv


def read_rows(name: str) -> list[Row]:
    """The rows of one file whose kernels are at hand."""
    import csv

    data = json.loads(lzma.decompress(kernel_file(name).read_bytes()))
    path = measured_file(name)
    with path.open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    tables = {key: KernelTable.from_json(table) for key, table in data["tables"].items()}
    rows = []
    for measured, line in zip(read_measured(path), lines, strict=True):
        key = key_of(measured)
        if key in tables:
            counts = float(line["infer_gmacs"]), float(line.get("infer_macts") or "nan")
            rows.append(Row(key, data["families"][key], measured, tables[key], *counts))
    return rows
