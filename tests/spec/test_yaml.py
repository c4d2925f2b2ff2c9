"""YAML 1.2 scalars, places, sources."""

from __future__ import annotations

import math

import pytest

from hwsim.core.errors import SpecError
from hwsim.spec.yaml import Source, parse_document, parse_value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e9", 1e9),
        ("1.5E-3", 1.5e-3),
        ("on", "on"),
        ("yes", "yes"),
        ("true", True),
        ("0o17", 15),
        ("0x1F", 31),
        ("010", 10),
        ("12:30", "12:30"),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("~", None),
        ("700 MHz", "700 MHz"),
        ("2001-01-01", "2001-01-01"),
        ("[64, 1e2]", [64, 100.0]),
        ('"1e9"', "1e9"),
    ],
)
def test_scalars_follow_yaml_1_2(text: str, value: object) -> None:
    assert parse_value(text, "x") == value
    assert type(parse_value(text, "x")) is type(value)


def test_every_key_and_value_has_a_place() -> None:
    document = parse_document("a:\n  b: [1, 22]\n", "f.yaml")
    assert str(document.place(("a", "b", 1))) == "f.yaml:2:10"
    assert document.place(("a", "b", 1)).width == 2
    assert str(document.place(("a", "b"), key=True)) == "f.yaml:2:3"
    assert str(document.place(("a", "missing", "deep"))) == "f.yaml:2:3"


def test_sourced_values_collapse_and_keep_their_source() -> None:
    text = 'energy: {value: 20 pJ/bit, source: "[1]", status: checked}\n'
    document = parse_document(text, "f.yaml")
    assert document.tree == {"energy": "20 pJ/bit"}
    assert document.sources["energy",] == Source("[1]", "checked")
    assert document.place(("energy",)).column == 17


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("a: 1\na: 2\n", r"f.yaml:2:1  key 'a' is given twice"),
        ("a: [1, 2\n", r"not valid YAML"),
        ("a: .nan\n", r"f.yaml:1:4  NaN is not a value"),
        ("", r"is empty"),
        ("? [a]\n: 1\n", r"a key must be a word"),
        ("a: !!python/object:os.system x\n", r"tag .* is not allowed"),
        ("\ta: 1\n", r"not valid YAML"),
        ("a: \x00\n", r"not valid YAML"),
    ],
)
def test_bad_yaml_is_refused_at_its_place(text: str, match: str) -> None:
    with pytest.raises(SpecError, match=match):
        parse_document(text, "f.yaml")


def test_alias_bombs_are_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 8)]
    with pytest.raises(SpecError, match="more than 100000 values"):
        parse_document("\n".join(lines), "bomb.yaml")
