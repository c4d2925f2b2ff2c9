"""Turn a cluster, a program and its faults into the arrays of the event loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hwsim.backends.edge import agenda, deviceloop, world
from hwsim.backends.edge.agenda import Records
from hwsim.backends.edge.fluid import NONE
from hwsim.backends.edge.network import compile_network
from hwsim.backends.edge.program import Cluster, Compute, Device, Task, Transfer, sink_of, standby_tasks
from hwsim.core.errors import UsageError

if TYPE_CHECKING:
    from hwsim.backends.edge.simulation import Faults

FIRST_PLACES = 64


def new_world(
    cluster: Cluster, tasks: Sequence[Task], arrival_s: NDArray[np.float64], faults: Faults, traced: int
) -> world.World:
    """The arrays, with the first arrival, deadline and change planned."""
    used = sorted({task.route for task in tasks if isinstance(task, Transfer) and task.route is not None})
    network = compile_network(cluster.links, [cluster.routes[r] for r in used], cluster.weighting, cluster.model)
    requests = np.zeros(arrival_s.size, world.REQUEST)
    requests["arrival_s"], requests["done_s"] = arrival_s, np.nan
    moments = np.full(traced * len(tasks), np.nan, world.MOMENTS)
    task_table, edges = compile_tasks(cluster, tasks, used)
    changes = compile_changes(faults, network.links)
    state = np.zeros(1, world.STATE)
    for name in ("ready_head", "ready_tail", "detect_head", "detect_tail"):
        state[name] = NONE
    setup = np.zeros(1, world.SETUP)
    setup["detect_s"], setup["deadline_s"] = faults.detect_s, faults.deadline_s
    setup["policy"], setup["sink"] = int(faults.recovery), sink_of(tasks)
    setup["roots"] = write_roots(task_table, tasks)
    devices, dvfs = compile_devices(cluster.devices)
    slots = agenda.new_agenda(2 * len(used) + 2 * len(cluster.devices) + 4)
    made = world.World(
        network,
        slots,
        task_table,
        edges,
        np.zeros(0, world.JOB),
        np.zeros(0, world.PLACE),
        devices,
        dvfs,
        changes,
        requests,
        moments,
        setup,
        state,
    )
    plan_first(made)
    return grown(made)


def plan_first(made: world.World) -> None:
    """Put what is known at the start into the agenda."""
    if made.requests.size:
        first = float(made.requests["arrival_s"][0])
        agenda.reschedule(made.agenda, made.agenda.size - 4, first)
        agenda.reschedule(made.agenda, made.agenda.size - 1, first + float(made.setup["deadline_s"][0]))
    if made.changes.size:
        agenda.reschedule(made.agenda, made.agenda.size - 3, float(made.changes["at_s"][0]))
    for d in range(made.devices.size):
        deviceloop.plan_limit(made, d)


def compile_tasks(cluster: Cluster, tasks: Sequence[Task], used_routes: Sequence[int]) -> tuple[Records, Records]:
    """The table of tasks, and the tasks that wait for each, end to end."""
    standby = standby_tasks(tasks)
    class_of_route = {r: c for c, r in enumerate(used_routes)}
    table = np.zeros(len(tasks), world.TASK)
    for name in ("device", "flow_class", "join", "spare", "branch", "sender", "receiver"):
        table[name] = NONE
    followers: list[list[int]] = [[] for _ in tasks]
    for t, task in enumerate(tasks):
        for a in task.after:
            followers[a].append(t)
        row = table[t]
        row["needs"] = sum(1 for a in task.after if t in standby or a not in standby)
        row["branch"] = NONE if task.branch is None else task.branch
        if isinstance(task, Compute):
            row["device"], row["work_s"], row["fixed_s"] = task.device, task.work_s, task.fixed_s
            row["join"] = NONE if task.join is None else task.join
            row["spare"] = NONE if task.spare is None else task.spare
        else:
            row["size_bytes"] = task.size_bytes
            row["flow_class"] = NONE if task.route is None else class_of_route[task.route]
            if task.sender is not None:
                row["sender"] = task.sender
                row["send_j"] = cluster.devices[task.sender].radio.send_j(task.size_bytes)
            if task.receiver is not None:
                row["receiver"] = task.receiver
                row["receive_j"] = cluster.devices[task.receiver].radio.receive_j(task.size_bytes)
    lengths = np.array([len(f) for f in followers], dtype=np.int64)
    table["end_edge"] = np.cumsum(lengths)
    table["first_edge"] = table["end_edge"] - lengths
    return table, np.array([f for after in followers for f in after], dtype=np.int64)


def write_roots(table: Records, tasks: Sequence[Task]) -> int:
    """List the tasks that begin on arrival in `root_list`; returns how many they are."""
    standby = standby_tasks(tasks)
    roots = [t for t, task in enumerate(tasks) if not task.after and t not in standby]
    table["root_list"][: len(roots)] = roots
    return len(roots)


def compile_devices(devices: Sequence[Device]) -> tuple[Records, Records]:
    """The table of devices, all idle, full and as warm as idling makes them, and that of their DVFS levels."""
    table = np.zeros(len(devices), world.DEVICE)
    dvfs = np.ones((len(devices), max((len(d.levels) for d in devices), default=1)), world.DVFS)
    table["serving"] = table["head"] = table["tail"] = NONE
    table["fault_speed"] = 1.0
    table["empty_at_s"] = table["hot_c"] = table["cool_c"] = np.inf
    for i, device in enumerate(devices):
        row = table[i]
        row["batch"], row["levels"] = device.batch, len(device.levels)
        row["idle_w"], row["charge_j"] = device.idle_w, device.battery_j
        for k, level in enumerate(device.levels):
            dvfs[i, k] = (level.clock_ratio, level.load_w)
        if device.thermal is not None:
            heat = device.thermal
            row["resistance_k_per_w"], row["capacity_j_per_k"] = heat.resistance_k_per_w, heat.capacity_j_per_k
            row["ambient_c"], row["hot_c"], row["cool_c"] = heat.ambient_c, heat.hot_c, heat.cool_c
            row["temperature_c"] = row["peak_c"] = heat.ambient_c + heat.resistance_k_per_w * device.idle_w
    return table, dvfs


def compile_changes(faults: Faults, links: Records) -> Records:
    """The planned changes in order of time; a link's value is its capacity from then on."""
    changes = sorted(faults.changes, key=lambda change: change.at_s)
    table = np.zeros(len(changes), world.CHANGE)
    for row, change in zip(table, changes, strict=True):
        if (change.device is None) == (change.link is None):
            raise UsageError("a change names a device or a link", where=f"change at {change.at_s:g} s")
        row["at_s"] = change.at_s
        if change.device is not None:
            row["kind"], row["target"], row["value"] = world.DEVICE_SPEED, change.device, change.fraction
        elif change.link is not None:
            row["kind"], row["target"] = world.LINK_CAPACITY, change.link
            row["value"] = change.fraction * links["capacity"][change.link]
    return table


def grown(old: world.World) -> world.World:
    """The same world with room for twice as many requests in flight."""
    count, tasks = old.places.size, old.tasks.size
    more = max(count, FIRST_PLACES)
    places = np.concatenate([old.places, np.zeros(more, world.PLACE)])
    jobs = np.concatenate([old.jobs, np.zeros(more * tasks, world.JOB)])
    jobs["place"] = np.repeat(np.arange(count + more), tasks)
    jobs["task"] = np.tile(np.arange(tasks), count + more)
    places["request"][count:] = NONE
    places["free_list"][:more] = np.arange(count + more - 1, count - 1, -1)
    old.state["free"] = more
    return old._replace(places=places, jobs=jobs)
