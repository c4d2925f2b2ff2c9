"""Where each op runs: what the bench can hold, then the cheapest of the allowed tilings and the host."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hwsim.backends.optical4f.bench import Array, Bench
from hwsim.backends.optical4f.bounds import Bound, bounds
from hwsim.backends.optical4f.estimate import Cost, on_host, on_plane
from hwsim.backends.optical4f.tiling import TILINGS, Layout, Mask, layouts
from hwsim.backends.optical4f.work import Work

#: What `Plan.choice` counts: the tilings, then the host.
CHOICES = (*TILINGS, "host")
HOST = len(TILINGS)


@dataclass(frozen=True)
class Plan:
    """Every candidate of every op, and the one chosen. `choice` indexes CHOICES; `allowed` is (choices, designs, ops).

    `bounds` are what each layout asks of the bench. `homeless` marks ops that no allowed candidate can hold.
    """

    layouts: tuple[Layout, ...]
    bounds: tuple[tuple[Bound, ...], ...]
    costs: tuple[Cost, ...]
    allowed: Mask
    choice: npt.NDArray[np.intp]
    homeless: Mask

    def pick(self, columns: list[Array]) -> Array:
        """Of one column per choice, the chosen entries."""
        shape = self.choice.shape
        stacked = np.stack([np.broadcast_to(column, shape) for column in columns])
        return np.asarray(np.take_along_axis(stacked, self.choice[None], axis=0)[0], float)

    @property
    def latency_s(self) -> Array:
        return self.pick([cost.latency_s for cost in self.costs])

    @property
    def energy_j(self) -> Array:
        return self.pick([cost.total_j for cost in self.costs])


def plan(bench: Bench, work: Work, designs: int = 1) -> Plan:
    """Cost every op in every tiling and on the host, and choose (A11)."""
    candidates = layouts(bench, work)
    asked = tuple(bounds(bench, work, layout) for layout in candidates)
    costs = (*(on_plane(bench, work, layout) for layout in candidates), on_host(bench, work))
    shape = (designs, len(work.names))
    allowed = _allowed(bench, work, asked, shape)
    latency = np.stack([np.broadcast_to(cost.latency_s, shape) for cost in costs])
    energy = np.stack([np.broadcast_to(cost.total_j, shape) for cost in costs])
    score = np.where(np.asarray(bench.mapping.objective) == "energy", energy, latency)
    score = np.where(allowed & np.isfinite(latency), score, np.inf)
    return Plan(candidates, asked, costs, allowed, np.argmin(score, axis=0), np.min(score, axis=0) == np.inf)


def _allowed(bench: Bench, work: Work, asked: tuple[tuple[Bound, ...], ...], shape: tuple[int, int]) -> Mask:
    """Which candidates the mapping allows and the bench can hold: (choices, designs, ops)."""
    wanted, host = _wanted(bench, work, shape)
    held = [np.logical_and.reduce([np.broadcast_to(b.kept, shape) for b in layout]) for layout in asked]
    return np.stack([*(wanted & np.stack(held)), host])


def _wanted(bench: Bench, work: Work, shape: tuple[int, int]) -> tuple[Mask, Mask]:
    """Tilings that the mapping allows, (tilings, designs, ops), and whether it allows the host."""
    m = bench.mapping
    place = np.select(
        [np.broadcast_to(work.role == role, shape) for role in ("conv", "dense", "attention")],
        [np.broadcast_to(np.asarray(value), shape) for value in (m.conv, m.dense, m.attention)],
        default="host",
    )
    place = np.where(work.matching(m.host_ops), "host", place)
    tiling = np.broadcast_to(np.asarray(m.tiling), shape)
    optics = [work.optical & (place != "host") & np.isin(tiling, ("auto", name)) for name in TILINGS]
    return np.stack(optics), np.asarray(place != "optics")


def broken(bench: Bench, work: Work, p: Plan, op: int) -> tuple[Layout, Bound] | None:
    """What keeps an op of one design off the optics where the mapping would have it there: the first bound it breaks.

    Of the tilings that the mapping allows, the one that breaks fewest; None if one breaks none, or none is allowed.
    """
    wanted, _ = _wanted(bench, work, (1, len(work.names)))
    tried = [
        [(p.layouts[index], b) for b in p.bounds[index] if not np.broadcast_to(b.kept, p.choice.shape)[0, op]]
        for index in np.flatnonzero(wanted[:, 0, op])
    ]
    fewest = min(tried, key=len, default=[])
    return fewest[0] if fewest else None


def reason(bench: Bench, work: Work, p: Plan, op: int, design: int = 0) -> str:
    """Why the op went where it did."""
    at = (design, op)
    if work.role[op] == "view":
        return "renames data without moving it"
    if not work.optical[op]:
        return "not a product or a two-dimensional convolution: electronic"
    allowed = [name for name, ok in zip(CHOICES, p.allowed[(slice(None), *at)], strict=True) if ok]
    if allowed == ["host"]:
        lost = broken(bench, work, p, op)
        return "the mapping asks for it" if lost is None else f"on the optics it would break {lost[1].inequality}"
    if len(allowed) == 1:
        return "the only tiling allowed"
    unit, costs = (
        ("J", [c.total_j for c in p.costs])
        if bench.mapping.objective == "energy"
        else ("s", [c.latency_s for c in p.costs])
    )
    shown = (f"{name} {np.broadcast_to(costs[CHOICES.index(name)], p.choice.shape)[at]:.3g} {unit}" for name in allowed)
    return "least of " + ", ".join(shown)


def homeless(p: Plan, design: int = 0) -> int | None:
    """The first op of a design that nothing allowed can hold."""
    where = np.flatnonzero(p.homeless[design])
    return int(where[0]) if where.size else None
