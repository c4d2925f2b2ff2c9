"""Memory layout of every tensor, as PyTorch's eager runtime lays it out: which reads need a copy first.

Views keep the storage and change the strides; pointwise results keep the order of their first operand; everything else
is written contiguous (PyTorch, aten/src/ATen/TensorIterator and native/TensorShape: behaviour, not code).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import prod

from hwsim.graph.ir import Op, WorkloadGraph

Strides = tuple[int, ...]

_POINTWISE = ("elementwise", "activation")
#: Written channels last where the image they read is.
_IMAGE = ("conv", "pool", "resize")


def contiguous(shape: Sequence[int]) -> Strides:
    """Row-major strides."""
    strides = [1] * len(shape)
    for axis in range(len(shape) - 2, -1, -1):
        strides[axis] = strides[axis + 1] * max(shape[axis + 1], 1)
    return tuple(strides)


def counts(shape: Sequence[int], strides: Strides) -> list[bool]:
    """Which axes matter: those of more than one element, and the batch.

    A graph is captured with one sample, so the batch axis has size 1; it is the one whose stride spans a whole sample.
    """
    size = prod(shape)
    return [n > 1 or (stride >= size > 1) for n, stride in zip(shape, strides, strict=True)]


def is_contiguous(shape: Sequence[int], strides: Strides) -> bool:
    """Whether elements lie in row-major order without gaps."""
    matter = counts(shape, strides)
    return all(s == c for m, s, c in zip(matter, strides, contiguous(shape), strict=True) if m)


def is_dense(shape: Sequence[int], strides: Strides) -> bool:
    """Whether some order of the axes is contiguous: no gaps, no overlap."""
    axes = sorted((axis for axis in range(len(shape)) if shape[axis] > 1), key=lambda axis: strides[axis])
    expected = 1
    for axis in axes:
        if strides[axis] != expected:
            return False
        expected *= shape[axis]
    return True


def mergeable(shape: Sequence[int], strides: Strides, inner: int = 0) -> bool:
    """Whether all axes but the last `inner` can be walked as one axis with one stride."""
    matter = counts(shape, strides)
    kept = [(n, s) for n, s, m in zip(shape, strides, matter, strict=True) if m]
    outer = sum(matter[: len(shape) - inner])
    kept = kept[:outer]
    return all(stride == below * n for (_, stride), (n, below) in pairwise(kept))


def strides_of(graph: WorkloadGraph) -> Mapping[str, Strides]:
    """Strides in elements of every tensor."""
    found = {name: contiguous(tensor.shape) for name, tensor in graph.tensors.items()}
    for op in graph.ops:
        if op.kind == "view" and op.inputs:
            source = op.inputs[0]
            for index, name in enumerate(op.outputs):
                shape = graph.tensors[name].shape
                found[name] = _viewed(op, index, graph.tensors[source].shape, found[source], shape)
        elif op.kind in _POINTWISE:
            for name in op.outputs:
                found[name] = _pointwise(op, graph, found, graph.tensors[name].shape)
        elif (op.kind in _IMAGE or op.fn == "batch_norm") and op.inputs:
            data, shape = op.inputs[0], graph.tensors[op.outputs[0]].shape
            if is_channels_last(graph.tensors[data].shape, found[data]) and len(shape) == 4:
                found[op.outputs[0]] = channels_last(shape)
    return found


def channels_last(shape: Sequence[int]) -> Strides:
    """Strides of (batch, channels, rows, columns) with the channel innermost."""
    _, channels, rows, columns = shape
    return (channels * rows * columns, 1, columns * channels, channels)


def is_channels_last(shape: Sequence[int], strides: Strides) -> bool:
    """Whether an image has its channel innermost, and could not as well be row-major."""
    if len(shape) != 4 or is_contiguous(shape, strides):
        return False
    return all(s == c for n, s, c in zip(shape, strides, channels_last(shape), strict=True) if n > 1)


def _pointwise(op: Op, graph: WorkloadGraph, found: Mapping[str, Strides], shape: tuple[int, ...]) -> Strides:
    """The order of the first operand of full shape, packed."""
    for name in op.inputs:
        if graph.tensors[name].shape == shape and is_dense(shape, found[name]):
            return found[name]
    return contiguous(shape)


def _viewed(op: Op, index: int, before: tuple[int, ...], strides: Strides, after: tuple[int, ...]) -> Strides:
    call = json.loads(op.call) if op.call else {"args": []}
    args = call["args"][1:]
    rank = len(before)
    if op.fn == "permute":
        return tuple(strides[axis] for axis in args[0])
    if op.fn in ("transpose", "t"):
        a, b = (args[0] % rank, args[1] % rank) if op.fn == "transpose" else (0, rank - 1)
        order = list(range(rank))
        order[a], order[b] = order[b], order[a]
        return tuple(strides[axis] for axis in order)
    if op.fn in ("select", "unbind"):
        axis = (args[0] if args else 0) % rank
        return strides[:axis] + strides[axis + 1 :]
    if op.fn == "slice" and len(args) > 3:
        axis = args[0] % rank
        return (*strides[:axis], strides[axis] * args[3], *strides[axis + 1 :])
    if op.fn in ("slice", "split", "split_with_sizes", "chunk", "narrow"):
        return strides
    if op.fn == "expand":
        lead = len(after) - rank
        return (0,) * lead + tuple(0 if n != m else s for n, m, s in zip(before, after[lead:], strides, strict=True))
    return _reshaped(before, strides, after)


def _reshaped(before: tuple[int, ...], strides: Strides, after: tuple[int, ...]) -> Strides:
    """Strides of a view of other axes, or row-major where the storage allows none (the runtime copies)."""
    if before and after and before[0] == after[0] == 1:  # the batch keeps its stride
        return (strides[0], *_reshaped(before[1:], strides[1:], after[1:]))
    result: list[int] = []
    source = [(n, s) for n, s in zip(before, strides, strict=True) if n != 1]
    position = 0
    target = list(after)
    while target:
        if target[0] == 1:
            result.append(1)
            target.pop(0)
            continue
        group: list[tuple[int, int]] = []
        size, wanted = 1, [target.pop(0)]
        while size != prod(wanted):
            if size < prod(wanted) and position < len(source):
                group.append(source[position])
                size *= source[position][0]
                position += 1
            elif target:
                wanted.append(target.pop(0))
            else:
                return contiguous(after)
        if not group or not mergeable([n for n, _ in group], tuple(s for _, s in group)):
            return contiguous(after)
        inner = group[-1][1]
        result += [inner * stride for stride in contiguous(wanted)]
    return tuple(result)


def needs_copy(op: Op, position: int, shape: tuple[int, ...], strides: Strides) -> bool:
    """Whether the runtime packs this operand before the op can read it."""
    if not shape or is_contiguous(shape, strides):
        return False
    if op.kind == "gemm":
        return position == 0 and not (strides[-1] == 1 and mergeable(shape, strides, 1))
    if op.kind == "matmul":
        matrix = 1 in strides[-2:] or 1 in shape[-2:]
        return not (matrix and mergeable(shape, strides, 2))
    if op.kind == "norm":
        return op.fn != "batch_norm"
    return op.kind in ("softmax", "pool", "unfold") and position == 0 and not is_dense(shape, strides)
