"""Matrix products and convolutions in codes: weights quantized per output channel, sums in the arch's accumulator."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from hwsim.backends.execution.coding import Coding, integer_format
from hwsim.backends.execution.plan import Context, Planned, scaler
from hwsim.backends.execution.program import Bound, Kernel, Tally
from hwsim.graph.calls import Argument, Ref
from hwsim.graph.ir import Op
from hwsim.numerics.affine import affine_from_range, value_range
from hwsim.numerics.carriers import exact_matmul
from hwsim.numerics.gemm import accumulate_matmul, unfold

_MATMULS = ("aten.matmul.default", "aten.mm.default", "aten.bmm.default")


@dataclass(frozen=True)
class Weights:
    """A static operand in codes (float32), with one scale per entry of `scale` (a vector, or one entry for all)."""

    codes: Tensor
    scale: Tensor
    max_abs: int


def quantize_weights(context: Context, value: Tensor, dtype: str, axis: int | None) -> Weights | None:
    """Symmetric codes of a static operand, per channel of `axis`; None if its format is not an integer."""
    fmt = integer_format(dtype)
    if fmt is None:
        return None
    power_of_two = context.arithmetic.power_of_two
    low, high = value_range(value, axis)
    affine = affine_from_range(low, high, fmt, power_of_two=power_of_two, axis=axis)
    return Weights(affine.quantize(value), affine.scale.reshape(-1), fmt.max_abs)


def gemm(context: Context, op: Op, bound: Bound) -> Planned | None:
    """linear, or a matmul, mm or addmm with one static operand."""
    target, args = op_target(op), bound.args
    if target == "aten.linear.default":
        bias = context.bias(op, bound.argument(2, "bias"))
        return _static_right(context, op, args[0], args[1], bias, transposed=True)
    if target in _MATMULS:
        if context.constant(args[1]) is not None:
            return _static_right(context, op, args[0], args[1], None, transposed=False)
        return _static_left(context, op, args[0], args[1])
    if target == "aten.addmm.default" and not bound.kwargs:
        return _static_right(context, op, args[1], args[2], context.constant(args[0]), transposed=False)
    return None


def matmul(context: Context, op: Op, bound: Bound) -> Planned | None:
    """A product of two activations, or of an activation and a batch of static matrices."""
    if op_target(op) not in _MATMULS:
        return None
    left, right = context.coding(bound.args[0]), context.coding(bound.args[1])
    if left is None or right is None:
        return gemm(context, op, bound)
    a, b = bound.args[0].name, bound.args[1].name
    product = left.max_abs * right.max_abs
    depth = op.dims["K"]
    add = _summation(context, product, depth * product, None)
    return _finished(
        context, op, lambda values, tally: add(values[a], values[b], tally), torch.tensor([left.scale * right.scale])
    )


def _static_right(
    context: Context, op: Op, a: Argument, b: Argument, bias: Tensor | None, *, transposed: bool
) -> Planned | None:
    """a[..., K] times static b (stored (N, K) if `transposed`), output channels on the last axis."""
    coding, value = context.coding(a), context.constant(b)
    if coding is None or value is None or not isinstance(b, Ref):
        return None
    matrix = value.T if transposed and value.dim() == 2 else value
    weights = quantize_weights(context, matrix, context.dtype(b.name), -1 if matrix.dim() == 2 else None)
    if weights is None or matrix.dim() < 2:
        return None
    scale = _product_scale(coding, weights)
    start = _bias_codes(bias, scale)
    reach = _reach(coding, weights.codes.abs().sum(-2), start)
    add = _summation(context, coding.max_abs * weights.max_abs, reach, start)
    name, codes = a.name, weights.codes.contiguous()
    return _finished(context, op, lambda values, tally: add(values[name], codes, tally), scale, start)


def _static_left(context: Context, op: Op, a: Argument, b: Argument) -> Planned | None:
    """Static a[..., M, K] times codes b, one scale for all of a."""
    coding, value = context.coding(b), context.constant(a)
    if coding is None or value is None or not isinstance(a, Ref):
        return None
    weights = quantize_weights(context, value, context.dtype(a.name), None)
    if weights is None:
        return None
    reach = _reach(coding, weights.codes.abs().sum(-1), None)
    add = _summation(context, coding.max_abs * weights.max_abs, reach, None)
    name = b.name
    return _finished(
        context, op, lambda values, tally: add(weights.codes, values[name], tally), _product_scale(coding, weights)
    )


def conv(context: Context, op: Op, bound: Bound) -> Planned | None:
    """Convolution of any number of spatial axes, as the GEMM of its windows; transposed ones run in float."""
    options = _conv_options(op, bound)
    coding, value = context.coding(bound.args[0]), context.constant(bound.args[1])
    if options is None or coding is None or value is None:
        return None
    kernel, bias = value, context.bias(op, bound.argument(2, "bias"))
    weights = quantize_weights(context, kernel, context.dtype(bound.args[1].name), 0)
    if weights is None:
        return None
    outputs, groups = kernel.shape[0], options.groups
    scale = _product_scale(coding, weights)
    start = _bias_codes(bias, scale)
    filters = weights.codes.reshape(groups, outputs // groups, -1)
    reach = _reach(coding, filters.abs().sum(-1).flatten(), start)
    grouped = None if start is None else start.reshape(groups, outputs // groups, 1)
    add = _summation(context, coding.max_abs * weights.max_abs, reach, grouped)
    name, unbatched = bound.args[0].name, len(context.graph.tensors[bound.args[0].name].shape) == kernel.dim() - 1

    def accumulate(values: Mapping[str, Tensor], tally: Tally) -> Tensor:
        x = values[name][None] if unbatched else values[name]
        if any(options.extra):
            x = pad(x, list(options.extra))
        windows, space = unfold(x, kernel.shape[2:], options.stride, options.padding, options.dilation)
        columns = windows.reshape(x.shape[0], groups, filters.shape[2], -1)
        summed = add(filters, columns, tally).reshape(x.shape[0], outputs, *space)
        return summed[0] if unbatched else summed

    axis = -(kernel.dim() - 1)
    return _finished(context, op, accumulate, scale, start, axis)


@dataclass(frozen=True)
class _Options:
    stride: Sequence[int] | int
    padding: Sequence[int] | int
    dilation: Sequence[int] | int
    groups: int
    extra: Sequence[int] = ()


def _conv_options(op: Op, bound: Bound) -> _Options | None:
    target = op_target(op)
    stride, padding = bound.argument(3, "stride", 1), bound.argument(4, "padding", 0)
    dilation = bound.argument(5, "dilation", 1)
    if target.startswith("aten.convolution."):
        return None if bound.args[6] else _Options(stride, padding, dilation, bound.args[8])
    if not target.startswith(("aten.conv1d", "aten.conv2d", "aten.conv3d")):
        return None
    if padding == "valid":
        padding = 0
    extra: list[int] = []
    if padding == "same":
        sizes = [op.dims[f"K{axis}"] for axis in "DHW" if f"K{axis}" in op.dims]
        spans = [gap * (size - 1) for gap, size in zip(op.attrs["dilation"], sizes, strict=True)]
        padding = [span // 2 for span in spans]
        # An even kernel needs one more zero at the end of its axis than at the start, as torch pads.
        extra = [side for span in reversed(spans) for side in (0, span % 2)]
    return _Options(stride, padding, dilation, bound.argument(6, "groups", 1), extra)


def op_target(op: Op) -> str:
    """The operator in the op's call, such as `aten.linear.default`."""
    return str(json.loads(op.call)["target"])


def _product_scale(coding: Coding, weights: Weights) -> Tensor:
    """Real value of one unit of the accumulator: f32(s_a s_w), as onnxruntime forms it."""
    return torch.tensor(coding.scale, dtype=torch.float32) * weights.scale


def _bias_codes(bias: Tensor | None, scale: Tensor) -> Tensor | None:
    """Bias in units of the accumulator, whole numbers in float64; a register of 32 bits."""
    if bias is None:
        return None
    return torch.round(bias.to(torch.float64) / scale.to(torch.float64)).clamp(-(1 << 31), (1 << 31) - 1)


def _reach(coding: Coding, column_sums: Tensor, start: Tensor | None) -> int:
    """The largest magnitude any partial sum of any output can take."""
    reach = column_sums.to(torch.float64) * coding.max_abs
    return int((reach if start is None else reach + start.abs()).max())


Summation = Callable[[Tensor, Tensor, Tally], Tensor]


def _summation(context: Context, max_product: int, reach: int, start: Tensor | None) -> Summation:
    """Sums of products as the accumulator holds them, without the bias where it is added with the scaling.

    If no partial sum can leave the register, the exact product is the register. Otherwise the register is emulated,
    bias included, and the later scaling must not add it again.
    """
    accumulator = context.arithmetic.accumulator
    if reach <= accumulator.format.high:
        return lambda a, b, tally: exact_matmul(a, b, max_product)
    bias = None if start is None else start.to(torch.int64)

    def emulate(a: Tensor, b: Tensor, tally: Tally) -> Tensor:
        held = accumulate_matmul(a, b, accumulator, bias, context.arithmetic.k_tile, max_product)
        tally.overflows += held.overflows
        # The scaling adds the bias to every accumulator alike.
        return held.value if bias is None else held.value - bias

    return emulate


def _finished(
    context: Context,
    op: Op,
    accumulate: Callable[[Mapping[str, Tensor], Tally], Tensor],
    scale: Tensor,
    start: Tensor | None = None,
    channel_axis: int = -1,
) -> Planned | None:
    """Scale accumulators to the output's codes; what the network returns stays real (E4)."""
    offset = torch.zeros(1, dtype=torch.float64) if start is None else start
    if context.is_output(op):
        shape = [-1 if axis == channel_axis else 1 for axis in range(channel_axis, 0)]

        def finish(values: Mapping[str, Tensor], tally: Tally) -> Tensor:
            acc = accumulate(values, tally).to(torch.float64)
            start, unit = (vector.to(acc).reshape(shape) for vector in (offset, scale))
            return ((acc + start) * unit).to(torch.float32)

        return Planned(finish, [None])
    target = context.target(op)
    if target is None:
        return None
    rescale = scaler(context, scale / torch.tensor(target.scale), offset, target, channel_axis)
    kernel: Kernel = lambda values, tally: rescale(accumulate(values, tally), tally)  # noqa: E731
    return Planned(kernel, [target])
