"""Strategies behind the ask/tell seam: deterministic, without repeats, within the constraints."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwsim.core.errors import UsageError
from hwsim.explore.domain import Choices, Domain, Interval, Steps
from hwsim.explore.expression import parse_constraint
from hwsim.explore.space import Axis, Design, Space
from hwsim.explore.strategies import MAX_DESIGNS, STRATEGIES, Cost, make_sampler, plan
from hwsim.explore.strategies.nsga2 import crowding

SPACE = Space(
    (
        Axis("a", Interval(0.1, 10.0, log=True)),
        Axis("b", Steps(1, 1, 40)),
        Axis("c", Choices(("x", "y", "z"))),
        Axis("d", Choices((2, 4, 8))),
    ),
    (parse_constraint("b + d <= 40", "test"),),
)
SMALL = Space((Axis("b", Steps(0, 1, 6)), Axis("c", Choices(("x", "y")))))


def cost(design: Design) -> Cost:
    """Best at a = 1 and small b; c = z is infeasible."""
    a, b, c, d = design
    return Cost((math.log10(b + d), abs(math.log10(a)) + 1 / b), violation=1.0 if c == "z" else 0.0)


def asked(strategy: str, budget: int, seed: int = 0, space: Space = SPACE) -> list[Design]:
    sampler = make_sampler(space, strategy, budget, seed, 2)
    designs: list[Design] = []
    while len(designs) < budget and (batch := sampler.ask(min(sampler.batch, budget - len(designs)))):
        sampler.tell(batch, [cost(design) if len(design) == 4 else Cost((1.0, 1.0)) for design in batch])
        designs += batch
    return designs


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_new_allowed_designs_and_the_same_again(strategy: str) -> None:
    designs = asked(strategy, 150)
    assert len(designs) == len(set(designs)) == 150
    assert SPACE.allowed(designs).all()
    assert designs == asked(strategy, 150)


@pytest.mark.parametrize("strategy", [name for name in STRATEGIES if name != "grid"])
def test_another_seed_is_another_sequence(strategy: str) -> None:
    assert asked(strategy, 40, seed=1) != asked(strategy, 40, seed=2)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_small_space_is_exhausted_and_then_ends(strategy: str) -> None:
    assert len(set(asked(strategy, 100, space=SMALL))) == 12


def test_the_grid_in_order_and_a_subset_of_it() -> None:
    whole = asked("grid", 12, space=SMALL)
    assert whole == [SMALL.grid_design(index) for index in range(12)]
    part = asked("grid", 5, space=SMALL)
    assert len(part) == 5
    assert sorted(part, key=whole.index) == part


def test_a_grid_larger_than_memory_is_sampled() -> None:
    vast = Space(tuple(Axis(f"x{i}", Steps(0, 1, 10**6)) for i in range(4)))
    assert len(set(asked("grid", 20, space=vast))) == 20


def test_sobol_covers_the_unit_square_evenly() -> None:
    """Of the first 64 points of a scrambled Sobol sequence each cell of an 8 x 8 grid holds exactly one (a (0, 6, 2)
    net in base 2)."""
    square = Space((Axis("u", Interval(0.0, 1.0)), Axis("v", Interval(0.0, 1.0))))
    points = np.array(asked("sobol", 64, space=square), dtype=float)
    cells = {(int(u * 8), int(v * 8)) for u, v in points}
    assert len(cells) == 64


@pytest.mark.parametrize(
    "domain",
    [
        Choices((8, 16, 64)),
        Choices(("x", "y", "z")),
        Choices((False, True)),
        Steps(3, 2, 7),
        Steps(0.1, 0.05, 9),
        Steps(2, 1, 63, log=True),
        Interval(-1.0, 4.0),
        Interval(1e-3, 1e3, log=True),
    ],
)
@given(place=st.floats(0, 1))
def test_a_value_is_found_again_at_its_position(domain: Domain, place: float) -> None:
    value = domain.at(place)
    assert domain.at(domain.position(value)) == pytest.approx(value)  # type: ignore[arg-type]


def test_crowding_keeps_the_ends_and_the_lonely() -> None:
    """On a line of points the ends are infinite, and inside the distance is the two neighbours' spacing over the
    span, summed over the objectives."""
    values = np.array([[0.0, 1.0], [0.1, 0.9], [0.4, 0.6], [1.0, 0.0], [5.0, 5.0]])
    distances = crowding(values, np.array([0, 0, 0, 0, 1]))
    assert distances == pytest.approx([math.inf, 0.8, 1.8, math.inf, math.inf])


@pytest.mark.parametrize("strategy", ["nsga2", "tpe"])
def test_learning_beats_chance(strategy: str) -> None:
    def best(name: str) -> float:
        return min(sum(cost(d).values) for d in asked(name, 200) if cost(d).violation == 0)

    assert best(strategy) < best("random")


@pytest.mark.parametrize("strategy", ["nsga2", "tpe"])
def test_the_infeasible_is_left_alone(strategy: str) -> None:
    late = asked(strategy, 200)[120:]
    assert sum(design[2] == "z" for design in late) < 0.25 * len(late)


def test_what_is_planned() -> None:
    assert plan(SMALL, None, None) == ("grid", 12)
    assert plan(SMALL, None, 5) == ("nsga2", 5)
    assert plan(SPACE, None, None)[0] == "nsga2"
    assert plan(SMALL, "grid", 5) == ("grid", 5)
    assert plan(SMALL, "sobol", 500) == ("sobol", 500)


VAST = Space(tuple(Axis(f"x{i}", Steps(0, 1, 2000)) for i in range(3)))


@pytest.mark.parametrize(
    ("strategy", "budget", "swept", "message"),
    [
        ("grid", None, (), r"8,000,000,000 designs \(2000 x 2000 x 2000\) are too many(?s:.*)--budget"),
        (None, None, ("x0", "x1"), r"4,000,000 designs \(2000 x 2000\) are too many"),
        ("random", 0, (), r"budget = 0: a number of designs from 1 to 1,000,000"),
        ("random", MAX_DESIGNS + 1, (), r"budget = 1000001"),
        ("nsga3", None, (), r"strategy 'nsga3' is not known(?s:.*)did you mean `nsga2`"),
    ],
)
def test_what_is_refused(strategy: str | None, budget: int | None, swept: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        plan(VAST, strategy, budget, swept)
