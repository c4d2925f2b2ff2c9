"""Integer exponentials of x <= 0: I-BERT's polynomial and I-ViT's shifts.

Both cut x at -n ln 2 (or -n), so they take finitely many values. `ExpTable` evaluates the definition once for every
distance below the row maximum; a lookup then equals the arithmetic exactly and costs what a table costs in hardware.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import floor
from typing import Literal

import torch
from torch import Tensor

from hwsim.core.errors import UsageError
from hwsim.numerics.integer import Scaled

Family = Literal["ibert", "ivit"]
# Coefficients of 0.35815147 (x + 1.353)^2 + 0.344 on [-ln 2, 0] and ln 2 as the authors' code writes them:
# I-BERT (arXiv 2101.01321) eq. 13, kssteven418/I-BERT@22e5b9b.
_A, _B, _C = 0.35815147, 0.96963238, 1.0
_LN2 = 0.6931
_IBERT_STEPS = 30
# Beyond this the table would not pay for itself; one softmax row is a few hundred values.
_MAX_TABLE = 1 << 22


def ibert_exp(x: Tensor, scale: float) -> Scaled:
    """e^(x scale) for int64 x <= 0 (I-BERT, arXiv 2101.01321, algorithm 2); exact in int64.

    Raises UsageError when the input scale is so small that the result would not fit 63 bits.
    """
    x0 = floor(-_LN2 / scale)
    linear, constant = floor(_B / _A / scale), floor(_C / _A / scale**2)
    if constant << _IBERT_STEPS >= 1 << 63:
        raise UsageError(
            f"I-BERT exponential at input scale {scale:g}",
            expected="1.9e-5 or more",
            remedy="requantize the input first",
        )
    x = x.clamp(min=_IBERT_STEPS * x0)
    octave = x // x0
    rest = x - x0 * octave
    value = (rest * (rest + linear) + constant) << (_IBERT_STEPS - octave)
    return Scaled(value.clamp(min=0), _A * scale**2 / (1 << _IBERT_STEPS))


def shift_exp(x: Tensor, scale: float, steps: int) -> Scaled:
    """e^(x scale) for int64 x <= 0 by shifts (I-ViT, arXiv 2207.01405, algorithm 1: Shiftmax 15 steps, GELU 23).

    log2(e) is 1 + 1/2 - 1/16 and 2^r is 1 + r/2 on an octave; exact in int64.
    """
    x = x + (x >> 1) - (x >> 4)
    x0 = floor(-1.0 / scale)
    x = x.clamp(min=steps * x0)
    octave = x // x0
    rest = x - x0 * octave
    # (rest / 2 - x0) 2^(steps - octave), with the half kept exact until the floor.
    value = ((rest - 2 * x0) << (steps - octave)) >> 1
    return Scaled(value.clamp(min=0), scale / (1 << steps))


@dataclass(frozen=True)
class ExpTable:
    """`values[d]` is the integer exponential at distance d >= 0 below the maximum; the last entry holds beyond."""

    values: Tensor
    scale: float

    def lookup(self, x: Tensor, peak: Tensor) -> Tensor:
        """The exponentials of whole numbers x <= peak (any dtype), in float64: exact, as entries stay below 2^53."""
        distance = (peak - x).clamp(max=self.values.numel() - 1).to(torch.int32)
        return self.values.to(x.device).index_select(0, distance.flatten()).reshape(x.shape)


@lru_cache(maxsize=256)
def exp_table(family: Family, scale: float, exp_bits: int | None = None) -> ExpTable:
    """The table of a family at an input scale.

    `exp_bits` requantizes I-BERT's exponentials to that many signed bits with one unit = 1 / (2^(bits-1) - 1), since
    e^0 = 1 is their largest value (the QuantAct(16) between its exponential and its sum).
    """
    if family == "ibert":
        table = _tabulate(lambda x: ibert_exp(x, scale), _IBERT_STEPS * -floor(-_LN2 / scale))
    else:
        table = _tabulate(lambda x: shift_exp(x, scale, 15), 15 * -floor(-1.0 / scale))
    if exp_bits is None:
        return table
    unit = 1.0 / ((1 << (exp_bits - 1)) - 1)
    codes = torch.round(table.values * (table.scale / unit)).clamp(max=1 / unit)
    return ExpTable(codes, unit)


def _tabulate(function: Callable[[Tensor], Scaled], last: int) -> ExpTable:
    if last >= _MAX_TABLE:
        raise UsageError(
            f"an exponential of {last} distinct inputs",
            expected=f"fewer than {_MAX_TABLE}",
            remedy="requantize the logits to fewer bits first",
        )
    result = function(-torch.arange(last + 1))
    return ExpTable(result.codes.to(torch.float64), float(result.scale))
