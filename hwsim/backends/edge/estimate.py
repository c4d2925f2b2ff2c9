"""One request on an idle cluster, op by op; and many requests under load, beside their closed forms."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hwsim.backends.edge.arrivals import periodic, poisson, recorded
from hwsim.backends.edge.plan import Part, Plan
from hwsim.backends.edge.program import Compute, Device, Transfer
from hwsim.backends.edge.queueing import MD1, fork_join_bounds, percentiles
from hwsim.backends.edge.simulation import RequestLog, Trace, simulate
from hwsim.backends.edge.spec import ClusterSpec, LoadSpec
from hwsim.core.frozen import FrozenDict
from hwsim.core.results import Estimate, OpEstimate, Span
from hwsim.graph.ir import Op, WorkloadGraph

ASSUMPTIONS = tuple(f"A{i}" for i in range(1, 16))


def estimate(graph: WorkloadGraph, arch_name: str, spec: ClusterSpec, plan: Plan) -> Estimate:
    """Latency and energy of one request (the graph's batch) that has the cluster to itself."""
    log = simulate(plan.cluster, plan.tasks, np.zeros(1), trace_requests=1, force_events=True)
    latency = float(log.latency_s[0])
    rows = tuple(op_row(op, plan, log.trace) for op in graph.ops)
    charged = radio_j(plan)
    rows = tuple(with_energy(row, plan, charged.get(row.name, 0.0)) for row in rows)
    idle = sum(device.idle_w for device in plan.cluster.devices) * latency
    staging = sum(
        task.work_s * (top(plan.cluster.devices[task.device]) - plan.cluster.devices[task.device].idle_w)
        for t, task in enumerate(plan.tasks)
        if isinstance(task, Compute) and t in plan.owner
    )
    return Estimate(
        arch=arch_name,
        workload=graph.name,
        batch=graph.batch,
        latency_s=latency,
        macs=graph.macs,
        params=graph.params,
        ops=rows,
        static_ledger_j=FrozenDict({"idle": idle, "staging": staging}),
        throughput_per_s=graph.batch / bottleneck_s(plan),
        assumptions=ASSUMPTIONS,
        notes=(*plan.notes, *placement_notes(plan), *error_notes(spec, latency), *load_notes(spec, plan)),
        spans=timeline(plan, log.trace, latency),
    )


def top(device: Device) -> float:
    """Watts of a device at full clock."""
    return device.levels[0].load_w


def op_row(op: Op, plan: Plan, trace: Trace) -> OpEstimate:
    """Where and when an op ran: from the first start to the last end of its parts."""
    parts = plan.parts[op.name]
    starts, ends = zip(*(moments(part, plan, trace) for part in parts), strict=True)
    cost = max(parts, key=lambda part: part.seconds).cost
    names = [plan.cluster.devices[part.device].name for part in parts]
    busy = sum(part.seconds for part in parts)
    whole = sum(part.cost.seconds() for part in parts) / len(parts)
    utilization = None
    if cost.utilization is not None and busy > 0.0:
        utilization = min(1.0, cost.utilization * whole / busy)
    return OpEstimate(
        name=op.name,
        kind=op.kind,
        macs=op.macs,
        latency_s=max(ends) - min(starts),
        energy_ledger_j=FrozenDict({"compute": sum(part_energy_j(part, plan) for part in parts)}),
        start_s=min(starts),
        unit=names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more",
        choice=plan.method,
        utilization=utilization if utilization is None or utilization > 0.0 else None,
        bound_by=cost.bound_by,
    )


def moments(part: Part, plan: Plan, trace: Trace) -> tuple[float, float]:
    """Start and end of a part: its place in its task, stretched as the task was by a lower clock."""
    start, end = float(trace.start_s[0, part.task]), float(trace.end_s[0, part.task])
    task = plan.tasks[part.task]
    nominal = task.work_s if isinstance(task, Compute) else 0.0
    stretch = (end - start) / nominal if nominal > 0.0 else 0.0
    begin = min(end, start + part.offset_s * stretch)
    return begin, min(end, begin + part.seconds * stretch)


def part_energy_j(part: Part, plan: Plan) -> float:
    """Joules above idle: the other backend's figure, or the device's load power while it works."""
    if part.cost.energy_j is not None:
        return part.cost.energy_j * part.share
    device = plan.cluster.devices[part.device]
    return (top(device) - device.idle_w) * part.seconds


def radio_j(plan: Plan) -> dict[str, float]:
    """Joules that each op's transfers cost the radios of both ends."""
    charged: dict[str, float] = {}
    for t, name in plan.owner.items():
        task = plan.tasks[t]
        if isinstance(task, Transfer) and task.route is not None:
            sender = 0.0 if task.sender is None else plan.cluster.devices[task.sender].radio.send_j(task.size_bytes)
            receiver = 0.0
            if task.receiver is not None:
                receiver = plan.cluster.devices[task.receiver].radio.receive_j(task.size_bytes)
            charged[name] = charged.get(name, 0.0) + sender + receiver
    return charged


def with_energy(row: OpEstimate, plan: Plan, radio: float) -> OpEstimate:
    """The row with its radio energy."""
    from dataclasses import replace

    if radio == 0.0:
        return row
    return replace(row, energy_ledger_j=FrozenDict({**row.energy_ledger_j, "radio": radio}))


def bottleneck_s(plan: Plan) -> float:
    """Least time between requests in steady state: the busiest device or link."""
    busy = np.zeros(len(plan.cluster.devices))
    carried = np.zeros(max(1, len(plan.cluster.links)))
    for task in plan.tasks:
        if isinstance(task, Compute):
            busy[task.device] += task.work_s
        elif task.route is not None:
            for i in plan.cluster.routes[task.route].links:
                link = plan.cluster.links[i]
                rate = link.bandwidth_bytes_per_s * plan.cluster.model.bandwidth_factor * (1.0 - link.loss)
                carried[i] += task.size_bytes / rate
    return float(max(busy.max(), carried.max()))


def timeline(plan: Plan, trace: Trace, latency_s: float) -> tuple[Span, ...]:
    """What each device and each link did when."""
    spans = []
    for t, task in enumerate(plan.tasks):
        start, end = float(trace.start_s[0, t]), float(trace.end_s[0, t])
        if not (np.isfinite(start) and end > start):
            continue
        if isinstance(task, Compute):
            tracks = [plan.cluster.devices[task.device].name]
        elif task.route is not None:
            tracks = [
                f"link {plan.cluster.links[i].name}" for i in dict.fromkeys(plan.cluster.routes[task.route].links)
            ]
        else:
            tracks = []
        spans += [Span(track, task.name, start, min(end, latency_s) - start) for track in tracks]
    return tuple(spans)


def error_notes(spec: ClusterSpec, latency_s: float) -> tuple[str, ...]:
    """The error bar that the least certain device gives the latency, taken as if all of it were that device's."""
    error = max((d.compute.error for d in spec.devices if d.compute is not None), default=0.0)
    return (
        (f"latency {latency_s:.4g} s +- {error * latency_s:.2g} s: devices are known to {error:.0%}",) if error else ()
    )


def placement_notes(plan: Plan) -> tuple[str, ...]:
    """Which device holds how much."""
    names = [device.name for device in plan.cluster.devices]
    held = [f"{names[d]} {size / 2**20:.1f} MiB" for d, size in sorted(plan.memory_bytes.items())[:12]]
    more = len(plan.memory_bytes) - len(held)
    return (f"{plan.method} on " + ", ".join(held) + (f" and {more} more" if more > 0 else ""),)


def arrivals_of(load: LoadSpec) -> NDArray[np.float64]:
    """Arrival times in s."""
    if load.arrivals == "trace":
        return recorded(Path(str(load.file)))[: load.requests]
    if load.arrivals == "periodic":
        return periodic(load.rate, load.requests)
    return poisson(load.rate, load.requests, load.seed)


def under_load(spec: ClusterSpec, plan: Plan) -> RequestLog | None:
    """The simulation of `spec.load`; None where the file has none."""
    if spec.load is None:
        return None
    return simulate(plan.cluster, plan.tasks, arrivals_of(spec.load))


def load_notes(spec: ClusterSpec, plan: Plan) -> tuple[str, ...]:
    """Percentiles under load, and the M/D/1 wait of the busiest device beside them."""
    log = under_load(spec, plan)
    if log is None or spec.load is None:
        return ()
    latency = log.latency_s[np.isfinite(log.done_s)]
    p = percentiles(latency)
    lost = log.done_s.size - latency.size
    lines = [
        f"{log.done_s.size} requests at {spec.load.rate:g}/s: mean {p.mean:.4g} s, p50 {p.p50:.4g}, p95 {p.p95:.4g}, "
        f"p99 {p.p99:.4g}, max {p.maximum:.4g} s" + (f"; {lost} never ended" if lost else ""),
        utilization_note(plan, log),
    ]
    services = services_s(plan)
    service_s = max(services.values())
    if spec.load.arrivals == "poisson" and spec.load.rate * service_s < 1.0:
        queue = MD1(spec.load.rate, service_s)
        waits = [queue.wait_percentile(q) for q in (0.5, 0.95, 0.99)]
        lines.append(
            f"M/D/1 wait at the busiest device ({service_s:.4g} s each): mean {queue.mean_s:.4g} s, "
            f"p50 {waits[0]:.4g}, p95 {waits[1]:.4g}, p99 {waits[2]:.4g} s"
        )
        if plan.method == "branches":
            lines.append(fork_join_note(spec.load.rate, list(services.values())))
    return tuple(lines)


def services_s(plan: Plan) -> dict[int, float]:
    """Work of one request on each device that has any."""
    busy: dict[int, float] = {}
    for task in plan.tasks:
        if isinstance(task, Compute):
            busy[task.device] = busy.get(task.device, 0.0) + task.work_s
    return busy


def fork_join_note(rate_hz: float, services: Sequence[float]) -> str:
    """Bounds on wait and work at the last of all devices, without transfers: what the simulation must not beat."""
    queues = [MD1(rate_hz, service_s) for service_s in services]
    longest = max(q.wait_percentile(0.9999) + s for q, s in zip(queues, services, strict=True))
    times = np.linspace(0.0, 2.0 * longest, 4001)
    surely, at_best = fork_join_bounds(queues, services, times)
    spans = (
        f"p{100 * q:g} {times[np.searchsorted(at_best, q)]:.4g} to {times[np.searchsorted(surely, q)]:.4g} s"
        for q in (0.5, 0.95, 0.99)
    )
    return f"fork-join of {len(services)} devices, wait and work without transfers: " + ", ".join(spans)


def utilization_note(plan: Plan, log: RequestLog) -> str:
    """Share of the time that devices were busy, and energy per request."""
    share: Sequence[float] = (log.busy_s / max(log.horizon_s, 1e-300)).tolist()
    busiest = int(np.argmax(share))
    joules = float(log.device_energy_j.sum() + log.radio_energy_j.sum()) / max(1, log.done_s.size)
    return f"busiest device {plan.cluster.devices[busiest].name} {share[busiest]:.1%}; {joules:.4g} J per request"
