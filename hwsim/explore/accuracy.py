"""Accuracy of a workload in a design's arithmetic: executed, not guessed, and once per distinct arithmetic."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hwsim.backends.base import Backend
from hwsim.core.errors import UsageError
from hwsim.core.hashing import content_hash
from hwsim.explore.objectives import Objective
from hwsim.spec.arch import Arch
from hwsim.transforms.workload import Workload

if TYPE_CHECKING:
    from hwsim.backends.execution.arithmetic import Arithmetic
    from hwsim.backends.execution.data import Data
    from hwsim.backends.execution.run import Session


@dataclass(frozen=True)
class Accuracy:
    """Top-1 (NaN without labels) and the signal-to-quantization-noise ratio of the output in dB."""

    top1: float
    sqnr_db: float


_BATCH = 128

#: Designs that differ only in what costs time compute with the same arithmetic; per process.
_known: dict[str, Accuracy] = {}
#: The last network made ready: designs mostly differ in their own operators, not in arithmetic.
_ready: dict[str, tuple[Session, Data]] = {}


def accuracy(backend: Backend, workload: Workload, arch: Arch, samples: int) -> Accuracy:
    """Execute `samples` of the workload's data in the arch's arithmetic."""
    from hwsim.backends.execution.run import evaluate

    arithmetic = backend.arithmetic(arch)
    network = content_hash([workload.graph.content_hash, repr(workload.spec), repr(arithmetic), samples])
    key = content_hash([network, backend.operators_key(workload.graph, arch)])
    if key not in _known:
        with one_thread():
            session, data = _session(network, workload, arithmetic, samples)
            own = backend.operators(workload.graph, arch)
            found = evaluate(replace(session, operators=own), data, samples)
        top1 = math.nan if found.top1 is None else found.top1
        _known[key] = Accuracy(top1, math.nan if found.sqnr_db is None else found.sqnr_db)
    return _known[key]


@contextmanager
def one_thread() -> Iterator[None]:
    """As many threads as a worker process has: sums are taken in one order whoever evaluates a design."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _session(key: str, workload: Workload, arithmetic: Arithmetic, samples: int) -> tuple[Session, Data]:
    """The workload calibrated in an arithmetic, and its data."""
    from hwsim.backends.execution.session import calibrated, open_workload

    if key not in _ready:
        opened = open_workload(workload, min(samples, _BATCH))
        _ready.clear()
        _ready[key] = calibrated(opened, arithmetic), opened.data
    return _ready[key]


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
