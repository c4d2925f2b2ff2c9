"""Integer LayerNorm: I-BERT, I-ViT, and FQ-ViT's with power-of-two factors per channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from hwsim.numerics.integer import Scaled
from hwsim.numerics.kernels import layer_norm_rows, over_rows
from hwsim.numerics.roots import integer_sqrt, ten_step_sqrt

Variant = Literal["ibert", "ivit", "ivit_ten_steps"]
# A channel with weight 0 outputs its bias alone; the integer form divides by the weight, so it is held at this.
_MIN_WEIGHT = 1e-8
_FRACTION_BITS = 30


@dataclass(frozen=True)
class IntegerLayerNorm:
    """LayerNorm over the last axis in integers: mean, sum of squares, square root, one division per row.

    y = x - rne(mean); V = sum (y >> shift)^2; sigma = floor(sqrt V) << shift; F = floor(2^31 / sigma);
    out = floor(y F / 2) + floor((bias / weight) / unit), unit = sqrt(N) / 2^30, of real value out unit weight.
    `ibert` (kssteven418/I-BERT@22e5b9b) adds 1e-4 to sigma; `ivit` (zkkli/I-ViT@19d8f62) has 2^31 - 1 over sigma, and
    `ivit_ten_steps` its unconverged root as well. I-BERT takes the root in float; here every root is integer.
    """

    weight: Tensor
    bias: Tensor
    variant: Variant = "ibert"
    shift: int = 0

    def __call__(self, x: Tensor) -> Scaled:
        """Whole numbers x of any dtype; the input scale cancels. Codes are float64, exact below 2^53."""
        x = x.to(torch.float64)
        y = x - torch.round(x.mean(-1, keepdim=True))
        sigma = self._root(torch.floor(y * 0.5**self.shift).square().sum(-1, keepdim=True).to(torch.int64))
        codes = torch.floor(y * self._factor(sigma).to(torch.float64) * 0.5)
        return Scaled(codes + self._offset(x), self._unit(x) * _away_from_zero(self.weight.to(torch.float64)))

    def requantized(self, x: Tensor, out_scale: float, low: int, high: int) -> tuple[Tensor, int]:
        """The normalised rows as codes low..high (whole numbers in float32) by the rule `onnx`, and how many clamped.

        One compiled pass on the CPU. A negative weight is a sign flip of the row's code before the multiplier.
        """
        scale = (self._unit(x) * _away_from_zero(self.weight.to(torch.float64)) / out_scale).to(torch.float32)
        if x.device.type == "cpu" and self.variant != "ivit_ten_steps":
            numerator, multiple, extra = (
                (10_000.0 * 2**31, 10_000.0, 1.0) if self.variant == "ibert" else (2.0**31 - 1, 1.0, 0.0)
            )
            constants = (self._offset(x).numpy(), scale.numpy(), 0.5**self.shift, numerator, multiple, extra)
            return over_rows(layer_norm_rows, x, *constants, float(low), float(high))
        codes = torch.round(self(x).codes.to(torch.float32) * scale)
        return codes.clamp(low, high), int(((codes < low) | (codes > high)).sum())

    def _unit(self, x: Tensor) -> float:
        return float(x.shape[-1] ** 0.5 / (1 << _FRACTION_BITS))

    def _offset(self, x: Tensor) -> Tensor:
        """floor((bias / weight) / unit) per channel, in float64."""
        weight = _away_from_zero(self.weight.to(torch.float64))
        return torch.floor(self.bias.to(torch.float64) / weight / self._unit(x))

    def _root(self, variance: Tensor) -> Tensor:
        root = ten_step_sqrt(variance) if self.variant == "ivit_ten_steps" else integer_sqrt(variance)
        return root << self.shift

    def _factor(self, sigma: Tensor) -> Tensor:
        if self.variant == "ibert":
            # floor(2^31 / (sigma + 1e-4)) in integers.
            return (10_000 << 31) // (10_000 * sigma + 1)
        # A constant row has sigma = 0 and y = 0: any factor gives 0.
        return ((1 << 31) - 1) // sigma.clamp(min=1)


def _away_from_zero(weight: Tensor) -> Tensor:
    floor = torch.full_like(weight, _MIN_WEIGHT)
    return torch.where(weight.abs() < _MIN_WEIGHT, torch.copysign(floor, weight), weight)


@dataclass(frozen=True)
class PowerOfTwoFactor:
    """FQ-ViT's activation code for LayerNorm inputs: a scale for the tensor and a shift 0..3 per channel.

    channel scale = scale 2^(alpha - 3); (code - zero_point) << alpha has the one unit scale / 8.
    """

    scale: float
    zero_point: int
    alpha: Tensor

    def codes(self, x: Tensor) -> Tensor:
        """Whole numbers (float64) of unit `unit`: 8-bit codes of x less the zero point, shifted to the common unit."""
        channel = self.scale * torch.exp2(self.alpha.to(torch.float64) - 3)
        q = (torch.round(x.to(torch.float64) / channel) + self.zero_point).clamp(0, 255)
        return torch.ldexp(q - self.zero_point, self.alpha)

    @property
    def unit(self) -> float:
        """Real value of one unit of `codes`."""
        return self.scale / 8


def fit_power_of_two_factor(x: Tensor) -> PowerOfTwoFactor:
    """The alphas (0..3 per channel of the last axis) of least squared error for activations x, 8 bits (FQ-ViT, PTF)."""
    low, high = (float(end) for end in x.aminmax())
    scale = max(high - low, torch.finfo(torch.float32).tiny) / 255
    rows = x.reshape(-1, x.shape[-1])
    zero = round(-low / (scale / 8 * 8))
    errors = []
    for alpha in range(4):
        factor = PowerOfTwoFactor(scale, zero, torch.full((rows.shape[1],), alpha))
        errors.append((factor.codes(rows) * factor.unit - rows).square().sum(0))
    return PowerOfTwoFactor(scale, zero, torch.stack(errors).argmin(0))


def fqvit_layer_norm(codes: Tensor, unit: float, weight: Tensor, bias: Tensor, out_scale: float) -> Tensor:
    """FQ-ViT's LayerNorm (megvii-research/FQ-ViT@5bc4e4f): whole-number codes of real value unit -> output codes.

    A = unit weight / (std out_scale) becomes sgn(A) M 2^-N with M of 8 bits; y = rne((sgn(A) M X + B) / 2^N). Mean,
    standard deviation, A and B are floating point there (its issue 42): this is not an integer-only LayerNorm. A
    constant row, where the authors' code divides by zero, takes the smallest positive deviation.
    """
    x = codes.to(torch.float64)
    channels = x.shape[-1]
    mean = x.mean(-1, keepdim=True) * unit
    spread = channels * x.square().sum(-1, keepdim=True) - x.sum(-1, keepdim=True).square()
    std = unit / channels * spread.clamp(min=1).sqrt()
    gain = unit / std * weight / out_scale
    exponent = (7 - torch.floor(torch.log2(gain.abs().clamp(min=2.0**-40)))).clamp(0, 31)
    mantissa = torch.floor(gain.abs() * torch.exp2(exponent)).clamp(max=255)
    offset = torch.round((bias - mean / std * weight) / out_scale * torch.exp2(exponent))
    return torch.round((torch.sign(gain) * mantissa * x + offset) * torch.exp2(-exponent))
