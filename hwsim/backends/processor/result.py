"""Predictions as results: kernels charged to ops, energy to a ledger, and the numbers behind one op in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from hwsim.backends.processor.device import calibration_of, device_of, runtime_of
from hwsim.backends.processor.estimate import Device, Prediction, predict
from hwsim.backends.processor.kernels import KernelTable, Kind
from hwsim.backends.processor.lower import lower
from hwsim.backends.processor.mapper import misfit, place
from hwsim.backends.processor.spec import ProcessorSpec
from hwsim.core.frozen import FrozenDict
from hwsim.core.results import Estimate, Infeasible, OpEstimate
from hwsim.core.units import show
from hwsim.graph.ir import Op, WorkloadGraph


@dataclass
class _Charge:
    """What one op's kernels add up to."""

    latency_s: float = 0.0
    start_s: float | None = None
    ledger: dict[str, float] = field(default_factory=dict)
    memory_bytes: float = 0.0
    compute_s: float = 0.0
    memory_s: float = 0.0
    fixed_s: float = 0.0
    flop_per_cycle: float = 0.0


def run(graph: WorkloadGraph, spec: ProcessorSpec) -> tuple[KernelTable, Device, Prediction]:
    """Kernels, device and prediction of the graph at its batch."""
    table, device = lower(graph, runtime_of(spec)), device_of(spec)
    return table, device, predict(table, float(graph.batch), device)


def estimate(graph: WorkloadGraph, arch: str, spec: ProcessorSpec) -> Estimate | Infeasible:
    """The estimate of one run of `graph`, or what memory it lacks."""
    lack = misfit(graph, spec)
    if lack is not None:
        return lack
    table, device, prediction = run(graph, spec)
    charges = _charges(table, prediction, device)
    placements = {placement.op: placement for placement in place(graph, table)}
    cycles_per_s = device.machine.cores * device.machine.clock_hz
    rows = []
    for op in graph.ops:
        charge = charges.get(op.name, _Charge())
        spot = placements[op.name]
        rows.append(
            OpEstimate(
                name=op.name, kind=op.kind, macs=op.macs, latency_s=charge.latency_s, start_s=charge.start_s or 0.0,
                energy_ledger_j=FrozenDict(charge.ledger), unit=spot.unit, choice=spot.choice,
                utilization=_utilization(op, charge, cycles_per_s),
                bytes=FrozenDict({"memory": charge.memory_bytes}), bound_by=_bound(charge),
            )
        )  # fmt: skip
    operating = prediction.operating
    return Estimate(
        arch=arch, workload=graph.name, batch=graph.batch, latency_s=prediction.latency_s, macs=graph.macs,
        params=graph.params, ops=tuple(rows),
        static_ledger_j=FrozenDict({
            "idle": operating.idle_w * prediction.latency_s,
            "active": _active_w(device, prediction) * prediction.latency_s,
        }),
        assumptions=_ASSUMPTIONS, notes=tuple(_notes(spec, prediction)),
    )  # fmt: skip


_ASSUMPTIONS = tuple(f"A{number}" for number in range(1, 17))


def _active_w(device: Device, prediction: Prediction) -> float:
    busy = float(prediction.kernel_s.sum()) / prediction.latency_s if prediction.latency_s else 0.0
    return device.power.active * device.electrics.idle_w * busy


def _notes(spec: ProcessorSpec, prediction: Prediction) -> list[str]:
    calibration, operating = calibration_of(spec), prediction.operating
    borrowed = " and ".join(calibration.transferred)
    state = f"{borrowed} not measured on this device" if borrowed else "calibrated on this device"
    notes = [f"{state}; {calibration.source}"]
    if operating.capped:
        notes.append(f"the {show(spec.power.limit_w, 'W')} cap holds the clock at {show(operating.clock_hz, 'Hz')}")
    return notes


def _charges(table: KernelTable, prediction: Prediction, device: Device) -> Mapping[str, _Charge]:
    """Kernel by kernel onto the op it is charged to."""
    voltage, clock = prediction.operating.voltage, prediction.operating.clock_hz
    activity, demand, work = prediction.activity, prediction.demand, prediction.work
    parts = {
        "matrix": (activity.matrix_j + activity.fp32_j) * voltage**2, "simd": activity.simd_j * voltage**2,
        "on-chip traffic": activity.core_j * voltage**2, "memory": activity.memory_j,
    }  # fmt: skip
    compute, memory = demand.cycles / clock, demand.memory_s + demand.cache_cycles / clock
    simd = device.machine.simd_flop_per_cycle
    matrix = np.maximum(device.machine.matrix_flop_per_cycle[work.format], simd)
    peaks = np.where(work.kind == Kind.SIMD_MATMUL, simd, matrix)
    charges: dict[str, _Charge] = {}
    for launch, (kernel, index) in enumerate(zip(table.kernels, table.index, strict=True)):
        charge = charges.setdefault(kernel.ops[0], _Charge())
        if charge.start_s is None:
            charge.start_s = float(prediction.start_s[launch])
        charge.latency_s += float(prediction.kernel_s[launch])
        for name, column in parts.items():
            if column[index]:
                charge.ledger[name] = charge.ledger.get(name, 0.0) + float(column[index])
        charge.flop_per_cycle = max(charge.flop_per_cycle, float(peaks[index]))
        charge.memory_bytes += float(work.read[index] + work.write[index])
        charge.compute_s += float(compute[index])
        charge.memory_s += float(memory[index])
        charge.fixed_s += float(demand.start_s[index] + demand.latency_s[index])
    return charges


def _utilization(op: Op, charge: _Charge, cycles_per_s: float) -> float | None:
    """Share of the arithmetic peak in the formats of the kernels charged to the op, over their time."""
    if not op.macs or charge.latency_s <= 0:
        return None
    return float(min(1.0, 2 * op.macs / (cycles_per_s * charge.flop_per_cycle * charge.latency_s)))


def _bound(charge: _Charge) -> str:
    if charge.latency_s <= 0:
        return ""
    return max(("compute", charge.compute_s), ("memory", charge.memory_s), ("launch", charge.fixed_s), key=_second)[0]


def _second(pair: tuple[str, float]) -> float:
    return pair[1]


def explain(graph: WorkloadGraph, spec: ProcessorSpec, op: str) -> str:
    """The kernels that compute one op, with shape, traffic and the terms of their time."""
    graph.op(op)
    table, _device, prediction = run(graph, spec)
    mine = [(k, i) for k, i in zip(table.kernels, table.index, strict=True) if op in k.ops]
    if not mine:
        return f"{op} is a view: it launches 0 kernels and takes 0 s"
    clock, demand, work = prediction.operating.clock_hz, prediction.demand, prediction.work
    lines = [f"{op} at {show(clock, 'Hz')} ({calibration_of(spec).source})"]
    for kernel, i in mine:
        what = kernel.kind.name.lower() + ("" if kernel.ops[0] == op else f" charged to {kernel.ops[0]}")
        shape = (
            f" {work.products[i]:g} x [{work.m[i]:g} x {work.n[i]:g} x {work.k[i]:g}] {kernel.format}"
            if kernel.m
            else ""
        )
        lines.append(f"  {what}{shape}: {show(float(demand.seconds(clock)[i]), 's')}")
        lines.append(
            f"    compute {show(float(demand.cycles[i]) / clock, 's')}"
            f" = {demand.cycles[i]:.4g} cycles / {show(clock, 'Hz')};"
            f" memory {show(float(demand.memory_s[i] + demand.cache_cycles[i] / clock), 's')}"
            f" for {show(float(work.read[i]), 'B')} read and {show(float(work.write[i]), 'B')} written;"
            f" start {show(float(demand.start_s[i]), 's')}; joined as a {demand.overlap:.3g}-norm"
        )
    return "\n".join(lines)
