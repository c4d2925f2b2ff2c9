"""Field types of specs: SI floats inside, unit strings at the YAML border.

A field's name ends in its unit (`clock_hz`); the YAML key is the name without it (`clock`). A value in YAML is a unit
string (`700 MHz`), or `{value: 700 MHz, source: "..."}`; a plain number is accepted only without dimension.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from hwsim.core.units import parse

_SUFFIXES = (
    "_bytes_per_s", "_j_per_bit", "_j_per_byte", "_bits_per_s", "_w_per_m2", "_v_per_a", "_mm2", "_m2",
    "_hz", "_bytes", "_m", "_s", "_j", "_w", "_v", "_k", "_rad", "_e",
)  # fmt: skip


def yaml_name(field_name: str) -> str:
    """The YAML key of a field: its name without the unit."""
    bare = field_name.rstrip("_")
    for suffix in _SUFFIXES:
        if bare.endswith(suffix) and len(bare) > len(suffix):
            return bare.removesuffix(suffix)
    return bare


class Spec(BaseModel):
    """Base of every spec: frozen, no unknown keys, YAML names as aliases."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=yaml_name, populate_by_name=False, allow_inf_nan=False
    )


class SI(float):
    """A number already in SI units, as the search writes it into a spec."""


def as_si(value: object) -> object:
    """The value marked as SI where it is a number, ready to be written into a spec; anything else as it is."""
    return SI(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


@dataclass(frozen=True)
class Quantity:
    """Marks a float field with the SI unit that its unit strings are converted to."""

    unit: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._to_si, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        quantity: list[JsonSchemaValue] = [{"type": "string", "description": f"a quantity in {self.unit or '1'}"}]
        if self.unit == "":
            quantity.append({"type": "number"})
        sourced: JsonSchemaValue = {
            "type": "object",
            "properties": {"value": {"anyOf": list(quantity)}}
            | {key: {"type": "string"} for key in ("source", "status", "note")},
            "required": ["value"],
            "additionalProperties": False,
        }
        return {"anyOf": [*quantity, sourced]}

    def _to_si(self, value: object) -> object:
        if isinstance(value, SI):
            return float(value)
        if isinstance(value, str):
            return _whole(parse(value, self.unit))
        if self.unit != "" and isinstance(value, (int, float)) and not isinstance(value, bool) and value != 0:
            return parse(repr(value), self.unit)  # raises: a unit is missing
        return value


def _whole(value: float) -> float | int:
    """An int where the value is one, so that whole-number fields (bytes) accept `1.5 KiB` and refuse `0.3 B`."""
    if math.isfinite(value) and abs(value) < 2**53 and abs(value - round(value)) <= 1e-12 * abs(value):
        return round(value)
    return value


Seconds = Annotated[float, Quantity("s"), Field(ge=0)]
PositiveSeconds = Annotated[float, Quantity("s"), Field(gt=0)]
Hertz = Annotated[float, Quantity("Hz"), Field(gt=0)]
Joules = Annotated[float, Quantity("J"), Field(ge=0)]
JoulesPerBit = Annotated[float, Quantity("J/bit"), Field(ge=0)]
JoulesPerByte = Annotated[float, Quantity("J/B"), Field(ge=0)]
Watts = Annotated[float, Quantity("W"), Field(ge=0)]
Volts = Annotated[float, Quantity("V"), Field(gt=0)]
Kelvin = Annotated[float, Quantity("K"), Field(gt=0)]
Metres = Annotated[float, Quantity("m"), Field(gt=0)]
SquareMetres = Annotated[float, Quantity("m^2"), Field(ge=0)]
Radians = Annotated[float, Quantity("rad")]
Bytes = Annotated[int, Quantity("B"), Field(ge=1)]
BytesPerSecond = Annotated[float, Quantity("B/s"), Field(gt=0)]
Number = Annotated[float, Quantity("")]
NonNegative = Annotated[float, Quantity(""), Field(ge=0)]
Positive = Annotated[float, Quantity(""), Field(gt=0)]
Fraction = Annotated[float, Quantity(""), Field(ge=0, le=1)]
PositiveFraction = Annotated[float, Quantity(""), Field(gt=0, le=1)]
Electrons = Annotated[float, Quantity("e"), Field(ge=0)]
Count = Annotated[int, Quantity(""), Field(ge=1)]
CountOrZero = Annotated[int, Quantity(""), Field(ge=0)]
