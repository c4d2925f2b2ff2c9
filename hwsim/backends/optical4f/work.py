"""A graph as columns: one entry per op of everything the formulas of mapping and cost read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from math import ceil, isqrt, log2
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from hwsim.core.formats import bits
from hwsim.graph.ir import Op, WorkloadGraph

Array = npt.NDArray[np.float64]
T = TypeVar("T")

#: Arithmetic operations per element of the output (A9), an exponential, root, division or erf counted as one.
#: softmax: maximum, subtract, exponential, sum, divide. layer_norm and its kin: mean, two for the variance, subtract,
#: scale, two for the affine part. batch_norm at inference is one scale and one shift. GELU by tanh: nine.
FLOPS_PER_ELEMENT: Mapping[str, float] = {
    "softmax": 5, "log_softmax": 6, "norm": 7, "batch_norm": 2, "activation": 4, "gelu": 9, "relu": 1,
    "relu6": 2, "elementwise": 1, "reduction": 1, "pool": 1, "resize": 7, "topk": 1, "scatter": 1,
}  # fmt: skip


@dataclass(frozen=True)
class Maps(Generic[T]):
    """A convolution of `batch` samples: in each of `groups`, every kernel meets every input channel of its group.

    Fields are numbers for one op, or columns over ops. `payload` is the input samples of a tile that hold data.
    A dense layer or attention product is one too: a row of the left operand is a sample with one channel, an image of
    at least K pixels; a column of the right operand is a kernel of the same size; valid padding keeps one output.
    """

    batch: T
    groups: T
    c_in: T
    c_out: T
    rows: T
    cols: T
    kernel_rows: T
    kernel_cols: T
    out_rows: T
    out_cols: T
    pad_rows: T
    pad_cols: T
    payload: T


@dataclass(frozen=True)
class Work:
    """Columns over the ops of a graph, each an array of shape (ops,).

    `role` is conv, dense, attention, electronic or view; `maps` holds ones where the role is electronic or view;
    `input_bits` is the stored width of the left operand.
    """

    names: tuple[str, ...]
    role: npt.NDArray[np.str_]
    maps: Maps[Array]
    input_bits: Array
    macs: Array
    flops: Array
    host_bytes: Array

    @property
    def optical(self) -> npt.NDArray[np.bool_]:
        """Ops that a 4f system can hold at all."""
        return np.isin(self.role, ("conv", "dense", "attention"))

    def matching(self, patterns: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Ops whose name matches one of the patterns."""
        return np.array([any(fnmatchcase(name, p) for p in patterns) for name in self.names], bool)

    def distinct(self, patterns: Sequence[str]) -> tuple[Work, Array]:
        """One op of each kind of row, in order of first appearance, and how many ops have it.

        Blocks repeat, so a network has few kinds; ops that differ in matching `patterns` stay apart.
        """
        numbers = [*astuple(self.maps), self.input_bits, self.macs, self.flops, self.host_bytes]
        role = np.unique(self.role, return_inverse=True)[1]
        rows = np.stack([*numbers, role.astype(float), self.matching(patterns).astype(float)], axis=1)
        _, first, counts = np.unique(rows, axis=0, return_index=True, return_counts=True)
        order = np.argsort(first)
        return self.only(first[order].tolist()), counts[order].astype(float)

    def only(self, ops: list[int]) -> Work:
        """The columns of some of the ops."""
        return Work(
            names=tuple(self.names[index] for index in ops),
            role=self.role[ops],
            maps=Maps(*(column[ops] for column in astuple(self.maps))),
            input_bits=self.input_bits[ops],
            macs=self.macs[ops],
            flops=self.flops[ops],
            host_bytes=self.host_bytes[ops],
        )


def at(column: Array | float, op: int) -> float:
    """The entry of a column that belongs to an op of a single design."""
    flat = np.asarray(column, float).ravel()
    return float(flat[op if flat.size > 1 else 0])


@lru_cache(maxsize=16)
def work_of(graph: WorkloadGraph) -> Work:
    """The columns of a graph."""
    maps = [_maps(op) for op in graph.ops]
    nothing = Maps(1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 1)
    return Work(
        names=tuple(op.name for op in graph.ops),
        role=np.array([_role(op, m) for op, m in zip(graph.ops, maps, strict=True)]),
        maps=Maps(*(np.array(column, float) for column in zip(*(astuple(m or nothing) for m in maps), strict=True))),
        input_bits=np.array([_input_bits(graph, op) for op in graph.ops]),
        macs=np.array([op.macs for op in graph.ops], float),
        flops=np.array([flops(op) for op in graph.ops], float),
        host_bytes=np.array([_host_bytes(graph, op) for op in graph.ops], float),
    )


def _role(op: Op, maps: Maps[int] | None) -> str:
    if maps is None:
        return "view" if op.kind == "view" else "electronic"
    return {"conv": "conv", "gemm": "dense"}.get(op.kind, "attention")


def _maps(op: Op) -> Maps[int] | None:
    """The op as a two-dimensional convolution, or None if the optics cannot hold it (A2)."""
    d = op.dims
    if op.kind == "gemm":
        return _dense(d["M"], 1, d["N"], d["K"])
    if op.kind == "matmul":
        return _dense(d["M"], d["B"], d["N"], d["K"])
    if op.kind != "conv" or "OD" in d or "OW" not in d or d.get("transposed"):
        return None
    row_axis, col_axis = _axis(op, "H", 0), _axis(op, "W", -1)
    return Maps(
        batch=d["B"], groups=d["G"], c_in=d["Cin"], c_out=d["Cout"],
        rows=row_axis[0], cols=col_axis[0], kernel_rows=row_axis[1], kernel_cols=col_axis[1],
        out_rows=row_axis[2], out_cols=col_axis[2], pad_rows=row_axis[3], pad_cols=col_axis[3],
        payload=row_axis[0] * col_axis[0],
    )  # fmt: skip


def _dense(m: int, products: int, n: int, k: int) -> Maps[int]:
    """`products` products of (m, k) by (k, n) as shared valid convolutions on the squarest image that holds k."""
    cols = isqrt(k - 1) + 1
    rows = ceil(k / cols)
    return Maps(m, products, products, products * n, rows, cols, rows, cols, 1, 1, 0, 0, payload=k)


def _axis(op: Op, axis: str, index: int) -> tuple[int, int, int, int]:
    """Input, kernel (with its dilation), output and padding of one axis; an absent axis has length one."""
    d = op.dims
    if f"O{axis}" not in d:
        return 1, 1, 1, 0
    dilation = op.attrs.get("dilation", (1,))[index]
    kernel = dilation * (d[f"K{axis}"] - 1) + 1
    reach = (d[f"O{axis}"] - 1) * d[f"S{axis}"] + kernel
    return d[f"I{axis}"], kernel, d[f"O{axis}"], max(0, ceil((reach - d[f"I{axis}"]) / 2))


def _input_bits(graph: WorkloadGraph, op: Op) -> float:
    return ceil(bits(graph.tensors[op.inputs[0]].dtype)) if op.inputs else 1


def flops(op: Op) -> float:
    """Arithmetic of an op on the host: two per MAC, else by the table; moving data takes none."""
    if op.macs:
        return 2.0 * op.macs
    if op.kind == "fft":
        return 5 * op.dims["elements"] * log2(max(op.dims["elements"], 2))  # radix 2: 5 n log2 n
    per_element = FLOPS_PER_ELEMENT.get(op.fn, FLOPS_PER_ELEMENT.get(op.kind, 0.0))
    return per_element * _elements(op.dims)


def _elements(dims: Mapping[str, int]) -> float:
    if "rows" in dims:
        return float(dims["rows"] * dims["cols"])
    return float(dims.get("elements", 0) * dims.get("window", 1))


def _host_bytes(graph: WorkloadGraph, op: Op) -> int:
    """Compulsory memory traffic of the op on the host: operands in, results out; a view moves nothing."""
    if op.kind == "view":
        return 0
    return sum(graph.tensors[name].size_bytes for name in {*op.inputs, *op.outputs})
