"""What an execution reports: accuracy against the float model, noise, overflow and clamping per layer."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from hwsim.core.frozen import EMPTY, FrozenDict
from hwsim.core.results import Estimate

EXECUTE_SCHEMA = "hwsim/execute/1"


@dataclass(frozen=True)
class LayerReport:
    """One op over all samples.

    `form` is integer (computed in codes), moved (codes in another place), float (decoded, computed in float32,
    encoded) or own (decoded, computed by the hardware's own operator, encoded). `measured` is what that operator
    counted, such as photons per MAC. `overflows` counts accumulators that left their range, `clamped` outputs that left
    their format, `flipped` codes that another rounding rule would change. `sqnr_db` is None where nothing was lost.
    """

    name: str
    kind: str
    form: str
    sqnr_db: float | None
    outputs: int
    overflows: int
    clamped: int
    flipped: int | None = None
    measured: FrozenDict[str, float] = EMPTY

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "measured": dict(self.measured)}


@dataclass(frozen=True)
class Execution:
    """A workload executed on an arch's arithmetic, beside its float model.

    `sqnr_db` is that of the network's output: without labels (`top1` None) or with random weights it is the proxy for
    accuracy. `agreement` is the share of samples on which both choose the same class. `estimate` is the cost of the
    same graph on the same arch.
    """

    arch: str
    workload: str
    samples: int
    top1: float | None
    top1_float: float | None
    agreement: float
    sqnr_db: float | None
    layers: tuple[LayerReport, ...]
    elapsed_s: float
    weights: str = "random"
    data: str = "random"
    estimate: Estimate | None = None

    @property
    def overflows(self) -> int:
        """Outputs whose accumulator left its range, over all layers."""
        return sum(layer.overflows for layer in self.layers)

    @property
    def clamped(self) -> int:
        """Outputs that left their format, over all layers."""
        return sum(layer.clamped for layer in self.layers)

    @property
    def flipped(self) -> int | None:
        """Codes that the compared rounding rule changes, over all layers; None if none was compared."""
        counts = [layer.flipped for layer in self.layers if layer.flipped is not None]
        return sum(counts) if counts else None

    @property
    def forms(self) -> dict[str, int]:
        """How many ops ran as integers, as moves, and in float between codes."""
        return dict(Counter(layer.form for layer in self.layers))

    @property
    def is_proxy(self) -> bool:
        """Whether accuracy can only be guessed from the SQNR: no labels, or weights nobody trained."""
        return self.top1 is None or self.weights == "random"

    def to_json(self) -> dict[str, Any]:
        """The contract's `hwsim/execute/1`."""
        cost = self.estimate
        return {
            "schema": EXECUTE_SCHEMA,
            "arch": self.arch,
            "workload": self.workload,
            "samples": self.samples,
            "accuracy": {"top1": self.top1, "top1_float": self.top1_float},
            "agreement": self.agreement,
            "sqnr_db": self.sqnr_db,
            "proxy": self.is_proxy,
            "overflows": self.overflows,
            "clamped": self.clamped,
            "flipped": self.flipped,
            "forms": self.forms,
            "weights": self.weights,
            "data": self.data,
            "elapsed_s": self.elapsed_s,
            "latency_s": None if cost is None else cost.latency_s,
            "energy_j": None if cost is None else cost.energy_j,
            "energy_ledger_j": None if cost is None else dict(cost.energy_ledger_j),
            "notes": [] if cost is None else list(cost.notes),
            "layers": [layer.to_json() for layer in self.layers],
        }
