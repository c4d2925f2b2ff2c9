"""Specs: all errors of a file at once, `--set` like YAML, sources, arrays in leaves."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from pydantic import Field

from hwsim.core.errors import SpecError, SpecErrorGroup, UsageError
from hwsim.spec.arch import ArchSpec
from hwsim.spec.fields import SI, Bytes, BytesPerSecond, Count, Fraction, Hertz, Spec
from hwsim.spec.overrides import override, parse_assignment, split_path, value_at, with_columns
from hwsim.spec.validate import validate
from hwsim.spec.yaml import Document, parse_document


class Array(Spec):
    rows: Count = Field(description="rows of PEs")
    cols: Count
    clock_hz: Hertz
    dataflow: Literal["ws", "os", "is"] = "ws"


class Level(Spec):
    size_bytes: Bytes
    bandwidth_bytes_per_s: BytesPerSecond
    share: Fraction = 1.0


class Toy(ArchSpec):
    array: Array
    memory: dict[str, Level] = {}
    stages: list[Level] = []


GOOD = """\
schema: hwsim/arch/1
backend: toy
array: {rows: 256, cols: 128, clock: 700 MHz}
memory:
  dram: {size: {value: 8 GiB, source: "[1]"}, bandwidth: 34 GB/s}
stages:
  - {size: 1 KiB, bandwidth: 1 GB/s}
"""


def toy(text: str = GOOD) -> Document:
    return parse_document(text, "toy.yaml")


def test_values_are_si() -> None:
    spec = validate(Toy, toy())
    assert spec.array.clock_hz == 700e6
    assert spec.memory["dram"].size_bytes == 8 * 2**30
    assert spec.memory["dram"].bandwidth_bytes_per_s == 34e9


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("rows: 256", "rows: -4", r"toy.yaml:3:15  array.rows = -4: must be a whole number, 1 or more \(rows of PEs\)"),
        ("rows: 256", "rows: 2.5", r"array.rows = 2.5: must be a whole number"),
        ("rows: 256", "rows: many", r"array.rows = 'many': 'many' is not a number"),
        ("700 MHz", "700", r"array.clock = 700: '700' has no unit; write a frequency such as `700 MHz`"),
        ("700 MHz", "7 kg", r"'7 kg' has the wrong unit"),
        ("700 MHz", "0 Hz", r"array.clock = '0 Hz': must be a number in Hz, more than 0"),
        ("rows:", "row:", r"array.row is not a known key[\s\S]*did you mean `rows`"),
        ("rows: 256, ", "", r"array.rows is missing: must be a whole number"),
        ("backend: toy", "backend: toy\nzzz: 1", r"zzz is not a known key: known keys are schema, backend"),
        ("clock: 700 MHz", "clock: 700 MHz, dataflow: wss", r"must be one of ws, os, is[\s\S]*did you mean `ws`"),
        ("size: 1 KiB", "size: 0.3 B", r"stages.0.size = '0.3 B': must be a whole number of B"),
        ("size: 1 KiB", "size: 1 KiB, share: 1.2", r"stages.0.share = 1.2: must be a number, .*1 or less"),
        ("bandwidth: 34 GB/s", "bandwidth: 34 GB", r"memory.dram.bandwidth = '34 GB': .*wrong unit"),
        ("stages:\n  - {", "stages: {", r"stages = .*must be a list"),
        ("hwsim/arch/1", "hwsim/arch/9", r"schema = 'hwsim/arch/9': must be one of hwsim/arch/1"),
    ],
)
def test_each_fault_is_named_at_its_place(old: str, new: str, match: str) -> None:
    text = GOOD.replace(old, new, 1)
    if old.startswith("stages"):
        text = text.rstrip() + "\n"
    with pytest.raises(SpecError, match=match):
        validate(Toy, toy(text))


def test_all_faults_come_at_once_in_the_order_of_the_file() -> None:
    text = GOOD.replace("rows: 256", "rows: 0").replace("700 MHz", "700 MHs").replace("34 GB/s", "x")
    with pytest.raises(SpecErrorGroup, match="3 errors") as caught:
        validate(Toy, toy(text))
    assert [error.message.split(" = ")[0] for error in caught.value.errors] == [
        "array.rows",
        "array.clock",
        "memory.dram.bandwidth",
    ]


def test_set_is_validated_exactly_as_yaml_is() -> None:
    changed = validate(Toy, override(toy(), {"array.rows": 64, "memory.dram.size": "1 GiB", "stages.0.share": 0.5}))
    assert (changed.array.rows, changed.memory["dram"].size_bytes, changed.stages[0].share) == (64, 2**30, 0.5)
    with pytest.raises(SpecError, match=r"--set array.cols=-4  array.cols = -4: must be a whole number, 1 or more"):
        validate(Toy, override(toy(), {"array.cols": -4}))
    with pytest.raises(SpecError, match=r"did you mean `cols`"):
        validate(Toy, override(toy(), {"array.colz": 4}))


def test_set_drops_the_source_of_what_it_replaces() -> None:
    path = ("memory", "dram", "size")
    assert path in toy().sources
    assert path not in override(toy(), {"memory.dram.size": "1 GiB"}).sources
    assert path in override(toy(), {"array.rows": 1}).sources


@pytest.mark.parametrize(
    ("path", "match"),
    [("stages.7.size", "list of 1"), ("stages.x.size", "list of 1"), ("array.rows.deep", "is a value, not a mapping")],
)
def test_set_of_a_path_that_cannot_be(path: str, match: str) -> None:
    with pytest.raises(SpecError, match=match):
        override(toy(), {path: 1})


def test_assignments_are_yaml() -> None:
    assert parse_assignment("array.clock=1.2 GHz") == ("array.clock", "1.2 GHz")
    assert parse_assignment("a.b=[1, 2]") == ("a.b", [1, 2])
    with pytest.raises(SpecError, match=r"has no `=`.*PATH=VALUE"):
        parse_assignment("array.rows")
    with pytest.raises(SpecError, match="not a path"):
        split_path("a..b")


def test_value_at_reads_si_by_yaml_name() -> None:
    spec = validate(Toy, toy())
    assert value_at(spec, "array.clock") == 700e6
    assert value_at(spec, "memory.dram.size") == 8 * 2**30
    assert value_at(spec, "stages.0.bandwidth") == 1e9
    with pytest.raises(SpecError, match="not a field"):
        value_at(spec, "array.speed")


def test_a_sweep_puts_arrays_in_leaves() -> None:
    spec = validate(Toy, toy())
    rows = np.array([1, 2, 4])
    many = with_columns(spec, {"array.rows": rows, "memory.dram.bandwidth": rows * 1e9})
    assert isinstance(many, Toy)
    assert (many.array.rows * many.array.cols == rows * 128).all()
    assert many.memory["dram"].bandwidth_bytes_per_s[2] == 4e9  # type: ignore[index]
    assert spec.array.rows == 256


def test_si_numbers_pass_without_unit_text() -> None:
    changed = validate(Toy, override(toy(), {"array.clock": SI(5e8), "memory.dram.size": SI(65536.0)}))
    assert (changed.array.clock_hz, changed.memory["dram"].size_bytes) == (5e8, 65536)


def test_spec_is_frozen() -> None:
    spec = validate(Toy, toy())
    with pytest.raises(ValueError, match="frozen"):
        spec.array.rows = 3  # type: ignore[misc]


def test_json_schema_takes_unit_strings_and_sourced_values() -> None:
    schema = Toy.model_json_schema(by_alias=True)
    clock = schema["$defs"]["Array"]["properties"]["clock"]
    kinds = {option.get("type") for option in clock["anyOf"]}
    assert kinds == {"string", "object"}


def test_usage_errors_are_value_errors() -> None:
    assert issubclass(UsageError, ValueError)
