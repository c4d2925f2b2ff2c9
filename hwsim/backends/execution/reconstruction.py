"""Codes of bridge activations by reconstruction of the block that reads them (Q-HyViT, arXiv 2303.12557).

For each bridge, the granularity (per tensor, per channel) and the scheme (symmetric, affine) are chosen, with the
scale, by the error they leave in the block's output, weighted by an estimate of the Hessian's diagonal. A scale per
channel is folded into the weights on both sides before they are quantized, so that the integer datapath needs nothing
new (E10).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hwsim.backends.execution.bridges import Block, Fold, Wiring, block_of, bridge_tensors, fold_of
from hwsim.backends.execution.coding import Coding, integer_format
from hwsim.backends.execution.program import Step, Values, bind, walk
from hwsim.graph.ir import MAC_KINDS, Op, WorkloadGraph
from hwsim.numerics.affine import affine_from_range, value_range
from hwsim.numerics.integer import IntFormat

#: Fractions of the full range that are tried: those of the MSE method, on a coarser grid.
_SHRINKS = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
#: Least range of a channel as a share of the tensor's (assumed): a channel that never varies has none of its own.
_LEAST = 1e-3


@dataclass(frozen=True)
class Candidate:
    """A code of x: `coding` of x' = (x - shift) / ratio; both are vectors over channels, None for one per tensor."""

    coding: Coding
    folded: tuple[Tensor, Tensor] | None = None

    def changed(self, values: Mapping[str, Tensor], fold: Fold | None) -> Values:
        """New values of the parameters around the bridge."""
        return {} if self.folded is None or fold is None else fold.changed(values, *self.folded)

    def __call__(self, x: Tensor, axis: int) -> Tensor:
        """x' after quantization."""
        if self.folded is not None:
            shape = [-1 if i == axis % x.dim() else 1 for i in range(x.dim())]
            ratio, shift = (vector.reshape(shape) for vector in self.folded)
            x = (x - shift) / ratio
        return self.coding.decode(self.coding.encode(x))


@dataclass(frozen=True)
class Choice:
    """The code chosen for a bridge, and the weighted error of its block's output with it and with the plain code."""

    tensor: str
    chosen: Candidate
    error: float
    plain_error: float


@dataclass(frozen=True)
class Reconstructed:
    """Parameters and codings after all choices."""

    leaves: Values
    codings: dict[str, Coding]
    choices: tuple[Choice, ...]


@dataclass(frozen=True)
class _Seen:
    """What one calibration batch put on the tensors that blocks read and make, and the weight of errors in each."""

    values: Values
    importance: Values


def reconstruct(
    graph: WorkloadGraph,
    leaves: Mapping[str, Tensor],
    static: Mapping[str, Tensor],
    steps: Sequence[Step],
    batches: Sequence[Tensor],
    codings: Mapping[str, Coding],
    power_of_two: bool = False,
    device: str = "cpu",
) -> Reconstructed:
    """Choose the code of every bridge activation, in the order of the graph; the plain one is among the candidates.

    `codings` are those that calibration chose for all tensors, which stay where nothing reconstructs better.
    """
    wiring = Wiring(graph)
    blocks = [block_of(wiring, name) for name in bridge_tensors(wiring) if name in codings]
    seen = [_see(graph, static, steps, x.to(device), blocks) for x in batches]
    values, chosen, choices = dict(static), dict(codings), []
    for block in blocks:
        fmt = integer_format(graph.tensors[block.tensor].dtype)
        if fmt is None or not block.outputs:
            continue
        fold = fold_of(wiring, leaves, block.tensor, device)
        x = torch.cat([one.values[block.tensor] for one in seen])
        plain = Candidate(codings[block.tensor])
        tried = [plain, *_candidates(x, fmt, fold, power_of_two)]
        errors = [_error(graph, block, fold, values, seen, candidate, device) for candidate in tried]
        best = errors.index(min(errors))
        values |= tried[best].changed(values, fold)
        chosen[block.tensor] = tried[best].coding
        choices.append(Choice(block.tensor, tried[best], errors[best], errors[0]))
    return Reconstructed({name: values[name] for name in leaves}, chosen, tuple(choices))


def _candidates(x: Tensor, fmt: IntFormat, fold: Fold | None, power_of_two: bool) -> Iterator[Candidate]:
    """Symmetric and affine codes per tensor, and per channel where the weights can absorb the channels' scales."""
    schemes = (True, False) if fmt.signed else (False,)
    for symmetric in schemes:
        for shrink in _SHRINKS:
            low, high = value_range(x)
            affine = affine_from_range(low * shrink, high * shrink, fmt, symmetric=symmetric, power_of_two=power_of_two)
            zero = int(affine.zero_point)
            yield Candidate(Coding(float(affine.scale), fmt.low - zero, fmt.high - zero))
    for symmetric in schemes if fold is not None else ():
        if fold is not None and (symmetric or fold.shiftable):
            for shrink in _SHRINKS:
                yield _per_channel(x, fmt, fold.axis, symmetric, shrink, power_of_two)


def _per_channel(x: Tensor, fmt: IntFormat, axis: int, symmetric: bool, shrink: float, power_of_two: bool) -> Candidate:
    """A scale and a zero point z per channel c: x = s_c (code - z_c), as x' = x / r_c + s z_c with s_c = s r_c."""
    low, high = (bound * shrink for bound in value_range(x, axis))
    high = torch.maximum(high, (high - low).max() * _LEAST + low.clamp(min=0))
    affine = affine_from_range(low, high, fmt, symmetric=symmetric, power_of_two=power_of_two)
    largest = affine.scale.max()
    shift = -affine.scale * affine.zero_point.to(affine.scale)
    return Candidate(Coding(float(largest), fmt.low, fmt.high), (affine.scale / largest, shift))


def _error(
    graph: WorkloadGraph,
    block: Block,
    fold: Fold | None,
    values: Mapping[str, Tensor],
    seen: Sequence[_Seen],
    candidate: Candidate,
    device: str,
) -> float:
    """Weighted squared error of the block's outputs with the candidate's activations and the weights it leads to."""
    static = {**values, **candidate.changed(values, fold)}
    for op in block.ops:
        # Both hold output channels on axis 0; other products keep their weights, alike for all candidates.
        if op.kind in MAC_KINDS and op.fn in ("linear", "conv"):
            static |= _quantized(graph, op, static)
    total = 0.0
    for one in seen:
        held = {**static, **one.values, block.tensor: candidate(one.values[block.tensor], fold.axis if fold else -1)}
        for op in block.ops:
            result = bind(op, device)(held)
            held.update(zip(op.outputs, [result] if isinstance(result, Tensor) else result, strict=False))
        for name in block.outputs:
            wrong = (held[name] - one.values[name]).double().square() * one.importance[name]
            total += float(wrong.sum())
    return total


def _quantized(graph: WorkloadGraph, op: Op, static: Mapping[str, Tensor]) -> Values:
    """The weights of a product after their own quantization."""
    found = {}
    for name in op.inputs[1:2]:
        fmt = integer_format(graph.tensors[name].dtype)
        if fmt is not None and name in static:
            found[name] = affine_from_range(*value_range(static[name], 0), fmt, axis=0)(static[name])
    return found


def _see(
    graph: WorkloadGraph, static: Mapping[str, Tensor], steps: Sequence[Step], x: Tensor, blocks: Sequence[Block]
) -> _Seen:
    """Run a batch in float and keep what the blocks need.

    An output's importance is its squared gradient of -log p(the network's own class): the diagonal of the empirical
    Fisher information, which stands for the Hessian's (BRECQ, ICLR 2021, eq. 10). Where it vanishes, all weigh alike.
    """
    made = {name for block in blocks for name in block.outputs}
    wanted = made | {block.tensor for block in blocks} | {n for b in blocks for op in b.ops for n in op.inputs}
    with torch.enable_grad():
        values: Values = {**static, graph.inputs[0]: x.detach().clone().requires_grad_()}
        kept: Values = {}
        for step in walk(steps, values):
            kept.update({name: values[name] for name in step.op.outputs if name in wanted})
        likelihood = values[graph.outputs[0]].flatten(1).log_softmax(1).amax(1).sum()
        targets = [name for name in made if kept[name].requires_grad]
        slopes = torch.autograd.grad(likelihood, [kept[name] for name in targets], allow_unused=True)
    importance = {name: torch.ones_like(kept[name], dtype=torch.float64) for name in made}
    for name, slope in zip(targets, slopes, strict=True):
        if slope is not None and bool(slope.any()):
            importance[name] = slope.double().square()
    return _Seen({name: value.detach() for name, value in kept.items()}, importance)
