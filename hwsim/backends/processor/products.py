"""Kernels of the ops that multiply: products, convolutions and fused attention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

from hwsim.backends.processor.formats import operand_bytes, product_format
from hwsim.backends.processor.kernels import Bytes, Kernel, Kind
from hwsim.backends.processor.traffic import Traffic, total
from hwsim.core.formats import bits
from hwsim.graph.ir import Op

#: A convolution with fewer channels per group than this cannot fill a tensor-core tile and runs as a depthwise loop.
_DEPTHWISE_CHANNELS = 1


def product(op: Op, traffic: Traffic) -> Kernel:
    """One gemm, matmul or conv; operands are read in the product format, the output is written as stored."""
    batched = traffic.is_batched(op)
    samples = traffic.graph.batch if batched else 1
    form = "fp32" if op.name in traffic.wide else operand_format(op, traffic)
    if op.kind == "conv" and form == "fp32":
        form = "tf32"  # cuDNN's default where there are TF32 units; products keep fp32 (A16)
    read = _operand_reads(op, traffic)
    write = traffic.writes(op)
    if op.kind == "conv":
        return replace(_convolution(op, read, write, samples), fixed=not batched, format=form)
    dims, names = op.dims, (op.name,)
    m, n, k = float(dims["M"]), float(dims["N"]), float(dims["K"])
    if op.kind == "gemm":
        return Kernel(names, Kind.GEMM, read, write, 1.0, m / samples, n, k, True, not batched, form)
    kind = Kind.SIMD_MATMUL if op.name in traffic.wide else Kind.MATMUL
    return Kernel(names, kind, read, write, dims["B"] / samples, m, n, k, False, not batched, form)


def operand_format(op: Op, traffic: Traffic) -> str:
    """The format a product is computed in: what a transform gave its weights or operands, else the runtime's."""
    stored = [traffic.graph.tensors[name].dtype for name in op.inputs[:2]]
    narrow = max(stored, key=lambda dtype: -bits(dtype))
    if narrow in _STORED:
        return _STORED[narrow]
    if not narrow.startswith("float") and bits(narrow) <= 8:
        return "int8" if "int" in narrow else "fp8"
    return product_format(traffic.precision)


#: What PyTorch calls a format that a graph's tensors may already have.
_STORED = {"float16": "fp16", "bfloat16": "bf16"}


def _operand_reads(op: Op, traffic: Traffic) -> Bytes:
    """The two operands in the product format (casts to it are kernels of their own), the rest as stored."""
    low = 4.0 if op.name in traffic.wide else operand_bytes(traffic.precision)
    names = list(dict.fromkeys(op.inputs))
    operands = total(traffic.size(name, min(low, traffic.widths[traffic.storage[name]])) for name in names[:2])
    return operands + total(traffic.size(name) for name in names[2:])


def _convolution(op: Op, read: Bytes, write: Bytes, samples: int) -> Kernel:
    """An implicit GEMM per group: pixels x output channels x (input channels x taps)."""
    dims = op.dims
    axes = [axis for axis in "DHW" if f"O{axis}" in dims]
    taps = prod(dims[f"K{axis}"] for axis in axes)
    pixels = prod(dims[f"{'I' if dims.get('transposed') else 'O'}{axis}"] for axis in axes)
    groups, inputs, outputs = dims["G"], dims["Cin"] // dims["G"], dims["Cout"] // dims["G"]
    kind = Kind.CONV if groups == 1 else Kind.DEPTHWISE if inputs <= _DEPTHWISE_CHANNELS else Kind.GROUPED
    return Kernel(
        (op.name,), kind, read, write, products=float(groups), m=dims["B"] * pixels / samples, n=float(outputs),
        k=float(inputs * taps), grows_rows=True,
    )  # fmt: skip


def attention(ops: Sequence[Op], traffic: Traffic) -> Kernel:
    """Fused attention: reads Q, K, V (and a mask), writes the output; the scores never leave the chip.

    `m` rows of queries against `n` keys, over `k` = the dims of both products together. Dao et al., FlashAttention-2
    (arXiv:2307.08691), section 3.1.
    """
    inside = {name for op in ops for name in op.outputs}
    qk, av = (op for op in ops if op.kind == "matmul")
    batched = traffic.is_batched(av)
    samples = traffic.graph.batch if batched else 1
    outside = dict.fromkeys(name for op in ops for name in op.inputs if name not in inside)
    low = operand_bytes(traffic.precision)
    read = total(traffic.size(name, min(low, traffic.widths[traffic.storage[name]])) for name in outside)
    kind = Kind.MASKED_ATTENTION if len(outside) > 3 else Kind.ATTENTION
    return Kernel(
        (qk.name, *(op.name for op in ops if op is not qk)), kind, read, traffic.writes(av),
        products=qk.dims["B"] / samples, m=float(qk.dims["M"]), n=float(qk.dims["N"]),
        k=float(qk.dims["K"] + av.dims["N"]), fixed=not batched, format=operand_format(qk, traffic),
        flops=qk.dims["B"] * qk.dims["M"] * qk.dims["N"] / samples,
    )  # fmt: skip
