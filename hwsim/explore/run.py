"""An exploration from a spec to a finished run: ask for designs, evaluate, tell, journal, write."""

from __future__ import annotations

import json
import platform
import shlex
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from hwsim.backends.base import backend_of
from hwsim.core.errors import EXIT_INTERRUPTED, HwsimError, UsageError
from hwsim.explore.accuracy import check_labels
from hwsim.explore.analysis import Analysis, analyse
from hwsim.explore.evaluate import Point, Problem, backend_version, run_task
from hwsim.explore.executor import completed, open_executor
from hwsim.explore.lock import locked_arch, resolved
from hwsim.explore.objectives import Objective, find_objectives
from hwsim.explore.progress import Progress, Silent
from hwsim.explore.space import Axis, Design, build_space
from hwsim.explore.store import (
    ANALYSIS,
    LOCK,
    MANIFEST,
    PARETO,
    POINTS,
    AxisRecord,
    Identity,
    Journal,
    Manifest,
    WorkloadRecord,
    claimed,
    parquet_bytes,
    read_manifest,
    write_whole,
)
from hwsim.explore.strategies import DEFAULT_BUDGET, EXECUTED_BUDGET, make_sampler, plan
from hwsim.explore.table import point_columns
from hwsim.explore.tracker import Tracker, costs
from hwsim.spec.arch import Arch, load_arch
from hwsim.spec.overrides import split_overrides
from hwsim.spec.yaml import Tree
from hwsim.transforms.workload import Workload, load_workload

if TYPE_CHECKING:
    import pandas as pd


class Interrupted(HwsimError):
    """Ctrl-C: what was evaluated is kept, and the same command goes on from there."""

    exit_code = EXIT_INTERRUPTED


@dataclass(frozen=True)
class Run:
    """A finished exploration, read from its directory."""

    path: Path
    manifest: Manifest

    @cached_property
    def _frame(self) -> pd.DataFrame:
        import pandas as pd

        try:
            return pd.read_parquet(self.path / POINTS)
        except (OSError, ValueError) as error:
            raise UsageError(
                f"cannot read {self.path / POINTS}: {error}",
                remedy="repeat the command that made the run: it writes the file anew from the journal",
            ) from error

    @cached_property
    def analysis(self) -> Analysis:
        """Breakdown of Pareto designs, elasticities and importance, as written at the end of the run."""
        return Analysis.read(self.path / ANALYSIS)

    @property
    def objectives(self) -> tuple[Objective, ...]:
        return find_objectives(self.manifest.identity.objectives)

    @property
    def parameters(self) -> tuple[AxisRecord, ...]:
        """The axes of the search, in the order of the frame's columns."""
        return tuple(self.manifest.identity.axes)

    def frame(self) -> pd.DataFrame:
        """A row per (design, workload): `design`, `workload`, a column per parameter (SI), every objective (SI),
        `pareto`, `infeasible` (the reason, or None), `resource` and `key`."""
        return self._frame.copy()

    def pareto(self, workload: str | None = None) -> pd.DataFrame:
        """The feasible rows that no row of the same workload dominates, by workload and first objective.

        Of designs with equal objectives the first evaluated stands for all; a column that is empty (an area the
        backend has no notion of) is left out. UsageError for an unknown workload.
        """
        names = [record.name for record in self.manifest.identity.workloads]
        if workload is not None and workload not in names:
            raise UsageError(f"workload {workload!r} is not in this run", expected="one of " + ", ".join(names))
        rows = self._frame[self._frame["pareto"]]
        rows = rows if workload is None else rows[rows["workload"] == workload]
        first = self.objectives[0]
        order = rows.assign(_order=rows["workload"].map(names.index))
        order = order.sort_values(["_order", first.name], ascending=[True, not first.maximise], kind="stable")
        order = order.drop(columns=["_order", "pareto", "infeasible", "resource"])
        return order.dropna(axis="columns", how="all").reset_index(drop=True)

    def next_command(self) -> str:
        """The command that shows the first workload's knee design op by op."""
        names = [record.name for record in self.manifest.identity.workloads]
        found = next((part for part in self.analysis.workloads if part.knee is not None), None)
        if found is None:
            return f"hwsim show {shlex.quote(self.manifest.arch_file)}"
        rows = self._frame[(self._frame["design"] == found.knee) & (self._frame["workload"] == found.workload)]
        row = rows.iloc[0].to_dict()
        file = self.manifest.workload_files[names.index(found.workload)]
        words = ["hwsim", "estimate", self.manifest.arch_file, file]
        for axis in self.parameters:
            value = row[axis.path].item() if hasattr(row[axis.path], "item") else row[axis.path]
            words += ["--set", f"{axis.path}={value} {axis.unit}".strip()]
        return shlex.join(words)

    def _repr_html_(self) -> str:
        """The Pareto table, for notebooks."""
        return str(self.pareto().to_html(index=False))


def open_run(path: str | Path) -> Run:
    """The finished run in a directory, for `hwsim report RUN_DIR`; UsageError if there is none or it never ended."""
    manifest = read_manifest(Path(path))
    if manifest.status != "finished":
        raise UsageError(
            f"{path} is {manifest.status}: {manifest.designs} of {manifest.budget} designs are evaluated",
            remedy=f"repeat `{manifest.command}` to go on" if manifest.command else "repeat its command to go on",
        )
    return Run(Path(path), manifest)


def explore(
    arch: Arch | str | Path,
    workloads: Sequence[Workload | str] = (),
    *,
    objectives: Sequence[str] = (),
    strategy: str | None = None,
    budget: int | None = None,
    jobs: int | None = None,
    scheduler: str | None = None,
    out: str | Path | None = None,
    seed: int = 0,
    samples: int = 128,
    sets: Mapping[str, Tree] | None = None,
    sweeps: Mapping[str, Tree] | None = None,
    progress: Progress | None = None,
    command: str = "",
) -> Run:
    """Evaluate many designs of an arch on some workloads and keep the Pareto fronts.

    `workloads` and `objectives` default to those of the arch file; `strategy` (grid, random, sobol, nsga2, tpe) to
    the whole grid if it fits the budget and to nsga2 otherwise; `budget` counts designs. `sets` and `sweeps` map a
    dotted path to a value, or to a list of choices or a `{low, high, log, step}` (`workload.` prefixes the path of a
    workload's field). `jobs` worker processes, or the Dask scheduler at the address `scheduler`, evaluate; what is
    written does not depend on them. `out` defaults to `runs/ARCH-HASH`, so that the same command resumes its run.
    `command` is recorded in the manifest. Accuracy objectives (top1, sqnr_db) execute `samples` of each workload's data
    in the arithmetic of every design.

    Raises SpecError for a bad search block, UsageError for an option that cannot be, Interrupted on Ctrl-C.
    """
    observer = progress or Silent()
    arch = _arch(arch, sets or {})
    chosen = find_objectives(objectives or arch.spec.objectives)
    executes = any(objective.measured for objective in chosen)
    own = arch.spec.accuracy_workloads if executes else ()
    loaded = _workloads(arch, list(workloads) or own or arch.spec.workloads, sets or {})
    space = build_space(arch, loaded, sweeps)
    default = EXECUTED_BUDGET if executes else DEFAULT_BUDGET
    strategy, budget = plan(space, strategy, budget, tuple(sweeps or ()), default)
    backend = backend_of(arch)
    check_labels(loaded, chosen)
    executed = samples if executes else 0
    problem = Problem(backend, arch, loaded, space, backend_version(backend), executed)
    identity = _identity(problem, chosen, strategy, seed)
    directory = Path(out) if out is not None else Path("runs") / f"{arch.name}-{identity.hash[:10]}"
    with claimed(directory, identity) as journal, open_executor(jobs, scheduler) as (executor, ahead):
        manifest = _manifest(problem, identity, budget, command)
        write_whole(directory / MANIFEST, _manifest_json(manifest))
        observer.start(budget, strategy, tuple(w.name for w in loaded), directory)
        for note in journal.notes:
            observer.note(note)
        search = _Search(problem, chosen, journal, executor, ahead, observer, budget)
        try:
            search.run(strategy, seed)
        except KeyboardInterrupt as error:
            done = search.tracker.designs
            write_whole(directory / MANIFEST, _manifest_json(_ended(manifest, "interrupted", search)))
            raise Interrupted(
                f"interrupted after {done} of {budget} designs; all are kept in {directory}",
                remedy="the same command goes on from here",
            ) from error
        analysis = analyse(problem, chosen, search.designs, search.points, observer)
        _write(directory, problem, chosen, search, analysis, sweeps or {})
        manifest = _ended(manifest, "finished", search)
        write_whole(directory / MANIFEST, _manifest_json(manifest))
    observer.finish(search.tracker.snapshot())
    return Run(directory, manifest)


def _arch(arch: Arch | str | Path, sets: Mapping[str, Tree]) -> Arch:
    hardware, _ = split_overrides(sets)
    return arch.with_values(hardware) if isinstance(arch, Arch) else load_arch(arch, hardware)


def _workloads(arch: Arch, named: Sequence[Workload | str], sets: Mapping[str, Tree]) -> tuple[Workload, ...]:
    """The workloads with those of `sets` in them whose path begins with `workload.`."""
    _, work = split_overrides(sets)
    if not named:
        raise UsageError(
            f"{arch.name} names no workload",
            where=arch.file,
            expected="one or more workloads to explore for",
            remedy="`--workload timm:deit_small_patch16_224`, or `workloads:` in the arch file",
        )
    loaded = tuple(
        item.with_values(work) if isinstance(item, Workload) else load_workload(item, work) for item in named
    )
    names = [workload.name for workload in loaded]
    if len(set(names)) < len(names):
        raise UsageError(f"a workload is given twice: {', '.join(names)}", got=names, remedy="name each once")
    return loaded


@dataclass
class _Search:
    """The loop of ask, evaluate and tell, and what it found."""

    problem: Problem
    objectives: tuple[Objective, ...]
    journal: Journal
    executor: Executor
    ahead: int
    observer: Progress
    budget: int

    def __post_init__(self) -> None:
        count = len(self.problem.workloads)
        self.tracker = Tracker(self.objectives, count, self.budget)
        self.designs: list[Design] = []
        self.points: list[list[Point]] = [[] for _ in range(count)]

    def run(self, strategy: str, seed: int) -> None:
        """Spend the budget, or end sooner when the space has no more designs."""
        sampler = make_sampler(self.problem.space, strategy, self.budget, seed, len(self.objectives))
        while (left := self.budget - len(self.designs)) > 0:
            designs = sampler.ask(min(sampler.batch, left))
            if not designs:
                break
            points = self._evaluate(designs)
            self.designs += designs
            for known, new in zip(self.points, points, strict=True):
                known += new
            sampler.tell(designs, costs(points, self.objectives))
        if not self.designs:
            raise UsageError(
                "no design meets the constraints: " + "; ".join(c.text for c in self.problem.space.constraints),
                where=self.problem.arch.file,
                remedy="widen the axes or relax a constraint",
            )
        if len(self.designs) < self.budget:
            self.observer.note(f"the search ends with {len(self.designs)} designs: the strategy proposes no new one")

    def _evaluate(self, designs: Sequence[Design]) -> list[list[Point]]:
        """Points per workload of a batch of designs, from the journal or from the model."""
        tasks = self.problem.tasks(designs)
        table: list[list[Point | None]] = [[None] * len(designs) for _ in self.problem.workloads]
        todo = []
        for task, pairs in tasks:
            known = [self.journal.points.get(key) for key in task.keys]
            for (index, workload), point in zip(pairs, known, strict=True):
                table[workload][index] = point
            missing = [row for row, point in enumerate(known) if point is None]
            if missing:
                todo.append((task.part(missing), [pairs[row] for row in missing]))
        fresh = {index for _, pairs in todo for index, _ in pairs}
        told: set[int] = set()
        self._report(table, told, fresh)
        for number, points in completed(self.executor, self.ahead, run_task, [task for task, _ in todo]):
            task, pairs = todo[number]
            self.journal.record(zip(task.keys, points, strict=True))
            for (index, workload), point in zip(pairs, points, strict=True):
                table[workload][index] = point
            self._report(table, told, fresh)
        return [[point for point in row if point is not None] for row in table]

    def _report(self, table: list[list[Point | None]], told: set[int], fresh: set[int]) -> None:
        """Tell the tracker of designs that are now known on every workload, and the observer of the tracker."""
        whole = [i for i in range(len(table[0])) if i not in told and all(row[i] is not None for row in table)]
        if not whole:
            return
        told.update(whole)
        points = [[point for i in whole if (point := row[i]) is not None] for row in table]
        self.tracker.add(points, reused=sum(index not in fresh for index in whole))
        self.observer.update(self.tracker.snapshot())


def _write(
    directory: Path,
    problem: Problem,
    objectives: Sequence[Objective],
    search: _Search,
    analysis: Analysis,
    sweeps: Mapping[str, Tree],
) -> None:
    """The files of a finished run, each whole."""
    columns = point_columns(problem, objectives, search.designs, search.points)
    write_whole(directory / POINTS, parquet_bytes(columns))
    document = problem.arch.document
    axes = {**(document.tree.get("search") or {}), **sweeps}
    write_whole(directory / LOCK, locked_arch(problem.arch, axes))
    write_whole(directory / ANALYSIS, analysis.to_text())
    run = Run(directory, read_manifest(directory))
    write_whole(directory / PARETO, run.pareto().to_csv(index=False, lineterminator="\n"))


def _identity(problem: Problem, objectives: Sequence[Objective], strategy: str, seed: int) -> Identity:
    first = problem.space.at([0.0] * len(problem.space.axes))
    return Identity(
        arch=problem.arch.name,
        arch_hash=problem.arch.content_hash,
        workloads=[_workload_record(problem, index, first) for index in range(len(problem.workloads))],
        axes=[_axis_record(axis) for axis in problem.space.axes],
        constraints=[constraint.text for constraint in problem.space.constraints],
        objectives=[objective.name for objective in objectives],
        strategy=strategy,
        seed=seed,
    )


def _workload_record(problem: Problem, index: int, first: Design) -> WorkloadRecord:
    workload, graph = problem.workloads[index], problem.graph(index, first)
    return WorkloadRecord(
        name=workload.name,
        graph_hash=graph.content_hash,
        macs=graph.macs,
        params=graph.params,
        batch=graph.batch,
        spec=resolved(workload.spec, workload.document),
    )


def _axis_record(axis: Axis) -> AxisRecord:
    from hwsim.explore.domain import Choices, Interval

    domain = axis.domain
    if isinstance(domain, Choices):
        return AxisRecord(path=axis.path, unit=axis.unit, values=list(domain.values))
    step = None if isinstance(domain, Interval) else domain.step
    return AxisRecord(path=axis.path, unit=axis.unit, low=domain.low, high=domain.high, step=step, log=domain.log)


def _manifest(problem: Problem, identity: Identity, budget: int, command: str) -> Manifest:
    return Manifest(
        status="running",
        command=command,
        identity=identity,
        identity_hash=identity.hash,
        arch_file=problem.arch.file,
        workload_files=[workload.document.file for workload in problem.workloads],
        backend=problem.arch.backend,
        backend_hash=problem.version,
        budget=budget,
        versions=_versions(),
        started=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in ("hwsim", "numpy", "optuna", "scipy", "torch", "timm"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _ended(manifest: Manifest, status: str, search: _Search) -> Manifest:
    reasons: dict[str, int] = {}
    feasible = 0
    for points in zip(*search.points, strict=True):
        broken = next((point.infeasible for point in points if point.infeasible), None)
        feasible += broken is None
        if broken is not None:
            reasons[broken.resource] = reasons.get(broken.resource, 0) + 1
    update = {
        "status": status,
        "elapsed_s": round(search.tracker.elapsed_s, 3),
        "designs": search.tracker.designs,
        "reused": search.tracker.reused,
        "feasible": feasible,
        "infeasible": dict(sorted(reasons.items(), key=lambda item: -item[1])),
    }
    return manifest.model_copy(update=update)


def _manifest_json(manifest: Manifest) -> str:
    return json.dumps(json.loads(manifest.model_dump_json(by_alias=True)), indent=2, ensure_ascii=False) + "\n"
