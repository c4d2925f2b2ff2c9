"""An exploration from a spec to a finished run: ask for designs, evaluate, tell, journal, write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hwsim.core.errors import EXIT_INTERRUPTED, HwsimError
from hwsim.explore.progress import Progress, Silent
from hwsim.spec.arch import Arch
from hwsim.spec.yaml import Tree
from hwsim.transforms.workload import Workload

if TYPE_CHECKING:
    import pandas as pd


class Interrupted(HwsimError):
    """Ctrl-C: what was evaluated is kept, and the same command goes on from there."""

    exit_code = EXIT_INTERRUPTED


@dataclass(frozen=True)
class Run:
    """A finished exploration, read from its directory."""

    path: Path

    def frame(self) -> pd.DataFrame:
        """A row per (design, workload)."""

    def pareto(self, workload: str | None = None) -> pd.DataFrame:
        """The rows no other design of the same workload beats in every objective."""


def open_run(path: str | Path) -> Run:
    """The finished run in a directory, for `hwsim report RUN_DIR`; UsageError if there is none."""


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
    `command` is recorded in the manifest.

    Raises SpecError for a bad search block, UsageError for an option that cannot be, Interrupted on Ctrl-C.
    """
