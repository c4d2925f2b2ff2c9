"""Casts to small floating-point formats and to blocks that share an exponent.

A value is rounded on the grid of its own binade: quantum = 2^(max(exponent, e_min) - mantissa bits), in float64, where
every step is exact. Sources: OCP OFP8 (E4M3, E5M2) and OCP Microscaling v1.0 (MX), as implemented by ml_dtypes 0.6,
gfloat 0.5.2 and microsoft/microxcaling.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from hwsim.core.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

Rounding = Literal["even", "away", "zero"]
Saturation = Literal["format", "saturate"]
MX_BLOCK = 32
# E8M0, the scale of an MX block: 2^-127 .. 2^127; code 0xFF is NaN.
_E8M0_LIMIT = 127


@dataclass(frozen=True)
class FloatFormat:
    """A sign, an exponent and a mantissa; `overflow` is what the format itself yields beyond its largest number."""

    name: str
    exponent_bits: int
    mantissa_bits: int
    bias: int
    largest: float
    overflow: Literal["nan", "inf", "saturate"]

    @property
    def e_min(self) -> int:
        """Exponent of the smallest normal number."""
        return 1 - self.bias

    @property
    def e_max(self) -> int:
        """Exponent of the largest number."""
        return int(torch.frexp(torch.tensor(self.largest, dtype=torch.float64))[1]) - 1


FLOATS = {
    fmt.name: fmt
    for fmt in (
        FloatFormat("fp8_e4m3", 4, 3, 7, 448.0, "nan"),
        FloatFormat("fp8_e5m2", 5, 2, 15, 57344.0, "inf"),
        FloatFormat("fp6_e2m3", 2, 3, 1, 7.5, "saturate"),
        FloatFormat("fp6_e3m2", 3, 2, 3, 28.0, "saturate"),
        FloatFormat("fp4_e2m1", 2, 1, 1, 6.0, "saturate"),
        FloatFormat("bf16", 8, 7, 127, (2.0 - 2.0**-7) * 2.0**127, "inf"),
        FloatFormat("fp16", 5, 10, 15, 65504.0, "inf"),
    )
}
# Element format of each MX format; mxint8 has fixed-point elements code / 64.
MX_ELEMENTS = {
    "mxfp8_e4m3": "fp8_e4m3",
    "mxfp8_e5m2": "fp8_e5m2",
    "mxfp6_e2m3": "fp6_e2m3",
    "mxfp6_e3m2": "fp6_e3m2",
    "mxfp4": "fp4_e2m1",
    "mxint8": None,
}
FORMATS = (*FLOATS, *MX_ELEMENTS)


@dataclass(frozen=True)
class MxBlocks:
    """x as MX blocks along its last axis: `values` dequantized (shape of x), `scale_codes` E8M0, one per block."""

    values: Tensor
    scale_codes: Tensor


def cast(x: Tensor | np.ndarray, fmt: str, *, overflow: Saturation = "format", rounding: Rounding = "even") -> Tensor:
    """x rounded to the numbers of `fmt`, as floats; MX formats share an exponent per 32 elements of the last axis.

    `overflow="format"` follows the format: E4M3 gives NaN beyond 464, E5M2, fp16 and bf16 infinity, 4 and 6 bits their
    largest number; `"saturate"` always clamps (infinity too). MX elements always saturate. `rounding` is to nearest
    with ties to even, ties `away` from zero, or toward `zero`. The result keeps a float dtype of x. Raises UsageError
    for an unknown format.
    """
    values = torch.as_tensor(x)
    dtype = values.dtype if values.dtype in (torch.float32, torch.float64) else torch.float32
    if fmt in MX_ELEMENTS:
        return cast_mx(values, fmt, rounding).values.to(dtype)
    if fmt not in FLOATS:
        raise UsageError(f"number format {fmt!r}", got=fmt, expected=" | ".join(FORMATS))
    return _round_to(values.to(torch.float64), FLOATS[fmt], overflow, rounding).to(dtype)


def cast_mx(x: Tensor, fmt: str, rounding: Rounding = "even") -> MxBlocks:
    """x in MX v1.0: X = 2^(floor(log2 amax) - e_max), elements saturate(round(v / X)).

    The last block may be shorter than 32. A block with NaN or infinity is NaN throughout (E8M0 code 255); a block of
    zeros has code 0. Values are float64.
    """
    element = MX_ELEMENTS[fmt]
    e_max = 0 if element is None else FLOATS[element].e_max
    blocks, length = _blocked(x, MX_BLOCK)
    peak = blocks.abs().amax(-1, keepdim=True)
    exponent = (_exponent(peak) - e_max).clamp(-_E8M0_LIMIT, _E8M0_LIMIT)
    scaled = torch.ldexp(blocks, -exponent)
    if element is None:
        rounded = (_round(scaled * 64, rounding)).clamp(-128, 127) / 64
    else:
        rounded = _round_to(scaled, FLOATS[element], "saturate", rounding)
    finite = torch.isfinite(peak)
    values = torch.where(finite, torch.ldexp(rounded, exponent), torch.nan)
    codes = torch.where(finite, exponent + _E8M0_LIMIT, 255)
    codes = torch.where(peak == 0, 0, codes)
    return MxBlocks(_unblocked(values, length, x.shape), codes.squeeze(-1).to(torch.uint8))


def block_floating_point(x: Tensor, mantissa_bits: int, block: int, rounding: Rounding = "even") -> Tensor:
    """x with one exponent per `block` elements of the last axis and sign-magnitude mantissas of `mantissa_bits` bits.

    The largest magnitude of a block keeps its leading bit: step = 2^(floor(log2 amax) + 1 - mantissa_bits).
    """
    blocks, length = _blocked(x, block)
    step = _exponent(blocks.abs().amax(-1, keepdim=True)) + 1 - mantissa_bits
    limit = (1 << mantissa_bits) - 1
    mantissa = _round(torch.ldexp(blocks, -step), rounding).clamp(-limit, limit)
    return _unblocked(torch.ldexp(mantissa, step), length, x.shape).to(x.dtype)


def float_codes(values: Tensor, fmt: str) -> Tensor:
    """Bit patterns (int64) of numbers that `cast(x, fmt)` returned: sign, exponent, mantissa."""
    form = FLOATS[fmt]
    x = values.to(torch.float64)
    exponent = _exponent(x).clamp(min=form.e_min)
    significand = torch.ldexp(x.abs(), form.mantissa_bits - exponent)
    # A subnormal's significand lacks the hidden bit, which lowers the exponent field to 0 by itself.
    hidden = 1 << form.mantissa_bits
    finite = (exponent + form.bias - 1) * hidden + significand
    ones = ((1 << form.exponent_bits) - 1) << form.mantissa_bits
    if form.overflow == "inf":
        finite = torch.where(torch.isinf(x), ones, finite)
        finite = torch.where(torch.isnan(x), ones + hidden // 2, finite)
    else:
        finite = torch.where(torch.isnan(x), ones + hidden - 1, finite)
    sign = torch.signbit(x).to(torch.int64) << (form.exponent_bits + form.mantissa_bits)
    return finite.to(torch.int64) + sign


def _round_to(x: Tensor, form: FloatFormat, overflow: Saturation, rounding: Rounding) -> Tensor:
    quantum = _exponent(x).clamp(min=form.e_min) - form.mantissa_bits
    rounded = torch.ldexp(_round(torch.ldexp(x, -quantum), rounding), quantum)
    beyond = rounded.abs() > form.largest
    policy = "saturate" if overflow == "saturate" else form.overflow
    limit = {"nan": torch.nan, "inf": torch.inf, "saturate": form.largest}[policy]
    return torch.where(beyond, torch.copysign(torch.full_like(x, limit), x), rounded)


def _round(x: Tensor, rounding: Rounding) -> Tensor:
    if rounding == "even":
        return torch.round(x)
    if rounding == "zero":
        return torch.trunc(x)
    # Not floor(|x| + 1/2): that addition itself rounds just below one half.
    whole = torch.trunc(x)
    return torch.where((x - whole).abs() >= 0.5, whole + torch.sign(x), whole)


def _exponent(x: Tensor) -> Tensor:
    """floor(log2 |x|) as int32; a number below every format's range for 0, infinity and NaN."""
    exponent = torch.frexp(x)[1] - 1
    usable = torch.isfinite(x) & (x != 0)
    return torch.where(usable, exponent, torch.full_like(exponent, -1000))


def _blocked(x: Tensor, block: int) -> tuple[Tensor, int]:
    """x (float64) as (..., blocks, block), the last axis padded with zeros; and that axis's true length."""
    length = x.shape[-1]
    padded = torch.nn.functional.pad(x.to(torch.float64), (0, -length % block))
    return padded.reshape(*x.shape[:-1], -1, block), length


def _unblocked(blocks: Tensor, length: int, shape: torch.Size) -> Tensor:
    return blocks.flatten(-2)[..., :length].reshape(shape)
