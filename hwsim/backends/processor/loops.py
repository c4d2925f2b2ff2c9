"""Kernels without products: elementwise and row-wise loops, copies, conversions."""

from __future__ import annotations

from hwsim.backends.processor.kernels import Bytes, Kernel, Kind
from hwsim.backends.processor.strides import needs_copy
from hwsim.backends.processor.traffic import Traffic
from hwsim.graph.ir import Op

_COPIES = frozenset({"layout", "roll", "unfold", "fold"})
_GATHERS = frozenset({"gather", "scatter", "topk", "fft", "resize", "unmodelled"})
#: Relative cost of an element, in additions: a polynomial or a division where the function needs one (A5).
FLOPS = {
    "gelu": 20.0, "erf": 20.0, "exp": 10.0, "tanh": 15.0, "sigmoid": 12.0, "silu": 14.0, "softmax": 16.0,
    "log_softmax": 16.0, "layer_norm": 8.0, "group_norm": 8.0, "batch_norm": 2.0, "mish": 30.0, "pow": 10.0,
}  # fmt: skip
#: Kinds that move data and compute nothing.
_SILENT = frozenset({"view", "layout", "roll", "gather", "unfold", "fold"})


def stream(op: Op, read: Bytes, write: Bytes, traffic: Traffic, ops: tuple[str, ...] | None = None) -> Kernel:
    """A kernel without products: bytes in, bytes out, and its elements' arithmetic."""
    kind = Kind.COPY if op.kind in _COPIES else Kind.GATHER if op.kind in _GATHERS else Kind.STREAM
    return Kernel(ops or (op.name,), kind, read, write, flops=simt_flops(op, traffic), fixed=not traffic.is_batched(op))


def simt_flops(op: Op, traffic: Traffic) -> float:
    """Additions' worth of arithmetic per sample."""
    if op.kind in _SILENT:
        return 0.0
    elements = sum(traffic.graph.tensors[name].elements for name in op.outputs) * op.dims.get("window", 1)
    return elements * FLOPS.get(op.fn, 1.0) / (traffic.graph.batch if traffic.is_batched(op) else 1)


def cast(op: Op, read: Bytes, write: Bytes) -> Kernel:
    """A conversion of one tensor."""
    return Kernel((op.name,), Kind.STREAM, read, write, fixed=read.sample == 0)


def elementwise(op: Op, read: Bytes, write: Bytes, traffic: Traffic) -> Kernel:
    """A plain loop that a runtime adds beside an op."""
    return Kernel((op.name,), Kind.STREAM, read, write, fixed=not traffic.is_batched(op))


def copy(op: Op, size: Bytes, traffic: Traffic, *, calls: float = 1.0) -> Kernel:
    """A change of memory layout; `calls` is 0 where a library makes it on its own."""
    return Kernel((op.name,), Kind.COPY, size, size, fixed=not traffic.is_batched(op), calls=calls)


def packed(op: Op, traffic: Traffic) -> list[str]:
    """Operands whose memory layout the op cannot read as it is."""
    tensors = traffic.graph.tensors
    return [
        name
        for position, name in enumerate(op.inputs[:2])
        if needs_copy(op, position, tensors[name].shape, traffic.strides[name])
    ]
