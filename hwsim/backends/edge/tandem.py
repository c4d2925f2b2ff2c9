"""The exact fast path: where no two kinds of work meet, requests keep their order and each queue is one scan.

If every link carries one kind of transfer and every device one kind of task, then every queue sees the requests in
order of arrival and lets them out in the same order: a device is a Lindley recursion, a private route a
processor-sharing queue of equal jobs. Walking the tasks in order, each in one pass over all requests, gives the
event loop's times without its events.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hwsim.backends.edge.network import hop_rates, route_cap, route_latency_s
from hwsim.backends.edge.program import Cluster, Compute, Task, Transfer, sink_of, topological

if TYPE_CHECKING:
    from hwsim.backends.edge.simulation import RequestLog

Array = NDArray[np.float64]


def applies(cluster: Cluster, tasks: Sequence[Task]) -> bool:
    """Whether nothing contends: one task per device, one transfer per link, no batches, heat or batteries."""
    devices = [task.device for task in tasks if isinstance(task, Compute)]
    links = [
        i
        for task in tasks
        if isinstance(task, Transfer) and task.route is not None
        for i in cluster.routes[task.route].links
        if cluster.links[i].sharing != "fatpipe"
    ]
    if len(set(devices)) < len(devices) or len(set(links)) < len(links):
        return False
    if any(isinstance(task, Transfer) and task.standby for task in tasks):
        return False
    return all(d.batch == 1 and d.thermal is None and d.battery_j == np.inf for d in cluster.devices)


def run(cluster: Cluster, tasks: Sequence[Task], arrival_s: Array) -> RequestLog:
    """Every request's end, by one scan per distinct queue: equal queues fed alike are computed once."""
    done: dict[int, Array] = {}
    known: dict[tuple[object, ...], Array] = {}
    alive: list[Array] = []  # arrays in keys by identity, which a freed array could pass on
    for t in topological(tasks):
        task = tasks[t]
        start = latest([done[a] for a in task.after], arrival_s)
        alive.append(start)
        key: tuple[object, ...]
        if isinstance(task, Compute):
            service_s = (task.work_s + task.fixed_s) / cluster.devices[task.device].levels[0].clock_ratio
            key = (id(start), service_s)
            if key not in known:
                known[key] = served(start, service_s)
        else:
            speed, cap, latency = private_route(cluster, task)
            key = (id(start), speed, cap, latency, task.size_bytes)
            if key not in known:
                known[key] = moved(start + latency, task.size_bytes, speed, cap)
        done[t] = known[key]
    horizon = max((float(ends.max()) for ends in known.values() if ends.size), default=0.0)
    return log_of(cluster, tasks, arrival_s, done[sink_of(tasks)], horizon)


def served(ready_s: Array, service_s: float) -> Array:
    """Ends of equal jobs on one device."""
    from hwsim.backends.edge import scans

    done_s = np.empty_like(ready_s)
    scans.lindley(ready_s, service_s, done_s)
    return done_s


def moved(entry_s: Array, size_bytes: float, speed: float, cap: float) -> Array:
    """Ends of equal flows on a route of their own."""
    from hwsim.backends.edge import scans

    if size_bytes == 0.0 or (speed == np.inf and cap == np.inf):
        return entry_s
    done_s = np.empty_like(entry_s)
    scans.processor_sharing(entry_s, size_bytes, speed, cap, np.empty_like(entry_s), done_s)
    return done_s


def latest(ends: Sequence[Array], arrival_s: Array) -> Array:
    """When the last of the tasks waited for ended; the arrival where there is none. One object if they are one."""
    distinct = list({id(end): end for end in ends}.values())
    if not distinct:
        return arrival_s
    result = distinct[0]
    for end in distinct[1:]:
        result = np.maximum(result, end)
    return result


def private_route(cluster: Cluster, task: Transfer) -> tuple[float, float, float]:
    """B/s that the flows of a route used by nobody else share, B/s that each may have at most, and latency in s."""
    if task.route is None or not cluster.routes[task.route].links:
        return np.inf, np.inf, 0.0
    route, links, model = cluster.routes[task.route], cluster.links, cluster.model
    shared = [rate * (1.0 - link.loss) for link, rate in hop_rates(links, route) if link.sharing != "fatpipe"]
    speed = model.bandwidth_factor * min(shared, default=np.inf)
    return speed, route_cap(links, route, model), route_latency_s(links, route, model)


def log_of(cluster: Cluster, tasks: Sequence[Task], arrival_s: Array, done_s: Array, horizon_s: float) -> RequestLog:
    """The log of a run in which everything was done."""
    from hwsim.backends.edge.simulation import RequestLog, Trace, radio_totals

    requests, count = arrival_s.size, len(cluster.devices)
    busy = np.zeros(count)
    for task in tasks:
        if isinstance(task, Compute):
            busy[task.device] += (
                requests * (task.work_s + task.fixed_s) / cluster.devices[task.device].levels[0].clock_ratio
            )
    completed = np.full(len(tasks), requests, np.int64)
    idle_w = np.array([d.idle_w for d in cluster.devices])
    load_w = np.array([d.levels[0].load_w for d in cluster.devices])
    empty = np.full((0, len(tasks)), np.nan)
    return RequestLog(
        arrival_s=arrival_s,
        done_s=done_s,
        missing=np.zeros(requests, np.int64),
        missing_mask=np.zeros(requests, np.int64),
        completed=completed,
        horizon_s=float(horizon_s),
        busy_s=busy,
        device_energy_j=idle_w * (horizon_s - busy) + load_w * busy,
        radio_energy_j=radio_totals(cluster, tasks, completed),
        peak_c=np.zeros(count),
        throttled_s=np.zeros(count),
        empty_at_s=np.full(count, np.inf),
        trace=Trace(empty, empty, empty),
    )
