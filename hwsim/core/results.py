"""Results: what a backend says of a workload on an arch. Plain frozen data with a stable JSON form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hwsim.core.frozen import EMPTY, FrozenDict, frozen

ESTIMATE_SCHEMA = "hwsim/estimate/1"
INFEASIBLE_SCHEMA = "hwsim/infeasible/1"


@dataclass(frozen=True)
class OpEstimate:
    """Cost of one op. What a backend has no notion of (cycles on a GPU) is None.

    `unit` is the place the mapper chose (`array`, `vector`, `optics`, `host`, `dma`); `start_s` is measured from the
    start of the inference; `bytes` counts traffic per memory level; `energy_ledger_j` sums to `energy_j`.
    """

    name: str
    kind: str
    macs: int
    latency_s: float
    energy_ledger_j: FrozenDict[str, float]
    start_s: float = 0.0
    unit: str = ""
    choice: str = ""
    cycles: int | None = None
    compute_cycles: int | None = None
    stall_cycles: int | None = None
    utilization: float | None = None
    bytes: FrozenDict[str, float] = field(default=EMPTY)
    bound_by: str = ""

    @property
    def energy_j(self) -> float:
        return sum(self.energy_ledger_j.values())

    def to_json(self) -> dict[str, Any]:
        """The op's row of `hwsim/estimate/1`."""
        return {
            "name": self.name,
            "kind": self.kind,
            "macs": self.macs,
            "cycles": self.cycles,
            "compute_cycles": self.compute_cycles,
            "stall_cycles": self.stall_cycles,
            "latency_s": self.latency_s,
            "start_s": self.start_s,
            "energy_j": self.energy_j,
            "energy_ledger_j": dict(self.energy_ledger_j),
            "utilization": self.utilization,
            "bytes": dict(self.bytes),
            "bound_by": self.bound_by,
            "unit": self.unit,
            "choice": self.choice,
        }

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> OpEstimate:
        names = {
            "name", "kind", "macs", "cycles", "compute_cycles", "stall_cycles", "latency_s", "start_s",
            "utilization", "bound_by", "unit", "choice",
        }  # fmt: skip
        return cls(
            **{name: row[name] for name in names},
            energy_ledger_j=frozen(row["energy_ledger_j"]),
            bytes=frozen(row["bytes"]),
        )


@dataclass(frozen=True)
class Span:
    """Something that occupied a track of the timeline; `counters` are values sampled at its start."""

    track: str
    name: str
    start_s: float
    duration_s: float
    counters: FrozenDict[str, float] = field(default=EMPTY)


@dataclass(frozen=True)
class Estimate:
    """Latency, energy and area of one inference of `batch` samples, with a ledger entry per op.

    `energy_ledger_j` is the op ledgers summed by component plus `static_ledger_j`, what the system burns whatever op
    runs (leakage, idle power over the whole latency); `assumptions` names the numbered simplifications used.
    """

    arch: str
    workload: str
    batch: int
    latency_s: float
    macs: int
    params: int
    ops: tuple[OpEstimate, ...]
    static_ledger_j: FrozenDict[str, float] = field(default=EMPTY)
    area_mm2: float | None = None
    throughput_per_s: float | None = None
    assumptions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    spans: tuple[Span, ...] = ()

    @property
    def energy_ledger_j(self) -> FrozenDict[str, float]:
        total = dict(self.static_ledger_j)
        for op in self.ops:
            for component, energy_j in op.energy_ledger_j.items():
                total[component] = total.get(component, 0.0) + energy_j
        return FrozenDict(total)

    @property
    def energy_j(self) -> float:
        return sum(self.energy_ledger_j.values())

    @property
    def power_w(self) -> float:
        return self.energy_j / self.latency_s if self.latency_s > 0 else 0.0

    def timeline(self) -> tuple[Span, ...]:
        """What occupied which track when; the ops themselves where the backend gave no finer spans."""
        return self.spans or tuple(
            Span(op.unit or "device", op.name, op.start_s, op.latency_s) for op in self.ops if op.latency_s > 0
        )

    def to_json(self) -> dict[str, Any]:
        """The contract's `hwsim/estimate/1`."""
        throughput = self.throughput_per_s
        if throughput is None and self.latency_s > 0:
            throughput = self.batch / self.latency_s
        return {
            "schema": ESTIMATE_SCHEMA,
            "arch": self.arch,
            "workload": self.workload,
            "batch": self.batch,
            "latency_s": self.latency_s,
            "energy_j": self.energy_j,
            "power_w": self.power_w,
            "area_mm2": self.area_mm2,
            "throughput_per_s": throughput,
            "macs": self.macs,
            "params": self.params,
            "energy_ledger_j": dict(self.energy_ledger_j),
            "static_ledger_j": dict(self.static_ledger_j),
            "assumptions": list(self.assumptions),
            "notes": list(self.notes),
            "ops": [op.to_json() for op in self.ops],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Estimate:
        """The estimate that `to_json` wrote (its timeline spans are not part of the contract)."""
        return cls(
            arch=data["arch"],
            workload=data["workload"],
            batch=data["batch"],
            latency_s=data["latency_s"],
            macs=data["macs"],
            params=data["params"],
            ops=tuple(OpEstimate.from_json(row) for row in data["ops"]),
            static_ledger_j=frozen(data["static_ledger_j"]),
            area_mm2=data["area_mm2"],
            throughput_per_s=data["throughput_per_s"],
            assumptions=tuple(data["assumptions"]),
            notes=tuple(data["notes"]),
        )


@dataclass(frozen=True)
class Lever:
    """A change that makes a design feasible: the smallest `value` of `path` that does."""

    path: str
    value: float
    unit: str
    text: str = ""

    def to_json(self) -> dict[str, Any]:
        return {"path": self.path, "value": self.value, "unit": self.unit, "text": self.text}


@dataclass(frozen=True)
class Infeasible:
    """`Does not fit`, as data: which resource, how much is demanded of what bound, and what would fit."""

    resource: str
    demand: float
    bound: float
    unit: str
    reason: str
    op: str | None = None
    levers: tuple[Lever, ...] = ()

    @property
    def gap(self) -> float:
        return self.demand - self.bound

    def to_json(self) -> dict[str, Any]:
        """The contract's `hwsim/infeasible/1`."""
        return {
            "schema": INFEASIBLE_SCHEMA,
            "resource": self.resource,
            "demand": self.demand,
            "bound": self.bound,
            "gap": self.gap,
            "unit": self.unit,
            "reason": self.reason,
            "op": self.op,
            "levers": [lever.to_json() for lever in self.levers],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Infeasible:
        return cls(
            resource=data["resource"],
            demand=data["demand"],
            bound=data["bound"],
            unit=data["unit"],
            reason=data["reason"],
            op=data["op"],
            levers=tuple(Lever(**lever) for lever in data["levers"]),
        )
