"""Where an exploration stands: fronts, best values and hypervolume, kept up to date design by design."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from hwsim.explore.evaluate import Point
from hwsim.explore.objectives import Objective, columns
from hwsim.explore.pareto import Floats, hypervolume, pareto_mask
from hwsim.explore.progress import Snapshot
from hwsim.explore.strategies.sampler import Cost


def objective_rows(points: Sequence[Point], objectives: Sequence[Objective]) -> Floats:
    """(points, objectives) in SI, NaN where infeasible."""
    table = np.array([(p.latency_s, p.energy_j, p.area_mm2, p.batch) for p in points]).reshape(-1, 4)
    found = columns(table[:, 0], table[:, 1], table[:, 2], table[:, 3])
    found |= {name: np.array([getattr(point, name) for point in points]) for name in ("top1", "sqnr_db")}
    return np.stack([found[objective.name] for objective in objectives], axis=1)


def minimised(rows: Floats, objectives: Sequence[Objective]) -> Floats:
    """Each objective on the scale designs are compared on (decades for most), lower is better."""
    return np.stack([objective.to_cost(column) for objective, column in zip(objectives, rows.T, strict=True)], axis=1)


def costs(per_workload: Sequence[Sequence[Point]], objectives: Sequence[Objective]) -> list[Cost]:
    """What the sampler is told of each design: the geometric mean of every objective over the workloads.

    A design that does not fit for one workload is infeasible by the largest relative gap.
    """
    decades = [minimised(objective_rows(points, objectives), objectives) for points in per_workload]
    means = np.mean(decades, axis=0)
    return [
        Cost(tuple(float(v) for v in mean), max(_violation(points[index]) for points in per_workload))
        for index, mean in enumerate(means)
    ]


def _violation(point: Point) -> float:
    if point.infeasible is None:
        return 0.0
    gap = point.infeasible.gap / max(abs(point.infeasible.bound), 1e-12)
    return float(max(gap, 1e-6)) if np.isfinite(gap) else 1e6


class Tracker:
    """Counts, fronts and best values over all designs so far."""

    def __init__(self, objectives: Sequence[Objective], workloads: int, budget: int) -> None:
        self.objectives = tuple(objectives)
        self.budget = budget
        self.designs = self.reused = self.infeasible = 0
        self._begin = time.perf_counter()
        self._fronts = [np.empty((0, len(self.objectives))) for _ in range(workloads)]
        self._references: list[Floats | None] = [None for _ in range(workloads)]

    @property
    def elapsed_s(self) -> float:
        return time.perf_counter() - self._begin

    def add(self, per_workload: Sequence[Sequence[Point]], reused: int) -> None:
        """Designs whose points (per workload, in the same order) are all known; `reused` of them from the journal."""
        self.designs += len(per_workload[0])
        self.reused += reused
        self.infeasible += sum(any(point.infeasible for point in row) for row in zip(*per_workload, strict=True))
        for workload, points in enumerate(per_workload):
            rows = minimised(objective_rows(points, self.objectives), self.objectives)
            rows = rows[~np.isnan(rows).any(axis=1)]
            if self._references[workload] is None and len(rows):
                self._references[workload] = rows.max(axis=0)
            merged = np.vstack((self._fronts[workload], rows))
            self._fronts[workload] = merged[pareto_mask(merged)]

    def snapshot(self) -> Snapshot:
        """The state now, for an observer."""
        best: dict[str, float] = {}
        every = np.vstack(self._fronts)
        for objective, column in zip(self.objectives, every.T, strict=True):
            if len(column):
                best[objective.name] = objective.from_cost(float(column.min()))
        volume = sum(
            hypervolume(front, reference)
            for front, reference in zip(self._fronts, self._references, strict=True)
            if reference is not None
        )
        return Snapshot(
            designs=self.designs,
            budget=self.budget,
            reused=self.reused,
            infeasible=self.infeasible,
            front=sum(len(front) for front in self._fronts),
            hypervolume_decades=volume,
            best=best,
            elapsed_s=self.elapsed_s,
        )
