"""Where convolutions and transformer blocks meet: the bridges of a hybrid network, found in its graph.

Q-HyViT (arXiv 2303.12557) finds the bridge blocks by itself and gives their activations codes of their own
(reconstruction.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from hwsim.backends.execution.program import Bound, bind
from hwsim.graph.calls import Argument, Ref
from hwsim.graph.ir import MAC_KINDS, Op, WorkloadGraph

_PASSING = ("view", "layout", "norm", "activation", "elementwise")
#: Where a call holds (weight, bias) of the channels it makes, and the axis of these channels.
_AFFINE = {"layer_norm": (2, 3, -1), "batch_norm": (1, 2, 1), "linear": (1, 2, -1), "conv": (1, 2, 1)}
_BATCH_NORM_MEAN = 3


@dataclass(frozen=True)
class Reader:
    """A product that reads a bridge: its weight (input channels on axis 1), and what takes a shift of its input.

    `bias` is added to the product; a BatchNorm's `mean`, where there is no bias, is subtracted from it.
    """

    weight: str
    bias: str | None
    mean: str | None
    padded: bool


@dataclass(frozen=True)
class Fold:
    """Parameters that absorb x' = (x - shift) / ratio per channel of `axis`: of the maker of x and of all readers."""

    weight: str
    bias: str | None
    axis: int
    readers: tuple[Reader, ...]

    @property
    def shiftable(self) -> bool:
        """Whether a zero point per channel has a place: a bias on both sides, and no zeros padded in between."""
        return self.bias is not None and not any(r.padded or not (r.bias or r.mean) for r in self.readers)

    def changed(self, values: Mapping[str, Tensor], ratio: Tensor, shift: Tensor) -> dict[str, Tensor]:
        """New values of these parameters; the float network computes the same."""
        maker = values[self.weight]
        new = {self.weight: maker / ratio.reshape(-1, *[1] * (maker.dim() - 1))}
        if self.bias is not None:
            new[self.bias] = (values[self.bias] - shift) / ratio
        for reader in self.readers:
            weight = values[reader.weight]
            new[reader.weight] = weight * ratio.reshape(-1, *[1] * (weight.dim() - 2))
            shifted = weight.reshape(*weight.shape[:2], -1).sum(2) @ shift
            if reader.bias is not None:
                new[reader.bias] = values[reader.bias] + shifted
            elif reader.mean is not None:
                new[reader.mean] = values[reader.mean] - shifted
        return new


@dataclass(frozen=True)
class Block:
    """A bridge's tensor, the ops from it to what first combines it with something else, and their outputs."""

    tensor: str
    ops: tuple[Op, ...]
    outputs: tuple[str, ...]


class Wiring:
    """Who makes and who reads each tensor that depends on the input."""

    def __init__(self, graph: WorkloadGraph) -> None:
        self.graph = graph
        self.ops = [op for op in graph.ops if any(name in graph.batched for name in op.outputs)]
        self.makers = {name: op for op in self.ops for name in op.outputs}
        self.position = {name: i for i, op in enumerate(self.ops) for name in op.outputs}
        self.reads = Counter(name for op in graph.ops for name in set(op.inputs))
        self.readers: dict[str, list[Op]] = {}
        for op in self.ops:
            for name in dict.fromkeys(op.inputs):
                self.readers.setdefault(name, []).append(op)

    def made_at(self, name: str) -> int:
        """Position of the op that makes a tensor, -1 for the network's input and parameters."""
        return self.position.get(name, -1)

    def passes(self, op: Op) -> bool:
        """Whether an op carries an activation on, rather than combining two; concatenations carry each part on."""
        batched = sum(name in self.graph.batched for name in op.inputs)
        return op.kind in _PASSING and (batched == 1 or op.kind == "layout")

    def norm_of(self, op: Op) -> Op | None:
        """The BatchNorm that alone reads a product."""
        readers = self.readers.get(op.outputs[0], []) if op.kind in MAC_KINDS else []
        return readers[0] if len(readers) == 1 and readers[0].fn == "batch_norm" else None

    def own(self, argument: Argument, leaves: Mapping[str, Tensor]) -> str | None:
        """The parameter that an argument is, if no other op reads it."""
        mine = isinstance(argument, Ref) and argument.name in leaves and self.reads[argument.name] == 1
        return argument.name if mine else None


def bridge_tensors(wiring: Wiring) -> tuple[str, ...]:
    """Activations on a way from a convolution to a product of another kind, or back, that meets no third product.

    The way leads through views, norms, functions of one activation and sums with parameters. A residual sum may begin
    it, as part of the product that ends its branch, and does not continue it: else every layer that a shortcut reaches
    would be a bridge. Of the tensors on it, those with a code of their own: a view has its input's, and a product its
    BatchNorm's.
    """
    before: dict[str, set[bool]] = {}
    after: dict[str, set[bool]] = {}
    for op in wiring.ops:
        if op.kind in MAC_KINDS:
            before.update({name: {op.kind == "conv"} for name in op.outputs})
        elif op.kind in _PASSING:
            sources = op.inputs if wiring.passes(op) else (max(op.inputs, key=wiring.made_at),)
            before.update(dict.fromkeys(op.outputs, _union(before, sources)))
    for op in reversed(wiring.ops):
        if op.kind in MAC_KINDS or wiring.passes(op):
            kinds = {op.kind == "conv"} if op.kind in MAC_KINDS else _union(after, op.outputs)
            for name in op.inputs:
                after[name] = after.get(name, set()) | kinds
    return tuple(
        name
        for name, op in wiring.makers.items()
        if any(here != there for here in before.get(name, ()) for there in after.get(name, ()))
        and op.kind not in ("view", "layout")
        and wiring.norm_of(op) is None
        and name not in wiring.graph.outputs
    )


def _union(kinds: Mapping[str, set[bool]], names: tuple[str, ...]) -> set[bool]:
    return {kind for name in names for kind in kinds.get(name, ())}


def block_of(wiring: Wiring, tensor: str) -> Block:
    """What runs from a tensor to the first products and sums that read it, the BatchNorm of a product included."""
    reached, closing = {tensor}, set()
    ops: list[Op] = []
    outputs: list[str] = []
    for op in wiring.ops:
        if reached.isdisjoint(op.inputs):
            continue
        ops.append(op)
        norm = wiring.norm_of(op)
        if norm is not None:
            closing.add(norm.name)
        if norm is None and (op.name in closing or not wiring.passes(op)):
            outputs.append(op.outputs[0])
        else:
            reached.update(op.outputs)
    return Block(tensor, tuple(ops), tuple(outputs))


def fold_of(wiring: Wiring, leaves: Mapping[str, Tensor], tensor: str, device: str) -> Fold | None:
    """The parameters around a tensor that can absorb a scale per channel; None where hardware has no place for it.

    Its maker has a weight per channel, and only convolutions and linear layers read it, through views that keep each
    channel whole. None of these parameters serves another op.
    """
    maker = wiring.makers[tensor]
    if maker.fn not in _AFFINE:
        return None
    call = bind(maker, device)
    at_weight, at_bias, axis = _AFFINE[maker.fn]
    weight, bias = call.argument(at_weight, "weight"), call.argument(at_bias, "bias")
    own, own_bias = wiring.own(weight, leaves), wiring.own(bias, leaves)
    shape = wiring.graph.tensors[tensor].shape
    if own is None or (bias is not None and own_bias is None) or leaves[own].shape[0] != shape[axis]:
        return None
    channels = torch.arange(shape[axis], device=device, dtype=torch.float32)
    probe = channels.reshape([-1 if i == axis % len(shape) else 1 for i in range(len(shape))]).expand(shape)
    readers = tuple(_readers(wiring, leaves, tensor, probe, channels))
    return Fold(own, own_bias, axis, tuple(r for r in readers if r)) if readers and all(readers) else None


def _readers(
    wiring: Wiring, leaves: Mapping[str, Tensor], tensor: str, probe: Tensor, channels: Tensor
) -> Iterator[Reader | None]:
    """Every product that reads a tensor through views; None for any other reader. `probe` holds channel numbers."""
    if tensor in wiring.graph.outputs:
        yield None
    for op in wiring.readers.get(tensor, []):
        call = bind(op, str(probe.device))
        if op.kind in ("view", "layout") and len(op.inputs) == 1 and "pad" not in op.fn:
            result = call({tensor: probe})
            for name, part in zip(op.outputs, [result] if isinstance(result, Tensor) else result, strict=False):
                yield from _readers(wiring, leaves, name, part, channels)
        else:
            yield _reader(wiring, leaves, op, call, tensor, probe, channels)


def _reader(
    wiring: Wiring, leaves: Mapping[str, Tensor], op: Op, call: Bound, tensor: str, probe: Tensor, channels: Tensor
) -> Reader | None:
    if op.fn not in ("linear", "conv") or not isinstance(call.args[0], Ref) or call.args[0].name != tensor:
        return None
    weight, bias = wiring.own(call.argument(1, "weight"), leaves), call.argument(2, "bias")
    if (
        weight is None
        or leaves[weight].shape[1] != len(channels)
        or (bias is not None and not wiring.own(bias, leaves))
    ):
        return None
    if op.fn == "conv" and (probe.dim() != leaves[weight].dim() or leaves[weight].shape[1] != probe.shape[1]):
        return None
    along = probe.movedim(1 if op.fn == "conv" else -1, -1)
    if along.shape[-1] != len(channels) or not bool((along == channels).all()):
        return None
    norm = wiring.norm_of(op)
    mean = None if norm is None else wiring.own(bind(norm, "cpu").args[_BATCH_NORM_MEAN], leaves)
    padding = call.argument(4, "padding", 0) if op.fn == "conv" else 0
    padded = padding not in (0, "valid") if isinstance(padding, int | str) else any(padding)
    return Reader(weight, wiring.own(bias, leaves), mean, padded)
