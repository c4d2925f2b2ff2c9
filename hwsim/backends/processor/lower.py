"""Graph to kernels, as an eager runtime launches them or as a compiler fuses them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

from hwsim.backends.processor.eager import eager_kernels
from hwsim.backends.processor.fusion import fused_kernels
from hwsim.backends.processor.kernels import KernelTable
from hwsim.backends.processor.runtime import MAX_HEAD, Runtime
from hwsim.backends.processor.strides import is_contiguous
from hwsim.backends.processor.traffic import Traffic
from hwsim.graph.ir import Op, WorkloadGraph


@lru_cache(maxsize=2048)
def lower(graph: WorkloadGraph, runtime: Runtime, low_norms: frozenset[str] = frozenset()) -> KernelTable:
    """The kernels that `runtime` launches for `graph`, in order of issue.

    `low_norms` are the paths of modules whose norms keep autocast's low format, as timm's do on demand.
    """
    graph = _one_group_per_call(graph)
    groups = _attention_groups(graph)
    parts = {name: ops for name, ops in groups.items() if runtime.fused_attention and _can_fuse(ops, graph)}
    unfused = {op.name for name, ops in groups.items() if name not in parts for op in ops}
    traffic = Traffic(graph, runtime.precision, frozenset(unfused if runtime.widens_attention else ()), low_norms)
    skip = _free_copies(traffic, parts)
    kernels = fused_kernels if runtime.mode == "compiled" else eager_kernels
    return KernelTable(tuple(kernels(traffic, parts, skip, runtime)))


def _one_group_per_call(graph: WorkloadGraph) -> WorkloadGraph:
    """Capture ties all attention calls of one module call under one name (differential attention makes two): each ends
    with its second product."""
    products: Counter[str] = Counter()
    ops = []
    for op in graph.ops:
        if op.group is not None:
            call = products[op.group] // 2
            products[op.group] += op.kind == "matmul"
            op = replace(op, group=f"{call}/{op.group}") if call else op
        ops.append(op)
    return replace(graph, ops=tuple(ops)) if max(products.values(), default=0) > 2 else graph


def _attention_groups(graph: WorkloadGraph) -> Mapping[str | None, tuple[Op, ...]]:
    """Group name -> its ops, where one call was split into QK^T, softmax and AV."""
    groups: dict[str | None, list[Op]] = {}
    for op in graph.ops:
        if op.group is not None and op.group.rsplit("@", 1)[0].endswith(":attention"):
            groups.setdefault(op.group, []).append(op)
    return {name: tuple(ops) for name, ops in groups.items() if sum(op.kind == "matmul" for op in ops) == 2}


def _can_fuse(ops: Sequence[Op], graph: WorkloadGraph) -> bool:
    """Fused kernels take (batch, heads, tokens, dims) only; other ranks and wide heads run as separate products."""
    query = next(graph.tensors[op.inputs[0]] for op in ops if op.kind == "matmul")
    return len(query.shape) == 4 and query.shape[-1] <= MAX_HEAD


def _free_copies(traffic: Traffic, parts: Mapping[str | None, Sequence[Op]]) -> frozenset[str]:
    """Copies that move nothing: of what lies packed already, or of a fused attention's output, which is written in the
    order that the copy asks for."""
    outputs = {name for ops in parts.values() for name in ops[-1].outputs}
    tensors = traffic.graph.tensors
    return frozenset(
        op.name
        for op in traffic.graph.ops
        if op.fn in ("clone", "contiguous")
        and op.inputs  # a copy of a constant that capture folded has none
        and (
            traffic.storage[op.inputs[0]] in outputs
            or is_contiguous(tensors[op.inputs[0]].shape, traffic.strides[op.inputs[0]])
        )
    )
