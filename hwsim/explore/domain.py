"""The values an axis of the search can take: a list, steps, or an interval. Values are SI."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

from hwsim.spec.yaml import Tree

#: Values a grid takes from an axis that has no list of its own (an interval, or whole numbers on a log scale).
GRID_LEVELS = 9


@dataclass(frozen=True)
class Choices:
    """A list of values; `ordered` when they are numbers, so that neighbours resemble each other."""

    values: tuple[Tree, ...]

    @property
    def ordered(self) -> bool:
        return all(is_number(value) for value in self.values)

    @property
    def enumerable(self) -> bool:
        return True

    def at(self, position: float) -> Tree:
        """The value at `position` in [0, 1] of the axis."""
        return self.values[min(int(position * len(self.values)), len(self.values) - 1)]

    def position(self, value: Tree) -> float:
        """The middle of the share of the axis that gives the value."""
        return (self.values.index(value) + 0.5) / len(self.values)

    @property
    def count(self) -> int:
        return len(self.values)

    @property
    def grid_count(self) -> int:
        return self.count

    def grid(self, index: int) -> Tree:
        """The value at `index` of the grid."""
        return self.values[index]


@dataclass(frozen=True)
class Steps:
    """low, low + step, ... (`count` values); whole numbers when low and step are."""

    low: float
    step: float
    count: int
    log: bool = False

    @property
    def high(self) -> float:
        return self.low + self.step * (self.count - 1)

    @property
    def enumerable(self) -> bool:
        return not self.log

    def value(self, index: int) -> float:
        return self.low + self.step * index

    def at(self, position: float) -> float:
        """The step at `position` in [0, 1]: equal shares, or on a log scale the nearest step."""
        if self.log:
            exact = _geometric(self.low, self.high, position)
            return self.value(min(round((exact - self.low) / self.step), self.count - 1))
        return self.value(min(int(position * self.count), self.count - 1))

    def position(self, value: float) -> float:
        """A position in [0, 1] that gives the value: the middle of its share, or its place on the log scale."""
        if self.log:
            return _logarithmic(self.low, self.high, value)
        return (round((value - self.low) / self.step) + 0.5) / self.count

    @property
    def grid_count(self) -> int:
        return len(_log_levels(self)) if self.log else self.count

    def grid(self, index: int) -> float:
        """The value at `index` of the grid: every step, or levels of a log scale."""
        return _log_levels(self)[index] if self.log else self.value(index)


@dataclass(frozen=True)
class Interval:
    """Any number from low to high, evenly or on a log scale."""

    low: float
    high: float
    log: bool = False

    @property
    def enumerable(self) -> bool:
        return False

    def at(self, position: float) -> float:
        """The number at `position` in [0, 1]."""
        if self.log:
            return _geometric(self.low, self.high, position)
        return self.low + (self.high - self.low) * position

    def position(self, value: float) -> float:
        """The position in [0, 1] of a number."""
        if self.log:
            return _logarithmic(self.low, self.high, value)
        return (value - self.low) / (self.high - self.low)

    @property
    def grid_count(self) -> int:
        return GRID_LEVELS

    def grid(self, index: int) -> float:
        """The value at `index` of the grid."""
        return self.at(index / (GRID_LEVELS - 1))


Domain = Choices | Steps | Interval


def is_number(value: object) -> bool:
    """Whether a value is a number and not a truth value."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


@cache
def _log_levels(steps: Steps) -> tuple[float, ...]:
    return tuple(sorted({steps.at(index / (GRID_LEVELS - 1)) for index in range(GRID_LEVELS)}))


def _geometric(low: float, high: float, position: float) -> float:
    if position in (0, 1):
        return high if position else low
    return float(low * (high / low) ** position)


def _logarithmic(low: float, high: float, value: float) -> float:
    return math.log(value / low) / math.log(high / low)


def step_count(low: float, high: float, step: float) -> int:
    """How many steps fit from low to high; a rounding error does not lose the last."""
    return int((high - low) / step * (1 + 1e-12) + 1e-9) + 1
