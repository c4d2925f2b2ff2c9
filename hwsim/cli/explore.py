"""`hwsim explore`: search the design space of an arch and show the Pareto front."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from hwsim.cli.options import Format, Sets, overrides
from hwsim.cli.output import console, note, print_csv, print_json, table
from hwsim.core.errors import SpecError

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

    from hwsim.explore.progress import Snapshot
    from hwsim.explore.run import Run
    from hwsim.spec.yaml import Tree


def run(
    arch: str,
    /,
    *,
    workload: Annotated[tuple[str, ...], Parameter(name=["--workload", "-w"], negative=())] = (),
    objectives: str = "",
    strategy: str | None = None,
    budget: int | None = None,
    jobs: Annotated[int | None, Parameter(name=["--jobs", "-j"])] = None,
    scheduler: str | None = None,
    out: Path | None = None,
    seed: int = 0,
    samples: int = 128,
    set: Sets = (),
    sweep: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    top: int = 10,
    format: Format = "table",
) -> int:
    """Search the design space of an arch; the same command resumes an interrupted run.

    Parameters
    ----------
    arch
        An arch file with a search block, or the bare name of a bundled one.
    workload
        A workload file, bare name or source; repeatable. The arch's own list by default.
    objectives
        Names joined by commas, all minimised but accuracy: latency_s,energy_j,area_mm2.
    strategy
        grid, random, sobol, nsga2 or tpe; grid if it fits the budget, else nsga2.
    budget
        How many designs to evaluate.
    jobs
        Worker processes; all cores by default.
    scheduler
        Address of a Dask scheduler that evaluates instead of local processes.
    out
        Directory of the run; runs/ARCH-HASH by default.
    seed
        Seed of the search: equal seeds give equal runs, whatever --jobs is.
    samples
        How many samples the objectives top1 and sqnr_db execute.
    sweep
        PATH=V1,V2 or PATH={low: .., high: ..}: search this field too (or instead).
    top
        How many designs of each front the table shows.
    """
    from hwsim import api

    narrator = Narrator()
    try:
        found = api.explore(
            arch,
            workload,
            objectives=[name.strip() for name in objectives.split(",") if name.strip()],
            strategy=strategy,
            budget=budget,
            jobs=jobs,
            scheduler=scheduler,
            out=out,
            seed=seed,
            samples=samples,
            sets=overrides(set),
            sweeps=_sweeps(sweep),
            progress=narrator,
            command=shlex.join(["hwsim", *sys.argv[1:]]),
        )
    finally:
        narrator.close()
    show_run(found, top, format)
    return 0


def _sweeps(texts: tuple[str, ...]) -> dict[str, Tree]:
    """`--sweep` texts as path -> list of choices or a range mapping."""
    from hwsim.spec.overrides import parse_assignment
    from hwsim.spec.yaml import parse_value

    found: dict[str, Tree] = {}
    for text in texts:
        path, sign, value = text.partition("=")
        items = [item.strip() for item in value.split(",")]
        if sign and not value.lstrip().startswith(("[", "{")):
            if not path.strip() or not all(items):
                raise SpecError(f"--sweep {text!r} has no values", expected="--sweep PATH=V1,V2")
            found[path.strip()] = [parse_value(item, f"--sweep {text}") for item in items]
        else:
            path, found[path.strip()] = parse_assignment(text, "--sweep")
    return found


def show_run(found: Run, top: int, format: str) -> None:
    """The Pareto fronts of a run on stdout, and where everything is on stderr."""
    # Through JSON text, which has no NaN: what an objective lacks is null.
    rows = json.loads(found.pareto().to_json(orient="records", double_precision=15))
    if format == "json":
        print_json({"schema": "hwsim/pareto/1", "run": str(found.path), "designs": rows})
    elif format == "csv":
        print_csv(rows)
    else:
        from hwsim.report.tables import pareto_tables

        out = console()
        for made in pareto_tables(found, top):
            out.print(table(made.title, made.columns, made.rows, right=made.right))
            if made.note:
                out.print(made.note, style="dim", markup=False)
    note(f"run    {found.path}")
    note(f"page   {found.path / 'report.html'}")
    note(f"next   hwsim report {found.path}   or one design:  {found.next_command()}")


class Narrator:
    """Draws progress on stderr: a bar on a terminal, a plain line now and then elsewhere."""

    def __init__(self) -> None:
        self._bar: Bar | None = None
        self._task: TaskID | None = None
        self._next_line = 0.0

    def start(self, budget: int, strategy: str, workloads: tuple[str, ...], out: Path) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        note(f"exploring {budget} designs ({strategy}) of {', '.join(workloads)} into {out}")
        if sys.stderr.isatty():
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, TextColumn("{task.fields[state]}"), console=console(err=True))
            self._task = self._bar.add_task("designs", total=budget, state="")
            self._bar.start()

    def update(self, snapshot: Snapshot) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=snapshot.designs, state=_state(snapshot))
        elif snapshot.elapsed_s >= self._next_line:
            note(f"{snapshot.designs}/{snapshot.budget} designs   {_state(snapshot)}")
            self._next_line = snapshot.elapsed_s + 2.0

    def note(self, text: str) -> None:
        if self._bar is not None:
            self._bar.console.print(text, markup=False)
        else:
            note(text)

    def finish(self, snapshot: Snapshot) -> None:
        self.close()
        note(
            f"{snapshot.designs} designs in {snapshot.elapsed_s:.1f} s ({snapshot.reused} reused)   {_state(snapshot)}"
        )

    def close(self) -> None:
        """Give the terminal back, also after an error or Ctrl-C."""
        if self._bar is not None:
            self._bar.stop()


def _state(snapshot: Snapshot) -> str:
    from hwsim.core.units import show

    units = {"latency_s": "s", "energy_j": "J", "power_w": "W"}
    shown = {name: show(v, units[name]) if name in units else f"{v:.4g}" for name, v in snapshot.best.items()}
    best = "  ".join(f"best {name} {value}" for name, value in shown.items())
    rate = snapshot.designs_per_s
    return (
        f"{rate:{'.0f' if rate >= 10 else '.2g'}}/s  front {snapshot.front}  infeasible {snapshot.infeasible}  {best}"
    )
