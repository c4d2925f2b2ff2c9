"""The work a processor sees: kernels with their shapes and bytes, as columns so that any batch is one expression."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

Column = npt.NDArray[np.float64]


class Kind(IntEnum):
    """What limits a kernel's arithmetic: how it uses the matrix units, or that it only streams."""

    GEMM = 0
    MATMUL = 1
    CONV = 2
    GROUPED = 3
    DEPTHWISE = 4
    ATTENTION = 5
    MASKED_ATTENTION = 6
    SIMD_MATMUL = 7
    STREAM = 8
    COPY = 9
    GATHER = 10


#: Operand formats of products, by their code in `Columns.format`.
FORMATS = ("fp32", "tf32", "fp16", "bf16", "int8", "fp8")
#: Bytes of one operand in each of them.
FORMAT_BYTES = np.array([4.0, 4.0, 2.0, 2.0, 1.0, 1.0])


@dataclass(frozen=True)
class Bytes:
    """Traffic that grows with the batch (per sample) and traffic that does not (parameters)."""

    sample: float = 0.0
    fixed: float = 0.0

    def __add__(self, other: Bytes) -> Bytes:
        return Bytes(self.sample + other.sample, self.fixed + other.fixed)


@dataclass(frozen=True)
class Kernel:
    """One launch. `ops` are the graph ops it computes, the first of which is charged.

    `products` independent products of `m` x `n` x `k` per sample; the batch multiplies `m` where `grows_rows`, else
    `products` (a kernel of parameters alone has `fixed`). `serial` is the
    length per sample of a chain of steps that nothing overlaps; `calls` counts host calls, views among them.
    """

    ops: tuple[str, ...]
    kind: Kind
    read: Bytes
    write: Bytes
    products: float = 0.0
    m: float = 0.0
    n: float = 0.0
    k: float = 0.0
    grows_rows: bool = False
    fixed: bool = False
    format: str = "fp32"
    flops: float = 0.0
    serial: float = 0.0
    calls: float = 1.0
    launches: float = 1.0


_COLUMNS = ("products", "m", "n", "k", "flops", "serial", "calls", "launches")


@dataclass(frozen=True)
class KernelTable:
    """Kernels in launch order. Equal kernels are evaluated once: `distinct` holds their columns, `index` says which of
    them each launch is."""

    kernels: tuple[Kernel, ...]

    def __len__(self) -> int:
        return len(self.kernels)

    @cached_property
    def index(self) -> npt.NDArray[np.int64]:
        order: dict[tuple[object, ...], int] = {}
        return np.array([order.setdefault(_signature(kernel), len(order)) for kernel in self.kernels], dtype=np.int64)

    @cached_property
    def distinct(self) -> Columns:
        _, first, counts = np.unique(self.index, return_index=True, return_counts=True)
        return columns([self.kernels[i] for i in first], counts.astype(np.float64))

    def to_json(self) -> dict[str, object]:
        """Distinct kernels, each with the first op that launches it, and the order of launches."""
        _, first = np.unique(self.index, return_index=True)
        rows = []
        for kernel in (self.kernels[i] for i in first):
            moved = (kernel.read.sample, kernel.read.fixed, kernel.write.sample, kernel.write.fixed)
            flags = (int(kernel.grows_rows), int(kernel.fixed), FORMATS.index(kernel.format))
            rows.append([kernel.ops[0], int(kernel.kind), *moved, *flags, *(getattr(kernel, c) for c in _COLUMNS)])
        return {"kernels": rows, "index": self.index.tolist()}

    @classmethod
    def from_json(cls, data: Mapping[str, Sequence[Any]]) -> KernelTable:
        """The table that `to_json` wrote; a kernel launched by several ops names the first."""
        distinct = []
        for name, kind, rs, rf, ws, wf, grows, fixed, form, *values in data["kernels"]:
            numbers = dict(zip(_COLUMNS, values, strict=True))
            distinct.append(
                Kernel(
                    (name,), Kind(kind), Bytes(rs, rf), Bytes(ws, wf), grows_rows=bool(grows), fixed=bool(fixed),
                    format=FORMATS[form], **numbers,
                )
            )  # fmt: skip
        return cls(tuple(distinct[i] for i in data["index"]))


def _signature(kernel: Kernel) -> tuple[object, ...]:
    return (
        kernel.kind, kernel.read, kernel.write, kernel.grows_rows, kernel.fixed, kernel.format,
        *(getattr(kernel, name) for name in _COLUMNS),
    )  # fmt: skip


@dataclass(frozen=True)
class Columns:
    """Per-kernel arrays at one sample; `at(batch)` gives the arrays of a batch."""

    kind: npt.NDArray[np.int64]
    format: npt.NDArray[np.int64]
    count: Column
    read_sample: Column
    read_fixed: Column
    write_sample: Column
    write_fixed: Column
    products: Column
    m: Column
    n: Column
    k: Column
    flops: Column
    serial: Column
    calls: Column
    launches: Column
    grows_rows: npt.NDArray[np.bool_]
    fixed: npt.NDArray[np.bool_]


def columns(kernels: Sequence[Kernel], counts: Column) -> Columns:
    """Kernels to arrays."""

    def column(name: str) -> Column:
        return np.array([getattr(kernel, name) for kernel in kernels], dtype=np.float64)

    return Columns(
        kind=np.array([int(kernel.kind) for kernel in kernels], dtype=np.int64),
        format=np.array([FORMATS.index(kernel.format) for kernel in kernels], dtype=np.int64),
        count=counts,
        read_sample=np.array([kernel.read.sample for kernel in kernels], dtype=np.float64),
        read_fixed=np.array([kernel.read.fixed for kernel in kernels], dtype=np.float64),
        write_sample=np.array([kernel.write.sample for kernel in kernels], dtype=np.float64),
        write_fixed=np.array([kernel.write.fixed for kernel in kernels], dtype=np.float64),
        grows_rows=np.array([kernel.grows_rows for kernel in kernels], dtype=np.bool_),
        fixed=np.array([kernel.fixed for kernel in kernels], dtype=np.bool_),
        **{name: column(name) for name in _COLUMNS},
    )
