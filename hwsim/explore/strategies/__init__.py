"""Which designs to try next: grid, random, Sobol, NSGA-II and TPE behind one ask/tell seam."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hwsim.core.errors import UsageError
from hwsim.core.names import nearest
from hwsim.explore.space import Space
from hwsim.explore.strategies.nsga2 import nsga2
from hwsim.explore.strategies.sampler import Cost, Sampler
from hwsim.explore.strategies.streams import MAX_DESIGNS, grid, sobol, uniform
from hwsim.explore.strategies.tpe import tpe

__all__ = ["DEFAULT_BUDGET", "EXECUTED_BUDGET", "MAX_DESIGNS", "STRATEGIES", "Cost", "Sampler", "make_sampler", "plan"]

DEFAULT_BUDGET = 1024
#: The same where every design is executed, which takes seconds and not milliseconds.
EXECUTED_BUDGET = 32
#: Name -> a sampler of (space, budget, seed, number of objectives).
STRATEGIES: dict[str, Callable[[Space, int, int, int], Sampler]] = {
    "grid": grid,
    "random": uniform,
    "sobol": sobol,
    "nsga2": nsga2,
    "tpe": tpe,
}


def plan(
    space: Space,
    strategy: str | None,
    budget: int | None,
    swept: Sequence[str] = (),
    default: int = DEFAULT_BUDGET,
) -> tuple[str, int]:
    """Strategy and number of designs; UsageError for a strategy that is not known or a sweep too large to mean it.

    Without a budget, `default` designs. Without a strategy, the whole grid if it misses nothing and fits the budget,
    else NSGA-II.
    """
    if strategy is not None and strategy not in STRATEGIES:
        raise UsageError(
            f"strategy {strategy!r} is not known",
            got=strategy,
            expected="one of " + ", ".join(STRATEGIES),
            remedy=nearest(strategy, STRATEGIES),
        )
    if budget is not None and not 1 <= budget <= MAX_DESIGNS:
        raise UsageError(f"budget = {budget}", got=budget, expected=f"a number of designs from 1 to {MAX_DESIGNS:,}")
    whole = space.grid_size
    asked_for = Space(tuple(axis for axis in space.axes if axis.path in swept)).grid_size
    count = whole if strategy == "grid" else asked_for
    if budget is None and count > MAX_DESIGNS:
        shape = " x ".join(
            str(axis.domain.grid_count) for axis in space.axes if strategy == "grid" or axis.path in swept
        )
        raise UsageError(
            f"{count:,} designs ({shape}) are too many to evaluate",
            got=count,
            expected=f"at most {MAX_DESIGNS:,}",
            remedy=f"give `--budget {default}` to sample that many, or fewer values",
        )
    if strategy is None:
        strategy = "grid" if space.enumerable and whole <= (budget or default) else "nsga2"
    if strategy == "grid":
        return strategy, min(whole, budget or whole)
    return strategy, budget or default


def make_sampler(space: Space, strategy: str, budget: int, seed: int, objectives: int) -> Sampler:
    """The sampler of a planned strategy."""
    return STRATEGIES[strategy](space, budget, seed, objectives)
