"""The compiled event loop of request simulation: arrivals, transfers, device queues, losses, deadlines."""

from __future__ import annotations

import numpy as np

from hwsim.backends.edge.agenda import compiled, reschedule
from hwsim.backends.edge.deviceloop import dequeue, enqueue, note, plan_done, plan_limit, progress, serve_next, settle
from hwsim.backends.edge.fluid import NONE, SIMULTANEOUS, enter, finish, instant, set_capacity, solve
from hwsim.backends.edge.world import (
    BRANCH_BITS,
    COMPLETED,
    DEVICE_SPEED,
    FINISHED,
    GROW,
    NEVER_BEGIN,
    REASSIGN,
    WAIT,
    World,
)


@compiled
def make_ready(w: World, job: int) -> None:
    """Nothing holds `job` back any more."""
    w.places[w.jobs[job].place].open_jobs += 1
    w.jobs[job].following = NONE
    if w.state[0].ready_head == NONE:
        w.state[0].ready_head = job
    else:
        w.jobs[w.state[0].ready_tail].following = job
    w.state[0].ready_tail = job


@compiled
def close(w: World, job: int) -> None:
    """`job` is over; with its last job (all done, or a loss has stopped it) a request frees its place."""
    place = w.jobs[job].place
    w.places[place].open_jobs -= 1
    if w.places[place].open_jobs == 0:
        w.places[w.state[0].free].free_list = place
        w.state[0].free += 1


@compiled
def satisfy(w: World, job: int) -> None:
    """One thing less that `job` waits for."""
    w.jobs[job].needs -= 1
    if w.jobs[job].needs == 0:
        make_ready(w, job)


@compiled
def complete(w: World, job: int) -> None:
    """`job` did its task: make ready what waited for it, or end the request."""
    place, index = w.jobs[job].place, w.jobs[job].task
    task = w.tasks[index]
    w.jobs[job].needs = COMPLETED
    note(w, job, 2)
    task.completed += 1
    if index == w.setup[0].sink:
        w.requests[w.places[place].request].done_s = w.state[0].now_s
    for edge in range(task.first_edge, task.end_edge):
        satisfy(w, place * w.tasks.size + w.edges[edge])
    close(w, job)


@compiled
def lose(w: World, job: int) -> None:
    """The device of `job` is down. Wait for it, or let the loss be detected first."""
    if w.setup[0].policy == WAIT:
        enqueue(w, w.tasks[w.jobs[job].task].device, job)
        return
    due = w.state[0].now_s + w.setup[0].detect_s
    w.jobs[job].due_s = due
    w.jobs[job].following = NONE
    if w.state[0].detect_head == NONE:
        w.state[0].detect_head = job
        reschedule(w.agenda, w.agenda.size - 2, due)
    else:
        w.jobs[w.state[0].detect_tail].following = job
    w.state[0].detect_tail = job


@compiled
def recover(w: World) -> None:
    """A loss was detected: reassign the work to its spare, else go on without it, else the request has failed."""
    job = w.state[0].detect_head
    following = w.jobs[job].following
    w.state[0].detect_head = following
    reschedule(w.agenda, w.agenda.size - 2, w.jobs[following].due_s if following != NONE else np.inf)
    place = w.jobs[job].place
    task = w.tasks[w.jobs[job].task]
    if w.setup[0].policy == REASSIGN and task.spare != NONE:
        make_ready(w, place * w.tasks.size + task.spare)
    elif task.join != NONE:
        request = w.requests[w.places[place].request]
        request.missing += 1
        if 0 <= task.branch < BRANCH_BITS:
            request.missing_mask |= 1 << task.branch
        satisfy(w, place * w.tasks.size + task.join)
    close(w, job)


@compiled
def begin(w: World, job: int) -> None:
    """Start a ready job: onto its route's delay line, or into its device's queue."""
    task = w.tasks[w.jobs[job].task]
    note(w, job, 0)
    d, c = task.device, task.flow_class
    if d != NONE:
        if w.devices[d].fault_speed == 0.0:
            lose(w, job)
        else:
            enqueue(w, d, job)
            if w.devices[d].serving == NONE:
                serve_next(w, d)
    elif c == NONE:
        complete(w, job)
    else:
        note(w, job, 1)
        flow_class = w.network.classes[c]
        w.jobs[job].due_s = w.state[0].now_s + flow_class.latency_s  # equal for all, so the line is in order of time
        w.jobs[job].following = NONE
        if flow_class.head == NONE:
            flow_class.head = job
            reschedule(w.agenda, w.network.classes.size + c, w.jobs[job].due_s)
        else:
            w.jobs[flow_class.tail].following = job
        flow_class.tail = job


@compiled
def enter_network(w: World, c: int) -> None:
    """The head of the delay line of class `c` has waited for its latency."""
    flow_class = w.network.classes[c]
    job = flow_class.head
    flow_class.head = w.jobs[job].following
    due = w.jobs[flow_class.head].due_s if flow_class.head != NONE else np.inf
    reschedule(w.agenda, w.network.classes.size + c, due)
    size = w.tasks[w.jobs[job].task].size_bytes
    if instant(w.network, c, size):
        end_transfer(w, job)
    else:
        enter(w.network, w.jobs, w.agenda, job, c, size, w.state[0].now_s)


@compiled
def end_transfer(w: World, job: int) -> None:
    """The last byte of `job` arrived: charge the batteries of both ends."""
    task = w.tasks[w.jobs[job].task]
    spend(w, task.sender, task.send_j)
    spend(w, task.receiver, task.receive_j)
    complete(w, job)


@compiled
def spend(w: World, d: int, energy_j: float) -> None:
    """Device `d` draws `energy_j` from its battery at once, if it has one."""
    if d != NONE and energy_j > 0.0 and w.devices[d].charge_j < np.inf:
        settle(w, d)
        w.devices[d].charge_j -= energy_j
        plan_limit(w, d)


@compiled
def device_done(w: World, d: int) -> None:
    """Device `d` has served its batch."""
    settle(w, d)
    job = w.devices[d].serving
    w.devices[d].serving = NONE
    while job != NONE:
        following = w.jobs[job].following
        complete(w, job)
        job = following
    plan_limit(w, d)
    serve_next(w, d)


@compiled
def device_down(w: World, d: int) -> None:
    """Device `d` stops: what it served starts again from the beginning, here or elsewhere."""
    settle(w, d)
    device = w.devices[d]
    if device.serving != NONE:
        last = device.serving
        while w.jobs[last].following != NONE:
            last = w.jobs[last].following
        w.jobs[last].following = device.head
        if device.head == NONE:
            device.tail = last
        device.head = device.serving
        device.serving = NONE
    if w.setup[0].policy != WAIT:
        while device.head != NONE:
            lose(w, dequeue(w, d))
    plan_done(w, d)
    plan_limit(w, d)


@compiled
def set_device_speed(w: World, d: int, value: float) -> None:
    """A fault or its end: device `d` runs at `value` of its full speed from now on."""
    if w.devices[d].empty_at_s < np.inf:
        return
    progress(w, d)
    w.devices[d].fault_speed = value
    if value == 0.0:
        device_down(w, d)
    elif w.devices[d].serving == NONE:
        serve_next(w, d)
    else:
        plan_done(w, d)


@compiled
def reach_limit(w: World, d: int) -> None:
    """Device `d` emptied its battery, or passes a temperature limit and changes its DVFS level."""
    device = w.devices[d]
    settle(w, d)
    progress(w, d)
    if device.charge_j <= 1e-9 * device.energy_j:
        device.charge_j = 0.0
        device.fault_speed = 0.0
        device_down(w, d)
        device.empty_at_s = w.state[0].now_s
        reschedule(w.agenda, 2 * w.network.classes.size + w.devices.size + d, np.inf)
        return
    nearer_hot = device.hot_c - device.temperature_c < device.temperature_c - device.cool_c
    if nearer_hot and device.level + 1 < device.levels:
        device.temperature_c = max(device.hot_c, device.temperature_c)
        device.level += 1
    elif device.level > 0:
        device.temperature_c = min(device.cool_c, device.temperature_c)
        device.level -= 1
    plan_done(w, d)
    plan_limit(w, d)


@compiled
def arrive(w: World) -> bool:
    """The next request starts; False when all places are taken."""
    state, count = w.state[0], w.tasks.size
    if state.free == 0:
        return False
    state.free -= 1
    place = w.places[state.free].free_list
    w.places[place].request = state.next_request
    for task in range(count):
        w.jobs[place * count + task].needs = w.tasks[task].needs
    for root in range(w.setup[0].roots):
        make_ready(w, place * count + w.tasks[root].root_list)
    state.next_request += 1
    more = state.next_request < w.requests.size
    reschedule(w.agenda, w.agenda.size - 4, w.requests[state.next_request].arrival_s if more else np.inf)
    return True


@compiled
def change(w: World) -> None:
    """Apply the next planned change."""
    state = w.state[0]
    this = w.changes[state.next_change]
    if this.kind == DEVICE_SPEED:
        set_device_speed(w, this.target, this.value)
    else:
        set_capacity(w.network, w.jobs, w.agenda, this.target, this.value, state.now_s)
    state.next_change += 1
    more = state.next_change < w.changes.size
    reschedule(w.agenda, w.agenda.size - 3, w.changes[state.next_change].at_s if more else np.inf)


@compiled
def reports_to_sink(w: World, task: int) -> bool:
    """Whether `task` is the end of a numbered branch."""
    this = w.tasks[task]
    ends: bool = this.end_edge > this.first_edge and w.edges[this.first_edge] == w.setup[0].sink
    return ends and 0 <= this.branch < BRANCH_BITS


@compiled
def mark_missing(w: World, place: int) -> None:
    """The last task cannot wait: note which branches have not reported to it."""
    request = w.requests[w.places[place].request]
    request.missing += w.jobs[place * w.tasks.size + w.setup[0].sink].needs
    reported = 0
    for task in range(w.tasks.size):
        if reports_to_sink(w, task) and w.jobs[place * w.tasks.size + task].needs == COMPLETED:
            reported |= 1 << w.tasks[task].branch
    for task in range(w.tasks.size):
        if reports_to_sink(w, task):
            request.missing_mask |= (1 << w.tasks[task].branch) & ~reported


@compiled
def expire(w: World) -> None:
    """The next request's deadline passes: its last task begins with what there is."""
    state = w.state[0]
    request = state.next_deadline
    state.next_deadline += 1
    due = np.inf
    if state.next_deadline < w.requests.size:
        due = w.requests[state.next_deadline].arrival_s + w.setup[0].deadline_s
    reschedule(w.agenda, w.agenda.size - 1, due)
    if not np.isnan(w.requests[request].done_s):
        return
    for place in range(w.places.size):
        if w.places[place].request == request and w.places[place].open_jobs > 0:
            sink = place * w.tasks.size + w.setup[0].sink
            if 0 < w.jobs[sink].needs < NEVER_BEGIN // 2:
                mark_missing(w, place)
                w.jobs[sink].needs = NEVER_BEGIN
                make_ready(w, sink)
            return


@compiled
def handle(w: World, slot: int) -> bool:
    """Let what is due in `slot` happen; False when the world must grow first."""
    classes, devices = w.network.classes.size, w.devices.size
    if slot < classes:
        end_transfer(w, finish(w.network, w.jobs, w.agenda, slot, w.state[0].now_s))
    elif slot < 2 * classes:
        enter_network(w, slot - classes)
    elif slot < 2 * classes + devices:
        device_done(w, slot - 2 * classes)
    elif slot < 2 * classes + 2 * devices:
        reach_limit(w, slot - 2 * classes - devices)
    elif slot == w.agenda.size - 4:
        return arrive(w)
    elif slot == w.agenda.size - 3:
        change(w)
    elif slot == w.agenda.size - 2:
        recover(w)
    else:
        expire(w)
    return True


@compiled
def run(w: World, until_s: float) -> int:
    """Simulate until nothing is due before `until_s`; GROW when all places are taken and the caller must add some."""
    state = w.state[0]
    while True:
        while state.ready_head != NONE:
            job = state.ready_head
            state.ready_head = w.jobs[job].following
            begin(w, job)
        slot = w.agenda[0].order
        due = w.agenda[slot].due_s
        if w.network.dirty[0] > 0 and due > state.now_s + SIMULTANEOUS * abs(state.now_s):
            solve(w.network, w.jobs, w.agenda, state.now_s)
            continue
        served = state.next_request == w.requests.size and state.free == w.places.size
        if due > until_s or due == np.inf or (served and until_s == np.inf):  # what is left is only cooling down
            state.now_s = until_s if until_s < np.inf else state.now_s
            return FINISHED
        state.now_s = max(state.now_s, due)
        if not handle(w, slot):
            return GROW
