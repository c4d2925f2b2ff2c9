"""The functions of hwsim: what the command line calls, and what a notebook calls."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec

from hwsim.backends.base import backend_of
from hwsim.core.results import Estimate, Infeasible
from hwsim.explore.run import explore as _search
from hwsim.spec.arch import Arch, load_arch
from hwsim.transforms.workload import Workload, load_workload

if TYPE_CHECKING:
    from hwsim.explore.run import Run

P = ParamSpec("P")

__all__ = ["estimate", "explain", "explore", "load_arch", "load_workload"]


def estimate(
    arch: Arch | str | Path, workload: Workload | str | Path, batch: int | None = None
) -> Estimate | Infeasible:
    """Latency, energy and area of `batch` samples of a workload on an arch, op by op.

    `batch` defaults to the workload's own. Returns Infeasible (data, not an exception) if the design does not fit;
    raises SpecError for a file or value the schema does not allow.
    """
    described, work = _loaded(arch, workload, batch)
    return backend_of(described).estimate(work.graph, described)


def _reported(search: Callable[P, Run]) -> Callable[P, Run]:
    """The search, followed by its report: `report` may import `explore`, but not the other way round."""

    @wraps(search)
    def explore(*args: P.args, **kwargs: P.kwargs) -> Run:
        from hwsim.report.html import write_report

        run = search(*args, **kwargs)
        write_report(run)
        return run

    return explore


explore = _reported(_search)


def explain(arch: Arch | str | Path, workload: Workload | str | Path, op: str, batch: int | None = None) -> str:
    """The formula behind one op's latency and energy, with its numbers."""
    described, work = _loaded(arch, workload, batch)
    work.graph.op(op)
    return backend_of(described).explain(work.graph, described, op)


def _loaded(arch: Arch | str | Path, workload: Workload | str | Path, batch: int | None) -> tuple[Arch, Workload]:
    described = arch if isinstance(arch, Arch) else load_arch(arch)
    work = workload if isinstance(workload, Workload) else load_workload(workload)
    return described, work if batch is None else work.with_values({"input.batch": batch}, "--batch")
