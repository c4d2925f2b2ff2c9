"""Elasticities against the derivative of the closed form, importance against variances that are known."""

from __future__ import annotations

import numpy as np
import pytest

from hwsim.explore.analysis import breakdown, knee_of, normalised_progress, spread
from hwsim.explore.objectives import find_objectives
from hwsim.explore.sensitivity import elasticities, importance, numeric_fields
from hwsim.spec.arch import Arch
from hwsim.transforms.workload import Workload

from .toy import Toy


def test_elasticities_are_the_logarithmic_derivatives(arch: Arch, net: Workload) -> None:
    found = {
        item.path: item.objectives
        for item in elasticities(Toy(), arch, net.graph, find_objectives(["latency_s", "energy_j", "area_mm2"]))
    }
    assert set(found) == {"array.rows", "array.cols", "array.clock", "memory.size", "mac"}
    share = 4096 / (4096 + net.graph.macs)  # of the energy that the buffer takes: 1 pJ/B against 1 pJ/MAC
    assert found["array.clock"]["latency_s"] == pytest.approx(-1, abs=1e-6)
    assert found["array.rows"] == pytest.approx({"latency_s": -1, "energy_j": 0, "area_mm2": 1}, abs=1e-9)
    assert found["memory.size"]["energy_j"] == pytest.approx(share, rel=1e-4)
    assert found["mac"]["energy_j"] == pytest.approx(1 - share, rel=1e-4)
    assert found["mac"]["latency_s"] == 0


def test_a_field_at_its_bound_is_stepped_one_way(arch: Arch, net: Workload) -> None:
    tight = arch.with_values({"array.rows": 1})
    found = {item.path: item for item in elasticities(Toy(), tight, net.graph, find_objectives(["latency_s"]))}
    assert found["array.rows"].objectives["latency_s"] == pytest.approx(-1)
    assert found["array.rows"].value == 1


def test_numeric_fields_leave_out_what_is_no_hardware(arch: Arch) -> None:
    assert dict(numeric_fields(arch.spec)) == {
        "array.rows": 16,
        "array.cols": 16,
        "array.clock": 1e9,
        "memory.size": 4096,
        "mac": 1e-12,
    }


def test_importance_is_the_share_of_variance() -> None:
    """y = 3 a + b with a, b independent and of equal variance: shares 0.9 and 0.1."""
    generator = np.random.default_rng(3)
    a, b = generator.integers(0, 8, 20_000), generator.integers(0, 8, 20_000)
    y = 3.0 * a + b
    assert importance(a.tolist(), y) == pytest.approx(0.9, abs=0.01)
    assert importance(b.tolist(), y) == pytest.approx(0.1, abs=0.01)


def test_importance_of_noise_texts_and_constants() -> None:
    generator = np.random.default_rng(4)
    noise = generator.random(5000).tolist()
    kinds = ["ws" if value > 0.5 else "os" for value in generator.random(5000)]
    y = np.array([1.0 if kind == "ws" else 0.0 for kind in kinds])
    assert importance(noise, y) < 0.01
    assert importance(kinds, y) == pytest.approx(1.0)
    assert importance([1.0] * 5000, y) == 0.0
    assert importance([], np.array([])) == 0.0


def test_a_breakdown_sums_to_its_estimate(arch: Arch, net: Workload) -> None:
    estimate = Toy().estimate(net.graph, arch)
    found = breakdown(3, estimate)  # type: ignore[arg-type]
    for parts in (found.energy_by_component_j, found.energy_by_unit_j, found.energy_by_kind_j):
        assert sum(parts.values()) == pytest.approx(found.energy_j)
        assert list(parts.values()) == sorted(parts.values(), reverse=True)
    for times in (found.latency_by_unit_s, found.latency_by_kind_s, found.latency_by_bound_s):
        assert sum(times.values()) == pytest.approx(found.latency_s)
    assert found.energy_by_unit_j["static"] == pytest.approx(4096e-12)


def test_the_knee_and_the_designs_shown() -> None:
    rows = np.array([[0.0, 1.0], [0.1, 0.2], [1.0, 0.0]])
    front = np.array([4, 7, 9])
    assert knee_of(rows, front) == 7
    assert knee_of(rows[:0], front[:0]) is None
    assert spread(rows[:, 0], front, count=2) == [4, 9]
    assert spread(rows[:0, 0], front[:0]) == []


def test_progress_of_a_box() -> None:
    """The ideal point dominates the whole box between best and worst; the worst none of it."""
    rows = np.array([[1.0, 1.0], [np.nan, np.nan], [0.5, 0.5], [0.0, 0.0]])
    assert normalised_progress(rows) == ([1, 2, 3, 4], [0.0, 0.0, 0.25, 1.0])
    assert normalised_progress(rows[:1]) == ([], [])
