"""How an exploration tells an observer where it stands; the command line draws it, a notebook may ignore it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Snapshot:
    """Where the exploration stands after a chunk of designs.

    `designs` of `budget` are known, of which `reused` came from the journal of an earlier run; `infeasible` counts
    designs that fit on no terms for at least one workload. `front` is the size of the Pareto fronts of all workloads
    together. `hypervolume_decades` is what the fronts dominate, in decades per objective (log10), summed over
    workloads, against the worst values of the first batch: it never falls. `best` maps an objective to its best value.
    """

    designs: int
    budget: int
    reused: int
    infeasible: int
    front: int
    hypervolume_decades: float
    best: dict[str, float]
    elapsed_s: float

    @property
    def designs_per_s(self) -> float:
        """Designs evaluated (not reused) per second of this session."""
        return (self.designs - self.reused) / self.elapsed_s if self.elapsed_s > 0 else 0.0


class Progress(Protocol):
    """An observer of an exploration. Called from the exploring thread only."""

    def start(self, budget: int, strategy: str, workloads: tuple[str, ...], out: Path) -> None:
        """Once, when the space is known to be valid and before the first design."""

    def update(self, snapshot: Snapshot) -> None:
        """After every chunk of designs."""

    def note(self, text: str) -> None:
        """One line worth telling: what was resumed, recovered or left out."""

    def finish(self, snapshot: Snapshot) -> None:
        """Once, after the last design; not called on an error or an interrupt."""


class Silent:
    """The observer that says nothing."""

    def start(self, budget: int, strategy: str, workloads: tuple[str, ...], out: Path) -> None: ...

    def update(self, snapshot: Snapshot) -> None: ...

    def note(self, text: str) -> None: ...

    def finish(self, snapshot: Snapshot) -> None: ...
