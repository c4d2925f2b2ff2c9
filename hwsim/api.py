"""The functions of hwsim: what the command line calls, and what a notebook calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec

from hwsim.backends.base import backend_of
from hwsim.core.results import Estimate, Infeasible
from hwsim.explore.run import explore as _search
from hwsim.spec.arch import Arch, load_arch
from hwsim.transforms.workload import Workload, load_workload

if TYPE_CHECKING:
    from hwsim.backends.execution.coding import Method
    from hwsim.backends.execution.result import Execution
    from hwsim.explore.run import Run
    from hwsim.spec.precision import Rounding

P = ParamSpec("P")

__all__ = ["estimate", "execute", "explain", "explore", "load_arch", "load_workload"]


def estimate(
    arch: Arch | str | Path, workload: Workload | str | Path, batch: int | None = None
) -> Estimate | Infeasible:
    """Latency, energy and area of `batch` samples of a workload on an arch, op by op.

    `batch` defaults to the workload's own. Returns Infeasible (data, not an exception) if the design does not fit;
    raises SpecError for a file or value the schema does not allow.
    """
    described, work = _loaded(arch, workload, batch)
    return backend_of(described).estimate(work.graph, described)


def execute(
    arch: Arch | str | Path,
    workload: Workload | str | Path,
    *,
    weights: str | Path | None = None,
    data: str | Path | None = None,
    samples: int = 256,
    batch: int = 16,
    calibration: Method = "minmax",
    smoothing: float | None = None,
    twin_gelu: bool = False,
    bridges: bool = False,
    compare_rounding: Rounding | None = None,
    seed: int = 0,
    device: str = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> Execution | Infeasible:
    """Run a workload on samples in the arch's own arithmetic, beside its float model.

    Returns Infeasible if the design does not fit: it computes nothing then.

    `weights` is a safetensors or checkpoint file, a bundled name, or `pretrained` (timm's own, if they are on this
    machine); by default the workload's, else random ones of `seed`. `data` is `digits`, `random`, a .npz file or a
    folder (CIFAR, or one folder of images per class); by default the workload's, else random inputs. `smoothing` is
    SmoothQuant's exponent, `twin_gelu` gives outputs of GELU two regions of codes, `bridges` chooses codes between
    convolutions and transformer blocks by reconstruction (Q-HyViT), and `compare_rounding` counts the codes that
    another rule would change. Raises CapabilityError for weights or data that are not there, UsageError for a file
    that does not fit the model and for a layer that makes NaN.
    """
    from hwsim.backends.execution.coding import Calibration
    from hwsim.backends.execution.session import run_workload

    described, work = _loaded(arch, workload, None)
    backend = backend_of(described)
    cost = backend.estimate(work.graph, described)
    if isinstance(cost, Infeasible):
        return cost
    execution = run_workload(
        work,
        backend.arithmetic(described),
        weights=weights,
        data=data,
        samples=samples,
        batch=batch,
        calibration=Calibration(calibration, smoothing, twin_gelu, bridges),
        compare_rounding=compare_rounding,
        seed=seed,
        device=device,
        progress=progress,
        operators=lambda _: backend.operators(work.graph, described, seed),
    )
    return replace(execution, arch=described.name, estimate=cost)


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
