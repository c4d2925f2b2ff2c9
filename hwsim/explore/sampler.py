"""Which designs to try next: grid, random, Sobol, NSGA-II and TPE behind one ask/tell seam.

A sampler is deterministic by its seed and by what it was told, never by who evaluated; so a run is resumed by asking
again. It never returns the same design twice, nor one that breaks a constraint.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

from hwsim.core.errors import UsageError
from hwsim.core.hashing import canonical_json
from hwsim.core.names import nearest
from hwsim.explore.domain import Choices, Domain, Interval
from hwsim.explore.space import Design, Space

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler
    from optuna.trial import Trial

#: More designs than this are refused: at a design per millisecond they take a quarter of an hour to a core.
MAX_DESIGNS = 1_000_000
DEFAULT_BUDGET = 1024
#: The same where every design is executed, which takes seconds and not milliseconds.
EXECUTED_BUDGET = 32
_BLOCK = 512
#: NSGA-II: the population of one generation. Deb et al., IEEE TEC 6(2), 2002, use 100 for 250 generations.
_POPULATION = 64
#: TPE learns after every design; asking for a few at once keeps several workers busy.
_TPE_BATCH = 16
#: Draws without a new design after which a space counts as exhausted: a draw costs microseconds, a proposal of
#: optuna milliseconds.
_PATIENCE = 64 * _BLOCK
_PROPOSALS = 512


@dataclass(frozen=True)
class Cost:
    """What a sampler learns of a design: values to minimise, and how far it is from feasible (0: it is)."""

    values: tuple[float, ...]
    violation: float = 0.0


class Sampler(Protocol):
    """Asks for designs and learns from their cost; `batch` is how many it likes to ask for at once."""

    batch: int

    def ask(self, count: int) -> list[Design]:
        """At most `count` new designs that meet the constraints; none when the space is exhausted."""

    def tell(self, designs: Sequence[Design], costs: Sequence[Cost]) -> None:
        """The costs of the designs of the last `ask`, in its order."""


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
    grid = space.grid_size
    asked_for = Space(tuple(axis for axis in space.axes if axis.path in swept)).grid_size
    count = grid if strategy == "grid" else asked_for
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
        strategy = "grid" if space.enumerable and grid <= (budget or default) else "nsga2"
    if strategy == "grid":
        return strategy, min(grid, budget or grid)
    return strategy, budget or default


def make_sampler(space: Space, strategy: str, budget: int, seed: int, objectives: int) -> Sampler:
    """The sampler of a planned strategy."""
    return STRATEGIES[strategy](space, budget, seed, objectives)


class Stream:
    """A sampler that learns nothing: the new, allowed designs of a stream, in its order, until `patience` in a row are
    not."""

    batch = _BLOCK

    def __init__(self, space: Space, stream: Iterator[Design], patience: int = MAX_DESIGNS) -> None:
        self._fresh = self._filter(space, stream, patience)

    def _filter(self, space: Space, stream: Iterator[Design], patience: int) -> Iterator[Design]:
        seen: set[str] = set()
        idle = 0
        while idle <= patience and (block := list(islice(stream, _BLOCK))):
            idle += len(block)
            for design, allowed in zip(block, space.allowed(block), strict=True):
                key = canonical_json(design)
                if allowed and key not in seen:
                    seen.add(key)
                    idle = 0
                    yield design

    def ask(self, count: int) -> list[Design]:
        return list(islice(self._fresh, count))

    def tell(self, designs: Sequence[Design], costs: Sequence[Cost]) -> None: ...


def _grid(space: Space, budget: int, seed: int, objectives: int) -> Sampler:
    """Every design of the grid in order, or a random subset of `budget` of them in the same order."""
    size = space.grid_size
    if size > MAX_DESIGNS:
        draw = random.Random(seed)
        return Stream(space, (space.grid_design(draw.randrange(size)) for _ in iter(int, 1)), _PATIENCE)
    designs = Stream(space, map(space.grid_design, range(size)))
    if size <= budget:
        return designs
    allowed = designs.ask(size)
    kept = sorted(random.Random(seed).sample(range(len(allowed)), min(budget, len(allowed))))
    return Stream(Space(space.axes), iter([allowed[index] for index in kept]))


def _random(space: Space, budget: int, seed: int, objectives: int) -> Sampler:
    """Independent uniform draws over the unit cube of the axes."""
    import numpy as np

    generator = np.random.default_rng(seed)
    return Stream(space, _points(space, lambda: generator.random((_BLOCK, len(space.axes)))), _PATIENCE)


def _sobol(space: Space, budget: int, seed: int, objectives: int) -> Sampler:
    """A scrambled Sobol sequence: low discrepancy, so that few designs cover the space evenly."""
    from scipy.stats.qmc import Sobol

    sequence = Sobol(len(space.axes), scramble=True, rng=seed)
    return Stream(space, _points(space, lambda: sequence.random(_BLOCK)), _PATIENCE)


def _points(space: Space, block: Callable[[], Iterable[Sequence[float]]]) -> Iterator[Design]:
    """Designs at the points of endless blocks; blocks of a power of two keep a Sobol sequence balanced."""
    while True:
        yield from map(space.at, block())


class OptunaSampler:
    """A sampler of optuna, in memory: what it proposes again is told again, and never returned twice."""

    def __init__(self, space: Space, sampler: BaseSampler, batch: int, objectives: int) -> None:
        import optuna

        self.batch = batch
        self._space = space
        self._study = optuna.create_study(directions=["minimize"] * objectives, sampler=sampler)
        self._distributions = {axis.path: _distribution(axis.domain) for axis in space.axes}
        self._worst = Cost((_FAR,) * objectives, violation=1.0)
        self._known: dict[str, Cost] = {}
        self._open: dict[str, list[Trial]] = {}

    def ask(self, count: int) -> list[Design]:
        designs: list[Design] = []
        rounds = 0 if len(self._known) == self._space.size else -(-_PROPOSALS // self.batch)
        for _ in range(rounds):
            for _ in range(min(count, self.batch)):
                trial = self._study.ask(self._distributions)
                design = self._design(trial)
                key = canonical_json(design)
                if key in self._open:
                    self._open[key].append(trial)
                elif key in self._known:
                    self._tell(trial, self._known[key])
                elif not self._space.allowed([design])[0]:
                    self._tell(trial, self._worst)
                else:
                    self._open[key] = [trial]
                    designs.append(design)
            if designs:
                break
        return designs

    def _design(self, trial: Trial) -> Design:
        params = trial.params
        return tuple(_decoded(axis.domain, params[axis.path]) for axis in self._space.axes)

    def tell(self, designs: Sequence[Design], costs: Sequence[Cost]) -> None:
        for design, cost in zip(designs, costs, strict=True):
            key = canonical_json(design)
            self._known[key] = cost
            for trial in self._open.pop(key):
                self._tell(trial, cost)

    def _tell(self, trial: Trial, cost: Cost) -> None:
        trial.set_constraint("fits", cost.violation)
        self._study.tell(trial, list(self._worst.values if cost.violation > 0 else cost.values))


#: The value told for an infeasible design; its violation decides, so it need only be finite and bad.
_FAR = 1e30


def _nsga2(space: Space, budget: int, seed: int, objectives: int) -> Sampler:
    """NSGA-II (Deb et al., IEEE TEC 6(2), 2002) with constrained domination."""
    population = min(_POPULATION, max(8, budget // 4))
    with _quiet_optuna() as samplers:
        sampler = samplers.NSGAIISampler(population_size=population, seed=seed)
    return OptunaSampler(space, sampler, population, objectives)


def _tpe(space: Space, budget: int, seed: int, objectives: int) -> Sampler:
    """Multivariate tree-structured Parzen estimator (Bergstra et al., NeurIPS 2011)."""
    with _quiet_optuna() as samplers:
        sampler = samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)
    return OptunaSampler(space, sampler, _TPE_BATCH, objectives)


@contextmanager
def _quiet_optuna() -> Iterator[Any]:
    """Optuna's samplers, without its log lines and its warnings that an option may change (we pin the version)."""
    import warnings

    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield optuna.samplers


def _distribution(domain: Domain) -> Any:
    """The optuna distribution of an axis; choices and steps are searched by index, ordered where they are numbers."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(domain, Interval):
        return FloatDistribution(domain.low, domain.high, log=domain.log)
    if isinstance(domain, Choices) and not domain.ordered:
        return CategoricalDistribution(tuple(range(len(domain.values))))
    if not isinstance(domain, Choices) and domain.log:
        return IntDistribution(int(domain.low), int(domain.high), log=True)
    return IntDistribution(0, (len(domain.values) if isinstance(domain, Choices) else domain.count) - 1)


def _decoded(domain: Domain, param: Any) -> Any:
    if isinstance(domain, Interval):
        return float(param)
    if isinstance(domain, Choices):
        return domain.values[param]
    return param if domain.log else domain.value(param)


#: Name -> a sampler of (space, budget, seed, number of objectives).
STRATEGIES: dict[str, Callable[[Space, int, int, int], Sampler]] = {
    "grid": _grid,
    "random": _random,
    "sobol": _sobol,
    "nsga2": _nsga2,
    "tpe": _tpe,
}
