"""Where to cut a network into consecutive stages: dynamic programming over the slowest stage."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hwsim.graph.ir import WorkloadGraph


def crossing_bytes(graph: WorkloadGraph) -> NDArray[np.float64]:
    """Bytes alive between op i - 1 and op i that op i or a later one reads, i = 0 .. number of ops."""
    made = {name: index for index, op in enumerate(graph.ops) for name in op.outputs}
    change = np.zeros(len(graph.ops) + 2)
    last: dict[str, int] = {}
    for index, op in enumerate(graph.ops):
        last |= {name: index for name in op.inputs if name in made}
    for name, index in last.items():
        change[made[name] + 1] += graph.tensors[name].size_bytes
        change[index + 1] -= graph.tensors[name].size_bytes
    return np.cumsum(change)[: len(graph.ops) + 1]


def stages(graph: WorkloadGraph, seconds: NDArray[np.float64], memory_bound_bytes: Sequence[int]) -> list[int] | None:
    """First op of each stage, one per device (a stage may be empty), or None if memory does not suffice.

    `seconds[d, i]` is the time of op i on device d. The slowest stage is as fast as it can be with cuts only where no
    more bytes cross than at half of all places, whatever the network: so the cut, and with it the latency of a lone
    request, does not get worse when a link gets faster. A stage's memory is its parameters and the largest input and
    output of one of its ops.
    """
    devices, count = seconds.shape
    time = np.concatenate([np.zeros((devices, 1)), np.cumsum(seconds, axis=1)], axis=1)
    weights = [graph.operand_bytes(op, ("parameter", "buffer", "constant")) for op in graph.ops]
    held = np.concatenate([[0.0], np.cumsum(weights)])
    moved = np.array([graph.operand_bytes(op, ("input", "activation")) + graph.output_bytes(op) for op in graph.ops])
    crossing = crossing_bytes(graph)
    narrow = crossing <= np.median(crossing[1:-1]) if count > 1 else np.ones(count + 1, dtype=bool)
    best = np.full((devices + 1, count + 1), np.inf)
    choice = np.zeros((devices + 1, count + 1), np.int64)
    best[0, 0] = 0.0
    for d in range(devices):
        for end in range(count + 1):
            starts = np.arange(end + 1)
            slowest = np.maximum(best[d, starts], time[d, end] - time[d, starts])
            slowest = np.where(narrow[starts] | (starts == 0) | (starts == count), slowest, np.inf)
            working = np.append(np.maximum.accumulate(moved[:end][::-1])[::-1], 0.0)
            slowest = np.where(held[end] - held[starts] + working <= memory_bound_bytes[d], slowest, np.inf)
            choice[d + 1, end] = int(np.argmin(slowest))
            best[d + 1, end] = slowest[choice[d + 1, end]]
    if not np.isfinite(best[devices, count]):
        return None
    cuts, end = [], count
    for d in range(devices, 0, -1):
        end = int(choice[d, end])
        cuts.append(end)
    return cuts[::-1]
