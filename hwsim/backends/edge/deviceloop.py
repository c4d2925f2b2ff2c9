"""What one device does: queue, serve at a speed that faults and throttling change, heat up, drain its battery."""

from __future__ import annotations

import numpy as np

from hwsim.backends.edge.agenda import compiled, reschedule
from hwsim.backends.edge.fluid import NONE
from hwsim.backends.edge.world import World


@compiled
def settle(w: World, d: int) -> None:
    """Bring energy, charge and temperature of device `d` up to now; power was constant since the last time."""
    device, now = w.devices[d], w.state[0].now_s
    passed = now - device.stamp_s
    device.stamp_s = now
    if passed <= 0.0:
        return
    power = device.idle_w
    if device.serving != NONE:
        power = w.dvfs[d, device.level].power_w
        device.busy_s += passed
    if device.level > 0:
        device.throttled_s += passed
    if device.empty_at_s < np.inf:
        power = 0.0
    device.energy_j += power * passed
    device.charge_j -= power * passed
    if device.resistance_k_per_w > 0.0:
        steady = device.ambient_c + power * device.resistance_k_per_w
        decay = np.exp(-passed / (device.resistance_k_per_w * device.capacity_j_per_k))
        device.temperature_c = steady + (device.temperature_c - steady) * decay
        device.peak_c = max(device.peak_c, device.temperature_c)


@compiled
def plan_limit(w: World, d: int) -> None:
    """When device `d`, at its present power, next reaches a temperature limit or empties its battery."""
    device = w.devices[d]
    if device.empty_at_s < np.inf or (device.resistance_k_per_w == 0.0 and device.charge_j == np.inf):
        return
    power = device.idle_w if device.serving == NONE else w.dvfs[d, device.level].power_w
    wait = device.charge_j / power if power > 0.0 else np.inf
    if device.resistance_k_per_w > 0.0:
        steady = device.ambient_c + power * device.resistance_k_per_w
        constant = device.resistance_k_per_w * device.capacity_j_per_k
        gap = steady - device.temperature_c
        if device.level + 1 < device.levels and steady > device.hot_c:
            wait = min(wait, constant * np.log(max(1.0, gap / (steady - device.hot_c))))
        if device.level > 0 and steady < device.cool_c:
            wait = min(wait, constant * np.log(max(1.0, gap / (steady - device.cool_c))))
    reschedule(w.agenda, 2 * w.network.classes.size + w.devices.size + d, w.state[0].now_s + max(0.0, wait))


@compiled
def speed(w: World, d: int) -> float:
    """Fraction of full speed at which device `d` works now; 0 when it is down."""
    clock: float = w.dvfs[d, w.devices[d].level].speed
    fault: float = w.devices[d].fault_speed
    return clock * fault


@compiled
def plan_done(w: World, d: int) -> None:
    """When device `d` finishes what it serves, at its present speed."""
    rate = speed(w, d)
    due = np.inf
    if w.devices[d].serving != NONE and rate > 0.0:
        due = w.state[0].now_s + w.devices[d].left_s / rate
    reschedule(w.agenda, 2 * w.network.classes.size + d, due)


@compiled
def progress(w: World, d: int) -> None:
    """Take off what device `d` has done of its work since the last time; call before its speed changes."""
    device, now = w.devices[d], w.state[0].now_s
    if device.serving != NONE:
        device.left_s = max(0.0, device.left_s - (now - device.since_s) * speed(w, d))
    device.since_s = now


@compiled
def note(w: World, job: int, moment: int) -> None:
    """Write now into the trace if the job's request is one of those that are traced."""
    if w.moments.size == 0:
        return
    at = w.places[w.jobs[job].place].request * w.tasks.size + w.jobs[job].task
    if at < w.moments.size:
        if moment == 0:
            w.moments[at].ready_s = w.state[0].now_s
        elif moment == 1:
            w.moments[at].start_s = w.state[0].now_s
        else:
            w.moments[at].end_s = w.state[0].now_s


@compiled
def enqueue(w: World, d: int, job: int) -> None:
    """`job` is last in the queue of device `d`."""
    device = w.devices[d]
    w.jobs[job].following = NONE
    if device.head == NONE:
        device.head = job
    else:
        w.jobs[device.tail].following = job
    device.tail = job


@compiled
def dequeue(w: World, d: int) -> int:
    """Take the first job out of the queue of device `d`."""
    job: int = w.devices[d].head
    w.devices[d].head = w.jobs[job].following
    w.jobs[job].following = NONE
    return job


@compiled
def serve_next(w: World, d: int) -> None:
    """Device `d` is free: it takes the head of its queue, and up to its batch limit of the same task."""
    device = w.devices[d]
    if device.head != NONE and speed(w, d) > 0.0:
        settle(w, d)
        first = dequeue(w, d)
        last, batch, task = first, 1, w.jobs[first].task
        note(w, first, 1)
        while batch < device.batch and device.head != NONE and w.jobs[device.head].task == task:
            w.jobs[last].following = dequeue(w, d)
            last = w.jobs[last].following
            note(w, last, 1)
            batch += 1
        device.serving = first
        device.left_s = w.tasks[task].fixed_s + batch * w.tasks[task].work_s
        device.since_s = w.state[0].now_s
        plan_limit(w, d)
    plan_done(w, d)
