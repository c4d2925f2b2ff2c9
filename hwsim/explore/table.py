"""The table of a run: a row per (design, workload), in the order the designs were asked for."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from hwsim.explore.evaluate import Point, Problem
from hwsim.explore.objectives import OBJECTIVES, Objective
from hwsim.explore.pareto import Mask, pareto_mask
from hwsim.explore.space import Design
from hwsim.explore.tracker import minimised, objective_rows


def front_mask(points: Sequence[Point], objectives: Sequence[Objective]) -> Mask:
    """Which points of one workload are on its Pareto front."""
    return pareto_mask(minimised(objective_rows(points, objectives), objectives))


def point_columns(
    problem: Problem,
    objectives: Sequence[Objective],
    designs: Sequence[Design],
    points: Sequence[Sequence[Point]],
) -> dict[str, list[object]]:
    """Columns of `points.parquet`: design, workload, parameters (SI), objectives (SI, NaN where infeasible), pareto,
    the reason a design does not fit and the resource it lacks."""
    count, workloads = len(designs), len(points)
    table: dict[str, list[object]] = {
        "design": [index for index in range(count) for _ in range(workloads)],
        "workload": [workload.name for _ in range(count) for workload in problem.workloads],
    }
    for axis, *values in zip(problem.space.axes, *designs, strict=True):
        table[axis.path] = [_cell(value) for value in values for _ in range(workloads)]
    executed = any(objective.measured for objective in objectives)
    every = [objective for objective in OBJECTIVES.values() if executed or not objective.measured]
    rows = np.stack([objective_rows(p, every) for p in points], axis=1)
    for number, objective in enumerate(every):
        table[objective.name] = [float(value) for value in rows[:, :, number].ravel()]
    fronts = np.stack([front_mask(p, objectives) for p in points], axis=1)
    reasons = [point.infeasible for row in zip(*points, strict=True) for point in row]
    table["pareto"] = [bool(value) for value in fronts.ravel()]
    table["infeasible"] = [reason.reason if reason else None for reason in reasons]
    table["resource"] = [reason.resource if reason else None for reason in reasons]
    return table


def _cell(value: object) -> object:
    return json.dumps(value) if isinstance(value, (list, tuple, dict)) else value
