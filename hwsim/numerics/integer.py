"""Whole-number formats: their range, their container, and the two ways to leave the range (saturate, wrap)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hwsim.core.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

    IntegerArray = Tensor | np.ndarray

MAX_BITS = 48
_NAME = re.compile(r"(u?)int(\d+)")


@dataclass(frozen=True)
class IntFormat:
    """A two's-complement (or unsigned) integer of `bits` bits.

    `narrow` drops the lowest code of a signed format, so that the range is symmetric: -127..127 for 8 bits.
    """

    bits: int
    signed: bool = True
    narrow: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= MAX_BITS:
            raise UsageError(f"an integer format of {self.bits} bits", got=self.bits, expected=f"1 to {MAX_BITS} bits")

    @classmethod
    def parse(cls, name: str) -> IntFormat:
        """The format called `int8`, `uint4`, ... Raises UsageError for any other name."""
        match = _NAME.fullmatch(name)
        if match is None:
            raise UsageError(
                f"number format {name!r}", got=name, expected="intN or uintN, such as int8", remedy="write e.g. int8"
            )
        return cls(int(match[2]), signed=not match[1])

    def __str__(self) -> str:
        return f"{'' if self.signed else 'u'}int{self.bits}"

    @property
    def low(self) -> int:
        """The least code."""
        return -(1 << (self.bits - 1)) + int(self.narrow) if self.signed else 0

    @property
    def high(self) -> int:
        """The greatest code."""
        return (1 << (self.bits - int(self.signed))) - 1

    @property
    def max_abs(self) -> int:
        """The largest magnitude of a code."""
        return max(-self.low, self.high)

    @property
    def container(self) -> torch.dtype:
        """The smallest torch integer type that holds every code."""
        import torch

        for dtype in (torch.int8, torch.uint8, torch.int16, torch.int32):
            info = torch.iinfo(dtype)
            if info.min <= self.low and self.high <= info.max:
                return dtype
        return torch.int64


def saturate(value: Tensor, fmt: IntFormat) -> Tensor:
    """`value` clamped to the range of `fmt`; dtype kept."""
    return value.clamp(fmt.low, fmt.high)


def wrap(value: Tensor, fmt: IntFormat) -> Tensor:
    """int64 `value` reduced modulo 2^bits into the range of `fmt`: what dropping the upper wires does."""
    offset = fmt.low
    return ((value - offset) & ((1 << fmt.bits) - 1)) + offset


def as_integers(array: IntegerArray, name: str) -> Tensor:
    """`array` (torch or numpy, any integer type) as a torch tensor. Raises UsageError for floats."""
    import torch

    tensor = torch.as_tensor(array)
    if tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool:
        raise UsageError(
            f"{name} holds {tensor.dtype}",
            got=str(tensor.dtype),
            expected="integer codes",
            remedy="quantize it first, or cast it with .to(torch.int64) if its values are whole",
        )
    return tensor


def magnitude(codes: Tensor) -> int:
    """The largest |code| of a tensor; 0 when it is empty."""
    if codes.numel() == 0:
        return 0
    low, high = codes.aminmax()
    return max(-int(low), int(high))


@dataclass(frozen=True)
class Scaled:
    """Whole numbers `codes` (int64 unless said otherwise) and the real value `scale` of one unit."""

    codes: Tensor
    scale: float | Tensor

    def real(self) -> Tensor:
        """The real numbers in float64."""
        return self.codes.double() * self.scale
