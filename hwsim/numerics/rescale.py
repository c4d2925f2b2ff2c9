"""Requantization: an accumulator times a scale, rounded by one of eight named rules, plus zero point, saturated.

The multiplier d is held as the hardware holds it. Fixed-point rules: d = f 2^e with 0.5 <= f < 1, m = floor(f 2^31 +
1/2) (m = 2^31 becomes 2^30 with e + 1), t = 31 - e, p = acc m. `onnx` multiplies in float32.

| rule | value v | who computes it |
|---|---|---|
| gemmlowp | h = floor((p + 2^30) / 2^31), then h / 2^-e, ties away from zero | TFLite reference kernels |
| tflite_single | floor((p + 2^(t-1)) / 2^t) | TFLite single rounding, TOSA RESCALE single |
| tosa | as tflite_single, with +-2^30 by the sign of acc added first when t > 31 | TOSA RESCALE double_round |
| ruy | h as gemmlowp, then floor((h + 2^(-e-1)) / 2^-e) | TFLite with ruy kernels |
| half_away | p / 2^t rounded once, ties away from zero | LiteRT 2.3 reference kernels |
| onnx | rne(f32(acc) f32(d)) | onnxruntime, XNNPACK, fbgemm, qnnpack |
| half_even | p / 2^t rounded once, ties to even | RTL with convergent rounding |
| floor | floor(p / 2^t) | the cheapest RTL |
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import Tensor

from hwsim.core.errors import UsageError
from hwsim.numerics.integer import IntFormat, as_integers, magnitude, saturate
from hwsim.numerics.kernels import (
    RULE_CODES,
    fixed_point_planes,
    fixed_point_rows,
    over_rows,
    requantize_planes,
    requantize_rows,
)

if TYPE_CHECKING:
    import numpy as np

    from hwsim.numerics.integer import IntegerArray

Rule = Literal["onnx", "gemmlowp", "tflite_single", "tosa", "ruy", "half_away", "half_even", "floor"]
RULES: tuple[Rule, ...] = get_args(Rule)

_INT32_REACH = 1 << 31
# acc m has 31 more bits than acc: up to here it can be formed exactly from two halves in int64.
_MAX_ACC = 1 << 47


def requantize(
    acc: IntegerArray,
    scale: float | np.ndarray | Tensor,
    zero_point: int | Tensor = 0,
    dtype: str | IntFormat = "int8",
    rule: Rule = "onnx",
) -> Tensor:
    """saturate(v + zero_point) as `dtype`, v = acc x scale rounded by `rule` (the table in this module's text).

    `acc` is any integer tensor of at most 48 bits; `scale` > 0 broadcasts against it (a scale per channel of the last
    axis is a vector). The result lies in the smallest torch integer type that holds `dtype`. Raises UsageError for an
    unknown rule or format, a float accumulator, and a scale that is not positive and finite.
    """
    codes = as_integers(acc, "acc").to(torch.int64)
    fmt = IntFormat.parse(dtype) if isinstance(dtype, str) else dtype
    factor = torch.as_tensor(scale, dtype=torch.float64)
    _check_scale(factor)
    rounded = round_scaled(codes, factor, rule)
    return saturate(rounded + zero_point, fmt).to(fmt.container)


def requantize_codes(
    acc: Tensor, bias: Tensor, scale: Tensor, rule: Rule, low: int, high: int, channel_axis: int = -1
) -> tuple[Tensor, int]:
    """Codes low..high (float32) of acc + bias by `rule`, and how many were clamped: `requantize`, in one pass.

    acc holds whole numbers in any dtype; `bias` and `scale` are vectors over `channel_axis` of acc, or of length 1.
    """
    axis = channel_axis % acc.dim()
    if acc.device.type == "cpu" and _compilable(acc, scale, rule):
        if axis == acc.dim() - 1:
            return _compiled_requantize(acc, bias, scale, rule, low, high, per_row=False)
        rows = acc.reshape(*acc.shape[: axis + 1], -1)
        codes, clamped = _compiled_requantize(rows, bias, scale, rule, low, high, per_row=True)
        return codes.reshape(acc.shape), clamped
    shape = [-1 if index == axis else 1 for index in range(acc.dim())]
    bias, scale = (vector.to(acc.device).reshape(shape) for vector in (bias, scale))
    rounded = round_scaled(acc.to(torch.int64) + bias.to(torch.int64), scale, rule)
    clamped = int(((rounded < low) | (rounded > high)).sum())
    return rounded.clamp(low, high).to(torch.float32), clamped


def _compilable(acc: Tensor, scale: Tensor, rule: Rule) -> bool:
    """Whether acc fits 32 bits by its type (or is a float carrier) and its product with the multiplier 63."""
    if rule == "onnx":
        return True
    # The rules that multiply high first shift acc left for scales of 1 and more.
    largest = 0.999 if rule in ("gemmlowp", "tosa", "ruy") else 2.0**14
    return acc.dtype in (torch.float32, torch.int32, torch.int8) and bool((scale < largest).all())


def _compiled_requantize(
    acc: Tensor, bias: Tensor, scale: Tensor, rule: Rule, low: int, high: int, *, per_row: bool
) -> tuple[Tensor, int]:
    channels = acc.shape[-2] if per_row else acc.shape[-1]
    start = bias.expand(channels).contiguous()
    if rule == "onnx":
        factor = scale.to(torch.float32).expand(channels).contiguous().numpy()
        loop = requantize_planes if per_row else requantize_rows
        return over_rows(loop, acc, start.to(torch.float64).numpy(), factor, float(low), float(high))
    multiplier, exponent = (part.expand(channels).contiguous().numpy() for part in fixed_point(scale))
    fixed = fixed_point_planes if per_row else fixed_point_rows
    return over_rows(fixed, acc, start.to(torch.int64).numpy(), multiplier, exponent, RULE_CODES[rule], low, high)


def round_scaled(acc: Tensor, scale: Tensor, rule: Rule) -> Tensor:
    """int64 v = acc x scale rounded by `rule`, before zero point and saturation."""
    if rule == "onnx":
        return torch.round(acc.to(torch.float32) * scale.to(torch.float32)).to(torch.int64)
    if rule not in _FIXED_POINT:
        raise UsageError(f"requantization rule {rule!r}", got=rule, expected=" | ".join(RULES))
    multiplier, exponent = fixed_point(scale)
    if magnitude(acc) >= _MAX_ACC:
        raise UsageError(f"an accumulator of {magnitude(acc)}", expected="at most 48 bits")
    return _FIXED_POINT[rule](acc, multiplier, exponent)


def fixed_point(scale: Tensor) -> tuple[Tensor, Tensor]:
    """(m, e): scale = m 2^(e - 31), 2^30 <= m < 2^31, m rounded half up from float64 (TFLite QuantizeMultiplier)."""
    fraction, exponent = torch.frexp(scale.to(torch.float64))
    multiplier = torch.floor(fraction * (1 << 31) + 0.5).to(torch.int64)
    carried = multiplier == 1 << 31
    multiplier = torch.where(carried, 1 << 30, multiplier)
    exponent = exponent.to(torch.int64) + carried.to(torch.int64)
    if bool((exponent > 30).any()):
        raise UsageError(f"scale {float(scale.max()):g}", expected="below 2^30: the fixed-point shift has 31 bits")
    return multiplier, exponent


def _divided(acc: Tensor, multiplier: Tensor, shift: Tensor, *, half: bool, extra: Tensor | int = 0) -> Tensor:
    """floor((acc m + extra [+ 2^(shift-1)]) / 2^shift), exact for |acc| < 2^47 although acc m may have 78 bits.

    For accumulators within 32 bits the product fits int64. Wider ones are split acc = u 2^16 + l and divided by 2^16
    first, which the floor allows: floor(floor(x / 2^16) / 2^(s-16)) = floor(x / 2^s). `extra` is a multiple of 2^16.
    """
    product = acc * multiplier + extra
    if magnitude(acc) > _INT32_REACH:
        if bool((shift < 17).any()):
            raise UsageError("a scale of 2^14 or more with an accumulator wider than 32 bits")
        product = (acc >> 16) * multiplier + (((acc & 0xFFFF) * multiplier + extra) >> 16)
        shift = shift - 16
    # Beyond 63 every product here is below half a unit, as it is at 63.
    shift = shift.clamp(max=63)
    if half:
        product = product + (torch.ones_like(shift) << (shift - 1))
    return product >> shift


def _high_multiply(acc: Tensor, multiplier: Tensor, exponent: Tensor) -> Tensor:
    """gemmlowp's rounding doubling high multiply, after the left shift that e > 0 asks for.

    The C reference shifts in 32 bits and leaves overflow undefined; here it saturates far beyond every output format.
    """
    shifted = (acc << exponent.clamp(min=0)).clamp(1 - _MAX_ACC, _MAX_ACC - 1)
    return _divided(shifted, multiplier, torch.full_like(exponent, 31), half=True)


def _gemmlowp(acc: Tensor, multiplier: Tensor, exponent: Tensor) -> Tensor:
    high = _high_multiply(acc, multiplier, exponent)
    right = (-exponent).clamp(0, 62)
    mask = (torch.ones_like(right) << right) - 1
    threshold = (mask >> 1) + (high < 0).to(torch.int64)
    return (high >> right) + ((high & mask) > threshold).to(torch.int64)


def _ruy(acc: Tensor, multiplier: Tensor, exponent: Tensor) -> Tensor:
    high = _high_multiply(acc, multiplier, exponent)
    right = (-exponent).clamp(0, 62)
    half = torch.where(right > 0, torch.ones_like(right) << (right - 1).clamp(min=0), 0)
    return (high + half) >> right


def _single(acc: Tensor, multiplier: Tensor, exponent: Tensor) -> Tensor:
    return _divided(acc, multiplier, 31 - exponent, half=True)


def _tosa(acc: Tensor, multiplier: Tensor, exponent: Tensor) -> Tensor:
    shift = 31 - exponent
    by_sign = torch.where(acc >= 0, 1 << 30, -(1 << 30))
    return _divided(acc, multiplier, shift, half=True, extra=torch.where(shift > 31, by_sign, 0))


def _half_away(acc: Tensor, multiplier: Tensor, exponent: Tensor) -> Tensor:
    return torch.sign(acc) * _divided(acc.abs(), multiplier, 31 - exponent, half=True)


def _half_even(acc: Tensor, multiplier: Tensor, exponent: Tensor) -> Tensor:
    rounded_up = _divided(acc, multiplier, 31 - exponent, half=True)
    # Half down is half up mirrored; the two differ at ties only, where the even one is wanted.
    rounded_down = -_divided(-acc, multiplier, 31 - exponent, half=True)
    return torch.where(rounded_up % 2 == 0, rounded_up, rounded_down)


def _floor(acc: Tensor, multiplier: Tensor, exponent: Tensor) -> Tensor:
    return _divided(acc, multiplier, 31 - exponent, half=False)


_FIXED_POINT: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "gemmlowp": _gemmlowp,
    "tflite_single": _single,
    "tosa": _tosa,
    "ruy": _ruy,
    "half_away": _half_away,
    "half_even": _half_even,
    "floor": _floor,
}


def _check_scale(scale: Tensor) -> None:
    if not bool((torch.isfinite(scale) & (scale > 0)).all()):
        bad = scale[~(torch.isfinite(scale) & (scale > 0))].flatten()[0]
        raise UsageError(f"requantization scale {float(bad):g}", got=float(bad), expected="a positive, finite number")
