"""The fluid network: weighted max-min fair rates, recomputed only where a flow entered or ended.

Flows of one *class* share route, weight and cap, hence always the same rate: a class is a processor-sharing queue. It
counts the bytes served to each of its flows since it was last empty (`served`), and a flow ends when that reaches
its `target`. So thousands of flows on one route cost a heap operation each, and only classes enter the solver.

Progressive filling (Bertsekas & Gallager, Data Networks, 1992, section 6.5.2): raise a common level y with flow rate
x = y w until some link is full, freeze the flows that cross it, repeat. A link that is not yet full only gets a later
level when others freeze, so a heap of links with stale keys finds each bottleneck. A link that only one class uses
is *private*: it is a cap on that class, and no link to the solver.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hwsim.backends.edge.agenda import Records, compiled, reschedule

# Events closer than this fraction of the clock are one instant: rates are solved once for all of them. It is some
# fifty times the spacing of doubles, and delays no finish time by more.
SIMULTANEOUS = 1e-14
NONE = -1

# Link: `owner` is the class it is private to, else NONE. `seated` active hops are listed from `first_seat` on. `free`,
# `demand`, `full_demand`, `unfrozen` and `member` are the solver's. The links touched since the last solve are in
# `dirty_list`, those of its component in `member_list`.
LINK = np.dtype(
    [
        ("capacity", np.float64),
        ("free", np.float64),
        ("demand", np.float64),
        ("full_demand", np.float64),
        ("first_seat", np.int64),
        ("seated", np.int64),
        ("unfrozen", np.int64),
        ("owner", np.int64),
        ("dirty_list", np.int64),
        ("member_list", np.int64),
        ("dirty", np.bool_),
        ("member", np.bool_),
    ]
)
# Class c crosses hops[first_hop:end_hop] with others, then hops[end_hop:end_private] alone; `own` is what these give
# to all its flows together, `cap` what each flow may have at most. `first_flow` is the root of a pairing heap of its
# flows by target. `head`, `tail`: flows that still wait for the latency of the route.
FLOW_CLASS = np.dtype(
    [
        ("weight", np.float64),
        ("cap", np.float64),
        ("own", np.float64),
        ("latency_s", np.float64),
        ("rate", np.float64),
        ("served", np.float64),
        ("stamp_s", np.float64),
        ("first_hop", np.int64),
        ("end_hop", np.int64),
        ("end_private", np.int64),
        ("flows", np.int64),
        ("first_flow", np.int64),
        ("head", np.int64),
        ("tail", np.int64),
        ("member_list", np.int64),
        ("frozen", np.bool_),
    ]
)
# Hop: `load` is the capacity that one byte takes on the link (1 on a wire; 1/(1-p) with retransmission; the seconds
# of airtime on Wi-Fi). `seat` is its place among its link's active hops; `seat_list` the hop in this seat.
HOP = np.dtype(
    [
        ("load", np.float64),
        ("link", np.int64),
        ("flow_class", np.int64),
        ("seat", np.int64),
        ("seat_list", np.int64),
    ]
)
FLOW_FIELDS = [("target", np.float64), ("child", np.int64), ("sibling", np.int64)]
FLOW = np.dtype(FLOW_FIELDS)
LEVEL = np.dtype([("level", np.float64), ("ident", np.int64)])


class Network(NamedTuple):
    """Links, classes and hops; the solver's heap; and how many links are dirty."""

    links: Records
    classes: Records
    hops: Records
    heap: Records
    dirty: Records


def new_network(links: Records, classes: Records, hops: Records) -> Network:
    """An empty network; the arguments need only what does not change."""
    per_link = np.bincount(hops["link"], minlength=links.size)
    links["first_seat"] = np.cumsum(per_link) - per_link
    classes["first_flow"] = classes["head"] = classes["tail"] = NONE
    classes["frozen"] = True
    split_private(links, classes, hops, per_link == 1)
    return Network(links, classes, hops, np.zeros(links.size + classes.size + 1, LEVEL), np.zeros(1, np.int64))


def split_private(links: Records, classes: Records, hops: Records, alone: NDArray[np.bool_]) -> None:
    """Put each class's hops on links that it has `alone` behind the others, and add up what they give."""
    order = np.lexsort((np.arange(hops.size), alone[hops["link"]], hops["flow_class"]))
    hops[:] = hops[order]
    classes["end_private"] = classes["end_hop"]
    links["owner"] = NONE
    private = alone[hops["link"]]
    links["owner"][hops["link"][private]] = hops["flow_class"][private]
    classes["end_hop"] -= np.bincount(hops["flow_class"][private], minlength=classes.size)
    classes["own"] = np.inf
    give = links["capacity"][hops["link"]] / hops["load"]
    np.minimum.at(classes["own"], hops["flow_class"][private], give[private])


@compiled
def limit(network: Network, c: int) -> float:
    """B/s that one flow of class `c` can have at most."""
    this = network.classes[c]
    most: float = min(this.cap, this.own / this.flows) if this.flows > 0 else this.cap
    return most


@compiled
def drift(network: Network, flows: Records, agenda: Records, c: int, now_s: float) -> None:
    """A class that shares no link: the solver does not see it, it moves at its limit."""
    this = network.classes[c]
    if this.first_hop < this.end_hop or this.flows == 0:
        return
    this.served += (now_s - this.stamp_s) * this.rate
    this.stamp_s = now_s
    this.rate = limit(network, c)
    left = flows[this.first_flow].target - this.served
    reschedule(agenda, c, now_s + max(0.0, left) / this.rate if this.rate > 0.0 else np.inf)


@compiled
def set_capacity(network: Network, flows: Records, agenda: Records, link: int, capacity: float, now_s: float) -> None:
    """The capacity of a link changes now."""
    links, hops, c = network.links, network.hops, network.links[link].owner
    links[link].capacity = capacity
    if c == NONE:
        touch(network, link)
        return
    this = network.classes[c]
    this.own = np.inf
    for hop in range(this.end_hop, this.end_private):
        this.own = min(this.own, links[hops[hop].link].capacity / hops[hop].load)
    drift(network, flows, agenda, c, now_s)
    for hop in range(this.first_hop, this.end_hop):
        touch(network, hops[hop].link)


@compiled
def meld(flows: Records, a: int, b: int) -> int:
    """Pairing heap: join two roots; the one that ends first stays on top."""
    if a == NONE:
        return b
    if b == NONE:
        return a
    if flows[b].target < flows[a].target:
        a, b = b, a
    flows[b].sibling = flows[a].child
    flows[a].child = b
    return a


@compiled
def pop_first(flows: Records, root: int) -> int:
    """Pairing heap: the new root when `root` is taken out (pairs left to right, then melds right to left)."""
    rest, paired = flows[root].child, NONE
    while rest != NONE:
        a = rest
        b = flows[a].sibling
        rest = NONE if b == NONE else flows[b].sibling
        flows[a].sibling = NONE
        if b != NONE:
            flows[b].sibling = NONE
        pair = meld(flows, a, b)
        flows[pair].sibling = paired
        paired = pair
    new_root = NONE
    while paired != NONE:
        following = flows[paired].sibling
        flows[paired].sibling = NONE
        new_root = meld(flows, new_root, paired)
        paired = following
    flows[root].child = NONE
    return new_root


@compiled
def touch(network: Network, link: int) -> None:
    """Remember that the rates on `link` are out of date."""
    links = network.links
    if not links[link].dirty:
        links[link].dirty = True
        links[network.dirty[0]].dirty_list = link
        network.dirty[0] += 1


@compiled
def instant(network: Network, c: int, size_bytes: float) -> bool:
    """Whether a flow takes no time once its latency has passed: nothing to move, or nothing to slow it down."""
    this = network.classes[c]
    free = this.first_hop == this.end_hop and this.cap == np.inf and this.own == np.inf
    return size_bytes == 0.0 or free


@compiled
def enter(
    network: Network, flows: Records, agenda: Records, flow: int, c: int, size_bytes: float, now_s: float
) -> None:
    """Flow `flow` of class `c` begins to move its bytes."""
    this, links, hops = network.classes[c], network.links, network.hops
    if this.flows == 0:
        this.served = 0.0
        this.rate = 0.0
        for hop in range(this.first_hop, this.end_hop):
            link = hops[hop].link
            seat = links[link].first_seat + links[link].seated
            hops[seat].seat_list = hop
            hops[hop].seat = seat
            links[link].seated += 1
    else:
        this.served += (now_s - this.stamp_s) * this.rate
    this.stamp_s = now_s
    this.flows += 1
    flows[flow].target = this.served + size_bytes
    flows[flow].child = NONE
    flows[flow].sibling = NONE
    this.first_flow = meld(flows, this.first_flow, flow)
    for hop in range(this.first_hop, this.end_hop):
        touch(network, hops[hop].link)
    drift(network, flows, agenda, c, now_s)


@compiled
def finish(network: Network, flows: Records, agenda: Records, c: int, now_s: float) -> int:
    """The first flow of class `c` ends now; returns it. It ends by identity, whatever rounding left of its bytes."""
    this, links, hops = network.classes[c], network.links, network.hops
    flow: int = this.first_flow
    this.served = flows[flow].target
    this.stamp_s = now_s
    this.flows -= 1
    following = pop_first(flows, flow)
    this.first_flow = following
    for hop in range(this.first_hop, this.end_hop):
        touch(network, hops[hop].link)
    if following != NONE:
        reschedule(agenda, c, now_s + (flows[following].target - this.served) / this.rate)
        drift(network, flows, agenda, c, now_s)
        return flow
    reschedule(agenda, c, np.inf)
    for hop in range(this.first_hop, this.end_hop):
        link = hops[hop].link
        links[link].seated -= 1
        last = hops[links[link].first_seat + links[link].seated].seat_list
        hops[hops[hop].seat].seat_list = last
        hops[last].seat = hops[hop].seat
    return flow


@compiled
def component(network: Network) -> tuple[int, int]:
    """List the links and classes connected with a dirty link in `member_list`; returns how many of each."""
    links, classes, hops = network.links, network.classes, network.hops
    link_count, class_count, at = network.dirty[0], 0, 0
    for i in range(link_count):
        link = links[i].dirty_list
        links[link].dirty = False
        links[link].member = True
        links[i].member_list = link
    network.dirty[0] = 0
    while at < link_count:
        link = links[at].member_list
        at += 1
        for seat in range(links[link].first_seat, links[link].first_seat + links[link].seated):
            c = hops[hops[seat].seat_list].flow_class
            if not classes[c].frozen:
                continue
            classes[c].frozen = False
            classes[class_count].member_list = c
            class_count += 1
            for hop in range(classes[c].first_hop, classes[c].end_hop):
                other = hops[hop].link
                if not links[other].member:
                    links[other].member = True
                    links[link_count].member_list = other
                    link_count += 1
    return link_count, class_count


@compiled
def sift_down(heap: Records, size: int, at: int) -> None:
    """Restore a binary heap by level downwards from `at`."""
    level, ident = heap[at].level, heap[at].ident
    while 2 * at + 1 < size:
        child = 2 * at + 1
        if child + 1 < size and heap[child + 1].level < heap[child].level:
            child += 1
        if heap[child].level >= level:
            break
        heap[at].level, heap[at].ident = heap[child].level, heap[child].ident
        at = child
    heap[at].level, heap[at].ident = level, ident


@compiled
def unfrozen_demand(network: Network, link: int) -> float:
    """Capacity of `link` that its classes without a rate yet take per unit of level."""
    links, classes, hops = network.links, network.classes, network.hops
    demand = 0.0
    for seat in range(links[link].first_seat, links[link].first_seat + links[link].seated):
        hop = hops[hops[seat].seat_list]
        c = classes[hop.flow_class]
        if not c.frozen:
            demand += c.flows * c.weight * hop.load
    return demand


@compiled
def prepare(network: Network, link_count: int, class_count: int) -> int:
    """Load of each link of the component, and the heap of levels at which links fill and caps bind; its size."""
    links, classes, heap, size = network.links, network.classes, network.heap, 0
    for i in range(link_count):
        at = links[i].member_list
        link = links[at]
        link.member = False
        link.free = link.capacity
        link.demand = unfrozen_demand(network, at)
        link.full_demand = link.demand
        link.unfrozen = link.seated
        if link.seated > 0:
            heap[size].level, heap[size].ident = link.capacity / link.demand, at
            size += 1
    for i in range(class_count):
        c = classes[i].member_list
        most = limit(network, c)
        if most < np.inf:
            heap[size].level, heap[size].ident = most / classes[c].weight, links.size + c
            size += 1
    for at in range(size // 2 - 1, -1, -1):
        sift_down(heap, size, at)
    return size


@compiled
def freeze(network: Network, c: int, level: float, now_s: float) -> int:
    """Class `c` gets rate level x weight from now on; its links have that much less to give. One class less is open."""
    this, links, hops = network.classes[c], network.links, network.hops
    this.frozen = True
    this.served += (now_s - this.stamp_s) * this.rate
    this.stamp_s = now_s
    this.rate = level * this.weight
    for hop in range(this.first_hop, this.end_hop):
        link = links[hops[hop].link]
        load = this.flows * this.weight * hops[hop].load
        link.free = max(0.0, link.free - level * load)
        link.demand -= load
        link.unfrozen -= 1
    return 1


@compiled
def fill(network: Network, size: int, open_classes: int, now_s: float) -> None:
    """Progressive filling: take bottlenecks off the heap until every class has its rate."""
    links, classes, hops, heap = network.links, network.classes, network.hops, network.heap
    while size > 0 and open_classes > 0:
        top = heap[0].ident
        if top >= links.size:
            if not classes[top - links.size].frozen:
                open_classes -= freeze(network, top - links.size, heap[0].level, now_s)
        elif links[top].unfrozen > 0:
            link = links[top]
            if link.demand < 1e-6 * link.full_demand:  # little left of a difference of large numbers: add up anew
                link.demand = unfrozen_demand(network, top)
                link.full_demand = link.demand
            level = link.free / link.demand
            if level > heap[0].level * (1.0 + 1e-13):
                heap[0].level = level
                sift_down(heap, size, 0)
                continue
            for seat in range(link.first_seat, link.first_seat + link.seated):
                c = hops[hops[seat].seat_list].flow_class
                if not classes[c].frozen:
                    open_classes -= freeze(network, c, level, now_s)
        size -= 1
        heap[0].level, heap[0].ident = heap[size].level, heap[size].ident
        sift_down(heap, size, 0)


@compiled
def solve(network: Network, flows: Records, agenda: Records, now_s: float) -> None:
    """Bring every rate that a dirty link can change up to date; slot c of the agenda is class c's next end."""
    link_count, class_count = component(network)
    fill(network, prepare(network, link_count, class_count), class_count, now_s)
    for i in range(class_count):
        c = network.classes[i].member_list
        this = network.classes[c]
        left = flows[this.first_flow].target - this.served
        reschedule(agenda, c, now_s + max(0.0, left) / this.rate if this.rate > 0.0 else np.inf)


@compiled
def run_flows(
    network: Network,
    flows: Records,
    agenda: Records,
    entry_order: Records,
    entry_s: Records,
    class_of: Records,
    size_bytes: Records,
    finish_s: Records,
) -> None:
    """Simulate flows that enter at known times; writes `finish_s` (infinity for a flow that never ends)."""
    next_entry, now = 0, 0.0
    while True:
        slot = agenda[0].order if agenda.size > 0 else NONE
        due = agenda[slot].due_s if agenda.size > 0 else np.inf
        entry = entry_s[entry_order[next_entry]] if next_entry < entry_order.size else np.inf
        upcoming = min(due, entry)
        if network.dirty[0] > 0 and upcoming > now + SIMULTANEOUS * abs(now):
            solve(network, flows, agenda, now)
            continue
        if upcoming == np.inf:
            return
        now = upcoming
        if entry <= due:
            flow = entry_order[next_entry]
            next_entry += 1
            c = class_of[flow]
            if instant(network, c, size_bytes[flow]):
                finish_s[flow] = now
            else:
                enter(network, flows, agenda, flow, c, size_bytes[flow], now)
        else:
            finish_s[finish(network, flows, agenda, slot, now)] = now
