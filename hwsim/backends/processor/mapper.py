"""Where each op runs, and whether the run fits the device's memory."""

from __future__ import annotations

from math import ceil

from hwsim.backends.base import Placement
from hwsim.backends.processor.kernels import KernelTable, Kind
from hwsim.backends.processor.spec import ProcessorSpec
from hwsim.backends.processor.traffic import Traffic
from hwsim.core.results import Infeasible, Lever
from hwsim.graph.ir import WorkloadGraph

_UNITS = {
    Kind.GEMM: "matrix", Kind.MATMUL: "matrix", Kind.CONV: "matrix", Kind.GROUPED: "matrix",
    Kind.ATTENTION: "matrix", Kind.MASKED_ATTENTION: "matrix", Kind.DEPTHWISE: "simd", Kind.SIMD_MATMUL: "simd",
    Kind.STREAM: "simd", Kind.COPY: "simd", Kind.GATHER: "simd",
}  # fmt: skip
_REASONS = {
    Kind.GEMM: "a product with a parameter", Kind.MATMUL: "a product of activations",
    Kind.CONV: "a convolution as an implicit product", Kind.GROUPED: "a product per group of channels",
    Kind.DEPTHWISE: "one channel per group: too thin for the matrix units",
    Kind.ATTENTION: "fused attention", Kind.MASKED_ATTENTION: "fused attention with a mask",
    Kind.SIMD_MATMUL: "unfused attention computes in fp32", Kind.STREAM: "elementwise or row-wise work",
    Kind.COPY: "data movement", Kind.GATHER: "data-dependent addresses",
}  # fmt: skip


def place(graph: WorkloadGraph, table: KernelTable) -> tuple[Placement, ...]:
    """One placement per op: the kernel that computes it, or none for a view."""
    main: dict[str, Kind] = {}
    inside: dict[str, str] = {}
    for kernel in table.kernels:
        if not kernel.ops[0]:
            continue
        if kernel.ops[0] not in main or kernel.kind < main[kernel.ops[0]]:
            main[kernel.ops[0]] = kernel.kind
        inside |= dict.fromkeys(kernel.ops[1:], kernel.ops[0])
    found = []
    for op in graph.ops:
        if op.name in main:
            kind = main[op.name]
            found.append(Placement(op.name, _UNITS[kind], kind.name.lower(), _REASONS[kind]))
        elif op.name in inside:
            found.append(Placement(op.name, "fused", f"in {inside[op.name]}", "one kernel computes both"))
        else:
            found.append(Placement(op.name, "host", "view", "renames data without moving it"))
    return tuple(found)


def peak_memory_bytes(traffic: Traffic) -> float:
    """Parameters and the largest set of activations alive at once, op by op (A14)."""
    graph = traffic.graph
    last: dict[str, int] = {}
    for index, op in enumerate(graph.ops):
        last |= dict.fromkeys((traffic.storage[name] for name in (*op.inputs, *op.outputs)), index)
    last |= {traffic.storage[name]: len(graph.ops) for name in graph.outputs}
    ends: dict[int, list[str]] = {}
    for name, index in last.items():
        ends.setdefault(index, []).append(name)

    def size(name: str) -> float:
        return graph.tensors[name].elements * traffic.widths[name]

    fixed = sum(
        size(name) for name, tensor in graph.tensors.items() if tensor.role in ("parameter", "buffer", "constant")
    )
    alive = sum(size(name) for name in graph.inputs)
    peak, live = alive, set(graph.inputs)
    for index, op in enumerate(graph.ops):
        fresh = {traffic.storage[name] for name in op.outputs} - live
        fresh = {name for name in fresh if graph.tensors[name].role == "activation"}
        live |= fresh
        alive += sum(size(name) for name in fresh)
        peak = max(peak, alive)
        dead = [name for name in ends.get(index, ()) if name in live]
        alive -= sum(size(name) for name in dead)
        live -= set(dead)
    return fixed + peak


def misfit(graph: WorkloadGraph, spec: ProcessorSpec) -> Infeasible | None:
    """What the run lacks, if it does not fit in device memory."""
    need = peak_memory_bytes(Traffic(graph, spec.runtime.precision))
    if need <= spec.memory.size_bytes:
        return None
    return Infeasible(
        resource="device memory", demand=need, bound=float(spec.memory.size_bytes), unit="B",
        reason=f"parameters and live activations of batch {graph.batch} need {need / 2**30:.3g} GiB, "
        f"the device has {spec.memory.size_bytes / 2**30:.3g} GiB",
        levers=(Lever("memory.size", float(ceil(need)), "B", "a device with this much memory, or a smaller batch"),),
    )  # fmt: skip
