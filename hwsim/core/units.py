"""Unit strings to SI floats, with a dimension check.

`parse("20 pJ/bit", "J/bit")` is 2e-11. A dimension is a vector of exponents over the base units below. Bits and
bytes are a dimension of their own (1 byte = 8 bit), so energy per bit never passes for energy. pint would do this
too, but its import and registry cost more than a whole cached estimate; the tests use it as the oracle.
"""

from __future__ import annotations

import math
import re
from functools import cache

from hwsim.core.errors import UsageError

# Exponents over (m, kg, s, A, K, bit). An angle, a ratio and a count are dimensionless.
Dimension = tuple[int, int, int, int, int, int]
_ONE: Dimension = (0, 0, 0, 0, 0, 0)

_PREFIX = {
    "f": 1e-15, "p": 1e-12, "n": 1e-9, "u": 1e-6, "µ": 1e-6, "μ": 1e-6, "m": 1e-3, "c": 1e-2,
    "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15,
}  # fmt: skip
_BINARY = {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40}
_ENERGY: Dimension = (2, 1, -2, 0, 0, 0)
# symbol: (scale to SI, dimension, may carry a decimal prefix)
_UNITS: dict[str, tuple[float, Dimension, bool]] = {
    "": (1.0, _ONE, True),  # `22.1 M` is a count
    "1": (1.0, _ONE, False),
    "%": (1e-2, _ONE, False),
    "rad": (1.0, _ONE, True),
    "deg": (math.pi / 180, _ONE, False),
    "dB": (1.0, _ONE, False),
    "m": (1.0, (1, 0, 0, 0, 0, 0), True),
    "g": (1e-3, (0, 1, 0, 0, 0, 0), True),
    "s": (1.0, (0, 0, 1, 0, 0, 0), True),
    "min": (60.0, (0, 0, 1, 0, 0, 0), False),
    "h": (3600.0, (0, 0, 1, 0, 0, 0), False),
    "Hz": (1.0, (0, 0, -1, 0, 0, 0), True),
    "A": (1.0, (0, 0, 0, 1, 0, 0), True),
    "V": (1.0, (2, 1, -3, -1, 0, 0), True),
    "K": (1.0, (0, 0, 0, 0, 1, 0), True),
    "J": (1.0, _ENERGY, True),
    "eV": (1.602176634e-19, _ENERGY, True),
    "Wh": (3600.0, _ENERGY, True),
    "W": (1.0, (2, 1, -3, 0, 0, 0), True),
    "Ohm": (1.0, (2, 1, -3, -2, 0, 0), True),
    "bit": (1.0, (0, 0, 0, 0, 0, 1), True),
    "b": (1.0, (0, 0, 0, 0, 0, 1), True),
    "B": (8.0, (0, 0, 0, 0, 0, 1), True),
    "byte": (8.0, (0, 0, 0, 0, 0, 1), True),
    # Counts have no dimension; the words make a file read well: `0.2 pJ/MAC`, `1.4 GFLOP/s`, `30 ke`.
    **dict.fromkeys(("MAC", "FLOP", "OP", "op", "px", "e", "cycle", "sample", "frame", "DN"), (1.0, _ONE, True)),
    "ppm": (1e-6, _ONE, False),
}
_NUMBER = re.compile(r"[+-]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_FACTOR = re.compile(r"([A-Za-zµμ%1]+)(?:(?:\^|\*\*)?([+-]?\d+))?$")


def parse(text: str, unit: str) -> float:
    """SI value of `text`, which must have the dimension of `unit` (the SI unit of the field; bits stay bits,
    bytes stay bytes: a field in `B` gives bytes).

    Raises UsageError if the number or the unit cannot be read or the dimension differs.
    """
    stripped = text.strip()
    match = _NUMBER.match(stripped)
    if match is None:
        raise UsageError(f"{text!r} is not a number with a unit", expected=_example(unit))
    number = float(match[0].replace("_", ""))
    symbol = stripped[match.end() :].strip()
    want_scale, want = unit_of(unit)
    if symbol == "" and want != _ONE:
        raise UsageError(f"{text!r} has no unit", expected=_example(unit))
    try:
        scale, dimension = unit_of(symbol)
    except UsageError as error:
        raise UsageError(error.message, expected=_example(unit)) from error
    if dimension != want:
        raise UsageError(f"{text!r} has the wrong unit", expected=_example(unit))
    return number * scale / want_scale


@cache
def unit_of(symbol: str) -> tuple[float, Dimension]:
    """Scale to SI and dimension of a compound unit such as `pJ/bit`, `GB/s`, `mm^2` or `1/s`."""
    scale, dimension = 1.0, _ONE
    for index, part in enumerate(symbol.replace("·", "*").replace("**", "^").split("/")):
        sign = -1 if index else 1
        for word in part.replace("*", " ").split() or [""]:
            factor, exponents, power = _factor(word, symbol)
            scale *= factor ** (sign * power)
            dimension = tuple(  # type: ignore[assignment]
                have + sign * power * add for have, add in zip(dimension, exponents, strict=True)
            )
    return scale, dimension


def _factor(word: str, symbol: str) -> tuple[float, Dimension, int]:
    if word == "":
        return 1.0, _ONE, 1
    match = _FACTOR.match(word.replace("²", "2").replace("³", "3"))
    if match is None:
        raise UsageError(f"unit {symbol!r} cannot be read", expected="a product of SI units such as `pJ/bit` or `GB/s`")
    name, power = match[1], int(match[2] or 1)
    if name in _UNITS:
        scale, dimension, _ = _UNITS[name]
        return scale, dimension, power
    for prefixes, needs_information in ((_BINARY, True), (_PREFIX, False)):
        for prefix, value in prefixes.items():
            unit = _UNITS.get(name.removeprefix(prefix)) if name.startswith(prefix) else None
            if unit and unit[2] and (not needs_information or unit[1][5]):
                return value * unit[0], unit[1], power
    raise UsageError(f"unit {name!r} is not known", expected="SI units with prefixes, bit, B and KiB, MiB, GiB")


def _example(unit: str) -> str:
    shown = {
        "Hz": "a frequency such as `700 MHz`",
        "s": "a time such as `10 us`",
        "J": "an energy such as `5 pJ`",
        "J/bit": "an energy per bit such as `20 pJ/bit`",
        "B": "a size such as `24 MiB`",
        "B/s": "a bandwidth such as `34 GB/s`",
        "m": "a length such as `8 um`",
        "W": "a power such as `40 W`",
        "m^2": "an area such as `3 mm^2`",
        "V": "a voltage such as `0.9 V`",
        "K": "a temperature such as `300 K`",
        "": "a plain number",
    }
    return shown.get(unit, f"a number in {unit or 'no unit'}, such as `1 {unit}`")


_ENGINEERING = [(10.0**power, prefix) for power, prefix in zip(range(15, -18, -3), "PTGMk mμnpfa", strict=False)]


def show(value: float, unit: str, digits: int = 4) -> str:
    """`value` with an SI prefix: `show(1.234e-6, "s")` is `1.234 us`."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g} {unit}".rstrip()
    magnitude = abs(value)
    for scale, prefix in _ENGINEERING:
        if magnitude >= scale * (1 - 0.5 * 10.0**-digits):
            return f"{value / scale:.{digits}g} {prefix.strip().replace('μ', 'u')}{unit}".rstrip()
    return f"{value:.{digits}g} {unit}".rstrip()
