"""Eager execution: one kernel per op, with the conversions, copies and extra passes that the runtime adds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from hwsim.backends.processor.formats import is_autocast, is_low_norm, operand_bytes, wants_fp32
from hwsim.backends.processor.kernels import Bytes, Kernel, Kind
from hwsim.backends.processor.loops import cast, copy, elementwise, packed, stream
from hwsim.backends.processor.products import attention, product
from hwsim.backends.processor.runtime import Runtime
from hwsim.backends.processor.strides import is_channels_last, is_contiguous
from hwsim.backends.processor.traffic import Traffic
from hwsim.graph.ir import MAC_KINDS, Op

#: Host time of a view against that of an operator that launches (A6).
VIEW_CALLS = 0.3


def eager_kernels(
    traffic: Traffic, parts: Mapping[str | None, Sequence[Op]], skip: frozenset[str], runtime: Runtime
) -> Iterator[Kernel]:
    """Kernels in order of issue; a view costs host time alone."""
    done: set[str | None] = set()
    views = 0
    for op in traffic.graph.ops:
        if op.group in parts:
            if op.group not in done:
                done.add(op.group)
                yield attention(parts[op.group], traffic)
        elif op.kind == "view" or op.name in skip:
            views += 1
        else:
            yield from _conversions(op, traffic)
            yield from _one_op(op, traffic, runtime)
    if views:
        yield Kernel(("",), Kind.STREAM, Bytes(), Bytes(), calls=views * VIEW_CALLS, launches=0.0)


def _conversions(op: Op, traffic: Traffic) -> Iterator[Kernel]:
    """Autocast's casts before an op, one kernel per operand: products want the low format, norms fp32."""
    if not is_autocast(traffic.precision):
        return
    if op.kind in MAC_KINDS:
        low = operand_bytes(traffic.precision)
        for name in dict.fromkeys(op.inputs):
            if traffic.widths[traffic.storage[name]] > low and op.name not in traffic.wide:
                yield cast(op, traffic.size(name), traffic.size(name, low))
    elif is_low_norm(op, traffic.low_norms):
        low = operand_bytes(traffic.precision)
        for name in op.inputs:
            if traffic.widths[traffic.storage[name]] > low:
                yield cast(op, traffic.size(name), traffic.size(name, low))
    elif wants_fp32(op, traffic.low_norms) and traffic.widths[traffic.storage[op.inputs[0]]] < 4.0:
        yield cast(op, traffic.size(op.inputs[0]), traffic.size(op.inputs[0], 4.0))


def _one_op(op: Op, traffic: Traffic, runtime: Runtime) -> Iterator[Kernel]:
    wide = op.name in traffic.wide
    if wide and op.kind == "matmul":
        yield from _widened(op, traffic)
    for name in packed(op, traffic):
        yield copy(op, traffic.size(name, 4.0 if wide else None), traffic)
    if op.kind in MAC_KINDS:
        yield from _product(op, traffic, runtime)
        return
    width = _read_bytes(op, traffic) if is_autocast(traffic.precision) else None
    kernel = stream(op, traffic.reads(op, width), traffic.writes(op), traffic)
    if op.kind == "resize" and runtime.processor == "gpu":
        kernel = replace(kernel, serial=_resize_chain(op, traffic))
    yield kernel
    if op.kind == "softmax" and op.group is not None and not runtime.fused_attention:
        yield from _explicit_softmax(op, traffic)


def _read_bytes(op: Op, traffic: Traffic) -> float | None:
    """Bytes of an element after autocast's conversion; None where it makes none."""
    if is_low_norm(op, traffic.low_norms):
        return operand_bytes(traffic.precision)
    return 4.0 if wants_fp32(op, traffic.low_norms) else None


def _product(op: Op, traffic: Traffic, runtime: Runtime) -> Iterator[Kernel]:
    """The product with what a convolution library adds: layout changes before and after, and the bias."""
    kernel = product(op, traffic)
    turned = _is_turned(op, kernel, traffic, runtime)
    if turned:
        yield copy(op, traffic.size(op.inputs[0], operand_bytes(traffic.precision)), traffic, calls=0.0)
    yield kernel
    if turned:
        yield copy(op, kernel.write, traffic, calls=0.0)
    # cuDNN's convolution takes no bias: a second kernel adds it in place. Depthwise loops and oneDNN take it.
    biased = op.kind == "conv" and len(op.inputs) > 2 and kernel.kind is not Kind.DEPTHWISE
    if biased and runtime.processor == "gpu":
        yield elementwise(op, kernel.write, kernel.write, traffic)
    if op.name in traffic.wide and op.outputs[0] not in traffic.read_by_wide:
        yield cast(op, traffic.size(op.outputs[0]), traffic.size(op.outputs[0], operand_bytes(traffic.precision)))


def _is_turned(op: Op, kernel: Kernel, traffic: Traffic, runtime: Runtime) -> bool:
    """Matrix units convolve channels last: cuDNN turns a channels-first image round before and after (A9)."""
    if kernel.kind not in (Kind.CONV, Kind.GROUPED) or runtime.processor != "gpu" or kernel.format == "fp32":
        return False
    pointwise = all(op.dims[f"K{axis}"] == op.dims[f"S{axis}"] == 1 for axis in "DHW" if f"O{axis}" in op.dims)
    data = traffic.graph.tensors[op.inputs[0]]
    return not pointwise and not is_channels_last(data.shape, traffic.strides[data.name])


def _resize_chain(op: Op, traffic: Traffic) -> float:
    """Eager interpolation of a channels-first image gives each thread one output position and walks all samples and
    channels in turn (A8); channels-last images and nearest-neighbour copies are parallel throughout."""
    data = traffic.graph.tensors[op.inputs[0]]
    parallel = "nearest" in op.fn or len(data.shape) != 4 or not is_contiguous(data.shape, traffic.strides[data.name])
    return 0.0 if parallel else data.shape[0] * data.shape[1] / traffic.graph.batch


def _explicit_softmax(op: Op, traffic: Traffic) -> Iterator[Kernel]:
    """Explicit attention scales the scores and keeps the softmax in fp32: further passes over the scores (A7)."""
    size = traffic.size(op.outputs[0])
    yield elementwise(op, size, size, traffic)
    if traffic.widths[op.outputs[0]] < 4.0:
        wide = traffic.size(op.outputs[0], 4.0)
        yield elementwise(op, size, wide, traffic)
        yield elementwise(op, wide, size, traffic)


def _widened(op: Op, traffic: Traffic) -> Iterator[Kernel]:
    """Unfused attention in fp32: operands from outside are converted, and scaled by a kernel of their own."""
    for name in traffic.from_outside(op):
        wide = traffic.size(name, 4.0)
        yield cast(op, traffic.size(name), wide)
        yield elementwise(op, wide, wide, traffic)
