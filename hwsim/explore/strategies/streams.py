"""Strategies that learn nothing: the grid, random draws and a Sobol sequence."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from hwsim.core.hashing import canonical_json
from hwsim.explore.space import Design, Space
from hwsim.explore.strategies.sampler import Cost, Sampler

#: More designs than this are refused: at a design per millisecond they take a quarter of an hour to a core.
MAX_DESIGNS = 1_000_000
_BLOCK = 512
#: Draws without a new design after which a space counts as exhausted: a draw costs microseconds.
_PATIENCE = 64 * _BLOCK


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


def grid(space: Space, budget: int, seed: int, objectives: int) -> Sampler:
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


def uniform(space: Space, budget: int, seed: int, objectives: int) -> Sampler:
    """Independent uniform draws over the unit cube of the axes."""
    import numpy as np

    generator = np.random.default_rng(seed)
    return Stream(space, _points(space, lambda: generator.random((_BLOCK, len(space.axes)))), _PATIENCE)


def sobol(space: Space, budget: int, seed: int, objectives: int) -> Sampler:
    """A scrambled Sobol sequence: low discrepancy, so that few designs cover the space evenly."""
    from scipy.stats.qmc import Sobol

    sequence = Sobol(len(space.axes), scramble=True, rng=seed)
    return Stream(space, _points(space, lambda: sequence.random(_BLOCK)), _PATIENCE)


def _points(space: Space, block: Callable[[], Iterable[Sequence[float]]]) -> Iterator[Design]:
    """Designs at the points of endless blocks; blocks of a power of two keep a Sobol sequence balanced."""
    while True:
        yield from map(space.at, block())
