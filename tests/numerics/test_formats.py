"""Integer formats, affine and logarithmic codes, shift-and-add weights, stochastic rounding."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hwsim.core.errors import UsageError
from hwsim.numerics import Accumulator, IntFormat
from hwsim.numerics.affine import affine_from_range, value_range
from hwsim.numerics.integer import saturate, wrap
from hwsim.numerics.logarithmic import Log2, matmul_shift, shift_weights
from hwsim.numerics.stochastic import stochastic_round, uniform


@given(bits=st.integers(1, 48), signed=st.booleans(), value=st.integers(-(2**60), 2**60))
def test_wrap_and_saturate_stay_in_range(bits: int, signed: bool, value: int) -> None:
    fmt = IntFormat(bits, signed)
    wrapped = int(wrap(torch.tensor(value), fmt))
    assert fmt.low <= wrapped <= fmt.high
    assert (wrapped - value) % 2**bits == 0
    assert int(saturate(torch.tensor(value), fmt)) == min(max(value, fmt.low), fmt.high)
    assert torch.iinfo(fmt.container).min <= fmt.low
    assert torch.iinfo(fmt.container).max >= fmt.high
    assert IntFormat.parse(str(fmt)) == fmt


@given(
    bits=st.integers(2, 12),
    symmetric=st.booleans(),
    power_of_two=st.booleans(),
    axis=st.sampled_from([None, 0, 1]),
    group=st.sampled_from([None, 3]),
)
def test_affine_error_is_at_most_half_a_step(
    bits: int, symmetric: bool, power_of_two: bool, axis: int | None, group: int | None
) -> None:
    x = torch.randn(8, 10, generator=torch.Generator().manual_seed(bits)) + 0.5
    group = group if axis is not None else None
    fmt = IntFormat(bits, signed=symmetric)
    quantizer = affine_from_range(
        *value_range(x, axis, group), fmt, symmetric=symmetric, power_of_two=power_of_two, axis=axis, group=group
    )
    scale, _ = quantizer._aligned(x)
    # The zero point is rounded too, which moves the ends of an affine range by up to half a step.
    slack = 0.5 if symmetric else 1.0
    assert bool(((quantizer(x) - x).abs() <= scale * (slack + 1e-5)).all())
    assert quantizer(torch.zeros_like(x)).abs().max() == 0
    if power_of_two:
        assert bool((torch.frexp(quantizer.scale)[0] == 0.5).all())


def test_affine_rounds_ties_to_even_after_a_true_division() -> None:
    quantizer = affine_from_range(torch.tensor(-1.27), torch.tensor(1.27), IntFormat(8))
    halves = (torch.arange(-20, 20) + 0.5) * quantizer.scale
    assert torch.equal(quantizer.quantize(halves), torch.round(halves / quantizer.scale))
    assert quantizer.saturated(torch.tensor([1.27, 1.3, -5.0])) == 2


def test_affine_refuses_nan() -> None:
    with pytest.raises(UsageError, match="NaN or infinity"):
        affine_from_range(torch.tensor(float("nan")), torch.tensor(1.0), IntFormat(8))


@given(bits=st.integers(2, 6), steps=st.sampled_from([1, 2]))
def test_log2_codes(bits: int, steps: int) -> None:
    p = torch.tensor([1.0, 0.5, 0.25, 0.3, 1e-30, 0.0])
    code = Log2(bits, steps)
    q, back = code.quantize(p), code.dequantize(code.quantize(p))
    for value, c, r in zip(p.tolist(), q.tolist(), back.tolist(), strict=True):
        u = round(-math.log2(value) * steps) if value else 2**bits
        assert c == (2**bits if u >= 2**bits else u)
        assert r == pytest.approx(0.0 if u >= 2**bits else 2.0 ** (-u / steps))


def test_log2_refuses_negative_values() -> None:
    with pytest.raises(UsageError, match=r"a log2 code of -0\.5"):
        Log2(4).quantize(torch.tensor([0.2, -0.5]))


@given(st.integers(0, 6))
def test_shift_and_add_is_exact_with_guard_bits(guard_bits: int) -> None:
    rng = torch.Generator().manual_seed(guard_bits)
    weights = shift_weights(torch.randn(30, 5, generator=rng), low=-6)
    a = torch.randint(-128, 128, (7, 30), generator=rng)
    exact = a.double() @ weights.dequantize().double() * 2.0**guard_bits
    total = matmul_shift(a, weights, guard_bits, Accumulator()).value.double()
    # Each of 30 terms loses less than one unit; none does once every shift is to the left.
    assert float((total - exact).abs().max()) < (30 if guard_bits < 6 else 1e-9)


def test_shift_weights_are_signed_powers_of_two() -> None:
    w = torch.tensor([0.3, -0.3, 0.0, 1.6, 1e-9])
    assert shift_weights(w, low=-4, high=1).dequantize().tolist() == [0.25, -0.25, 0.0, 2.0, 0.0625]


def test_stochastic_rounding_is_unbiased_and_keyed_by_element() -> None:
    x = torch.full((200_000,), 2.3)
    rounded = stochastic_round(x, seed=1, op=2)
    assert set(rounded.tolist()) == {2.0, 3.0}
    assert float(rounded.mean()) == pytest.approx(2.3, abs=0.005)
    assert torch.equal(stochastic_round(x, 1, 2), rounded)
    assert not torch.equal(stochastic_round(x, 1, 3), rounded)
    assert torch.equal(stochastic_round(x[:1000], 1, 2), rounded[:1000])
    draws = uniform(torch.Size([1000]), 0, 0, x.device)
    assert 0 <= float(draws.min()) <= float(draws.max()) < 1
