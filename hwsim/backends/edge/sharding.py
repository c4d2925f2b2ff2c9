"""Tensor and sequence parallelism: what share of each op a device does, and where the devices must exchange.

The graph is walked once with the state of every tensor. In tensor parallelism a product splits its weights: by output
columns where its input is whole, by rows (the input's shards) where it is not, which leaves partial sums to reduce:
two reductions per transformer block (Shoeybi et al., Megatron-LM, 2019, section 3). In sequence parallelism every
device holds all weights and some rows; attention needs all keys and values, so those are gathered (Hu & Li, Voltage,
2024). What mixes what a device does not have makes it whole first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Literal

from hwsim.graph.ir import Op, WorkloadGraph

State = Literal["whole", "shard", "partial"]
# Ops that work on any subset of heads, columns or rows alike.
LOCAL = ("softmax", "activation", "elementwise", "view", "layout")


@dataclass(frozen=True)
class Exchange:
    """Make tensors whole on every device. Each contributes its n-th part, or (`reduce`) a partial sum of all of it."""

    tensors: tuple[str, ...]
    size_bytes: int
    reduce: bool


@dataclass(frozen=True)
class Sharded:
    """An op of which the busiest device does `share`."""

    op: Op
    share: float


Step = Exchange | Sharded


def share_of(count: int, devices: int) -> float:
    """Share of the busiest device when `count` equal parts are dealt to `devices`."""
    return ceil(count / devices) / count


def tensor_parallel(graph: WorkloadGraph, devices: int) -> Iterator[Step]:
    """The steps of one run, in order, with weights split over `devices`."""
    state: dict[str, State] = {}
    for op in graph.ops:
        inputs = activations(graph, op)
        held = {state.get(name, "whole") for name in inputs}
        out: State = "whole"
        share = 1.0
        wanted = inputs
        if op.kind == "gemm" and held == {"whole"}:
            out, share, wanted = "shard", share_of(op.dims["N"], devices), ()
        elif op.kind == "gemm" and held == {"shard"}:
            out, share, wanted = "partial", share_of(op.dims["K"], devices), ()
        elif op.kind == "conv" and held == {"whole"} and op.dims["G"] == 1:
            out, share, wanted = "shard", share_of(op.dims["Cout"], devices), ()
        elif op.kind == "matmul" and held == {"shard"}:
            out, share, wanted = "shard", share_of(op.dims["B"], devices), ()
        elif op.kind in LOCAL and held == {"shard"} and (len(op.inputs) == 1 or op.kind == "elementwise"):
            out, share, wanted = "shard", share_of(size_of(op), devices), ()
        yield from made_whole(graph, state, wanted)
        yield Sharded(op, share)
        state |= dict.fromkeys(op.outputs, out)
    yield from made_whole(graph, state, graph.outputs)


def sequence_parallel(graph: WorkloadGraph, devices: int) -> Iterator[Step]:
    """The steps of one run, in order, with the rows of every tensor split over `devices`."""
    state: dict[str, State] = {}
    for op in graph.ops:
        inputs = activations(graph, op)
        wanted: Sequence[str] = op.inputs[1:2] if op.kind == "matmul" else ()
        rows = op.dims.get("M") or op.dims.get("rows") or size_of(op)
        if op.kind == "conv":
            rows = op.dims["B"] * op.dims.get("OH", 1) * op.dims.get("OW", 1)
        share = share_of(rows, devices)
        if op.kind in ("reduction", "pool", "topk", "fft", "roll", "unfold", "fold", "resize", "scatter"):
            wanted, share = inputs, 1.0  # mixes rows: done by all on the whole tensor
        yield from made_whole(graph, state, wanted)
        yield Sharded(op, share)
        state |= dict.fromkeys(op.outputs, "whole" if share == 1.0 and set(wanted) == set(inputs) else "shard")
    yield from made_whole(graph, state, graph.outputs)


def activations(graph: WorkloadGraph, op: Op) -> tuple[str, ...]:
    """The op's inputs that depend on the request."""
    return tuple(dict.fromkeys(name for name in op.inputs if graph.tensors[name].role in ("activation", "input")))


def size_of(op: Op) -> int:
    """Elements or rows of an op that has them."""
    return max(1, op.dims.get("elements", op.dims.get("rows", 1)))


def made_whole(graph: WorkloadGraph, state: dict[str, State], names: Sequence[str]) -> Iterator[Exchange]:
    """The exchanges after which `names` are whole everywhere; `state` then says so."""
    for kind in ("shard", "partial"):
        torn = tuple(name for name in names if state.get(name, "whole") == kind)
        if torn:
            size = sum(graph.tensors[name].size_bytes for name in torn)
            yield Exchange(torn, size, reduce=kind == "partial")
            state |= dict.fromkeys(torn, "whole")
