"""Stochastic rounding with a counter-based generator: the result depends on the element, not on the order of work."""

from __future__ import annotations

import torch
from torch import Tensor

# SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): increment and the two mixing multipliers, as signed 64-bit numbers.
_GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)
_MIX_1 = 0xBF58476D1CE4E5B9 - (1 << 64)
_MIX_2 = 0x94D049BB133111EB - (1 << 64)


def stochastic_round(x: Tensor, seed: int, op: int) -> Tensor:
    """floor(x + u), u uniform in [0, 1) keyed by (seed, op, index of the element in x); dtype of x kept."""
    return torch.floor(x.to(torch.float64) + uniform(x.shape, seed, op, x.device)).to(x.dtype)


def uniform(shape: torch.Size, seed: int, op: int, device: torch.device) -> Tensor:
    """float64 numbers in [0, 1) of 53 random bits, a pure function of (seed, op, index)."""
    index = torch.arange(shape.numel(), dtype=torch.int64, device=device).reshape(shape)
    key = _mix(_mix(torch.tensor(seed, device=device)) + op)
    bits = _mix(key + index * _GOLDEN)
    return _shift_right(bits, 11).to(torch.float64) * 2.0**-53


def _mix(z: Tensor) -> Tensor:
    z = z + _GOLDEN
    z = (z ^ _shift_right(z, 30)) * _MIX_1
    z = (z ^ _shift_right(z, 27)) * _MIX_2
    return z ^ _shift_right(z, 31)


def _shift_right(z: Tensor, bits: int) -> Tensor:
    """Logical shift of the 64-bit pattern."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)
