"""Power-of-two codes: log2 and log-sqrt2 attention, and shift-and-add weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hwsim.core.errors import UsageError
from hwsim.numerics.accumulator import Accumulated, Accumulator
from hwsim.numerics.carriers import exact_matmul


@dataclass(frozen=True)
class Log2:
    """p in [0, 1] as q = min(u, 2^b - 1), u = rne(-log2(p / peak) x steps): p' = peak 2^(-q / steps), 0 when u >= 2^b.

    `steps` = 1 is log2 (FQ-ViT, arXiv 2111.13824), 2 is log-sqrt2 (RepQ-ViT, arXiv 2212.08254). Zero is one value more
    than b bits hold: the code 2^b stands for it, a flag in hardware.
    """

    bits: int
    steps: int = 1
    peak: float = 1.0

    def quantize(self, p: Tensor) -> Tensor:
        """int64 codes 0..2^b; 2^b means zero. Raises UsageError for negative p."""
        if bool((p < 0).any()):
            raise UsageError(
                f"a log2 code of {float(p.min()):g}", expected="values of 0 or more, such as softmax output"
            )
        limit = 1 << self.bits
        exponent = torch.round(-torch.log2(p.to(torch.float64) / self.peak) * self.steps)
        kept = exponent.clamp(0, limit - 1).to(torch.int64)
        return torch.where(exponent >= limit, limit, kept)

    def dequantize(self, codes: Tensor) -> Tensor:
        """The real numbers (float32) of codes; an odd log-sqrt2 code is sqrt(2) 2^-ceil(q / 2)."""
        whole = -((codes + self.steps - 1) // self.steps)
        part = torch.exp2((codes + self.steps * whole).neg().to(torch.float64) / self.steps)
        value = torch.ldexp(part * self.peak, whole)
        return torch.where(codes >= 1 << self.bits, 0.0, value).to(torch.float32)


@dataclass(frozen=True)
class ShiftWeights:
    """Weights sign 2^exponent (ShiftAddViT, arXiv 2306.06446): a multiply becomes a shift."""

    sign: Tensor
    exponent: Tensor

    def dequantize(self) -> Tensor:
        """The weights as float32."""
        return torch.ldexp(self.sign.to(torch.float32), self.exponent)


def shift_weights(weight: Tensor, low: int, high: int = 0) -> ShiftWeights:
    """weight rounded to sign(w) 2^rne(log2 |w|), the exponent clamped to low..high; 0 stays 0."""
    exponent = torch.round(torch.log2(weight.abs().to(torch.float64))).clamp(low, high)
    sign = torch.sign(weight).to(torch.int64)
    return ShiftWeights(sign, torch.where(sign == 0, 0, exponent.to(torch.int64)))


def matmul_shift(a: Tensor, weights: ShiftWeights, guard_bits: int, accumulator: Accumulator) -> Accumulated:
    """sum over k of sign floor(a 2^(exponent + guard_bits)): the accumulator has `guard_bits` fraction bits.

    a[..., M, K] codes, weights [K, N]. With guard_bits >= -min(exponent) no bit is dropped and the result is the exact
    product times 2^guard_bits; fewer guard bits drop the low bits of each term before the sum, as a bare shifter does.
    """
    total = torch.zeros((*a.shape[:-1], weights.sign.shape[-1]), dtype=torch.int64)
    wide = a.to(torch.int64)
    for exponent in sorted(set(weights.exponent.flatten().tolist())):
        shift = exponent + guard_bits
        shifted = wide << shift if shift >= 0 else wide >> -shift
        chosen = torch.where(weights.exponent == exponent, weights.sign, 0)
        total += exact_matmul(shifted, chosen).to(torch.int64)
    return accumulator.settle(total)
