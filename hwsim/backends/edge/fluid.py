"""The fluid network: weighted max-min fair rates, recomputed only where a flow entered or ended.

Flows of one *class* share route, weight and cap, hence always the same rate: a class is a processor-sharing queue. It
counts the bytes served to each of its flows since it was last empty (`served`), and a flow ends when that reaches
its `target`. So thousands of flows on one route cost a heap operation each, and only classes enter the solver.

Progressive filling (Bertsekas & Gallager, Data Networks, 1992, section 6.5.2): raise a common level y with flow rate
x = y w until some link is full, freeze the flows that cross it, repeat. A link that is not yet full only gets a later
level when others freeze, so a heap of links with stale keys finds each bottleneck.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from hwsim.backends.edge.agenda import Agenda, reschedule

# Events closer than this fraction of the clock are one instant: rates are solved once for all of them. It is some
# fifty times the spacing of doubles, and delays no finish time by more.
SIMULTANEOUS = 1e-14
NONE = -1


class Routes(NamedTuple):
    """What does not change. Class c crosses links `hop_link[first_hop[c]:first_hop[c + 1]]`.

    `hop_load`: capacity that one byte of the flow takes on the link (1 on a wire; 1/(1-p) with retransmission; the
    seconds of airtime on Wi-Fi). `hop_seat` is the hop's position in its link's list of active hops.
    """

    first_hop: NDArray[np.int64]
    hop_link: NDArray[np.int64]
    hop_class: NDArray[np.int64]
    hop_load: NDArray[np.float64]
    weight: NDArray[np.float64]
    cap: NDArray[np.float64]
    first_seat: NDArray[np.int64]


class Fluid(NamedTuple):
    """The state. `seat` lists, link by link, the hops of classes that carry flows; `seated` says how many."""

    capacity: NDArray[np.float64]
    seat: NDArray[np.int64]
    hop_seat: NDArray[np.int64]
    seated: NDArray[np.int64]
    flows: NDArray[np.int64]  # by class
    rate: NDArray[np.float64]
    served: NDArray[np.float64]
    stamp_s: NDArray[np.float64]
    first_flow: NDArray[np.int64]  # root of the class's pairing heap
    dirty: NDArray[np.int64]  # links touched since the last solve; dirty[-1] counts them
    dirty_mark: NDArray[np.bool_]
    # scratch of the solver
    free: NDArray[np.float64]
    demand: NDArray[np.float64]
    full_demand: NDArray[np.float64]
    unfrozen: NDArray[np.int64]
    link_list: NDArray[np.int64]
    class_list: NDArray[np.int64]
    in_component: NDArray[np.bool_]
    frozen: NDArray[np.bool_]
    heap_level: NDArray[np.float64]
    heap_id: NDArray[np.int64]


class Flows(NamedTuple):
    """By flow: bytes per flow served to its class when it ends, and the links of a pairing heap on that."""

    target: NDArray[np.float64]
    child: NDArray[np.int64]
    sibling: NDArray[np.int64]


def new_flows(count: int) -> Flows:
    """Room for `count` flows."""
    return Flows(np.zeros(count), np.full(count, NONE), np.full(count, NONE))


def new_fluid(routes: Routes, capacity: NDArray[np.float64]) -> Fluid:
    """An empty network."""
    links, classes, hops = capacity.size, routes.weight.size, routes.hop_link.size
    return Fluid(
        capacity=capacity.astype(np.float64).copy(),
        seat=np.zeros(hops, np.int64),
        hop_seat=np.full(hops, NONE),
        seated=np.zeros(links, np.int64),
        flows=np.zeros(classes, np.int64),
        rate=np.zeros(classes),
        served=np.zeros(classes),
        stamp_s=np.zeros(classes),
        first_flow=np.full(classes, NONE),
        dirty=np.zeros(links + 1, np.int64),
        dirty_mark=np.zeros(links, np.bool_),
        free=np.zeros(links),
        demand=np.zeros(links),
        full_demand=np.zeros(links),
        unfrozen=np.zeros(links, np.int64),
        link_list=np.zeros(links, np.int64),
        class_list=np.zeros(classes, np.int64),
        in_component=np.zeros(links, np.bool_),
        frozen=np.ones(classes, np.bool_),
        heap_level=np.zeros(links + classes + 1),
        heap_id=np.zeros(links + classes + 1, np.int64),
    )


@numba.njit(cache=True)
def meld(flows: Flows, a: int, b: int) -> int:
    """Pairing heap: join two roots; the one that ends first stays on top."""
    if a == NONE:
        return b
    if b == NONE:
        return a
    if flows.target[b] < flows.target[a]:
        a, b = b, a
    flows.sibling[b] = flows.child[a]
    flows.child[a] = b
    return a


@numba.njit(cache=True)
def pop_first(flows: Flows, root: int) -> int:
    """Pairing heap: the new root when `root` is taken out (pairs left to right, then melds right to left)."""
    rest, paired = flows.child[root], NONE
    while rest != NONE:
        a = rest
        b = flows.sibling[a]
        rest = NONE if b == NONE else flows.sibling[b]
        flows.sibling[a] = NONE
        if b != NONE:
            flows.sibling[b] = NONE
        pair = meld(flows, a, b)
        flows.sibling[pair] = paired
        paired = pair
    new_root = NONE
    while paired != NONE:
        following = flows.sibling[paired]
        flows.sibling[paired] = NONE
        new_root = meld(flows, new_root, paired)
        paired = following
    flows.child[root] = NONE
    return new_root


@numba.njit(cache=True)
def touch(fluid: Fluid, link: int) -> None:
    """Remember that the rates on `link` are out of date."""
    if not fluid.dirty_mark[link]:
        fluid.dirty_mark[link] = True
        fluid.dirty[fluid.dirty[-1]] = link
        fluid.dirty[-1] += 1


@numba.njit(cache=True)
def enter(routes: Routes, fluid: Fluid, flows: Flows, flow: int, c: int, size_bytes: float, now_s: float) -> None:
    """Flow `flow` of class `c` begins to move its bytes."""
    if fluid.flows[c] == 0:
        fluid.served[c] = 0.0
        fluid.rate[c] = 0.0
        for hop in range(routes.first_hop[c], routes.first_hop[c + 1]):
            link = routes.hop_link[hop]
            place = routes.first_seat[link] + fluid.seated[link]
            fluid.seat[place] = hop
            fluid.hop_seat[hop] = place
            fluid.seated[link] += 1
    else:
        fluid.served[c] += (now_s - fluid.stamp_s[c]) * fluid.rate[c]
    fluid.stamp_s[c] = now_s
    fluid.flows[c] += 1
    flows.target[flow] = fluid.served[c] + size_bytes
    flows.child[flow] = NONE
    flows.sibling[flow] = NONE
    fluid.first_flow[c] = meld(flows, fluid.first_flow[c], flow)
    for hop in range(routes.first_hop[c], routes.first_hop[c + 1]):
        touch(fluid, routes.hop_link[hop])


@numba.njit(cache=True)
def finish(routes: Routes, fluid: Fluid, flows: Flows, agenda: Agenda, slot: int, c: int, now_s: float) -> int:
    """The first flow of class `c` ends now; returns it. It ends by identity, whatever rounding left of its bytes."""
    flow = fluid.first_flow[c]
    fluid.served[c] = flows.target[flow]
    fluid.stamp_s[c] = now_s
    fluid.flows[c] -= 1
    following = pop_first(flows, flow)
    fluid.first_flow[c] = following
    for hop in range(routes.first_hop[c], routes.first_hop[c + 1]):
        touch(fluid, routes.hop_link[hop])
    if following != NONE:
        reschedule(agenda, slot, now_s + (flows.target[following] - fluid.served[c]) / fluid.rate[c])
        return flow
    reschedule(agenda, slot, np.inf)
    for hop in range(routes.first_hop[c], routes.first_hop[c + 1]):
        link = routes.hop_link[hop]
        fluid.seated[link] -= 1
        last = fluid.seat[routes.first_seat[link] + fluid.seated[link]]
        fluid.seat[fluid.hop_seat[hop]] = last
        fluid.hop_seat[last] = fluid.hop_seat[hop]
    return flow


@numba.njit(cache=True)
def component(routes: Routes, fluid: Fluid) -> tuple[int, int]:
    """Collect the links and classes connected with a dirty link into `link_list`, `class_list`; returns the counts."""
    links, classes = 0, 0
    for i in range(fluid.dirty[-1]):
        link = fluid.dirty[i]
        fluid.dirty_mark[link] = False
        fluid.in_component[link] = True
        fluid.link_list[links] = link
        links += 1
    fluid.dirty[-1] = 0
    at = 0
    while at < links:
        link = fluid.link_list[at]
        at += 1
        for place in range(routes.first_seat[link], routes.first_seat[link] + fluid.seated[link]):
            c = routes.hop_class[fluid.seat[place]]
            if not fluid.frozen[c]:
                continue
            fluid.frozen[c] = False
            fluid.class_list[classes] = c
            classes += 1
            for hop in range(routes.first_hop[c], routes.first_hop[c + 1]):
                other = routes.hop_link[hop]
                if not fluid.in_component[other]:
                    fluid.in_component[other] = True
                    fluid.link_list[links] = other
                    links += 1
    return links, classes


@numba.njit(cache=True)
def sift_down(level: NDArray[np.float64], ident: NDArray[np.int64], size: int, at: int) -> None:
    """Restore a binary heap of (level, id) downwards from `at`."""
    moving_level, moving_id = level[at], ident[at]
    while 2 * at + 1 < size:
        child = 2 * at + 1
        if child + 1 < size and level[child + 1] < level[child]:
            child += 1
        if level[child] >= moving_level:
            break
        level[at], ident[at] = level[child], ident[child]
        at = child
    level[at], ident[at] = moving_level, moving_id


@numba.njit(cache=True)
def unfrozen_demand(routes: Routes, fluid: Fluid, link: int) -> float:
    """Capacity of `link` that its classes without a rate yet take per unit of level."""
    demand = 0.0
    for place in range(routes.first_seat[link], routes.first_seat[link] + fluid.seated[link]):
        hop = fluid.seat[place]
        c = routes.hop_class[hop]
        if not fluid.frozen[c]:
            demand += fluid.flows[c] * routes.weight[c] * routes.hop_load[hop]
    return demand


@numba.njit(cache=True)
def prepare(routes: Routes, fluid: Fluid, links: int, classes: int) -> int:
    """Load of each link of the component, and the heap of levels at which links fill and caps bind; its size."""
    level, ident, size = fluid.heap_level, fluid.heap_id, 0
    for i in range(links):
        link = fluid.link_list[i]
        fluid.in_component[link] = False
        demand = unfrozen_demand(routes, fluid, link)
        fluid.free[link] = fluid.capacity[link]
        fluid.demand[link] = demand
        fluid.full_demand[link] = demand
        fluid.unfrozen[link] = fluid.seated[link]
        if fluid.seated[link] > 0:
            level[size], ident[size] = fluid.capacity[link] / demand, link
            size += 1
    for i in range(classes):
        c = fluid.class_list[i]
        if routes.cap[c] < np.inf:
            level[size], ident[size] = routes.cap[c] / routes.weight[c], fluid.capacity.size + c
            size += 1
    for at in range(size // 2 - 1, -1, -1):
        sift_down(level, ident, size, at)
    return size


@numba.njit(cache=True)
def freeze(routes: Routes, fluid: Fluid, c: int, level: float, now_s: float) -> None:
    """Class `c` gets rate level x weight from now on; its links have that much less to give."""
    fluid.frozen[c] = True
    fluid.served[c] += (now_s - fluid.stamp_s[c]) * fluid.rate[c]
    fluid.stamp_s[c] = now_s
    fluid.rate[c] = level * routes.weight[c]
    for hop in range(routes.first_hop[c], routes.first_hop[c + 1]):
        link = routes.hop_link[hop]
        load = fluid.flows[c] * routes.weight[c] * routes.hop_load[hop]
        fluid.free[link] = max(0.0, fluid.free[link] - level * load)
        fluid.demand[link] -= load
        fluid.unfrozen[link] -= 1


@numba.njit(cache=True)
def solve(routes: Routes, fluid: Fluid, flows: Flows, agenda: Agenda, first_slot: int, now_s: float) -> None:
    """Bring every rate that a dirty link can change up to date, and reschedule the next end in each class."""
    links, classes = component(routes, fluid)
    size = prepare(routes, fluid, links, classes)
    level, ident, first_cap = fluid.heap_level, fluid.heap_id, fluid.capacity.size
    while size > 0:
        top = ident[0]
        if top >= first_cap:
            if not fluid.frozen[top - first_cap]:
                freeze(routes, fluid, top - first_cap, level[0], now_s)
        elif fluid.unfrozen[top] > 0:
            if fluid.demand[top] < 1e-6 * fluid.full_demand[top]:  # little left of a difference of large numbers
                fluid.demand[top] = unfrozen_demand(routes, fluid, top)
                fluid.full_demand[top] = fluid.demand[top]
            current = fluid.free[top] / fluid.demand[top]
            if current > level[0] * (1.0 + 1e-13):
                level[0] = current
                sift_down(level, ident, size, 0)
                continue
            for place in range(routes.first_seat[top], routes.first_seat[top] + fluid.seated[top]):
                c = routes.hop_class[fluid.seat[place]]
                if not fluid.frozen[c]:
                    freeze(routes, fluid, c, current, now_s)
        size -= 1
        level[0], ident[0] = level[size], ident[size]
        sift_down(level, ident, size, 0)
    for i in range(classes):
        c = fluid.class_list[i]
        left = flows.target[fluid.first_flow[c]] - fluid.served[c]
        due = now_s + max(0.0, left) / fluid.rate[c] if fluid.rate[c] > 0.0 else np.inf
        reschedule(agenda, first_slot + c, due)


@numba.njit(cache=True)
def run_flows(
    routes: Routes,
    fluid: Fluid,
    flows: Flows,
    agenda: Agenda,
    entry_order: NDArray[np.int64],
    entry_s: NDArray[np.float64],
    class_of: NDArray[np.int64],
    size_bytes: NDArray[np.float64],
    finish_s: NDArray[np.float64],
) -> None:
    """Simulate flows that enter at known times; writes `finish_s` (infinity for a flow that never ends)."""
    next_entry, now = 0, 0.0
    while True:
        slot = agenda.order[0]
        due = agenda.due_s[slot]
        entry = entry_s[entry_order[next_entry]] if next_entry < entry_order.size else np.inf
        upcoming = min(due, entry)
        if fluid.dirty[-1] > 0 and upcoming > now + SIMULTANEOUS * abs(now):
            solve(routes, fluid, flows, agenda, 0, now)
            continue
        if upcoming == np.inf:
            return
        now = upcoming
        if entry <= due:
            flow = entry_order[next_entry]
            next_entry += 1
            if size_bytes[flow] > 0.0 and routes.first_hop[class_of[flow] + 1] > routes.first_hop[class_of[flow]]:
                enter(routes, fluid, flows, flow, class_of[flow], size_bytes[flow], now)
            else:
                finish_s[flow] = now
        else:
            finish_s[finish(routes, fluid, flows, agenda, slot, slot, now)] = now
