"""What a finished run tells beyond its table: where time and energy go, and what moves them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from hwsim.core.errors import UsageError
from hwsim.core.results import Estimate, Infeasible, OpEstimate
from hwsim.explore.accuracy import one_thread
from hwsim.explore.evaluate import Point, Problem
from hwsim.explore.objectives import Objective
from hwsim.explore.pareto import Floats, hypervolume_progress
from hwsim.explore.progress import Progress
from hwsim.explore.sensitivity import Elasticity, elasticities, importance
from hwsim.explore.space import Design
from hwsim.explore.store import Record
from hwsim.explore.table import front_mask
from hwsim.explore.tracker import minimised, objective_rows

#: Designs of a front that are broken down: enough to see a trend, few enough to read.
_SHOWN = 8
#: Samples that tables of the knee are executed on, once for each fault that is told apart.
_SHEET_SAMPLES = 64
_CHECKPOINTS = 120


class Breakdown(Record):
    """Where the latency and the energy of one Pareto design go.

    `latency_s` is the run's; the parts are sums over ops, which exceed it where ops overlap.
    """

    design: int
    latency_s: float
    energy_j: float
    energy_by_component_j: dict[str, float]
    energy_by_unit_j: dict[str, float]
    energy_by_kind_j: dict[str, float]
    latency_by_unit_s: dict[str, float]
    latency_by_kind_s: dict[str, float]
    latency_by_bound_s: dict[str, float]


class SheetRecord(Record):
    """A table that the backend made of the knee design."""

    title: str
    text: str
    columns: list[str]
    units: list[str]
    rows: list[list[str | float | None]]


class WorkloadAnalysis(Record):
    """One workload's part of the analysis.

    `knee` is the front's design with the least product of normalised objectives; `elasticities` hold there.
    `hypervolume` is the share of the box between the best and the worst value of every objective, in decades, that
    the designs up to each of `evaluations` dominate.
    """

    workload: str
    knee: int | None
    breakdowns: list[Breakdown]
    elasticities: list[Elasticity]
    importance: dict[str, dict[str, float]]
    evaluations: list[int]
    hypervolume: list[float]
    notes: list[str]
    sheets: list[SheetRecord] = []


class AssumptionRecord(Record):
    """A numbered simplification that the estimates used."""

    id: str
    title: str


class Analysis(Record):
    """`analysis.json`."""

    workloads: list[WorkloadAnalysis]
    assumptions: list[AssumptionRecord]

    def to_text(self) -> str:
        return json.dumps(json.loads(self.model_dump_json()), indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def read(cls, path: Path) -> Analysis:
        """The analysis in a file; UsageError if it cannot be read."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise UsageError(
                f"cannot read {path}: {error}",
                where=str(path),
                remedy="repeat the command that made the run: it writes the file anew from the journal",
            ) from error


def analyse(
    problem: Problem,
    objectives: Sequence[Objective],
    designs: Sequence[Design],
    points: Sequence[Sequence[Point]],
    observer: Progress,
) -> Analysis:
    """Break down the Pareto designs of every workload and measure what moves their objectives."""
    parts, used = [], set[str]()
    for index in range(len(problem.workloads)):
        part, ids = _analyse_workload(problem, objectives, designs, points[index], index)
        parts.append(part)
        used |= ids
        for note in part.notes:
            observer.note(f"{part.workload}: {note}")
    known = {item.id: item for item in problem.backend.assumptions()}
    assumptions = [AssumptionRecord(id=key, title=known[key].title) for key in known if key in used or not used]
    return Analysis(workloads=parts, assumptions=assumptions)


def _analyse_workload(
    problem: Problem,
    objectives: Sequence[Objective],
    designs: Sequence[Design],
    points: Sequence[Point],
    workload: int,
) -> tuple[WorkloadAnalysis, set[str]]:
    rows = minimised(objective_rows(points, objectives), objectives)
    front = np.flatnonzero(front_mask(points, objectives))
    knee = knee_of(rows[front], front)
    shown = {*spread(rows[front, 0], front), *([] if knee is None else [knee])}
    estimates = {index: _estimate(problem, workload, designs[index]) for index in sorted(shown)}
    kept = {index: found for index, found in estimates.items() if isinstance(found, Estimate)}
    notes = [
        f"design {index}: the sweep gave {points[index].latency_s:.6g} s, {points[index].energy_j:.6g} J and its "
        f"estimate {found.latency_s:.6g} s, {found.energy_j:.6g} J"
        for index, found in kept.items()
        if not _agree(points[index], found)
    ]
    slopes: list[Elasticity] = []
    if knee is not None:
        arch, graph = problem.arch_of(designs[knee]), problem.graph(workload, designs[knee])
        closed = [objective for objective in objectives if not objective.measured]
        slopes = elasticities(problem.backend, arch, graph, closed) if closed else []
    whole = np.asarray(~np.isnan(rows).any(axis=1))
    evaluations, volumes = normalised_progress(rows)
    analysis = WorkloadAnalysis(
        workload=problem.workloads[workload].name,
        knee=knee,
        breakdowns=[breakdown(index, kept[index]) for index in sorted(kept, key=lambda i: kept[i].latency_s)],
        elasticities=slopes,
        importance=_importance(problem, objectives, designs, rows, whole),
        evaluations=evaluations,
        hypervolume=volumes,
        notes=notes,
        sheets=[] if knee is None else _sheets(problem, workload, designs[knee]),
    )
    return analysis, {used.split(".")[0].split(" ")[0] for found in kept.values() for used in found.assumptions}


def _estimate(problem: Problem, workload: int, design: Design) -> Estimate | Infeasible:
    return problem.backend.estimate(problem.graph(workload, design), problem.arch_of(design))


def _sheets(problem: Problem, workload: int, design: Design) -> list[SheetRecord]:
    """What the backend tells of the knee by executing it; nothing in a search that executes nothing."""
    if not problem.samples:
        return []
    samples = min(problem.samples, _SHEET_SAMPLES)
    with one_thread():
        made = problem.backend.sheets(problem.variant(workload, design), problem.arch_of(design), samples)
    return [
        SheetRecord(
            title=sheet.title,
            text=sheet.text,
            columns=list(sheet.columns),
            units=list(sheet.units),
            rows=[list(row) for row in sheet.rows],
        )
        for sheet in made
    ]


def _agree(point: Point, estimate: Estimate) -> bool:
    pairs = ((point.latency_s, estimate.latency_s), (point.energy_j, estimate.energy_j))
    return all(abs(a - b) <= 1e-6 * abs(b) for a, b in pairs)


def spread(positions: Floats, front: npt.NDArray[np.int64], count: int = _SHOWN) -> list[int]:
    """At most `count` of the front's designs, spread evenly along its first objective, ends included."""
    order = front[np.argsort(positions, kind="stable")]
    picks = np.unique(np.linspace(0, max(len(order) - 1, 0), min(count, len(order))).round().astype(int))
    return [int(order[pick]) for pick in picks]


def knee_of(rows: Floats, front: npt.NDArray[np.int64]) -> int | None:
    """The design of the front nearest, over all objectives in decades, to the best of each (least sum of the
    objectives scaled to the front's range)."""
    if len(front) == 0:
        return None
    span = np.ptp(rows, axis=0)
    scaled = (rows - rows.min(axis=0)) / np.where(span > 0, span, 1.0)
    return int(front[int(np.argmin(scaled.sum(axis=1)))])


def normalised_progress(rows: Floats) -> tuple[list[int], list[float]]:
    """Numbers of evaluations, and the share of the box between best and worst values dominated by then."""
    whole = ~np.isnan(rows).any(axis=1)
    if not whole.any():
        return [], []
    best, worst = rows[whole].min(axis=0), rows[whole].max(axis=0)
    if not (worst > best).all():
        return [], []
    scaled = (rows - best) / (worst - best)
    marks = np.unique(np.linspace(1, len(rows), min(_CHECKPOINTS, len(rows))).round().astype(np.int64))
    volumes = hypervolume_progress(scaled, np.ones(rows.shape[1]), marks)
    return [int(mark) for mark in marks], [float(volume) for volume in volumes]


def _importance(
    problem: Problem,
    objectives: Sequence[Objective],
    designs: Sequence[Design],
    rows: Floats,
    whole: npt.NDArray[np.bool_],
) -> dict[str, dict[str, float]]:
    kept = [design for design, keep in zip(designs, whole, strict=True) if keep]
    found: dict[str, dict[str, float]] = {}
    for number, axis in enumerate(problem.space.axes):
        column = [design[number] for design in kept]
        found[axis.path] = {
            objective.name: importance(column, rows[whole, index]) for index, objective in enumerate(objectives)
        }
    return found


def breakdown(design: int, estimate: Estimate) -> Breakdown:
    """An estimate summed by component, unit, kind of op and what bounds it; energy no op owns is `static`."""
    static = sum(estimate.static_ledger_j.values())
    extra = {"static": static} if static else {}
    return Breakdown(
        design=design,
        latency_s=estimate.latency_s,
        energy_j=estimate.energy_j,
        energy_by_component_j=_sorted(dict(estimate.energy_ledger_j)),
        energy_by_unit_j=_sorted(_summed(estimate, lambda op: op.unit or "device", lambda op: op.energy_j) | extra),
        energy_by_kind_j=_sorted(_summed(estimate, lambda op: op.kind, lambda op: op.energy_j) | extra),
        latency_by_unit_s=_sorted(_summed(estimate, lambda op: op.unit or "device", lambda op: op.latency_s)),
        latency_by_kind_s=_sorted(_summed(estimate, lambda op: op.kind, lambda op: op.latency_s)),
        latency_by_bound_s=_sorted(_summed(estimate, lambda op: op.bound_by or "unknown", lambda op: op.latency_s)),
    )


def _summed(
    estimate: Estimate, name: Callable[[OpEstimate], str], value: Callable[[OpEstimate], float]
) -> dict[str, float]:
    total: dict[str, float] = {}
    for op in estimate.ops:
        total[name(op)] = total.get(name(op), 0.0) + value(op)
    return total


def _sorted(parts: dict[str, float]) -> dict[str, float]:
    return dict(sorted(((name, part) for name, part in parts.items() if part > 0), key=lambda item: -item[1]))
