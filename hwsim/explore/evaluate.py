"""Designs to points: group what one vectorised sweep can take, evaluate, and put the answers back in order."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from hwsim.backends.base import Backend
from hwsim.core.errors import SpecError
from hwsim.core.hashing import canonical_json, content_hash
from hwsim.core.results import Infeasible
from hwsim.explore.accuracy import accuracy
from hwsim.explore.domain import is_number
from hwsim.explore.space import Axis, Design, Space
from hwsim.graph.ir import WorkloadGraph
from hwsim.spec.arch import NOT_HARDWARE, Arch
from hwsim.spec.fields import as_si
from hwsim.spec.overrides import override
from hwsim.spec.yaml import Tree
from hwsim.transforms.workload import Workload

#: Designs per task: enough to amortise a vectorised call; few where each design is estimated on its own, fewer where it
#: is executed. They do not depend on the number of workers, so that neither does any result.
_VECTORISED_CHUNK = 512
_SINGLE_CHUNK = 8
_EXECUTED_CHUNK = 2
_KEPT_VARIANTS = 64


@dataclass(frozen=True)
class Point:
    """What one run of `batch` samples of one workload costs on one design, or why it does not fit."""

    latency_s: float = math.nan
    energy_j: float = math.nan
    area_mm2: float = math.nan
    batch: int = 1
    infeasible: Infeasible | None = None
    top1: float = math.nan
    sqnr_db: float = math.nan

    def to_json(self) -> dict[str, Any]:
        """The journal's record; what a design has none of is null."""
        if self.infeasible is not None:
            return {"infeasible": self.infeasible.to_json()}
        figures = {"area_mm2": self.area_mm2, "top1": self.top1, "sqnr_db": self.sqnr_db}
        known = {name: None if math.isnan(value) else value for name, value in figures.items()}
        return {"latency_s": self.latency_s, "energy_j": self.energy_j, "batch": self.batch, **known}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Point:
        if "infeasible" in data:
            return cls(infeasible=Infeasible.from_json(data["infeasible"]))
        known = {name: math.nan if value is None else float(value) for name, value in data.items()}
        return cls(
            latency_s=known["latency_s"],
            energy_j=known["energy_j"],
            area_mm2=known["area_mm2"],
            batch=int(known["batch"]),
            top1=known["top1"],
            sqnr_db=known["sqnr_db"],
        )


@dataclass(frozen=True)
class Task:
    """Designs of one workload that differ only in what columns can hold: one call of `Backend.sweep`, on any worker.

    `fixed` are the values all designs share; `columns` maps a path to a number per design; `keys` names each design's
    point; `joint` asks for every design to be validated as a whole, which a spec with rules between fields needs.
    With `samples`, the `workload` is also executed on that many, in each design's arithmetic.
    """

    backend: Backend
    arch: Arch
    graph: WorkloadGraph
    keys: tuple[str, ...]
    fixed: Mapping[str, Tree]
    columns: Mapping[str, list[Tree]]
    joint: bool
    workload: Workload | None = None
    samples: int = 0

    def arch_of(self, index: int) -> Arch:
        """The arch of one of the task's designs, validated as a whole."""
        numbers = {path: as_si(values[index]) for path, values in self.columns.items()}
        return self.arch.with_values({**self.fixed, **numbers}, "search")

    def part(self, rows: Sequence[int]) -> Task:
        """The task of some of the designs."""
        keys = tuple(self.keys[row] for row in rows)
        return replace(self, keys=keys, columns={p: [v[row] for row in rows] for p, v in self.columns.items()})


def run_task(task: Task) -> list[Point]:
    """A point per design of the task. A design whose fields contradict each other is infeasible, like any other."""
    count = len(task.keys)
    valid, broken = _validated(task) if task.joint else (dict.fromkeys(range(count)), {})
    points = dict(broken)
    if valid:
        arch = next(iter(valid.values())) or task.arch.with_values(task.fixed, "search")
        columns = {path: [values[index] for index in valid] for path, values in task.columns.items()}
        sweep = task.backend.sweep(task.graph, arch, columns)
        for row, index in enumerate(valid):
            reason = sweep.infeasible.get(row)
            values = (float(sweep.latency_s[row]), float(sweep.energy_j[row]), float(sweep.area_mm2[row]))
            points[index] = Point(*values, task.graph.batch) if reason is None else Point(infeasible=reason)
    checked = [_checked(points[index]) for index in range(count)]
    if task.workload is None or not task.samples:
        return checked
    return [_executed(task, index, point) for index, point in enumerate(checked)]


def _executed(task: Task, index: int, point: Point) -> Point:
    """The point with the accuracy of the workload in the design's own arithmetic."""
    if point.infeasible is not None or task.workload is None:
        return point
    found = accuracy(task.backend, task.workload, task.arch_of(index), task.samples)
    return replace(point, top1=found.top1, sqnr_db=found.sqnr_db)


def _validated(task: Task) -> tuple[dict[int, Arch | None], dict[int, Point]]:
    """The designs that keep every rule between fields, and the points of those that break one."""
    valid: dict[int, Arch | None] = {}
    broken: dict[int, Point] = {}
    for index in range(len(task.keys)):
        try:
            valid[index] = task.arch_of(index)
        except SpecError as error:
            text = f"{error.message}: {error.expected}" if error.expected else error.message
            broken[index] = Point(infeasible=Infeasible("spec", 1.0, 0.0, "broken rule", text))
    return valid, broken


def _checked(point: Point) -> Point:
    if point.infeasible is None and not (point.latency_s > 0 and point.energy_j >= 0 and point.latency_s < math.inf):
        reason = f"the model gave latency {point.latency_s:g} s and energy {point.energy_j:g} J"
        return Point(infeasible=Infeasible("model", 1.0, 0.0, "undefined result", reason))
    return point


@dataclass(eq=False)
class Problem:
    """What is explored: designs of a space, on the workloads, with a backend."""

    backend: Backend
    arch: Arch
    workloads: tuple[Workload, ...]
    space: Space
    version: str
    samples: int = 0
    _variants: dict[str, Workload] = field(default_factory=dict)

    @cached_property
    def chunk(self) -> int:
        if self.samples:
            return _EXECUTED_CHUNK
        vectorised = type(self.backend).sweep is not Backend.sweep
        return _VECTORISED_CHUNK if vectorised else _SINGLE_CHUNK

    @cached_property
    def joint(self) -> bool:
        return has_joint_rules(type(self.arch.spec))

    @cached_property
    def base_hash(self) -> str:
        """Hash of what all designs share: backend, its code, and the arch without the fields that axes vary."""
        varied: dict[str, Tree] = {axis.path: None for axis in self.space.axes if not axis.of_workload}
        tree = override(self.arch.document, varied).tree
        skipped = NOT_HARDWARE - {"schema", "backend"}
        kept = {key: _printable(value) for key, value in tree.items() if key not in skipped}
        return content_hash([self.arch.backend, self.version, kept, self.samples])

    def key(self, workload: int, design: Design) -> str:
        """Content hash of one design on one workload: everything that decides its point, and nothing else."""
        values = {axis.path: _printable(v) for axis, v in self._pairs(design) if not axis.of_workload}
        return content_hash([self.base_hash, values, self.graph(workload, design).content_hash])

    def _pairs(self, design: Design) -> Iterator[tuple[Axis, Tree]]:
        return zip(self.space.axes, design, strict=True)

    def _changes(self, design: Design, of_workload: bool) -> dict[str, Tree]:
        return {a.field_path: as_si(v) for a, v in self._pairs(design) if a.of_workload == of_workload}

    def graph(self, workload: int, design: Design) -> WorkloadGraph:
        """The graph of a workload with the design's workload fields."""
        return self.variant(workload, design).graph

    def variant(self, workload: int, design: Design) -> Workload:
        """A workload with the design's workload fields; a few are kept, as loading one takes time."""
        changes = self._changes(design, of_workload=True)
        name = canonical_json([workload, _printable(changes)])
        if name not in self._variants:
            if len(self._variants) >= _KEPT_VARIANTS:
                self._variants.pop(next(iter(self._variants)))
            self._variants[name] = self.workloads[workload].with_values(changes, "search")
        return self._variants[name]

    def arch_of(self, design: Design) -> Arch:
        """The arch of a design, validated as a whole."""
        return self.arch.with_values(self._changes(design, of_workload=False), "search")

    def tasks(self, designs: Sequence[Design]) -> list[tuple[Task, list[tuple[int, int]]]]:
        """Tasks that cover all (design, workload) pairs, each with its pairs of indices."""
        groups: dict[str, list[tuple[int, int]]] = {}
        for workload in range(len(self.workloads)):
            for index, design in enumerate(designs):
                shared = [self._column_kind(a, v) or [_printable(v)] for a, v in self._pairs(design)]
                groups.setdefault(canonical_json([workload, shared]), []).append((index, workload))
        return [
            (self._task([designs[index] for index, _ in part], part[0][1]), part)
            for pairs in groups.values()
            for part in (pairs[start : start + self.chunk] for start in range(0, len(pairs), self.chunk))
        ]

    def _column_kind(self, axis: Axis, value: Tree) -> str | None:
        """The kind of column that may hold the value in a sweep; None if all designs of a sweep must share it."""
        if axis.of_workload:
            return None
        if is_number(value):
            return "number"
        return "text" if isinstance(value, str) and self.backend.sweeps_text else None

    def _task(self, designs: Sequence[Design], workload: int) -> Task:
        columns: dict[str, list[Tree]] = {}
        fixed: dict[str, Tree] = {}
        for axis, *values in zip(self.space.axes, *designs, strict=True):
            if not axis.of_workload:
                if self._column_kind(axis, values[0]):
                    columns[axis.path] = values
                else:
                    fixed[axis.path] = values[0]
        keys = tuple(self.key(workload, design) for design in designs)
        variant = self.variant(workload, designs[0])
        executed = variant if self.samples else None
        return Task(self.backend, self.arch, variant.graph, keys, fixed, columns, self.joint, executed, self.samples)


def _printable(value: Tree) -> Tree:
    """A value as hashing takes it: infinities and floats as text, exactly."""
    if isinstance(value, dict):
        return {str(key): _printable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_printable(item) for item in value]
    return repr(float(value)) if isinstance(value, float) else value


def has_joint_rules(model: type[BaseModel]) -> bool:
    """Whether a spec, or any part of it, has rules between its fields (pydantic model validators)."""
    return any(part.__pydantic_decorators__.model_validators for part in _parts(model, set()))


def _parts(annotation: Any, seen: set[type[BaseModel]]) -> Iterator[type[BaseModel]]:
    from typing import get_args

    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if annotation in seen:
            return
        seen.add(annotation)
        yield annotation
        for info in annotation.model_fields.values():
            yield from _parts(info.annotation, seen)
    for argument in get_args(annotation):
        yield from _parts(argument, seen)


def backend_version(backend: Backend) -> str:
    """Hash of the code of a backend's package: an edited model never answers from an old journal."""
    import sys

    file = Path(sys.modules[type(backend).__module__].__file__ or "")
    sources = sorted(file.parent.rglob("*.py")) if file.name else []
    return content_hash([[path.name, path.read_text(encoding="utf-8")] for path in sources])
