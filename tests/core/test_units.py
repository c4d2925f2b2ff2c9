"""Units: pint is the oracle for scales and dimensions."""

from __future__ import annotations

import pint
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwsim.core.errors import UsageError
from hwsim.core.units import parse, show, unit_of

REGISTRY = pint.UnitRegistry()
# our spelling -> (pint's spelling, SI unit for both)
CASES = {
    "MHz": ("megahertz", "Hz", "hertz"),
    "pJ/bit": ("picojoule/bit", "J/bit", "joule/bit"),
    "GB/s": ("gigabyte/second", "B/s", "byte/second"),
    "Gb/s": ("gigabit/second", "B/s", "byte/second"),
    "MiB": ("mebibyte", "B", "byte"),
    "um": ("micrometer", "m", "meter"),
    "mm^2": ("millimeter**2", "m^2", "meter**2"),
    "mW": ("milliwatt", "W", "watt"),
    "kWh": ("kilowatt_hour", "J", "joule"),
    "ms": ("millisecond", "s", "second"),
    "1/min": ("1/minute", "Hz", "1/second"),
    "W/mm^2": ("watt/millimeter**2", "W/m^2", "watt/meter**2"),
    "deg": ("degree", "rad", "radian"),
    "fF": None,
    "V": ("volt", "V", "volt"),
    "mV/A": ("millivolt/ampere", "Ohm", "ohm"),
    "%": ("percent", "", "dimensionless"),
}


@pytest.mark.parametrize("unit", [unit for unit, case in CASES.items() if case])
@given(number=st.floats(1e-6, 1e6))
def test_scale_equals_pint(unit: str, number: float) -> None:
    theirs, ours, target = CASES[unit] or ("", "", "")
    expected = (number * REGISTRY(theirs)).to(target).magnitude
    assert parse(f"{number!r} {unit}", ours) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "unit", "match"),
    [
        ("700", "Hz", "has no unit.*frequency"),
        ("700 MHs", "Hz", "'MHs' is not known"),
        ("20 pJ", "J/bit", "wrong unit.*pJ/bit"),
        ("5 s", "Hz", "wrong unit"),
        ("fast", "Hz", "not a number"),
        ("3 m", "B", "wrong unit"),
        ("1 fF", "B", "not known"),
        ("3 m^x", "m", "cannot be read"),
    ],
)
def test_refuses_what_it_cannot_mean(text: str, unit: str, match: str) -> None:
    with pytest.raises(UsageError, match=match):
        parse(text, unit)


def test_bits_and_bytes_are_a_dimension() -> None:
    assert parse("1 KiB", "bit") == 8192
    assert unit_of("pJ/bit")[1] != unit_of("pJ")[1]


def test_counts_and_prefixes_without_a_unit() -> None:
    assert parse("22.1 M", "OP") == pytest.approx(22.1e6)
    assert parse("0.2 pJ/MAC", "J") == pytest.approx(2e-13)


@given(st.floats(1e-17, 1e17))
def test_show_keeps_four_digits(value: float) -> None:
    assert parse(show(value, "m").replace(" ", " "), "m") == pytest.approx(value, rel=6e-4)


def test_show_rolls_over_to_the_next_prefix() -> None:
    assert show(999.99e-6, "s") == "1 ms"
    assert show(0.0, "J") == "0 J"
