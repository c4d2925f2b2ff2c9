"""Fronts against their definition, hypervolume against closed forms and against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hwsim.explore.pareto import domination_ranks, hypervolume, hypervolume_progress, pareto_mask


def clouds(objectives: int) -> st.SearchStrategy[np.ndarray]:
    """Small clouds on a coarse grid, so that ties and equal rows are common."""
    return arrays(np.float64, st.tuples(st.integers(0, 24), st.just(objectives)), elements=st.integers(0, 6))


def by_definition(points: np.ndarray) -> list[bool]:
    def dominates(a: np.ndarray, b: np.ndarray) -> bool:
        return bool((a <= b).all() and (a < b).any())

    return [
        not any(dominates(other, row) for other in points) and not any((other == row).all() for other in points[:index])
        for index, row in enumerate(points)
    ]


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
@given(data=st.data())
def test_the_front_is_what_nothing_dominates(objectives: int, data: st.DataObject) -> None:
    points = data.draw(clouds(objectives))
    assert pareto_mask(points).tolist() == by_definition(points)


def test_infeasible_rows_are_on_no_front() -> None:
    points = np.array([[np.nan, 0.0], [1.0, 1.0], [0.0, np.nan]])
    assert pareto_mask(points).tolist() == [False, True, False]


@given(data=st.data())
def test_ranks_peel_front_after_front(data: st.DataObject) -> None:
    """Each rank is what nothing of its own or a later rank dominates; what violates less dominates."""
    points = data.draw(clouds(2))
    violations = np.array(data.draw(st.lists(st.integers(0, 2), min_size=len(points), max_size=len(points))), float)
    ranks = domination_ranks(points, violations)

    def dominates(a: int, b: int) -> bool:
        if violations[a] != violations[b]:
            return bool(violations[a] < violations[b])
        better = (points[a] <= points[b]).all() and (points[a] < points[b]).any()
        return bool(violations[a] == 0 and better)

    for row in range(len(points)):
        above = [ranks[other] for other in range(len(points)) if dominates(other, row)]
        assert ranks[row] == 1 + max(above, default=-1)


@pytest.mark.parametrize("objectives", [2, 3, 4])
@given(data=st.data())
def test_hypervolume_counts_the_dominated_unit_cells(objectives: int, data: st.DataObject) -> None:
    """On an integer grid the volume is the number of unit cells that some point dominates."""
    points = data.draw(clouds(objectives))
    reference = np.full(objectives, 5.0)
    corners = np.stack(np.meshgrid(*[np.arange(5.0)] * objectives, indexing="ij"), axis=-1).reshape(-1, objectives)
    cells = sum(bool((points <= corner).all(axis=1).any()) for corner in corners)
    assert hypervolume(points, reference) == pytest.approx(cells)


def test_hypervolume_of_a_simplex_front() -> None:
    """n points on x + y = 1, equally spaced, dominate n (n + 1) / 2 cells of side 1 / n of the unit square, less the
    diagonal: the staircase below a straight line."""
    n = 50
    x = np.arange(n) / n
    points = np.stack([x, (n - 1) / n - x], axis=1)
    assert hypervolume(points, np.ones(2)) == pytest.approx((n * (n + 1) / 2) / n**2)


def test_hypervolume_of_three_objectives_against_monte_carlo() -> None:
    generator = np.random.default_rng(7)
    points = generator.random((60, 3))
    samples = generator.random((40_000, 3))
    share = np.mean([(points <= sample).all(axis=1).any() for sample in samples])
    deviation = np.sqrt(share * (1 - share) / len(samples))
    assert abs(hypervolume(points, np.ones(3)) - share) < 5 * deviation


def test_a_point_that_misses_the_reference_adds_nothing() -> None:
    inside = np.array([[0.5, 0.5]])
    assert hypervolume(np.array([[0.5, 0.5], [0.1, 1.0], [2.0, 0.0]]), np.ones(2)) == hypervolume(inside, np.ones(2))
    assert hypervolume(np.empty((0, 2)), np.ones(2)) == 0.0


@given(points=clouds(3))
def test_progress_never_falls_and_ends_at_the_whole(points: np.ndarray) -> None:
    marks = np.arange(1, len(points) + 1)
    progress = hypervolume_progress(points, np.full(3, 5.0), marks)
    assert (np.diff(progress) >= -1e-12).all()
    if len(points):
        assert progress[-1] == pytest.approx(hypervolume(points, np.full(3, 5.0)))
