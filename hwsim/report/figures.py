"""The numbers of every figure of a report, apart from how they are drawn: plotly and matplotlib share them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hwsim.explore.analysis import WorkloadAnalysis
from hwsim.explore.domain import is_number
from hwsim.explore.objectives import Objective
from hwsim.explore.run import Run
from hwsim.explore.tracker import minimised
from hwsim.report.quantities import shown, si_prefixed, superscript
from hwsim.report.tables import evenly

if TYPE_CHECKING:
    import pandas as pd

#: Designs drawn per workload besides its front; more only blacken the picture.
MAX_DOTS = 3000
_MAX_PARTS = 9
_MAX_BARS = 14


@dataclass(frozen=True)
class AxisInfo:
    """An axis of a chart: its title, its SI unit, and whether it is logarithmic.

    `window` is what is shown at first: the fronts and what lies near them; `ticks` are round values there and beyond.
    """

    title: str
    unit: str
    log: bool
    window: tuple[float, float] | None
    ticks: tuple[float, ...]

    @property
    def label(self) -> str:
        """Title with the unit where ticks do not carry it."""
        return self.title if si_prefixed(self.unit) or not self.unit else f"{self.title} ({superscript(self.unit)})"


@dataclass(frozen=True)
class Series:
    """Designs of one workload in a chart: values on both axes and the text of each design."""

    workload: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    text: tuple[str, ...]


@dataclass(frozen=True)
class FrontInfo:
    """Two objectives of all feasible designs: `dots` besides the front, `fronts` along it, ordered by x.

    `stepped` if the front is a line (two objectives); `step_first` says whether a step runs along x first.
    """

    x: AxisInfo
    y: AxisInfo
    dots: tuple[Series, ...]
    fronts: tuple[Series, ...]
    knees: tuple[Series, ...]
    stepped: bool
    step_first: bool
    left_out: int
    outside: int


def front_info(run: Run, first: Objective, second: Objective) -> FrontInfo:
    """Every feasible design of every workload on two objectives."""
    frame = run.frame()
    feasible = frame[frame["resource"].isna()]
    knees = {part.workload: part.knee for part in run.analysis.workloads}
    dots, fronts, chosen, left_out = [], [], [], 0
    for record in run.manifest.identity.workloads:
        rows = feasible[feasible["workload"] == record.name]
        others, front = rows[~rows["pareto"]], rows[rows["pareto"]].sort_values(first.name, kind="stable")
        if len(others) > MAX_DOTS:
            left_out += len(others) - MAX_DOTS
            others = others.iloc[evenly(len(others), MAX_DOTS)]
        dots.append(_series(run, record.name, others, first, second))
        fronts.append(_series(run, record.name, front, first, second))
        chosen.append(_series(run, record.name, front[front["design"] == knees.get(record.name)], first, second))
    x, y = (_axis(item, feasible[item.name], feasible[item.name][feasible["pareto"]]) for item in (first, second))
    return FrontInfo(
        x=x,
        y=y,
        dots=tuple(dots),
        fronts=tuple(fronts),
        knees=tuple(chosen),
        stepped=len(run.objectives) == 2,
        step_first=not first.maximise,
        left_out=left_out,
        outside=int((~(_inside(x, feasible[first.name]) & _inside(y, feasible[second.name]))).sum()),
    )


def front_infos(run: Run) -> tuple[FrontInfo, ...]:
    """The first objective against each other one; against latency or energy if it is alone."""
    first, *others = run.objectives
    if not others:
        from hwsim.explore.objectives import OBJECTIVES

        others = [OBJECTIVES["energy_j" if first.name != "energy_j" else "latency_s"]]
    return tuple(front_info(run, first, other) for other in others)


def _axis(objective: Objective, values: pd.Series[float], front: pd.Series[float]) -> AxisInfo:
    """The axis of an objective: logarithmic where its values span much, opened on the fronts.

    What is not compared in decades (a share, decibels) is not drawn in them either.
    """
    if not objective.log and not values.dropna().empty:
        low, high = float(values.min()), float(values.max())
        room = 0.08 * (high - low or abs(high) or 1.0)
        return AxisInfo(objective.label, objective.unit, False, (low - room, high + room), ())
    values, front = values[values > 0], front[front > 0]
    if front.empty:
        return AxisInfo(objective.label, objective.unit, False, None, ())
    low, high = float(values.min()), float(values.max())
    near, far = float(front.min()), float(front.max())
    ratio = max(far / near, 1.1)
    # More room on the side where the dominated designs are.
    before, after = (0.9, 0.3) if objective.maximise else (0.3, 0.9)
    window = (max(near / ratio**before, low / ratio**0.1), min(far * ratio**after, high * ratio**0.1))
    if high <= 8 * low:
        return AxisInfo(objective.label, objective.unit, False, window, ())
    beyond = [tick for tick in axis_ticks(low, high, log=True) if not window[0] <= tick <= window[1]]
    ticks = sorted((*axis_ticks(*window, log=True), *beyond))
    return AxisInfo(objective.label, objective.unit, True, window, tuple(ticks))


def _inside(axis: AxisInfo, values: pd.Series[float]) -> pd.Series[bool]:
    low, high = axis.window or (-math.inf, math.inf)
    return values.between(low, high)


def _series(run: Run, workload: str, rows: pd.DataFrame, first: Objective, second: Objective) -> Series:
    texts = tuple(design_text(run, row) for row in rows.to_dict(orient="records"))
    return Series(workload, tuple(map(float, rows[first.name])), tuple(map(float, rows[second.name])), texts)


def design_text(run: Run, row: Mapping[object, object]) -> str:
    """A design in lines: its number, its objectives, its parameters."""
    lines = [f"<b>{row['workload']}</b>  design {row['design']}"]
    lines += [f"{item.label}: <b>{shown(row[item.name], item.unit)}</b>" for item in run.objectives]
    lines += [f"{axis.path} = {shown(row[axis.path], axis.unit)}" for axis in run.parameters]
    return "<br>".join(lines)


@dataclass(frozen=True)
class StackInfo:
    """Stacked bars: a bar per Pareto design, and per part its value in every bar (SI `unit`)."""

    title: str
    unit: str
    bars: tuple[str, ...]
    parts: Mapping[str, tuple[float, ...]]


def stack_infos(part: WorkloadAnalysis) -> tuple[StackInfo, ...]:
    """Energy by component and by unit, latency by kind of op and by unit, of a workload's Pareto designs."""
    shown_designs = part.breakdowns
    bars = tuple(f"#{item.design}" + ("  (knee)" if item.design == part.knee else "") for item in shown_designs)
    wanted: Sequence[tuple[str, str, list[dict[str, float]]]] = (
        ("energy by component", "J", [item.energy_by_component_j for item in shown_designs]),
        ("energy by unit", "J", [item.energy_by_unit_j for item in shown_designs]),
        ("latency by kind of op", "s", [item.latency_by_kind_s for item in shown_designs]),
        ("latency by unit", "s", [item.latency_by_unit_s for item in shown_designs]),
    )
    return tuple(StackInfo(title, unit, bars, _stacked(rows)) for title, unit, rows in wanted)


def _stacked(rows: Sequence[Mapping[str, float]]) -> dict[str, tuple[float, ...]]:
    """The largest parts over all bars, the rest summed as `other`."""
    totals: dict[str, float] = {}
    for row in rows:
        scale = sum(row.values()) or 1.0
        for name, value in row.items():
            totals[name] = totals.get(name, 0.0) + value / scale
    names = sorted(totals, key=lambda name: -totals[name])
    kept, rest = names[:_MAX_PARTS], names[_MAX_PARTS:]
    parts = {name: tuple(row.get(name, 0.0) for row in rows) for name in kept}
    if rest:
        parts["other"] = tuple(sum(row.get(name, 0.0) for name in rest) for row in rows)
    return parts


@dataclass(frozen=True)
class BarsInfo:
    """Horizontal bars in groups: a value per name and group; `notes` are shown on hover."""

    names: tuple[str, ...]
    groups: Mapping[str, tuple[float, ...]]
    notes: tuple[str, ...]


def importance_info(part: WorkloadAnalysis, objectives: Sequence[Objective]) -> BarsInfo:
    """Share of each objective's variance (in decades) that each parameter explains alone, largest first."""
    ranked = sorted(part.importance, key=lambda path: -max(part.importance[path].values(), default=0.0))[:_MAX_BARS]
    groups = {item.label: tuple(part.importance[path].get(item.name, 0.0) for path in ranked) for item in objectives}
    return BarsInfo(tuple(ranked), groups, tuple("" for _ in ranked))


def elasticity_info(part: WorkloadAnalysis, objectives: Sequence[Objective]) -> BarsInfo:
    """Per cent that each objective changes when a field of the knee design rises by 1 %, largest first."""
    kept = [item for item in part.elasticities if max(map(abs, item.objectives.values())) >= 5e-3][:_MAX_BARS]
    groups = {obj.label: tuple(item.objectives.get(obj.name, 0.0) for item in kept) for obj in objectives}
    notes = tuple(
        f"{item.path} = {shown(item.value, item.unit)}<br>{item.source or item.status or 'no source in the file'}"
        for item in kept
    )
    return BarsInfo(tuple(item.path for item in kept), groups, notes)


@dataclass(frozen=True)
class Coordinate:
    """One axis of the parallel coordinates: positions per design, and where its labelled ticks are."""

    title: str
    positions: tuple[float, ...]
    ticks: tuple[tuple[float, str], ...]


@dataclass(frozen=True)
class ParallelInfo:
    """Feasible designs of a workload over parameters and objectives; `distance` in decades to the front (0: on it)."""

    workload: str
    coordinates: tuple[Coordinate, ...]
    distance: tuple[float, ...]


def parallel_info(run: Run, workload: str) -> ParallelInfo:
    """Parameters and objectives of the feasible designs of a workload."""
    frame = run.frame()
    rows = frame[(frame["workload"] == workload) & frame["resource"].isna()]
    if len(rows) > MAX_DOTS:
        keep = np.zeros(len(rows), dtype=bool)
        keep[evenly(len(rows), MAX_DOTS)] = True
        rows = rows[keep | rows["pareto"].to_numpy()]
    names = [item.name for item in run.objectives]
    decades = minimised(rows[names].to_numpy(dtype=float), run.objectives)
    distance = front_distance(decades, decades[rows["pareto"].to_numpy(dtype=bool)])
    columns = [_coordinate(axis.path, list(rows[axis.path]), axis.unit) for axis in run.parameters]
    columns += [_coordinate(item.label, list(rows[item.name]), item.unit) for item in run.objectives]
    return ParallelInfo(workload, tuple(c for c in columns if len(set(c.positions)) > 1), tuple(map(float, distance)))


def front_distance(rows: np.ndarray, front: np.ndarray) -> np.ndarray:
    """Decades by which each row misses the front: the least, over the front, of its worst objective (the additive
    epsilon indicator; Zitzler et al., IEEE TEC 7(2), 2003)."""
    if len(front) == 0 or len(rows) == 0:
        return np.zeros(len(rows))
    return np.array([max(0.0, float((row - front).max(axis=1).min())) for row in rows])


def _coordinate(title: str, values: Sequence[object], unit: str) -> Coordinate:
    numbers = [float(v) for v in values if is_number(_plain(v))]  # type: ignore[arg-type]
    if len(numbers) < len(values):
        kinds = sorted({str(value) for value in values})
        places = {kind: float(index) for index, kind in enumerate(kinds)}
        ticks = tuple((place, kind) for kind, place in places.items())
        return Coordinate(title, tuple(places[str(value)] for value in values), ticks)
    distinct = sorted(set(numbers))
    log = len(distinct) > 1 and distinct[0] > 0 and distinct[-1] > 8 * distinct[0]
    place = math.log10 if log else float
    marks = distinct if len(distinct) <= 8 else axis_ticks(distinct[0], distinct[-1], log)
    ticks = tuple((place(mark), shown(_whole(mark), unit, 3)) for mark in marks)
    return Coordinate(title, tuple(place(number) for number in numbers), ticks)


def _plain(value: object) -> object:
    return value.item() if hasattr(value, "item") else value


def _whole(value: float) -> float | int:
    return int(value) if value == int(value) else value


def axis_ticks(low: float, high: float, log: bool) -> list[float]:
    """Round values from low to high: even steps over little, decades alone over more than three of them."""
    if not log or high <= 3 * low:
        return _even_ticks(low, high)
    factors = (1, 1.5, 2, 3, 5, 7) if high <= 10 * low else (1, 2, 5) if high <= 10**3 * low else (1,)
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    ticks = [f * 10.0**power for power in range(first, last + 1) for f in factors]
    return [tick for tick in ticks if low * (1 - 1e-9) <= tick <= high * (1 + 1e-9)]


def _even_ticks(low: float, high: float, about: int = 5) -> list[float]:
    if high <= low:
        return [low]
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(f * power for f in (1, 2, 5, 10) if f * power >= 0.7 * rough)
    first = math.ceil(low / step - 1e-9)
    return [index * step for index in range(first, math.floor(high / step + 1e-9) + 1)]


@dataclass(frozen=True)
class ProgressInfo:
    """Share of the objective box dominated after so many designs."""

    workload: str
    designs: tuple[int, ...]
    hypervolume: tuple[float, ...]


def progress_infos(run: Run) -> tuple[ProgressInfo, ...]:
    """One curve per workload that has a front."""
    return tuple(
        ProgressInfo(part.workload, tuple(part.evaluations), tuple(part.hypervolume))
        for part in run.analysis.workloads
        if part.evaluations
    )
