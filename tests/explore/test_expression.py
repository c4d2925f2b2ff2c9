"""Constraints: what they say, in which units, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwsim.core.errors import SpecError
from hwsim.explore.expression import Values, parse_constraint

FIELDS = {
    "array.rows": Values([4, 8, 16], ""),
    "array.cols": Values(8, ""),
    "array.clock": Values(1e9, "Hz"),
    "array.pipeline": Values(["flat", "deep", "flat"], None),
    "array.sparse": Values(True, None),
    "memory.size": Values([1024, 4096, 2**20], "B"),
    "memory.bandwidth": Values(32e9, "B/s"),
    "workload.transforms.0.quantize.weights": Values("int8", None),
    "host.limit": Values([None, 3.0, 5.0], "W"),
}


def holds(text: str) -> list[bool]:
    mask = parse_constraint(text, "test").holds(FIELDS)
    return np.broadcast_to(mask, 3).tolist()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("array.rows * array.cols <= 64", [True, True, False]),
        ("4 < array.rows < 16", [False, True, False]),
        ("array.rows % 8 == 0", [False, True, True]),
        ("array.rows // 3 == 2", [False, True, False]),
        ("array.rows ** 2 == 64", [False, True, False]),
        ("-array.rows + 4 >= 0", [True, False, False]),
        ("min(array.rows, array.cols) == 8", [False, True, True]),
        ("max(array.rows, 5, 6) == abs(-6)", [True, False, False]),
        ("memory.size <= '4 KiB'", [True, True, False]),
        ("memory.size * 8 <= '32768 bit' * 8", [True, True, False]),
        ("memory.size / memory.bandwidth < '50 ns'", [True, False, False]),
        ("array.clock == '1 GHz'", [True, True, True]),
        ("memory.size > 0", [True, True, True]),
        ("array.pipeline == 'deep'", [False, True, False]),
        ("array.pipeline in ['deep', 'flat']", [True, True, True]),
        ("array.pipeline not in ('deep',)", [True, False, True]),
        ("array.rows in (4, 16)", [True, False, True]),
        ("array.sparse and not (array.rows > 8 or array.pipeline == 'deep')", [True, False, False]),
        ("workload.transforms.0.quantize.weights == 'int8'", [True, True, True]),
        ("workload.transforms[0].quantize.weights != 'int4'", [True, True, True]),
        ("host.limit < '4 W'", [False, True, False]),
    ],
)
def test_what_holds(text: str, expected: list[bool]) -> None:
    assert holds(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("array.rows <=", "cannot be read"),
        ("", "cannot be read"),
        ("array.rows", "is not true or false"),
        ("array.rows + 1", "is not true or false"),
        ("memory.size < array.clock", "different units"),
        ("memory.size + array.clock > 0", "different units"),
        ("memory.size < '3 furlong'", "furlong"),
        ("memory.size < 'big'", "uses 'big' as a number"),
        ("array.pipeline < 'deep'", "not numbers"),
        ("array.rows and array.sparse", "as true or false"),
        ("array.rows in array.cols", "needs a list"),
        ("array.rows ** array.rows > 2", "not a whole number"),
        ("__import__('os').system('ls') == 0", "calls"),
        ("sum([1]) == 1", "calls sum"),
        ("(lambda: 1) == 1", "not allowed"),
        ("[x for x in (1,)] == 1", "not allowed"),
        ("array.rows if array.sparse else 1", "not allowed"),
        ("array.rows == None", "holds None"),
        ("array.rows == b'8'", "holds"),
        ("f'{array.rows}' == '8'", "not allowed"),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        holds(text)
    assert str(caught.value).startswith("test  constraint")


@given(a=st.integers(-9, 9), b=st.integers(1, 9), c=st.integers(-9, 9))
def test_arithmetic_is_that_of_python(a: int, b: int, c: int) -> None:
    text = f"({a}) * x // {b} - ({c}) % x <= x ** 2 / {b}"
    x = 3
    expected = eval(text, {"x": x})
    mask = parse_constraint(text, "test").holds({"x": Values([x], "")})
    assert np.broadcast_to(mask, 1).tolist() == [expected]


def test_the_paths_are_those_it_names() -> None:
    constraint = parse_constraint("a.b * c.0.d < min(a.b, e[2])", "test")
    assert constraint.paths == ("a.b", "c.0.d", "e.2")
