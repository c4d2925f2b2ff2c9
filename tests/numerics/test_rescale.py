"""The seven rules against exact rational arithmetic, hand vectors and extremes."""

from __future__ import annotations

from fractions import Fraction
from math import floor, frexp

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hwsim.core.errors import UsageError
from hwsim.numerics import RULES, requantize

INT32 = st.integers(-(2**31), 2**31 - 1)
INT48 = st.integers(-(2**47) + 1, 2**47 - 1)


def reference(acc: int, scale: float, rule: str) -> int:
    """The definition in unbounded integers, one value at a time."""
    fraction, exponent = frexp(scale)
    multiplier = floor(Fraction(fraction) * 2**31 + Fraction(1, 2))
    if multiplier == 2**31:
        multiplier, exponent = 2**30, exponent + 1
    product, shift = acc * multiplier, 31 - exponent
    if rule == "floor":
        return product // 2**shift
    if rule == "tflite_single":
        return floor(Fraction(product, 2**shift) + Fraction(1, 2))
    if rule == "half_away":
        return int(np.sign(acc)) * floor(Fraction(abs(product), 2**shift) + Fraction(1, 2))
    if rule == "half_even":
        return round(Fraction(product, 2**shift))
    if rule == "tosa":
        extra = (2**30 if acc >= 0 else -(2**30)) if shift > 31 else 0
        return (product + 2 ** (shift - 1) + extra) // 2**shift
    high = floor(Fraction(product * 2 ** max(exponent, 0), 2**31) + Fraction(1, 2))
    rest = Fraction(high, 2 ** max(-exponent, 0))
    if rule == "ruy":
        return floor(rest + Fraction(1, 2)) if exponent < 0 else high
    return (1 if rest >= 0 else -1) * floor(abs(rest) + Fraction(1, 2))


@pytest.mark.parametrize("rule", [r for r in RULES if r != "onnx"])
@given(acc=st.lists(INT32, min_size=1, max_size=20), scale=st.floats(2.0**-45, 1.0, exclude_max=True))
def test_fixed_point_rules_equal_rational_arithmetic(rule: str, acc: list[int], scale: float) -> None:
    ours = requantize(np.array(acc), scale, 0, "int48", rule).tolist()
    assert ours == [reference(value, scale, rule) for value in acc]


@pytest.mark.parametrize("rule", [r for r in RULES if r != "onnx"])
@given(acc=st.lists(INT48, min_size=1, max_size=20), scale=st.floats(2.0**-40, 2.0**-4))
def test_accumulators_of_48_bits(rule: str, acc: list[int], scale: float) -> None:
    ours = requantize(np.array(acc), scale, 0, "int48", rule).tolist()
    assert ours == [reference(value, scale, rule) for value in acc]


@given(acc=st.lists(INT32, min_size=1, max_size=20), scale=st.floats(2.0**-40, 2.0, width=32))
def test_onnx_rule_is_float32_nearest_even(acc: list[int], scale: float) -> None:
    ours = requantize(np.array(acc), scale, 0, "int48").tolist()
    expected = np.rint(np.array(acc, dtype=np.int64).astype(np.float32) * np.float32(scale)).astype(np.int64)
    assert ours == expected.tolist()


HAND = {  # -5 -3 -1 1 3 5 by 1/2; -20 -12 -11 -5 -4 -3 and 3 4 5 11 12 20 by 1/8
    "gemmlowp": ([-2, -1, 0, 1, 2, 3], [-3, -2, -1, -1, -1, 0], [1, 1, 1, 2, 2, 3]),
    "tosa": ([-2, -1, 0, 1, 2, 3], [-3, -2, -1, -1, -1, 0], [1, 1, 1, 2, 2, 3]),
    "tflite_single": ([-2, -1, 0, 1, 2, 3], [-2, -1, -1, -1, 0, 0], [0, 1, 1, 1, 2, 3]),
    "ruy": ([-2, -1, 0, 1, 2, 3], [-2, -1, -1, 0, 0, 0], [1, 1, 1, 2, 2, 3]),
    "half_away": ([-3, -2, -1, 1, 2, 3], [-3, -2, -1, -1, -1, 0], [0, 1, 1, 1, 2, 3]),
    "onnx": ([-2, -2, 0, 0, 2, 2], [-2, -2, -1, -1, 0, 0], [0, 0, 1, 1, 2, 2]),
    "floor": ([-3, -2, -1, 0, 1, 2], [-3, -2, -2, -1, -1, -1], [0, 0, 0, 1, 1, 2]),
}


@pytest.mark.parametrize("rule", HAND)
def test_ties_by_hand(rule: str) -> None:
    halves, negative, positive = HAND[rule]
    assert requantize(torch.tensor([-5, -3, -1, 1, 3, 5]), 0.5, rule=rule).tolist() == halves
    assert requantize(torch.tensor([-20, -12, -11, -5, -4, -3]), 0.125, rule=rule).tolist() == negative
    assert requantize(torch.tensor([3, 4, 5, 11, 12, 20]), 0.125, rule=rule).tolist() == positive


def test_zero_point_is_added_after_rounding_and_then_saturated() -> None:
    acc = torch.tensor([-5, 5, 1000, -1000])
    assert requantize(acc, 0.5, 3, "int8").tolist() == [1, 5, 127, -128]
    assert requantize(acc, 0.5, 128, "uint8").tolist() == [126, 130, 255, 0]
    assert requantize(acc, 0.5, 0, "int4").dtype == torch.int8


@pytest.mark.parametrize("rule", RULES)
def test_scale_per_channel_equals_scalar_scales(rule: str) -> None:
    acc = torch.randint(-(2**20), 2**20, (50, 3), generator=torch.Generator().manual_seed(0))
    scales = np.array([1e-4, 2.0**-13, 3e-5], dtype=np.float32)
    together = requantize(acc, scales, 1, "int8", rule)
    for channel, scale in enumerate(scales):
        assert torch.equal(together[:, channel], requantize(acc[:, channel], scale, 1, "int8", rule))


def test_refusals() -> None:
    with pytest.raises(UsageError, match="rule 'nearest'"):
        requantize(torch.tensor([1]), 0.5, rule="nearest")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"scale -0\.5: a positive"):
        requantize(torch.tensor([1]), -0.5)
    with pytest.raises(UsageError, match="scale nan"):
        requantize(torch.tensor([1]), float("nan"))
    with pytest.raises(UsageError, match=r"acc holds torch\.float32"):
        requantize(torch.tensor([1.0]), 0.5)
    with pytest.raises(UsageError, match="number format 'i8'"):
        requantize(torch.tensor([1]), 0.5, dtype="i8")
