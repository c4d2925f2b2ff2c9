"""Accuracy of a workload in a design's arithmetic: executed, not guessed, and once per distinct arithmetic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hwsim.backends.base import Backend
from hwsim.core.errors import UsageError
from hwsim.core.hashing import content_hash
from hwsim.explore.objectives import Objective
from hwsim.spec.arch import Arch
from hwsim.transforms.workload import Workload


@dataclass(frozen=True)
class Accuracy:
    """Top-1 (NaN without labels) and the signal-to-quantization-noise ratio of the output in dB."""

    top1: float
    sqnr_db: float


_BATCH = 128

#: Designs that differ only in what costs time compute with the same arithmetic; per process.
_known: dict[str, Accuracy] = {}


def accuracy(backend: Backend, workload: Workload, arch: Arch, samples: int) -> Accuracy:
    """Execute `samples` of the workload's data in the arch's arithmetic."""
    from hwsim.backends.execution.session import run_workload

    arithmetic = backend.arithmetic(arch)
    # Where the hardware has operators of its own, any number of its spec may decide what they compute.
    own = repr(arch.spec) if type(backend).operators is not Backend.operators else ""
    key = content_hash([workload.graph.content_hash, repr(arithmetic), own, samples])
    if key not in _known:
        found = run_workload(
            workload,
            arithmetic,
            samples=samples,
            batch=min(samples, _BATCH),
            operators=lambda graph: backend.operators(graph, arch),
        )
        top1 = math.nan if found.top1 is None else found.top1
        _known[key] = Accuracy(top1, math.nan if found.sqnr_db is None else found.sqnr_db)
    return _known[key]


def check_labels(workloads: Sequence[Workload], objectives: Sequence[Objective]) -> None:
    """UsageError if top-1 is asked of a workload without trained weights or labelled data."""
    if all(objective.name != "top1" for objective in objectives):
        return
    for workload in workloads:
        if not workload.spec.weights or not workload.spec.data:
            raise UsageError(
                f"objective top1: {workload.name} names no weights or no labelled data",
                got=workload.name,
                expected="`weights:` and `data:` in the workload file, as in digits_vit",
                remedy="`sqnr_db` ranks number formats without labels; it is a proxy for accuracy",
            )
