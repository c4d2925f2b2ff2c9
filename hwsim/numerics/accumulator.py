"""Accumulators of 16 to 48 bits that wrap or saturate, and how wide an exact one must be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from hwsim.core.errors import UsageError
from hwsim.numerics.integer import MAX_BITS, IntFormat, saturate, wrap

if TYPE_CHECKING:
    from torch import Tensor

Overflow = Literal["wrap", "saturate", "saturate_each_step"]
MIN_BITS = 16


@dataclass(frozen=True)
class Accumulated:
    """What an accumulator holds at the end (int64), and how many of its outputs left the range on the way."""

    value: Tensor
    overflows: int


@dataclass(frozen=True)
class Accumulator:
    """A signed register of `bits` bits and what it does on overflow.

    `wrap` keeps the low bits (any order of additions gives the same result); `saturate` clamps the exact sum once at
    the end; `saturate_each_step` clamps after every addition, so the order of k matters: ascending k, from the bias.
    """

    bits: int = 32
    overflow: Overflow = "wrap"

    def __post_init__(self) -> None:
        if not MIN_BITS <= self.bits <= MAX_BITS:
            raise UsageError(
                f"accumulator of {self.bits} bits",
                got=self.bits,
                expected=f"{MIN_BITS} to {MAX_BITS} bits",
                remedy="32 bits hold every int8 GEMM of a vision transformer exactly",
            )
        if self.overflow not in get_args(Overflow):
            raise UsageError(
                f"overflow = {self.overflow!r}", got=self.overflow, expected=" | ".join(get_args(Overflow))
            )

    @property
    def format(self) -> IntFormat:
        """The register's integer format."""
        return IntFormat(self.bits)

    def settle(self, exact: Tensor) -> Accumulated:
        """The register after an exact int64 sum `exact` was added up in it without clamping on the way."""
        low, high = self.format.low, self.format.high
        overflows = int(((exact < low) | (exact > high)).sum())
        if not overflows:
            return Accumulated(exact, 0)
        keep = wrap if self.overflow == "wrap" else saturate
        return Accumulated(keep(exact, self.format), overflows)


def exact_accumulator_bits(k: int, a: IntFormat, b: IntFormat, max_bias: int = 0) -> int:
    """Signed bits that hold every sum of k products a b plus a bias: bit_length(P) + 1, P = k max|a| max|b| + |bias|.

    (ceil(log2 P) + 1 would be one short when P is a power of two.)
    """
    return (k * a.max_abs * b.max_abs + abs(max_bias)).bit_length() + 1
