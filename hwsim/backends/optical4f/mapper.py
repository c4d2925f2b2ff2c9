"""Where each op runs: legality, then the cheapest of the allowed tilings and the host."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor, log10

import numpy as np
import numpy.typing as npt

from hwsim.backends.optical4f.bench import Array, Bench, bench_of
from hwsim.backends.optical4f.estimate import Cost, on_host, on_plane
from hwsim.backends.optical4f.spec import Optical4fSpec
from hwsim.backends.optical4f.tiling import TILINGS, Layout, Mask, grid, layouts
from hwsim.backends.optical4f.work import Work
from hwsim.core.results import Infeasible, Lever

#: What `Plan.choice` counts: the tilings, then the host.
CHOICES = (*TILINGS, "host")
HOST = len(TILINGS)


@dataclass(frozen=True)
class Plan:
    """Every candidate of every op, and the one chosen. `choice` indexes CHOICES; `allowed` is (choices, designs, ops).

    `homeless` marks ops that no allowed candidate can hold.
    """

    layouts: tuple[Layout, ...]
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
    costs = (*(on_plane(bench, work, layout) for layout in candidates), on_host(bench, work))
    shape = (designs, len(work.names))
    allowed = _allowed(bench, work, candidates, shape)
    latency = np.stack([np.broadcast_to(cost.latency_s, shape) for cost in costs])
    energy = np.stack([np.broadcast_to(cost.total_j, shape) for cost in costs])
    score = np.where(np.asarray(bench.mapping.objective) == "energy", energy, latency)
    score = np.where(allowed & np.isfinite(latency), score, np.inf)
    return Plan(candidates, costs, allowed, np.argmin(score, axis=0), np.min(score, axis=0) == np.inf)


def _allowed(bench: Bench, work: Work, candidates: tuple[Layout, ...], shape: tuple[int, int]) -> Mask:
    """Which candidates the mapping and the geometry allow: (choices, designs, ops)."""
    m = bench.mapping
    place = np.select(
        [np.broadcast_to(work.role == role, shape) for role in ("conv", "dense", "attention")],
        [np.broadcast_to(np.asarray(value), shape) for value in (m.conv, m.dense, m.attention)],
        default="host",
    )
    place = np.where(work.matching(m.host_ops), "host", place)
    tiling = np.broadcast_to(np.asarray(m.tiling), shape)
    optics = [
        np.broadcast_to(layout.fits, shape) & (place != "host") & np.isin(tiling, ("auto", name))
        for name, layout in zip(TILINGS, candidates, strict=True)
    ]
    return np.stack([*optics, place != "optics"])


def reason(bench: Bench, work: Work, p: Plan, op: int, design: int = 0) -> str:
    """Why the op went where it did."""
    at = (design, op)
    if work.role[op] == "view":
        return "renames data without moving it"
    if not work.optical[op]:
        return "not a product or a two-dimensional convolution: electronic"
    allowed = [name for name, ok in zip(CHOICES, p.allowed[(slice(None), *at)], strict=True) if ok]
    if len(allowed) == 1:
        return "the mapping asks for it" if allowed == ["host"] else "the only tiling allowed"
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


def lack(spec: Optical4fSpec, work: Work, op: int) -> Infeasible:
    """What an op without a place lacks: rows, columns, or reach of the filter, and the least that would do (A3)."""
    bench = bench_of(spec)
    g = grid(bench, work)
    need = {"rows": float(g.pitch_rows[op]), "cols": float(g.pitch_cols[op])}
    for library, name, part in (("modulators", spec.input, bench.input), ("cameras", spec.camera, bench.camera)):
        for axis, demand in need.items():
            bound = float(getattr(part, axis))
            if demand > bound:
                lever = Lever(f"{library}.{name}.{axis}", demand, "px", f"a panel with {demand:.0f} {axis}")
                return _short(work, op, f"{library}.{name}.{axis}", demand, bound, "one tile of the plane", lever)
    return _unreachable(bench, work, op)


def _short(work: Work, op: int, resource: str, demand: float, bound: float, what: str, lever: Lever) -> Infeasible:
    text = f"{work.names[op]}: {what} needs {demand:g} px of {resource}, which has {bound:g} px"
    return Infeasible(resource, demand, bound, "px", text, work.names[op], (lever,))


def _unreachable(bench: Bench, work: Work, op: int) -> Infeasible:
    """A kernel wider than the period of the sampled mask: a longer focal length widens it in proportion."""
    kernel = float(max(work.maps.kernel_rows[op], work.maps.kernel_cols[op]))
    reach = float(bench.kernel_extent)
    o, pitch = bench.optics, bench.filter.pitch_m * bench.filter.superpixel
    focal = _rounded_up(kernel * pitch * bench.input.pitch_m / o.wavelength_m)
    lever = Lever("optics.focal_length", focal, "m", f"lenses of {focal * 1e3:.4g} mm")
    return _short(work, op, "kernel extent", kernel, reach, "its kernel", lever)


def _rounded_up(value: float) -> float:
    """The next number of four significant digits: one that can be ordered, and that survives being printed."""
    scale = 10.0 ** (3 - floor(log10(value)))
    return ceil(value * scale) / scale
