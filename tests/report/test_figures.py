"""The numbers behind every figure."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwsim.explore.run import Run
from hwsim.report.figures import (
    axis_ticks,
    elasticity_info,
    front_distance,
    front_infos,
    importance_info,
    parallel_info,
    progress_infos,
    stack_infos,
)
from hwsim.report.quantities import shown

from .conftest import RunOf


def test_the_front_figure_holds_every_feasible_design_once(run: Run) -> None:
    (info,) = front_infos(run)
    frame = run.frame()
    feasible = frame[frame["resource"].isna()]
    for number, name in enumerate(("gemm:net.csv", "gemm:wide.csv")):
        drawn = len(info.dots[number].x) + len(info.fronts[number].x)
        assert drawn == int((feasible["workload"] == name).sum())
        front = run.pareto(name)
        assert list(info.fronts[number].x) == front["latency_s"].tolist()
        assert list(info.fronts[number].y) == front["energy_j"].tolist()
        assert len(info.knees[number].x) == 1
    assert info.stepped
    assert info.step_first
    assert info.x.log
    assert "array.rows = " in info.dots[0].text[0]
    assert "latency: <b>" in info.dots[0].text[0]


def test_three_objectives_make_two_panels_without_a_line(run_of: RunOf) -> None:
    infos = front_infos(run_of(objectives=["throughput_per_s", "energy_j", "area_mm2"]))
    assert [info.y.title for info in infos] == ["energy", "area"]
    assert not any(info.stepped for info in infos)
    assert not infos[0].step_first
    assert infos[1].y.label == "area (mm²)"


def test_stacks_sum_to_the_breakdown(run: Run) -> None:
    part = run.analysis.workloads[0]
    energy, by_unit, _, latency = stack_infos(part)
    for index, item in enumerate(part.breakdowns):
        assert sum(values[index] for values in energy.parts.values()) == pytest.approx(item.energy_j)
        assert sum(values[index] for values in by_unit.parts.values()) == pytest.approx(item.energy_j)
        assert sum(values[index] for values in latency.parts.values()) == pytest.approx(item.latency_s)
    assert any("knee" in bar for bar in energy.bars)


def test_bars_are_ranked(run: Run) -> None:
    part = run.analysis.workloads[0]
    share = importance_info(part, run.objectives)
    assert set(share.names) == {axis.path for axis in run.parameters}
    tops = [max(values[index] for values in share.groups.values()) for index in range(len(share.names))]
    assert tops == sorted(tops, reverse=True)
    slopes = elasticity_info(part, run.objectives)
    assert "array.clock" in slopes.names
    assert slopes.groups["latency"][slopes.names.index("array.clock")] == pytest.approx(-1, abs=1e-6)


def test_parallel_coordinates(run: Run) -> None:
    info = parallel_info(run, "gemm:net.csv")
    titles = [item.title for item in info.coordinates]
    assert titles == ["array.rows", "array.cols", "memory.size", "array.pipeline", "latency", "energy"]
    rows = info.coordinates[0]
    assert [text for _, text in rows.ticks] == ["8", "16", "32"]
    assert [text for _, text in info.coordinates[2].ticks] == ["1 KiB", "4 KiB"]
    assert [text for _, text in info.coordinates[3].ticks] == ["deep", "flat"]
    assert sum(distance == 0 for distance in info.distance) >= len(run.pareto("gemm:net.csv"))


def test_progress_ends_at_the_same_height_as_the_analysis(run: Run) -> None:
    info = progress_infos(run)[0]
    assert info.designs[-1] == run.manifest.designs
    assert all(a <= b + 1e-12 for a, b in zip(info.hypervolume, info.hypervolume[1:], strict=False))
    assert 0 < info.hypervolume[-1] <= 1


def test_distance_to_the_front() -> None:
    front = np.array([[0.0, 1.0], [1.0, 0.0]])
    rows = np.array([[0.0, 1.0], [0.5, 1.25], [2.0, 2.0]])
    assert front_distance(rows, front).tolist() == [0.0, 0.5, 2.0]
    assert front_distance(rows, front[:0]).tolist() == [0.0, 0.0, 0.0]


@given(low=st.floats(1e-12, 1e9), factor=st.floats(1.001, 1e8))
def test_ticks_lie_inside_and_are_few(low: float, factor: float) -> None:
    ticks = axis_ticks(low, low * factor, log=True)
    assert all(low * (1 - 1e-6) <= tick <= low * factor * (1 + 1e-6) for tick in ticks)
    assert 1 <= len(ticks) <= 12
    assert ticks == sorted(ticks)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1.234e-6, "s", "1.234 µs"),
        (24 * 2**20, "B", "24 MiB"),
        (1000, "B", "1 kB"),
        (3.25, "mm^2", "3.25 mm²"),
        (0.004, "mm^2", "0.004 mm²"),
        (64, "", "64"),
        (0.7, "", "0.7"),
        (8.9e8, "/s", "890 M/s"),
        (float("nan"), "s", ""),
        (None, "s", ""),
        ("ws", "", "ws"),
        (True, "", "True"),
        (0.0, "J", "0 J"),
    ],
)
def test_numbers_as_people_read_them(value: object, unit: str, text: str) -> None:
    assert shown(value, unit) == text
