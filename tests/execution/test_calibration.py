"""Calibration methods, function-preserving equalization, twin codes, log2 attention and mixed precision."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from hwsim.backends.execution.arithmetic import Arithmetic
from hwsim.backends.execution.coding import Calibration, Coding, Observed, TwinCoding, coding_for, twin_coding
from hwsim.backends.execution.mixed import greedy_bits, weight_elements
from hwsim.backends.execution.program import float_steps, run
from hwsim.backends.execution.run import evaluate, prepare
from hwsim.backends.execution.session import calibrated, open_workload
from hwsim.core.errors import UsageError
from hwsim.graph.capture import capture
from hwsim.graph.values import fetch_values
from hwsim.numerics import IntFormat
from hwsim.transforms.workload import load_workload

from .models import Wrapped, session

RNG = torch.Generator().manual_seed(0)


def observed(x: torch.Tensor) -> Observed:
    return Observed(float(x.min()), float(x.max()), x.flatten())


def error(coding: Coding, x: torch.Tensor) -> float:
    return float((coding.decode(coding.encode(x)) - x).square().sum())


@given(bits=st.integers(2, 8), signed=st.booleans(), tail=st.floats(1, 50))
def test_mse_is_never_noisier_than_min_max(bits: int, signed: bool, tail: float) -> None:
    x = torch.randn(2000, generator=torch.Generator().manual_seed(bits))
    x[0] = tail
    seen = observed(x)
    full, best = (coding_for(seen, IntFormat(bits, signed), method) for method in ("minmax", "mse"))
    assert error(best, x) <= error(full, x) * (1 + 1e-6)


def test_percentile_ignores_one_outlier_in_many() -> None:
    x = torch.randn(16_000, generator=RNG)
    x[0] = 1000.0
    assert coding_for(observed(x), IntFormat(8), "percentile").scale < 0.1
    assert coding_for(observed(x), IntFormat(8)).scale > 7


def test_unsigned_formats_are_affine_and_represent_zero() -> None:
    coding = coding_for(observed(torch.tensor([-0.5, 1.5])), IntFormat(8, signed=False))
    assert coding.high - coding.low == 255
    assert coding.low <= 0 <= coding.high
    assert coding.scale == pytest.approx(2 / 255)


def test_twin_codes_of_gelu_beat_symmetric_ones_and_fit_their_bits() -> None:
    x = nn.functional.gelu(torch.randn(5000, generator=RNG) * 2)
    twin, plain = twin_coding(observed(x), IntFormat(6)), coding_for(observed(x), IntFormat(6))
    assert isinstance(twin, TwinCoding)
    assert error(twin, x) < 0.8 * error(plain, x)
    codes = twin.encode(x)
    assert len(codes.unique()) <= 64
    assert torch.equal(twin.encode(twin.decode(codes)), codes)
    assert bool((codes[codes > 0] % (1 << twin.ratio) == 0).all())


@pytest.mark.parametrize("bias", [True, False])
def test_smoothing_keeps_the_function_and_lowers_the_noise(bias: bool) -> None:
    torch.manual_seed(0)
    norm, linear = nn.LayerNorm(32), nn.Linear(32, 24, bias=bias)
    # A few channels far larger than the rest and off centre: what SmoothQuant is for.
    with torch.no_grad():
        norm.weight[:3] *= 40
        norm.bias[:3] += 30
    module = Wrapped(lambda x, norm, linear: nn.functional.relu(linear(norm(x))), norm, linear)
    x = torch.randn(200, 32, generator=RNG)
    graph = capture(module, (x,), "test")
    values = fetch_values(graph, module)
    noises = []
    for smoothing in (None, 0.5):
        ready = prepare(graph, values, Arithmetic(residual="int16"), [x], Calibration(smoothing=smoothing))
        reference = run(float_steps(graph, "cpu"), {**ready.compiled().static, graph.inputs[0]: x})
        torch.testing.assert_close(reference[graph.outputs[0]], module(x).detach(), rtol=1e-4, atol=1e-4)
        compiled = ready.compiled()
        ours = run(compiled.steps, compiled.start(x))[graph.outputs[0]]
        noises.append(float((ours - module(x).detach()).square().mean()))
    assert noises[1] < 0.5 * noises[0]


def test_log2_attention_is_an_exact_shift_and_add() -> None:
    module = Wrapped(lambda x: nn.functional.relu((x @ x.transpose(-1, -2)).softmax(-1) @ x))
    x = torch.randn(2, 17, 24, generator=RNG)
    compiled = session(module, x, Arithmetic(functions="fqvit")).compiled()
    softmax = next(step for step in compiled.steps if step.op.kind == "softmax")
    coding = compiled.codings[softmax.op.outputs[0]]
    assert (coding.scale, coding.low, coding.high) == (2.0**-15, 0, 2**15)
    values = compiled.start(x)
    for step in compiled.steps:
        step(values)
    codes = values[softmax.op.outputs[0]]
    assert bool(((torch.frexp(codes)[0] == 0.5) | (codes == 0)).all())
    assert float(coding.decode(codes).sum(-1).mean()) == pytest.approx(1, abs=0.25)


def test_greedy_mixed_precision_meets_its_size_and_beats_uniform_bits() -> None:
    opened = open_workload(load_workload("digits_vit"), 60)
    elements = weight_elements(opened.graph)
    budget = sum(elements.values()) * 4 / 8
    arithmetic = Arithmetic(residual="int16")
    mixed = greedy_bits(opened, arithmetic, budget, choices=(8, 4, 2), samples=16)
    assert mixed.size_bytes <= budget
    assert mixed.size_bytes == sum(elements[name] * bits / 8 for name, bits in mixed.bits.items())
    assert len(set(mixed.bits.values())) > 1
    lowered = replace(opened, graph_at=lambda size: mixed.transform.apply(opened.graph_at(size)))
    result = evaluate(calibrated(lowered, arithmetic), opened.data, 120)
    assert result.top1 is not None
    assert result.top1 > 0.5
    with pytest.raises(UsageError, match="weights of 10 bytes"):
        greedy_bits(open_workload(load_workload("digits_vit"), 60), arithmetic, 10, choices=(8, 4))
