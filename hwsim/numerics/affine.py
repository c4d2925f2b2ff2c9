"""Affine and symmetric integer codes: x is about scale (code - zero_point), per tensor, per channel or per group."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hwsim.core.errors import UsageError
from hwsim.numerics.integer import IntFormat


@dataclass(frozen=True)
class Affine:
    """How real numbers become codes: code = saturate(rne(x / scale) + zero_point), x' = scale (code - zero_point).

    `scale` (float32) and `zero_point` (int64) are scalars, or vectors along `axis`. With `group`, each run of `group`
    elements along `axis` shares one entry. Rounding is to nearest even after a true division, as in ONNX
    QuantizeLinear: multiplying by 1/scale would differ near ties.
    """

    format: IntFormat
    scale: Tensor
    zero_point: Tensor
    axis: int | None = None
    group: int | None = None

    def quantize(self, x: Tensor) -> Tensor:
        """The codes of x, whole numbers in float32, saturated to the format. NaN stays NaN."""
        scale, zero = self._aligned(x)
        return (torch.round(x / scale) + zero).clamp(self.format.low, self.format.high)

    def dequantize(self, codes: Tensor) -> Tensor:
        """The real numbers (float32) that codes of any dtype stand for."""
        scale, zero = self._aligned(codes)
        return (codes.to(torch.float32) - zero) * scale

    def __call__(self, x: Tensor) -> Tensor:
        """x after quantization: `dequantize(quantize(x))`."""
        return self.dequantize(self.quantize(x))

    def saturated(self, x: Tensor) -> int:
        """How many elements of x lie beyond the format's range (their rounded code would not fit)."""
        scale, zero = self._aligned(x)
        code = torch.round(x / scale) + zero
        return int(((code < self.format.low) | (code > self.format.high)).sum())

    def _aligned(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Scale and zero point in a shape that broadcasts against x."""
        zero = self.zero_point.to(torch.float32)
        if self.axis is None:
            return self.scale, zero
        return self._along_axis(self.scale, x), self._along_axis(zero, x)

    def _along_axis(self, vector: Tensor, x: Tensor) -> Tensor:
        axis = (self.axis or 0) % x.dim()
        spread = vector.repeat_interleave(self.group)[: x.shape[axis]] if self.group else vector
        shape = [1] * x.dim()
        shape[axis] = x.shape[axis]
        return spread.expand(x.shape[axis]).reshape(shape)


def affine_from_range(
    low: Tensor,
    high: Tensor,
    fmt: IntFormat,
    *,
    symmetric: bool = True,
    power_of_two: bool = False,
    axis: int | None = None,
    group: int | None = None,
) -> Affine:
    """The quantizer that covers [low, high].

    Symmetric: zero point 0, scale = max(|low|, |high|) / (2^(bits-1) - 1). Affine: scale = (high - low) / (2^bits - 1)
    over the range widened to include 0, and a zero point that represents 0 exactly. `power_of_two` raises the scale to
    the next power of two. An empty range (all zeros) gets scale 1. Raises UsageError when a bound is not finite.
    """
    if not bool((torch.isfinite(low) & torch.isfinite(high)).all()):
        raise UsageError("a quantization range with NaN or infinity", expected="finite activations and weights")
    low, high = low.to(torch.float32).clamp(max=0), high.to(torch.float32).clamp(min=0)
    scale = torch.maximum(-low, high) / fmt.high if symmetric else (high - low) / (fmt.high - fmt.low)
    # Below float32's smallest normal the quotient x / scale would overflow or flush.
    scale = torch.where(scale >= torch.finfo(torch.float32).tiny, scale, torch.ones_like(scale))
    if power_of_two:
        scale = torch.exp2(torch.ceil(torch.log2(scale)))
    zero = torch.zeros_like(scale)
    if not symmetric:
        zero = (fmt.low - torch.round(low / scale)).clamp(fmt.low, fmt.high)
    return Affine(fmt, scale, zero.to(torch.int64), axis, group)


def value_range(x: Tensor, axis: int | None = None, group: int | None = None) -> tuple[Tensor, Tensor]:
    """(minimum, maximum) of x: scalars, or vectors along `axis`, or one entry per `group` elements of that axis."""
    if axis is None:
        low, high = x.aminmax()
        return low, high
    rows = x.movedim(axis, 0).reshape(x.shape[axis], -1)
    low, high = rows.aminmax(dim=1)
    if not group:
        return low, high
    cuts = list(range(group, low.numel(), group))
    lows, highs = low.tensor_split(cuts), high.tensor_split(cuts)
    return torch.stack([part.min() for part in lows]), torch.stack([part.max() for part in highs])
