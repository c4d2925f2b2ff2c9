"""The ask/tell seam of every strategy: what is asked for, and what is told.

A sampler is deterministic by its seed and by what it was told, never by who evaluated; so a run is resumed by asking
again. It never returns the same design twice, nor one that breaks a constraint.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from hwsim.explore.space import Design


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
