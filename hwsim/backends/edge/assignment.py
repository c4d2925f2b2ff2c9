"""Which sub-model goes to which device: greedy as ED-ViT does it, and exact for clusters that are small enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Nodes that the exact search may visit; beyond it the best assignment found so far stands.
SEARCH_LIMIT = 200_000


@dataclass(frozen=True)
class Demands:
    """What each sub-model (rows) takes on each device (columns), and what a device has.

    `energy_j` and `energy_bound_j` limit what one request may cost a device; infinity where nothing does.
    """

    seconds: NDArray[np.float64]
    memory_bytes: NDArray[np.float64]
    memory_bound_bytes: NDArray[np.float64]
    energy_j: NDArray[np.float64]
    energy_bound_j: float = float("inf")


@dataclass(frozen=True)
class Assignment:
    """Device of each sub-model, the time of the busiest device, and whether no other assignment is better."""

    devices: tuple[int, ...]
    busiest_s: float
    proven: bool


@dataclass(frozen=True)
class Shortage:
    """The sub-model that fits no device, the device that comes nearest, what it lacks: `memory` or `energy`."""

    part: int
    device: int
    resource: str
    demand: float
    bound: float


@dataclass
class Loads:
    """How full each device is while sub-models are being placed."""

    demands: Demands
    seconds: NDArray[np.float64]
    memory_bytes: NDArray[np.float64]
    energy_j: NDArray[np.float64]

    @classmethod
    def empty(cls, demands: Demands) -> Loads:
        count = demands.memory_bound_bytes.size
        return cls(demands, np.zeros(count), np.zeros(count), np.zeros(count))

    def fits(self, part: int, device: int) -> bool:
        """Whether `device` has memory and energy left for `part`."""
        memory = self.memory_bytes[device] + self.demands.memory_bytes[part]
        energy = self.energy_j[device] + self.demands.energy_j[part, device]
        return bool(memory <= self.demands.memory_bound_bytes[device] and energy <= self.demands.energy_bound_j)

    def add(self, part: int, device: int, sign: int = 1) -> None:
        """Place `part` on `device`, or take it off again with `sign` -1."""
        self.seconds[device] += sign * self.demands.seconds[part, device]
        self.memory_bytes[device] += sign * self.demands.memory_bytes[part]
        self.energy_j[device] += sign * self.demands.energy_j[part, device]


def greedy(demands: Demands) -> Assignment | Shortage:
    """Largest sub-model first, each to the device that would finish it first among those it fits.

    EC-SNN (IJCAI 2024, Algorithm 1), from which ED-ViT descends, gives each sub-model a device of its own; with as
    many devices as sub-models this does the same.
    """
    loads = Loads.empty(demands)
    devices = [-1] * demands.seconds.shape[0]
    for part in largest_first(demands):
        fitting = [d for d in range(loads.seconds.size) if loads.fits(part, d)]
        if not fitting:
            return shortage(loads, part)
        best = min(fitting, key=lambda d: (loads.seconds[d] + demands.seconds[part, d], d))
        devices[part] = best
        loads.add(part, best)
    return Assignment(tuple(devices), float(loads.seconds.max()), proven=False)


def exact(demands: Demands) -> Assignment | Shortage:
    """Least time of the busiest device by branch and bound; devices that look alike are tried once."""
    start = greedy(demands)
    search = Search(demands, Loads.empty(demands), largest_first(demands))
    if isinstance(start, Assignment):
        search.best_s, search.best = start.busiest_s, start.devices
    search.place(0, [-1] * demands.seconds.shape[0])
    if search.best is None:
        return start
    return Assignment(search.best, search.best_s, proven=search.visited < SEARCH_LIMIT)


@dataclass
class Search:
    """Depth-first branch and bound over the sub-models in `order`."""

    demands: Demands
    loads: Loads
    order: Sequence[int]
    best_s: float = float("inf")
    best: tuple[int, ...] | None = None
    visited: int = 0

    def place(self, depth: int, devices: list[int]) -> None:
        """Try every device for the sub-model at `depth`, best first."""
        self.visited += 1
        if self.visited >= SEARCH_LIMIT or self.bound(depth) >= self.best_s * (1.0 - 1e-12):
            return
        if depth == len(self.order):
            self.best_s, self.best = float(self.loads.seconds.max()), tuple(devices)
            return
        part = self.order[depth]
        seen: set[tuple[float, ...]] = set()
        for d in np.argsort(self.loads.seconds + self.demands.seconds[part], kind="stable").tolist():
            alike = self.likeness(d)
            if alike in seen or not self.loads.fits(part, d):
                continue
            seen.add(alike)
            devices[part] = d
            self.loads.add(part, d)
            self.place(depth + 1, devices)
            self.loads.add(part, d, -1)

    def bound(self, depth: int) -> float:
        """No assignment of the rest ends sooner: the busiest so far, or all work spread evenly."""
        rest = sum(float(self.demands.seconds[part].min()) for part in self.order[depth:])
        spread = (float(self.loads.seconds.sum()) + rest) / self.loads.seconds.size
        return max(float(self.loads.seconds.max(initial=0.0)), spread)

    def likeness(self, d: int) -> tuple[float, ...]:
        """Equal for devices that are equal in all that matters from here on."""
        loads, demands = self.loads, self.demands
        state = (loads.seconds[d], loads.memory_bytes[d], loads.energy_j[d], demands.memory_bound_bytes[d])
        return (*map(float, state), *demands.seconds[:, d].tolist())


def largest_first(demands: Demands) -> list[int]:
    """Sub-models by their least time, longest first."""
    shortest = demands.seconds.min(axis=1)
    return sorted(range(shortest.size), key=lambda part: (-shortest[part], part))


def shortage(loads: Loads, part: int) -> Shortage:
    """What is missing where it is missing least."""
    demands = loads.demands
    memory = loads.memory_bytes + demands.memory_bytes[part]
    short_of_memory = memory > demands.memory_bound_bytes
    if short_of_memory.all():
        d = int(np.argmin(memory - demands.memory_bound_bytes))
        return Shortage(part, d, "memory", float(memory[d]), float(demands.memory_bound_bytes[d]))
    energy = np.where(short_of_memory, np.inf, loads.energy_j + demands.energy_j[part])
    d = int(np.argmin(energy))
    return Shortage(part, d, "energy", float(energy[d]), demands.energy_bound_j)
