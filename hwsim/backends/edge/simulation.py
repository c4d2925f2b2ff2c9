"""Simulate requests on a cluster: the public face of the event loop and of its exact fast path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hwsim.backends.edge.network import check_links
from hwsim.backends.edge.program import (
    Cluster,
    Compute,
    Task,
    Transfer,
    sink_of,
    topological,
)
from hwsim.core.errors import UsageError

if TYPE_CHECKING:
    from hwsim.backends.edge.world import World


class Recovery(IntEnum):
    """What happens to work on a device that is down (A12).

    WAIT: it starts again when the device is back. DROP: the request goes on without it. REASSIGN: its spare does it.
    """

    WAIT = 0
    DROP = 1
    REASSIGN = 2


@dataclass(frozen=True)
class Change:
    """At `at_s` a device or a link runs at `fraction` of its full speed or capacity: 0 is down, 1 is well again."""

    at_s: float
    fraction: float
    device: int | None = None
    link: int | None = None


@dataclass(frozen=True)
class Faults:
    """What goes wrong, and what is done about it. A request past its deadline is fused from what has arrived."""

    changes: tuple[Change, ...] = ()
    recovery: Recovery = Recovery.WAIT
    detect_s: float = 0.0
    deadline_s: float = float("inf")


@dataclass(frozen=True)
class Trace:
    """When each task of the first requests became ready, was started, and ended: (request, task), seconds or nan."""

    ready_s: NDArray[np.float64]
    start_s: NDArray[np.float64]
    end_s: NDArray[np.float64]


@dataclass(frozen=True)
class RequestLog:
    """What the simulation saw. Arrays by request, by device, or by task.

    `done_s` is nan for a request that never ended. `missing` counts the branches a request was fused without,
    `missing_mask` has a bit for each of the first 63.
    """

    arrival_s: NDArray[np.float64]
    done_s: NDArray[np.float64]
    missing: NDArray[np.int64]
    missing_mask: NDArray[np.int64]
    completed: NDArray[np.int64]
    horizon_s: float
    busy_s: NDArray[np.float64]
    device_energy_j: NDArray[np.float64]
    radio_energy_j: NDArray[np.float64]
    peak_c: NDArray[np.float64]
    throttled_s: NDArray[np.float64]
    empty_at_s: NDArray[np.float64]
    trace: Trace

    @property
    def latency_s(self) -> NDArray[np.float64]:
        """Seconds from arrival to the end, by request."""
        return self.done_s - self.arrival_s


def simulate(
    cluster: Cluster,
    tasks: Sequence[Task],
    arrival_s: NDArray[np.float64],
    *,
    faults: Faults | None = None,
    until_s: float = float("inf"),
    trace_requests: int = 0,
    force_events: bool = False,
) -> RequestLog:
    """Run `tasks` once for each arrival time (ascending, s) and log every request.

    Where every link carries one kind of transfer and every device one kind of task, and nothing fails, heats or
    runs dry, the exact fast path of `tandem.py` answers; `force_events` (or a trace) asks for the event loop all the
    same. Raises UsageError for a program or cluster that does not hang together.
    """
    from hwsim.backends.edge import tandem

    arrivals = np.ascontiguousarray(arrival_s, dtype=np.float64)
    check(cluster, tasks, arrivals, faults or Faults())
    plain = faults is None and until_s == np.inf and trace_requests == 0 and not force_events
    if plain and tandem.applies(cluster, tasks):
        return tandem.run(cluster, tasks, arrivals)
    return run_events(cluster, tasks, arrivals, faults or Faults(), until_s, trace_requests)


def check(cluster: Cluster, tasks: Sequence[Task], arrival_s: NDArray[np.float64], faults: Faults) -> None:
    """Raises UsageError for unsorted arrivals, cycles, more than one last task, and any index that names nothing."""
    check_links(cluster.links)
    if not np.isfinite(arrival_s).all() or (np.diff(arrival_s) < 0.0).any() or (arrival_s < 0.0).any():
        raise UsageError("arrival times", expected="finite, ascending, 0 s or later")
    topological(tasks)
    sink_of(tasks)
    devices, routes = len(cluster.devices), len(cluster.routes)
    for route in cluster.routes:
        for link in route.links:
            check_index(link, len(cluster.links), "link", "route")
    for task in tasks:
        where = f"task {task.name!r}"
        if isinstance(task, Compute):
            check_index(task.device, devices, "device", where)
            check_index(task.join, len(tasks), "join", where)
            check_index(task.spare, len(tasks), "spare", where)
            if task.work_s < 0.0 or task.fixed_s < 0.0:
                raise UsageError("work below 0 s", where=where)
        else:
            check_index(task.route, routes, "route", where)
            check_index(task.sender, devices, "sender", where)
            check_index(task.receiver, devices, "receiver", where)
            if not 0.0 <= task.size_bytes < np.inf:
                raise UsageError(f"{task.size_bytes:g} B", where=where, expected="0 B or more")
    for change in faults.changes:
        where = f"change at {change.at_s:g} s"
        check_index(change.device, devices, "device", where)
        check_index(change.link, len(cluster.links), "link", where)
        if not (0.0 <= change.fraction < np.inf and change.at_s >= 0.0):
            raise UsageError(f"fraction {change.fraction:g}", where=where, expected="0 or more, at 0 s or later")


def check_index(index: int | None, count: int, what: str, where: str) -> None:
    """The event loop does not check bounds; this does. Raises UsageError."""
    if index is not None and not 0 <= index < count:
        raise UsageError(f"{what} {index}", where=where, got=index, expected=f"0 to {count - 1}")


def run_events(
    cluster: Cluster,
    tasks: Sequence[Task],
    arrival_s: NDArray[np.float64],
    faults: Faults,
    until_s: float,
    trace_requests: int,
) -> RequestLog:
    """The event loop: build the arrays, run, and add places whenever more requests are in flight than there are."""
    from hwsim.backends.edge import deviceloop, eventloop, worldbuild
    from hwsim.backends.edge.world import GROW

    world = worldbuild.new_world(cluster, tasks, arrival_s, faults, min(trace_requests, arrival_s.size))
    while eventloop.run(world, until_s) == GROW:
        world = worldbuild.grown(world)
    for d in range(len(cluster.devices)):
        deviceloop.settle(world, d)
    return log_of(world, cluster, tasks)


def log_of(world: World, cluster: Cluster, tasks: Sequence[Task]) -> RequestLog:
    """Gather the log from the arrays of the event loop."""
    devices, requests = world.devices, world.requests[: world.requests.size]
    moments = world.moments.reshape(-1, len(tasks))
    completed = world.tasks["completed"].copy()
    return RequestLog(
        arrival_s=requests["arrival_s"].copy(),
        done_s=requests["done_s"].copy(),
        missing=requests["missing"].copy(),
        missing_mask=requests["missing_mask"].copy(),
        completed=completed,
        horizon_s=float(world.state["now_s"][0]),
        busy_s=devices["busy_s"].copy(),
        device_energy_j=devices["energy_j"].copy(),
        radio_energy_j=radio_totals(cluster, tasks, completed),
        peak_c=devices["peak_c"].copy(),
        throttled_s=devices["throttled_s"].copy(),
        empty_at_s=devices["empty_at_s"].copy(),
        trace=Trace(moments["ready_s"], moments["start_s"], moments["end_s"]),
    )


def radio_totals(cluster: Cluster, tasks: Sequence[Task], completed: NDArray[np.int64]) -> NDArray[np.float64]:
    """Joules that each device's radio spent on the transfers that were completed."""
    total = np.zeros(len(cluster.devices))
    for task, count in zip(tasks, completed.tolist(), strict=True):
        if isinstance(task, Transfer) and task.sender is not None:
            total[task.sender] += cluster.devices[task.sender].radio.send_j(task.size_bytes) * count
        if isinstance(task, Transfer) and task.receiver is not None:
            total[task.receiver] += cluster.devices[task.receiver].radio.receive_j(task.size_bytes) * count
    return total
