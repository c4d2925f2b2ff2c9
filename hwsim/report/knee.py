"""The knee of a run as an arch and a graph again, and the pictures its backend draws of it."""

from __future__ import annotations

from collections.abc import Sequence

from hwsim.backends.base import Backend, Picture, backend_of
from hwsim.explore.run import Run
from hwsim.explore.store import LOCK
from hwsim.spec.arch import load_arch
from hwsim.spec.fields import as_si
from hwsim.spec.overrides import WORKLOAD_PREFIX
from hwsim.transforms.workload import load_workload


def knee_pictures(run: Run) -> Sequence[Picture]:
    """What the backend draws of the first workload's knee design; nothing if no design was feasible."""
    found = next((part for part in run.analysis.workloads if part.knee is not None), None)
    if found is None:
        return ()
    arch = load_arch(run.path / LOCK)
    backend = backend_of(arch)
    if type(backend).pictures is Backend.pictures:
        return ()
    frame = run.frame()
    row = frame[(frame["design"] == found.knee) & (frame["workload"] == found.workload)].iloc[0].to_dict()
    chosen = {axis.path: row[axis.path] for axis in run.parameters}
    plain = {path: as_si(v.item() if hasattr(v, "item") else v) for path, v in chosen.items()}
    names = [record.name for record in run.manifest.identity.workloads]
    workload = load_workload(run.manifest.workload_files[names.index(found.workload)])
    of_workload = {path: value for path, value in plain.items() if path.startswith(WORKLOAD_PREFIX)}
    workload = workload.with_values({path.removeprefix(WORKLOAD_PREFIX): v for path, v in of_workload.items()})
    of_arch = {path: value for path, value in plain.items() if path not in of_workload}
    return backend.pictures(workload.graph, arch.with_values(of_arch))
