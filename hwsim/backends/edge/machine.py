"""What an op costs on a device: from measured numbers of the device, or from the arch file of another backend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache

from hwsim.backends.base import backend_of
from hwsim.backends.edge.spec import ComputeSpec, DeviceSpec
from hwsim.core.frozen import FrozenDict
from hwsim.core.results import Infeasible
from hwsim.graph.ir import Op, WorkloadGraph
from hwsim.spec.arch import load_arch


@dataclass(frozen=True)
class OpCost:
    """Time of an op on a device: `work_s` shrinks when the op is sharded, `fixed_s` does not (A6).

    `energy_j` is None where only the device's load power says what it costs. `utilization` is of the peak rate.
    """

    work_s: float
    fixed_s: float
    bound_by: str
    utilization: float | None = None
    energy_j: float | None = None
    compute_s: float | None = None

    @property
    def rate_s(self) -> float:
        """Time by the arithmetic alone, where it is known: what a cut is balanced by."""
        return self.seconds() if self.compute_s is None else self.compute_s + self.fixed_s

    def seconds(self, share: float = 1.0) -> float:
        """Time of `share` of the op."""
        return self.work_s * share + self.fixed_s


def op_costs(device: DeviceSpec, graph: WorkloadGraph, ops: tuple[Op, ...]) -> Mapping[str, OpCost] | Infeasible:
    """Cost of each of `ops` of `graph` on `device`, by op name."""
    if device.compute is not None:
        return {op.name: measured_cost(device.compute, graph, op) for op in ops}
    return arch_costs(str(device.arch), subgraph(graph, ops))


def measured_cost(compute: ComputeSpec, graph: WorkloadGraph, op: Op) -> OpCost:
    """Roofline of the measured rates plus the runtime's overhead per kernel; a view costs nothing (A5)."""
    if op.kind == "view":
        return OpCost(0.0, 0.0, "")
    dtype = graph.tensors[op.inputs[0]].dtype if op.inputs else "float32"
    # A format without a measured rate runs at the slowest measured one.
    rate = compute.throughput.get(dtype, min(compute.throughput.values()))
    moved = graph.operand_bytes(op, ("input", "parameter", "buffer", "constant", "activation")) + graph.output_bytes(op)
    compute_s, memory_s = op.macs / rate, moved / compute.memory_bandwidth_bytes_per_s
    work_s = max(compute_s, memory_s)
    bound = "overhead" if compute.op_overhead_s > work_s else "compute" if compute_s >= memory_s else "memory"
    total_s = work_s + compute.op_overhead_s
    return OpCost(work_s, compute.op_overhead_s, bound, compute_s / total_s if op.macs else None, None, compute_s)


@cache
def arch_costs(arch: str, graph: WorkloadGraph) -> Mapping[str, OpCost] | Infeasible:
    """The other backend's estimate of the device's part of the network."""
    described = load_arch(arch)
    result = backend_of(described).estimate(graph, described)
    if isinstance(result, Infeasible):
        return result
    return FrozenDict(
        {row.name: OpCost(row.latency_s, 0.0, row.bound_by, row.utilization, row.energy_j) for row in result.ops}
    )


def subgraph(graph: WorkloadGraph, ops: tuple[Op, ...]) -> WorkloadGraph:
    """The part of a graph that `ops` make up: what they read from elsewhere becomes its inputs."""
    if len(ops) == len(graph.ops):
        return graph
    made = {name for op in ops for name in op.outputs}
    read = dict.fromkeys(name for op in ops for name in op.inputs if name not in made)
    elsewhere = {name for name in read if graph.tensors[name].role in ("activation", "input")}
    kept = {
        name: replace(graph.tensors[name], role="input") if name in elsewhere else graph.tensors[name]
        for name in (*read, *made)
    }
    used_later = {name for op in graph.ops if op not in ops for name in op.inputs} | set(graph.outputs)
    return replace(
        graph,
        tensors=FrozenDict(kept),
        ops=ops,
        inputs=tuple(name for name in read if name in elsewhere),
        outputs=tuple(name for op in ops for name in op.outputs if name in used_later),
    )


def parameter_bytes(graph: WorkloadGraph, ops: tuple[Op, ...]) -> int:
    """Bytes of the distinct parameters, buffers and constants that `ops` read."""
    names = {
        name for op in ops for name in op.inputs if graph.tensors[name].role in ("parameter", "buffer", "constant")
    }
    return sum(graph.tensors[name].size_bytes for name in names)


def peak_activation_bytes(graph: WorkloadGraph, ops: tuple[Op, ...]) -> int:
    """Most bytes of activations alive at once while `ops` run in order; every op writes a tensor of its own (A8)."""
    last_use: dict[str, int] = {}
    for index, op in enumerate(ops):
        last_use |= dict.fromkeys(op.inputs, index)
    made = {name for op in ops for name in op.outputs}
    live = {n for op in ops for n in op.inputs if n not in made and graph.tensors[n].role in ("activation", "input")}
    size = peak = sum(graph.tensors[name].size_bytes for name in live)
    for index, op in enumerate(ops):
        live.update(op.outputs)
        size += graph.output_bytes(op)
        peak = max(peak, size)
        dead = {name for name in (*op.inputs, *op.outputs) if name in live and last_use.get(name, -1) == index}
        live -= dead
        size -= sum(graph.tensors[name].size_bytes for name in dead)
    return peak
