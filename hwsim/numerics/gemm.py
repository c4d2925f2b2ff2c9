"""Integer GEMM and convolution as the hardware's accumulators see them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from hwsim.core.errors import UsageError
from hwsim.numerics.accumulator import Accumulated, Accumulator, Overflow
from hwsim.numerics.carriers import exact_matmul
from hwsim.numerics.integer import as_integers, magnitude, saturate

if TYPE_CHECKING:
    from hwsim.numerics.integer import IntegerArray


def matmul_int(
    a: IntegerArray,
    b: IntegerArray,
    accumulator_bits: int = 32,
    overflow: Overflow = "wrap",
    *,
    k_tile: int | None = None,
) -> Tensor:
    """out[..., M, N] = a[..., M, K] b[..., K, N] in an accumulator of 16 to 48 bits; int64.

    Shapes broadcast as in torch.matmul; codes are any integer type, zero points already subtracted. `k_tile` is the
    length of K that one fold of the array reduces; it matters for `saturate_each_step` only. Raises UsageError for
    floats, for shapes that do not multiply and for widths outside 16..48.
    """
    return accumulate_matmul(
        as_integers(a, "a"), as_integers(b, "b"), Accumulator(accumulator_bits, overflow), k_tile=k_tile
    ).value


def accumulate_matmul(
    a: Tensor,
    b: Tensor,
    accumulator: Accumulator,
    bias: Tensor | None = None,
    k_tile: int | None = None,
    max_product: int | None = None,
) -> Accumulated:
    """The accumulators after bias[N] + a[..., M, K] b[..., K, N], with the number of outputs that overflowed.

    `a` and `b` hold whole numbers in any dtype (float carriers included). Products are added for ascending k; with
    `k_tile` each tile starts from 0 and is then added to the running output, as a systolic array's folds are.
    """
    _check_shapes(a, b)
    exact = exact_matmul(a, b, max_product).to(torch.int64)
    if bias is not None:
        exact = exact + bias
    if accumulator.overflow != "saturate_each_step" or _cannot_overflow(a, b, accumulator, bias):
        return accumulator.settle(exact)
    return _clamp_every_step(a, b, accumulator, bias, k_tile or a.shape[-1])


def conv_int(
    x: IntegerArray,
    weight: IntegerArray,
    bias: IntegerArray | None = None,
    stride: Sequence[int] | int = 1,
    padding: Sequence[int] | int = 0,
    dilation: Sequence[int] | int = 1,
    groups: int = 1,
    accumulator: Accumulator | None = None,
) -> Accumulated:
    """Integer convolution of any number of spatial axes: x (batch, channel, *space), weight (out, in/groups, *kernel).

    Codes have their zero points subtracted, so padding is real 0. The reduction runs over (channel, row, column) in
    that order, the K of the equivalent GEMM. Raises UsageError for floats and shapes that do not fit.
    """
    inputs, kernel = as_integers(x, "x"), as_integers(weight, "weight")
    start = None if bias is None else as_integers(bias, "bias")
    return accumulate_conv(
        inputs,
        kernel,
        accumulator or Accumulator(),
        start,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
    )


def accumulate_conv(
    x: Tensor,
    weight: Tensor,
    accumulator: Accumulator,
    bias: Tensor | None = None,
    *,
    stride: Sequence[int] | int = 1,
    padding: Sequence[int] | int = 0,
    dilation: Sequence[int] | int = 1,
    groups: int = 1,
    max_product: int | None = None,
) -> Accumulated:
    """`conv_int` on whole numbers in any dtype; a GEMM per group over the unfolded windows."""
    outputs, per_group, *kernel = weight.shape
    if x.shape[1] != per_group * groups or outputs % groups or x.dim() != weight.dim():
        raise UsageError(
            f"convolution of x {tuple(x.shape)} with weight {tuple(weight.shape)} in {groups} groups",
            expected="x (batch, in, *space) and weight (out, in/groups, *kernel)",
        )
    windows, space = unfold(x, kernel, stride, padding, dilation)
    columns = windows.reshape(x.shape[0], groups, per_group * windows.shape[2], -1)
    filters = weight.reshape(groups, outputs // groups, -1)
    start = None if bias is None else bias.reshape(groups, outputs // groups, 1)
    summed = accumulate_matmul(filters, columns, accumulator, start, max_product=max_product)
    return Accumulated(summed.value.reshape(x.shape[0], outputs, *space), summed.overflows)


def unfold(
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int] | int,
    padding: Sequence[int] | int,
    dilation: Sequence[int] | int,
) -> tuple[Tensor, tuple[int, ...]]:
    """Every window of x (batch, channel, *space) as (batch, channel, taps, places), and the output's spatial shape.

    Direct gathering rather than a library convolution: some of those use Winograd's transform, which is not exact.
    """
    axes = len(kernel)
    steps, pads, gaps = (_per_axis(option, axes) for option in (stride, padding, dilation))
    x = functional.pad(x, [side for pad in reversed(pads) for side in (pad, pad)])
    spans = [gap * (size - 1) + 1 for gap, size in zip(gaps, kernel, strict=True)]
    space = tuple((n - span) // step + 1 for n, span, step in zip(x.shape[2:], spans, steps, strict=True))
    if min(space) < 1:
        raise UsageError(f"a kernel that spans {spans} does not fit an input of {tuple(x.shape[2:])}")
    strides = x.stride()
    size = (*x.shape[:2], *kernel, *space)
    hop = (
        *strides[:2],
        *(s * gap for s, gap in zip(strides[2:], gaps, strict=True)),
        *(s * step for s, step in zip(strides[2:], steps, strict=True)),
    )
    return x.as_strided(size, hop).reshape(*x.shape[:2], prod(kernel), -1), space


def _per_axis(option: Sequence[int] | int, axes: int) -> list[int]:
    values = [option] if isinstance(option, int) else list(option)
    return values * axes if len(values) == 1 else values


def _check_shapes(a: Tensor, b: Tensor) -> None:
    if a.dim() < 2 or b.dim() < 2 or a.shape[-1] != b.shape[-2]:
        raise UsageError(
            f"a of shape {tuple(a.shape)} times b of shape {tuple(b.shape)}",
            expected="a[..., M, K] and b[..., K, N] with one K",
        )


def _cannot_overflow(a: Tensor, b: Tensor, accumulator: Accumulator, bias: Tensor | None) -> bool:
    """True when no partial sum of any output, in any order, can leave the register: sum |a||b| + |bias| fits."""
    reach = exact_matmul(a.abs(), b.abs()).to(torch.int64)
    if bias is not None:
        reach = reach + bias.abs()
    return magnitude(reach) <= accumulator.format.high


def _clamp_every_step(a: Tensor, b: Tensor, accumulator: Accumulator, bias: Tensor | None, k_tile: int) -> Accumulated:
    """The slow, literal order: one product per step, clamped each time; counts outputs that were ever clamped."""
    a, b = a.to(torch.int64), b.to(torch.int64)
    total = torch.zeros_like(a[..., :1] * b[..., :1, :])
    if bias is not None:
        total = total + bias
    clamped = torch.zeros_like(total, dtype=torch.bool)

    def clamp(value: Tensor) -> Tensor:
        held = saturate(value, accumulator.format)
        clamped.logical_or_(held != value)
        return held

    total = clamp(total)
    k = a.shape[-1]
    single = k_tile >= k
    for first, last in pairwise([*range(0, k, k_tile), k]):
        part = total if single else torch.zeros_like(total)
        for step in range(first, last):
            part = clamp(part + a[..., step : step + 1] * b[..., step : step + 1, :])
        total = part if single else clamp(total + part)
    return Accumulated(total, int(clamped.sum()))
