"""What a piece of hardware computes with: formats, accumulator, rounding rule and the family of its functions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from hwsim.numerics.accumulator import Accumulator
from hwsim.numerics.integer import IntFormat
from hwsim.spec.precision import Precision, Rounding

Functions = Literal["ibert", "ivit", "fqvit", "table"]


@dataclass(frozen=True)
class Arithmetic:
    """The arithmetic of an arch. `weights`, `activations` and `residual` serve graphs whose tensors are still float.

    `k_tile` is how many products one fold of the array sums before its result leaves it; it matters for accumulators
    that saturate at each step.
    """

    weights: str = "int8"
    activations: str = "int8"
    residual: str | None = None
    accumulator: Accumulator = field(default_factory=Accumulator)
    rounding: Rounding = "half_even"
    power_of_two: bool = False
    functions: Functions = "ibert"
    k_tile: int | None = None


def arithmetic_of(precision: Precision | None, k_tile: int | None = None) -> Arithmetic:
    """The arithmetic that an arch's `precision` describes; int8 with int32 accumulators where it has none."""
    if precision is None:
        return Arithmetic(k_tile=k_tile)
    # A floating accumulator belongs to floating operands, whose products torch sums in fp32.
    bits = Accumulator().bits
    if precision.accumulator.startswith("int"):
        bits = IntFormat.parse(precision.accumulator).bits
    return Arithmetic(
        weights=precision.weights,
        activations=precision.activations,
        residual=precision.residual,
        accumulator=Accumulator(bits, precision.overflow),
        rounding=precision.rounding,
        power_of_two=precision.scales == "power_of_two",
        functions=precision.functions,
        k_tile=k_tile,
    )
