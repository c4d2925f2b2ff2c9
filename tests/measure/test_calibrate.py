"""Calibration recovers what made the data, and never learns from what it is tested on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hwsim.backends.processor.device import device_of, runtime_of
from hwsim.backends.processor.lower import lower
from hwsim.backends.processor.power import PowerCoefficients
from hwsim.backends.processor.timing import TimingCoefficients
from hwsim.backends.synthetic import transformer
from hwsim.core.errors import UsageError
from hwsim.measure.calibrate import Observations, cross_validate, fit_power, fit_timing, latency_of, power_of, stack
from hwsim.measure.compare import processor_spec
from hwsim.spec.arch import load_arch

SPEC = processor_spec(load_arch("a100_pcie_40gb"))
DEVICE = device_of(SPEC)
TRUTH = TimingCoefficients(matrix=0.7, memory=0.6, start_s=5e-6)
ENERGY = PowerCoefficients(
    matrix_j_per_flop=1e-12, core_j_per_byte=9e-11, memory_j_per_byte=4e-11, simd_j_per_flop=2e-11
)


def observations() -> Observations:
    """Rows of made-up transformers whose times and powers the model itself gives."""
    sizes = [(grid, heads, depth) for grid in (7, 14, 28) for heads in (2, 6, 12) for depth in (1, 2)]
    graphs = [
        transformer(grid=g, patch=4, heads=h, head_dim=64, mlp_ratio=4, depth=d, batch=1, classes=10, dtype="float32")
        for g, h, d in sizes
    ]
    rows = [(lower(graph, runtime_of(SPEC)), batch) for graph in graphs for batch in (8.0, 64.0)]
    groups = [str(g) for g, _, _ in sizes for _ in range(2)]
    blank = stack(rows, DEVICE.machine, np.ones(len(rows)), groups, power_w=np.ones(len(rows)))
    latency = latency_of(blank, TRUTH)[0]
    power = power_of(replace(blank, latency_s=latency), TRUTH, DEVICE.electrics, ENERGY, DEVICE.format_cost)
    return replace(blank, latency_s=latency, power_w=power)


def test_the_fit_finds_the_coefficients_that_made_the_rows() -> None:
    fit = fit_timing(observations(), TimingCoefficients(), ("matrix", "memory", "start_s"))
    for name in ("matrix", "memory", "start_s"):
        found = fit.fitted[name]
        assert found.value == pytest.approx(getattr(TRUTH, name), rel=0.03)
        assert found.low <= found.value <= found.high


def test_energies_are_found_and_never_negative() -> None:
    seen = observations()
    found = fit_power(seen, TRUTH, DEVICE.electrics, PowerCoefficients(), DEVICE.format_cost)
    power = power_of(seen, TRUTH, DEVICE.electrics, found, DEVICE.format_cost)
    assert seen.power_w is not None
    assert power == pytest.approx(seen.power_w, rel=0.01)
    assert min(found.matrix_j_per_flop, found.core_j_per_byte, found.memory_j_per_byte, found.active) >= 0


def test_a_held_out_group_does_not_decide_its_own_prediction() -> None:
    seen = observations()
    spoiled = np.where(seen.groups == "28", 3.0, 1.0)
    names = ("matrix", "memory")
    honest = []
    for factor in (np.ones_like(spoiled), spoiled):
        rows = replace(seen, latency_s=seen.latency_s * factor)
        start = fit_timing(rows, TimingCoefficients(), names)
        honest.append(cross_validate(rows, start, names, TimingCoefficients())[0][seen.groups == "28"])
    assert honest[0] == pytest.approx(honest[1], rel=0.02)


def test_rows_without_power_cannot_be_fitted_for_it() -> None:
    with pytest.raises(UsageError, match="hold no power to fit"):
        fit_power(replace(observations(), power_w=None), TRUTH, DEVICE.electrics, ENERGY, DEVICE.format_cost)
