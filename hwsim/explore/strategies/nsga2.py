"""NSGA-II in the unit cube of a space: the search learns in array operations, so that it keeps up with the models.

Deb, Pratap, Agarwal, Meyarivan, IEEE TEC 6(2), 2002: constrained domination, crowding, binary tournaments; simulated
binary crossover and polynomial mutation (Deb and Agrawal, Complex Systems 9, 1995) on axes that have an order, uniform
exchange and redraw on those that have none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hwsim.core.hashing import canonical_json
from hwsim.explore.domain import Choices
from hwsim.explore.pareto import Floats, domination_ranks
from hwsim.explore.space import Design, Space
from hwsim.explore.strategies.sampler import Cost, Sampler

#: Bounds of a generation's size. Between them it is the square root of the budget, so that designs are shared evenly
#: between breadth and generations (assumed; benchmarks/search_strategies.py shows what it finds).
_POPULATION = 8, 64
#: Distribution indices of crossover and mutation, those of the paper's real-coded runs (section IV).
_CROSSOVER_INDEX, _MUTATION_INDEX = 20.0, 20.0
#: The paper's probability that two parents are crossed at all.
_CROSSOVER_SHARE = 0.9
#: Half of all mutations redraw the gene: on axes of few values a polynomial step seldom leaves the value (assumed).
_REDRAWN_SHARE = 0.5
#: Generations in a row without a new design after which designs are drawn at random, and generations of such draws
#: without one after which the space counts as exhausted.
_PATIENCE = 16
_DRAWS = 512


class Nsga2:
    """Generations of `population` designs; deterministic by its seed and by what it was told."""

    def __init__(self, space: Space, population: int, seed: int) -> None:
        self.batch = population
        self._space = space
        self._random = np.random.default_rng(seed)
        self._unordered = np.array([isinstance(a.domain, Choices) and not a.domain.ordered for a in space.axes])
        self._seen: set[str] = set()
        axes = len(space.axes)
        self._genes, self._values = np.empty((0, axes)), np.empty((0, 0))
        self._violations = np.empty(0)

    def ask(self, count: int) -> list[Design]:
        """At most `count` new designs that meet the constraints; none when the space is exhausted."""
        designs: list[Design] = []
        idle = 0
        while len(designs) < count and idle < _PATIENCE + _DRAWS and len(self._seen) != self._space.size:
            block = [self._space.at(genes) for genes in self._offspring(random=idle >= _PATIENCE)]
            before = len(designs)
            for design, allowed in zip(block, self._space.allowed(block), strict=True):
                key = canonical_json(design)
                if allowed and key not in self._seen and len(designs) < count:
                    self._seen.add(key)
                    designs.append(design)
            idle = 0 if len(designs) > before else idle + 1
        return designs

    def tell(self, designs: Sequence[Design], costs: Sequence[Cost]) -> None:
        """Keep the best `batch` of the parents and these: by rank, and the last rank by crowding."""
        axes = self._space.axes
        positions = [[axis.domain.position(v) for axis, v in zip(axes, d, strict=True)] for d in designs]
        genes = np.vstack((self._genes, positions))
        told = np.array([cost.values for cost in costs])
        values = np.vstack((self._values, told)) if len(self._values) else told
        violations = np.concatenate((self._violations, [cost.violation for cost in costs]))
        ranks = domination_ranks(values, violations)
        # Lexicographic: first by rank, then the lonely before the crowded.
        order = np.lexsort((-crowding(values, ranks), ranks))[: self.batch]
        self._genes, self._values, self._violations = genes[order], values[order], violations[order]

    def _offspring(self, random: bool) -> Floats:
        """Positions (population, axes) of the next candidates; the parents stand best first."""
        shape = (self.batch, len(self._space.axes))
        if random or len(self._genes) < 2:
            return self._random.random(shape)
        # Binary tournaments: of two drawn, the one that stands earlier.
        winners = self._random.integers(len(self._genes), size=(2, 2, self.batch)).min(axis=0)
        first, second = self._genes[winners[0]], self._genes[winners[1]]
        return self._mutated(self._crossed(first, second))

    def _crossed(self, first: Floats, second: Floats) -> Floats:
        """One child of each pair: simulated binary crossover, or either parent's gene on axes without an order."""
        u = self._random.random(first.shape)
        root = 1.0 / (_CROSSOVER_INDEX + 1.0)
        spread = np.where(u <= 0.5, (2.0 * u) ** root, (0.5 / (1.0 - u)) ** root)
        swap = self._random.random(first.shape) < 0.5
        blended = 0.5 * ((first + second) + np.where(swap, -spread, spread) * (first - second))
        mixed = np.where(self._unordered, np.where(swap, second, first), np.clip(blended, 0.0, 1.0))
        crossed = self._random.random((len(first), 1)) < _CROSSOVER_SHARE
        return np.where(crossed, mixed, first)

    def _mutated(self, genes: Floats) -> Floats:
        """Genes, one of a child on average changed by a polynomial step or drawn anew."""
        u = self._random.random(genes.shape)
        root = 1.0 / (_MUTATION_INDEX + 1.0)
        down = (2.0 * u) ** root - 1.0
        up = 1.0 - (2.0 * (1.0 - u)) ** root
        stepped = np.clip(genes + np.where(u < 0.5, down, up), 0.0, 1.0)
        redrawn = self._unordered | (self._random.random(genes.shape) < _REDRAWN_SHARE)
        changed = np.where(redrawn, self._random.random(genes.shape), stepped)
        return np.where(self._random.random(genes.shape) < 1.0 / genes.shape[1], changed, genes)


def nsga2(space: Space, budget: int, seed: int, objectives: int) -> Sampler:
    """NSGA-II with as many designs in a generation as there are generations."""
    least, most = _POPULATION
    return Nsga2(space, min(most, max(least, math.isqrt(budget))), seed)


def crowding(values: Floats, ranks: npt.NDArray[np.int64]) -> Floats:
    """Crowding distance of each row among those of its rank (section III-B); infinite at both ends of an objective."""
    distances = np.zeros(len(values))
    for rank in np.unique(ranks):
        rows = np.flatnonzero(ranks == rank)
        for column in values[rows].T:
            order = np.argsort(column, kind="stable")
            ordered = column[order]
            span = ordered[-1] - ordered[0]
            gaps = np.full(len(rows), np.inf)
            if len(rows) > 2:
                gaps[1:-1] = (ordered[2:] - ordered[:-2]) / span if span > 0 and np.isfinite(span) else 0.0
            distances[rows[order]] += gaps
    return distances
