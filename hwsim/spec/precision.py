"""The number formats of an integer datapath: what its registers hold and how its multipliers round."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from hwsim.core.formats import bits
from hwsim.spec.fields import Spec


def _known_format(name: str) -> str:
    bits(name)
    return name


def _register(name: str) -> str:
    held = bits(name)
    if name.startswith(("int", "uint")) and (name.startswith("u") or not 16 <= held <= 48):
        raise ValueError("must be int16 to int48, or a floating format")
    return name


Format = Annotated[str, AfterValidator(_known_format)]
Rounding = Literal["half_even", "onnx", "gemmlowp", "tflite_single", "tosa", "ruy", "half_away", "floor"]
Overflow = Literal["wrap", "saturate", "saturate_each_step"]


class Precision(Spec):
    """`precision:` of an arch: formats of operands and accumulators, and the rules of their arithmetic."""

    weights: Format = Field(default="int8", description="format of the parameters of products")
    activations: Format = Field(default="int8", description="format of tensors between ops")
    residual: Format | None = Field(default=None, description="format of what residual sums and norms read")
    accumulator: Annotated[str, AfterValidator(_register)] = Field(
        default="int32", description="register that a product is summed in: int16..int48"
    )
    overflow: Overflow = Field(default="wrap", description="what that register does beyond its range")
    rounding: Rounding = Field(default="half_even", description="rule that scales an accumulator to an output code")
    scales: Literal["real", "power_of_two"] = Field(default="real", description="power_of_two: a shift rescales")
    functions: Literal["ibert", "ivit", "fqvit", "table"] = Field(
        default="ibert", description="softmax, GELU and LayerNorm: integer approximations, or exact tables"
    )
