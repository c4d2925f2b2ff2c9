"""Integer softmax, GELU, LayerNorm and square root against one-value-at-a-time references in unbounded integers."""

from __future__ import annotations

from math import floor, isqrt

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.core.errors import UsageError
from hwsim.numerics.exponential import exp_table, ibert_exp, shift_exp
from hwsim.numerics.gelu import ibert_gelu, shift_gelu
from hwsim.numerics.layernorm import IntegerLayerNorm, fit_power_of_two_factor, fqvit_layer_norm
from hwsim.numerics.rescale import RULES, requantize, requantize_codes
from hwsim.numerics.roots import integer_sqrt, ten_step_sqrt
from hwsim.numerics.softmax import _softmax, log_int_softmax, softmax

SCALE = st.floats(0.005, 0.2)
ROW = st.lists(st.integers(-128, 127), min_size=1, max_size=40)


def slow_ibert_exp(x: int, s: float) -> int:
    x0 = floor(-0.6931 / s)
    x = max(x, 30 * x0)
    q = x // x0
    r = x - x0 * q
    b, c = floor(0.96963238 / 0.35815147 / s), floor(1 / 0.35815147 / s**2)
    return max(0, (r * (r + b) + c) * 2 ** (30 - q))


def slow_shift_exp(x: int, s: float, n: int) -> int:
    x = x + x // 2 - x // 16
    x0 = floor(-1 / s)
    x = max(x, n * x0)
    q = x // x0
    return max(0, (x - x0 * q - 2 * x0) * 2 ** (n - q) // 2)


@settings(deadline=None)
@given(x=st.integers(-40_000, 0), scale=SCALE)
def test_exponentials(x: int, scale: float) -> None:
    code = torch.tensor([x])
    assert int(ibert_exp(code, scale).codes) == slow_ibert_exp(x, scale)
    assert int(shift_exp(code, scale, 15).codes) == slow_shift_exp(x, scale, 15)
    for family in ("ibert", "ivit"):
        table = exp_table(family, scale)
        direct = ibert_exp(code, scale) if family == "ibert" else shift_exp(code, scale, 15)
        assert float(table.lookup(code, torch.tensor([0]))) == float(direct.codes)


@settings(deadline=None)
@given(row=ROW, scale=SCALE, bits=st.integers(4, 16))
def test_ivit_softmax(row: list[int], scale: float, bits: int) -> None:
    e = [slow_shift_exp(x - max(row), scale, 15) for x in row]
    factor = (2**31 - 1) // min(sum(e), 2**31 - 1)
    ours = softmax(torch.tensor([row]), scale, "ivit", bits)
    assert ours.codes[0].tolist() == [v * factor // 2 ** (32 - bits) for v in e]
    assert ours.scale == 2.0 ** (1 - bits)


@settings(deadline=None)
@given(row=ROW, scale=SCALE, bits=st.integers(4, 16))
def test_ibert_softmax(row: list[int], scale: float, bits: int) -> None:
    unit = 0.35815147 * scale**2 / 2**30 * 32767
    e = [min(32767, round(slow_ibert_exp(x - max(row), scale) * unit)) for x in row]
    factor = 2**32 // sum(e)
    ours = softmax(torch.tensor([row]), scale, "ibert", bits)
    assert ours.codes[0].tolist() == [v * factor // 2 ** (32 - bits) for v in e]


@settings(deadline=None)
@given(row=ROW, scale=SCALE, bits=st.integers(2, 6))
def test_log_int_softmax(row: list[int], scale: float, bits: int) -> None:
    e = [slow_ibert_exp(x - max(row), scale) for x in row]
    ours = log_int_softmax(torch.tensor([row]), scale, bits)[0].tolist()
    for value, code in zip(e, ours, strict=True):
        if value == 0:
            assert code == 2**bits
            continue
        ratio = round(sum(e) / value)
        log2 = ratio.bit_length() - 1
        u = log2 + (2 * (ratio - 2**log2) >= 2**log2)
        assert code == (u if u < 2**bits else 2**bits)


@pytest.mark.parametrize("family", ["ibert", "ivit"])
def test_compiled_softmax_equals_tensor_operations(family: str) -> None:
    x = torch.randint(-128, 128, (3, 500, 197), generator=torch.Generator().manual_seed(0))
    compiled = softmax(x, 0.05, family)  # type: ignore[arg-type]
    table = exp_table(family, 0.05, 16 if family == "ibert" else None)  # type: ignore[arg-type]
    numerator, largest = (2.0**32, torch.inf) if family == "ibert" else (2.0**31 - 1, 2.0**31 - 1)
    assert torch.equal(compiled.codes, _softmax(x, table, numerator, largest, 2.0**-24))
    assert torch.equal(softmax(x.float(), 0.05, family).codes, compiled.codes)  # type: ignore[arg-type]


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**62))
def test_integer_square_root(value: int) -> None:
    for v in (value, isqrt(value) ** 2, max(0, isqrt(value) ** 2 - 1)):
        assert int(integer_sqrt(torch.tensor([v]))) == isqrt(v)


def test_ten_newton_steps_do_not_converge_for_small_sums() -> None:
    values = torch.tensor([10, 1000, 34_596, 142_884])
    assert ten_step_sqrt(values).tolist()[:2] == [64, 68]
    assert integer_sqrt(values).tolist() == [3, 31, 186, 378]


@settings(deadline=None)
@given(x=st.integers(-(2**20), 2**20), scale=st.floats(1e-5, 1e-3))
def test_ibert_gelu(x: int, scale: float) -> None:
    s = scale / 1.4142
    b, c = floor(-1.769 / s), floor(1 / -0.2888 / s**2)
    sign = (x > 0) - (x < 0)
    erf = sign * ((min(abs(x), -b) + b) ** 2 + c) // 2**14
    ours = ibert_gelu(torch.tensor([x]), scale)
    assert int(ours.codes) == x * (erf + floor(1 / (-0.2888 * s**2 * 2**14)))
    real = float(ours.real())
    # Two floors lose up to one unit of erf each, and are multiplied by x.
    close = 0.03 + 2 * abs(x * float(ours.scale))
    assert real == pytest.approx(float(torch.nn.functional.gelu(torch.tensor(x * scale))), abs=close)


@settings(deadline=None)
@given(row=ROW, scale=st.floats(0.01, 0.08))
def test_shift_gelu(row: list[int], scale: float) -> None:
    s, peak = scale * 1.702, max(row)
    other = slow_shift_exp(-peak, s, 23)
    ours = shift_gelu(torch.tensor([row]), scale).codes[0].tolist()
    for x, y in zip(row, ours, strict=True):
        e = slow_shift_exp(x - peak, s, 23)
        factor = (2**31 - 1) // min(e + other, 2**31 - 1)
        assert y == x * (e * factor // 2**24)


@pytest.mark.parametrize("variant", ["ibert", "ivit"])
@settings(deadline=None)
@given(row=st.lists(st.integers(-30_000, 30_000), min_size=2, max_size=50), seed=st.integers(0, 1000))
def test_layer_norm(variant: str, row: list[int], seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    weight, bias = (torch.randn(len(row), dtype=torch.float64, generator=rng) for _ in range(2))
    ours = IntegerLayerNorm(weight, bias, variant)(torch.tensor([row]))  # type: ignore[arg-type]
    y = [x - round(sum(row) / len(row)) for x in row]
    sigma = isqrt(sum(v * v for v in y))
    factor = floor(2**31 * 10_000 // (10_000 * sigma + 1)) if variant == "ibert" else (2**31 - 1) // max(sigma, 1)
    unit = len(row) ** 0.5 / 2**30
    for i, v in enumerate(y):
        assert int(ours.codes[0, i]) == v * factor // 2 + floor(float(bias[i] / weight[i]) / unit)


@pytest.mark.parametrize("variant", ["ibert", "ivit"])
def test_compiled_layer_norm_equals_tensor_operations(variant: str) -> None:
    rng = torch.Generator().manual_seed(0)
    x = torch.randint(-20_000, 20_000, (300, 384), generator=rng)
    x[0] = 5
    norm = IntegerLayerNorm(torch.rand(384, generator=rng) + 0.1, torch.randn(384, generator=rng), variant)  # type: ignore[arg-type]
    out_scale = 0.03
    normed = norm(x)
    # The multiplier of a fixed-point unit is positive; here every weight is.
    expected = requantize(normed.codes.long(), torch.as_tensor(normed.scale) / out_scale)
    codes, clamped = norm.requantized(x, out_scale, -128, 127)
    assert torch.equal(codes.long(), expected.long())
    wide = requantize(normed.codes.long(), torch.as_tensor(normed.scale) / out_scale, dtype="int32")
    assert clamped == int((wide != expected).sum())


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("per_row", [False, True])
def test_compiled_requantization_equals_the_rules(rule: str, per_row: bool) -> None:
    rng = torch.Generator().manual_seed(0)
    acc = torch.randint(-(2**24), 2**24, (500, 300), generator=rng) >> torch.randint(0, 20, (500, 300), generator=rng)
    bias = torch.randint(-(2**20), 2**20, (300,), generator=rng)
    scale = torch.exp2(-torch.randint(3, 34, (300,), generator=rng).double())
    scale[::2] *= torch.rand(150, generator=rng) * 0.4 + 0.5
    expected = requantize(acc + bias, scale, dtype="int8", rule=rule)  # type: ignore[arg-type]
    x = acc.float().T.repeat(2, 1, 1) if per_row else acc.float()
    axis = 1 if per_row else -1
    ours, clamped = requantize_codes(x, bias, scale, rule, -128, 127, axis)  # type: ignore[arg-type]
    wide = requantize(acc + bias, scale, dtype="int48", rule=rule)  # type: ignore[arg-type]
    if per_row:
        ours, clamped = ours[1].T, clamped // 2
    assert torch.equal(ours.long(), expected.long())
    assert clamped == int((wide != expected).sum())
    large = requantize_codes(acc.float(), bias, scale * 64, rule, -(2**15), 2**15 - 1)  # type: ignore[arg-type]
    assert torch.equal(large[0].long(), requantize(acc + bias, scale * 64, dtype="int16", rule=rule).long())  # type: ignore[arg-type]
    # 64-bit accumulators take the general path.
    assert torch.equal(
        requantize_codes(x.long(), bias, scale, rule, -128, 127, axis)[0][-1],
        requantize_codes(x, bias, scale, rule, -128, 127, axis)[0][-1],
    )  # type: ignore[arg-type]


def test_power_of_two_factor_layer_norm_is_close_to_float() -> None:
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(200, 64, generator=rng) * torch.rand(64, generator=rng) * 8
    weight, bias = torch.rand(64, generator=rng) + 0.5, torch.randn(64, generator=rng)
    factor = fit_power_of_two_factor(x)
    assert set(factor.alpha.tolist()) <= {0, 1, 2, 3}
    codes = fqvit_layer_norm(factor.codes(x), factor.unit, weight, bias, 0.05)
    expected = torch.nn.functional.layer_norm(x, (64,), weight, bias)
    assert float((codes * 0.05 - expected).abs().mean()) < 0.03


def test_an_input_scale_too_fine_is_refused() -> None:
    with pytest.raises(UsageError, match="I-BERT exponential at input scale 1e-06"):
        ibert_exp(torch.tensor([0]), 1e-6)
