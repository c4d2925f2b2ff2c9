"""From a graph and a cluster to a plan: single device, branches of a class-split, pipeline, tensor, sequence."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from hwsim.backends.edge.assignment import Assignment, Demands, Shortage, exact, greedy
from hwsim.backends.edge.machine import OpCost, op_costs, parameter_bytes, peak_activation_bytes
from hwsim.backends.edge.pipeline import stages
from hwsim.backends.edge.plan import Drafting, Plan
from hwsim.backends.edge.program import Compute, Transfer
from hwsim.backends.edge.sharding import Exchange, Sharded, Step, sequence_parallel, tensor_parallel
from hwsim.backends.edge.spec import ClusterSpec, DeviceSpec
from hwsim.core.results import Infeasible, Lever
from hwsim.graph.ir import Op, WorkloadGraph

Ops = tuple[Op, ...]
# The attribute by which a class-split graph says which sub-model an op belongs to.
BRANCH = "branch"


def plan(graph: WorkloadGraph, spec: ClusterSpec) -> Plan | Infeasible:
    """The plan of `spec.split`, or what does not fit."""
    methods: dict[str, Callable[[WorkloadGraph, ClusterSpec], Plan | Infeasible]] = {
        "single": single,
        "branches": branches,
        "pipeline": pipeline,
        "tensor": sharded,
        "sequence": sharded,
    }
    return methods[spec.split.method](graph, spec)


def workers(spec: ClusterSpec) -> list[int]:
    """Indices of the devices that the split may use."""
    able = [i for i, (_, device) in enumerate(spec.instances()) if device.worker]
    return able[: spec.split.devices]


def branch_of(op: Op) -> int | None:
    """The sub-model an op belongs to; None for what comes before or after all of them."""
    number = op.attrs.get(BRANCH)
    return number if isinstance(number, int) else None


def single(graph: WorkloadGraph, spec: ClusterSpec) -> Plan | Infeasible:
    """Everything on the first worker."""
    return placed(graph, spec, [(workers(spec)[0], graph.ops)], "single")


def pipeline(graph: WorkloadGraph, spec: ClusterSpec) -> Plan | Infeasible:
    """Consecutive ops on consecutive workers, cut where the slowest stage is fastest and memory suffices."""
    chosen, stations = workers(spec), spec.instances()
    costs: list[Sequence[OpCost]] = []
    for d in chosen:
        found = op_costs(stations[d][1], graph, graph.ops)
        if isinstance(found, Infeasible):
            return found
        costs.append([found[op.name] for op in graph.ops])
    bounds = [free_bytes(stations[d][1]) for d in chosen]
    seconds = np.array([[cost.rate_s for cost in row] for row in costs])
    cuts = stages(graph, seconds, bounds)
    if cuts is None:
        whole = parameter_bytes(graph, graph.ops) + peak_activation_bytes(graph, graph.ops)
        d = chosen[int(np.argmax(bounds))]
        return shortage_of(spec, d, "memory", whole, max(bounds), "as a pipeline the network")
    ends = [*cuts[1:], len(graph.ops)]
    pieces = [(d, graph.ops[a:b]) for d, a, b in zip(chosen, cuts, ends, strict=True) if b > a]
    return placed(graph, spec, pieces, "pipeline")


def branches(graph: WorkloadGraph, spec: ClusterSpec) -> Plan | Infeasible:
    """Each sub-model on the device that the assignment gives it; what is left on the fusion device.

    A graph without sub-models is one of them.
    """
    numbers = sorted({b for op in graph.ops if (b := branch_of(op)) is not None})
    if not numbers:
        return single(graph, spec)
    groups = [tuple(op for op in graph.ops if branch_of(op) == b) for b in numbers]
    demands = demands_of(graph, spec, groups)
    if isinstance(demands, Infeasible):
        return demands
    chosen = workers(spec)
    found = greedy(demands)
    note = ""
    if spec.split.assignment == "exact":
        best = exact(demands)
        if isinstance(best, Assignment) and isinstance(found, Assignment):
            gap = found.busiest_s / best.busiest_s - 1.0
            note = f"greedy assignment is {gap:.2%} slower than the {'best' if best.proven else 'best found'}"
        found = best
    if isinstance(found, Shortage):
        what = f"sub-model {numbers[found.part]}"
        return shortage_of(spec, chosen[found.device], found.resource, found.demand, found.bound, what)
    pieces = [(chosen[d], group) for d, group in zip(found.devices, groups, strict=True)]
    rest = tuple(op for op in graph.ops if branch_of(op) is None)
    pieces.append((spec.index_of(spec.fusion), rest))
    return placed(graph, spec, pieces, "branches", (note,) if note else ())


def demands_of(graph: WorkloadGraph, spec: ClusterSpec, groups: Sequence[Ops]) -> Demands | Infeasible:
    """What each sub-model takes on each worker."""
    chosen, stations = workers(spec), spec.instances()
    seconds, energy = np.zeros((len(groups), len(chosen))), np.zeros((len(groups), len(chosen)))
    known: dict[tuple[int, int], float] = {}
    for part, group in enumerate(groups):
        for column, d in enumerate(chosen):
            device = stations[d][1]
            key = (part, id(device))
            if key not in known:
                costs = op_costs(device, graph, group)
                if isinstance(costs, Infeasible):
                    return costs
                known[key] = sum(costs[op.name].seconds() for op in group)
            seconds[part, column] = known[key]
            energy[part, column] = known[key] * (device.load_power_w - device.idle_power_w)
    return Demands(
        seconds=seconds,
        memory_bytes=np.array([float(memory_of(graph, group)) for group in groups]),
        memory_bound_bytes=np.array([float(free_bytes(stations[d][1])) for d in chosen]),
        energy_j=energy,
        energy_bound_j=float("inf") if spec.energy_budget_j is None else spec.energy_budget_j,
    )


def memory_of(graph: WorkloadGraph, ops: Ops) -> int:
    """Bytes that a device needs to run `ops`: their parameters and the most activations alive at once (A8)."""
    return parameter_bytes(graph, ops) + peak_activation_bytes(graph, ops)


def free_bytes(device: DeviceSpec) -> int:
    """Bytes a device has for a network: its memory less what system and runtime keep."""
    return device.memory_bytes - device.runtime_memory_bytes


def shortage_of(spec: ClusterSpec, device: int, resource: str, demand: float, bound: float, what: str) -> Infeasible:
    """Say which device lacks how much, and what would do."""
    stations = spec.instances()
    name, device_spec = stations[device]
    entry = spec.devices.index(device_spec)
    if resource == "memory":
        kept = device_spec.runtime_memory_bytes
        levers = (Lever(f"devices.{entry}.memory", float(np.ceil(demand + kept)), "B", f"more memory on {name}"),)
        unit = "B"
    elif resource == "storage":
        levers = (Lever(f"devices.{entry}.storage", float(np.ceil(demand)), "B", f"more storage on {name}"),)
        unit = "B"
    else:
        levers = (Lever("energy_budget", demand * (1.0 + 1e-9), "J", "a larger budget per request"),)
        unit = "J"
    reason = f"{what} needs {demand:.6g} {unit} of {resource} on {name}, which has {bound:.6g} {unit}"
    return Infeasible(f"{resource} of {name}", demand, bound, unit, reason, levers=levers)


def misfit(
    graph: WorkloadGraph, spec: ClusterSpec, device: int, parameters: int, activations: int
) -> Infeasible | None:
    """What a device lacks for so many bytes, if it lacks something."""
    stations = spec.instances()[device][1]
    if parameters + activations > free_bytes(stations):
        return shortage_of(
            spec, device, "memory", parameters + activations, free_bytes(stations), f"its part of {graph.name}"
        )
    if stations.storage_bytes is not None and parameters > stations.storage_bytes:
        return shortage_of(spec, device, "storage", parameters, stations.storage_bytes, f"its part of {graph.name}")
    return None


def placed(
    graph: WorkloadGraph, spec: ClusterSpec, pieces: Iterable[tuple[int, Ops]], method: str, notes: tuple[str, ...] = ()
) -> Plan | Infeasible:
    """Plan of a graph whose every op has one device: a task ends where another device waits for its result."""
    device_of = {op.name: d for d, ops in pieces for op in ops}
    costs: dict[str, OpCost] = {}
    memory: dict[int, int] = {}
    stations = spec.instances()
    for d in sorted(set(device_of.values())):
        ops = tuple(op for op in graph.ops if device_of[op.name] == d)
        lacking = misfit(graph, spec, d, parameter_bytes(graph, ops), peak_activation_bytes(graph, ops))
        if lacking is not None:
            return lacking
        found = op_costs(stations[d][1], graph, ops)
        if isinstance(found, Infeasible):
            return found
        costs |= found
        memory[d] = memory_of(graph, ops)
    return Placing(graph, spec, device_of, costs).plan(memory, method, notes)


class Placing:
    """Builds the program of a placed graph op by op."""

    def __init__(
        self, graph: WorkloadGraph, spec: ClusterSpec, device_of: Mapping[str, int], costs: Mapping[str, OpCost]
    ) -> None:
        self.graph, self.spec, self.device_of, self.costs = graph, spec, device_of, costs
        self.draft = Drafting(spec)
        self.maker = {name: op.name for op in graph.ops for name in op.outputs}
        self.home = {name: device_of[maker] for name, maker in self.maker.items()}
        self.home |= dict.fromkeys(graph.inputs, spec.index_of(spec.source))
        self.ready: dict[tuple[str, int], tuple[int, ...]] = {}  # (tensor, device) -> task after which it is there
        self.open: dict[int, list[Op]] = {}
        self.waits: dict[int, tuple[int, ...]] = {}
        readers: dict[str, set[int]] = {}
        for op in graph.ops:
            for name in op.inputs:
                readers.setdefault(name, set()).add(device_of[op.name])
        fusion = spec.index_of(spec.fusion)
        for name in graph.outputs:
            readers.setdefault(name, set()).add(fusion)
        self.sent = {name for name, devices in readers.items() if name in self.home and devices - {self.home[name]}}

    def plan(self, memory: dict[int, int], method: str, notes: tuple[str, ...]) -> Plan:
        """Walk the ops, then bring the results to the fusion device."""
        for op in self.graph.ops:
            self.add(op)
        for d in list(self.open):
            self.close(d)
        fusion = self.spec.index_of(self.spec.fusion)
        last = self.graph.ops[-1].name
        after = tuple(t for name in self.graph.outputs for t in self.bring(name, fusion, last))
        loose = self.loose(after)
        sink = self.draft.compute(fusion, [], tuple(dict.fromkeys((*after, *loose))))
        self.forgive(sink)
        if self.spec.split.spares:
            add_spares(self.draft, workers(self.spec))
        return self.draft.plan(memory, method, notes)

    def add(self, op: Op) -> None:
        """Put an op into its device's open task; a new task where something must first arrive from elsewhere."""
        d = self.device_of[op.name]
        if d in self.open and branch_of(self.open[d][-1]) != branch_of(op):
            self.close(d)
        remote = [n for n in op.inputs if n in self.home and (self.home[n] != d) and (n, d) not in self.ready]
        if remote:
            self.close(d)
            arrived = tuple(t for name in dict.fromkeys(remote) for t in self.bring(name, d, op.name))
            self.waits[d] = tuple(dict.fromkeys((*self.waits.get(d, ()), *arrived)))
        self.open.setdefault(d, []).append(op)
        if any(name in self.sent for name in op.outputs):
            self.close(d)

    def close(self, d: int) -> None:
        """End the open task of a device."""
        ops = self.open.pop(d, [])
        if not ops:
            return
        work = [(op.name, self.costs[op.name], 1.0) for op in ops]
        task = self.draft.compute(d, work, self.waits.get(d, ()), branch_of(ops[0]))
        self.waits[d] = (task,)
        for op in ops:
            for name in op.outputs:
                self.ready[name, d] = (task,)

    def bring(self, name: str, device: int, owner: str) -> tuple[int, ...]:
        """Tasks after which a tensor is on a device; sends it there once."""
        if name not in self.home:
            return ()
        home = self.home[name]
        if (name, device) not in self.ready:
            made = self.ready.get((name, home), ())
            if home == device:
                return made
            size = self.graph.tensors[name].size_bytes
            number = branch_of(self.graph.op(self.maker[name])) if name in self.maker else None
            sent = self.draft.message(f"{name}", owner, home, device, size, made, number)
            self.ready[name, device] = (sent,)
        return self.ready[name, device]

    def loose(self, after: tuple[int, ...]) -> tuple[int, ...]:
        """Tasks that nothing waits for: the request ends when they have."""
        awaited = {t for task in self.draft.tasks for t in task.after} | set(after)
        return tuple(t for t in range(len(self.draft.tasks)) if t not in awaited)

    def forgive(self, sink: int) -> None:
        """What gathers the sub-models can do without one whose device is lost: name it as their `join`."""
        followers: dict[int, int] = {}
        for t, task in enumerate(self.draft.tasks):
            followers |= dict.fromkeys(task.after, t)
        for t, task in enumerate(self.draft.tasks[:sink]):
            if isinstance(task, Compute) and task.branch is not None:
                behind = t
                while self.draft.tasks[behind].branch is not None:
                    behind = followers[behind]
                self.draft.tasks[t] = replace(task, join=behind)


def add_spares(draft: Drafting, able: Sequence[int]) -> None:
    """Give each sub-model's task a spare: its inputs sent again to the next worker, the work there, the result on.

    The next worker must hold that sub-model as well (A12).
    """
    for t, task in enumerate(list(draft.tasks)):
        if not isinstance(task, Compute) or task.join is None or task.device not in able:
            continue
        inputs = [draft.tasks[a] for a in task.after]
        results = [f for f in draft.tasks if t in f.after and isinstance(f, Transfer)]
        if not all(isinstance(i, Transfer) and i.sender is not None for i in inputs) or len(able) < 2:
            continue
        other = able[(able.index(task.device) + 1) % len(able)]
        first = len(draft.tasks)
        sent = tuple(draft.resend(i, other) for i in inputs if isinstance(i, Transfer))
        again = len(draft.tasks)
        draft.tasks.append(replace(task, name=f"{task.name} again", device=other, after=sent))
        ends = tuple(draft.redirect(r, other, again) for r in results) or (again,)
        draft.tasks[t] = replace(task, spare=first)
        gathers = draft.tasks[task.join]
        draft.tasks[task.join] = replace(gathers, after=(*gathers.after, *ends))


def sharded(graph: WorkloadGraph, spec: ClusterSpec) -> Plan | Infeasible:
    """Plan of tensor or sequence parallelism over all workers; the first relays every exchange."""
    chosen, stations = workers(spec), spec.instances()
    method = spec.split.method
    walk = tensor_parallel if method == "tensor" else sequence_parallel
    steps = list(walk(graph, len(chosen)))
    costs: dict[int, Mapping[str, OpCost]] = {}
    memory: dict[int, int] = {}
    split = {step.op.name: step.share for step in steps if isinstance(step, Sharded)}
    for d in chosen:
        parameters, active = sharded_bytes(graph, split, method)
        lacking = misfit(graph, spec, d, parameters, active)
        if lacking is not None:
            return lacking
        found = op_costs(stations[d][1], graph, graph.ops)
        if isinstance(found, Infeasible):
            return found
        costs[d], memory[d] = found, parameters + active
    return sharded_plan(graph, spec, chosen, steps, costs).plan(memory, method, ())


def sharded_bytes(graph: WorkloadGraph, split: Mapping[str, float], method: str) -> tuple[int, int]:
    """Bytes of parameters and of activations on the busiest device: weights are split only by tensor."""
    parameters = 0.0
    seen: set[str] = set()
    for op in graph.ops:
        own = [n for n in op.inputs if graph.tensors[n].role in ("parameter", "buffer", "constant") and n not in seen]
        seen.update(own)
        share = split[op.name] if method == "tensor" and op.kind in ("gemm", "conv") else 1.0
        parameters += share * sum(graph.tensors[n].size_bytes for n in own)
    return int(np.ceil(parameters)), peak_activation_bytes(graph, graph.ops)


def sharded_plan(
    graph: WorkloadGraph, spec: ClusterSpec, chosen: Sequence[int], steps: Sequence[Step],
    costs: Mapping[int, Mapping[str, OpCost]],
) -> Drafting:  # fmt: skip
    """Input to every device; then computing and exchanging in turn; the result to the fusion device."""
    draft, root = Drafting(spec), chosen[0]
    source, first, last = spec.index_of(spec.source), graph.ops[0].name, graph.ops[-1].name
    size = sum(graph.tensors[name].size_bytes for name in graph.inputs)
    done: dict[int, tuple[int, ...]] = {d: (draft.message("input", first, source, d, size, ()),) for d in chosen}
    pending: list[Sharded] = []
    owner = first

    def compute_pending() -> None:
        for d in chosen if pending else ():
            done[d] = (draft.compute(d, [(s.op.name, costs[d][s.op.name], s.share) for s in pending], done[d]),)
        pending.clear()

    for step in steps:
        if isinstance(step, Sharded):
            pending.append(step)
            owner = step.op.name
        else:
            compute_pending()
            if spec.split.collective == "ring":
                ring(draft, step, chosen, owner, done)
            else:
                relay(draft, step, chosen, root, owner, done)
    compute_pending()
    result = sum(graph.tensors[name].size_bytes for name in graph.outputs)
    sent = draft.message("result", last, root, spec.index_of(spec.fusion), result, done[root])
    draft.compute(spec.index_of(spec.fusion), [], tuple(dict.fromkeys((sent, *(t for d in chosen for t in done[d])))))
    return draft


def ring(draft: Drafting, step: Exchange, chosen: Sequence[int], owner: str, done: dict[int, tuple[int, ...]]) -> None:
    """Every device passes an n-th to its neighbour: n - 1 rounds to gather, as many before to reduce.

    Patarasuk & Yuan, Journal of Parallel and Distributed Computing 69, 2009.
    """
    count = len(chosen)
    piece = step.size_bytes / count
    for _ in range((2 if step.reduce else 1) * (count - 1)):
        passed: dict[int, int] = {}
        sent: dict[int, int] = {}
        for at, d in enumerate(chosen):
            following = chosen[(at + 1) % count]
            sent[d] = draft.message("pass on", owner, d, following, piece, done[d])
            passed[following] = draft.staged(owner, following, piece, 1, (sent[d], *done[following]))
        # Blocking: the next round begins when both the own message has gone and the neighbour's has come.
        done.update({d: (passed[d], sent[d]) for d in chosen})


def relay(
    draft: Drafting, step: Exchange, chosen: Sequence[int], root: int, owner: str, done: dict[int, tuple[int, ...]]
) -> None:
    """Peers send their part to the root, which stages it and sends each peer what it lacks (A7)."""
    count, peers = len(chosen), [d for d in chosen if d != root]
    if not peers:
        return
    up = step.size_bytes if step.reduce else step.size_bytes / count
    down = step.size_bytes if step.reduce else step.size_bytes * (count - 1) / count
    arrived = [draft.message("gather", owner, d, root, up, done[d]) for d in peers]
    relayed = (up + down) * len(peers)
    done[root] = (draft.staged(owner, root, relayed, len(peers), (*done[root], *arrived)),)
    for d in peers:
        done[d] = (draft.message("spread", owner, root, d, down, done[root]),)
