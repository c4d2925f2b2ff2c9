"""Function-preserving changes of weights that make activations easier to quantize: SmoothQuant with bias.

MPTQ-ViT (arXiv 2401.14895) shifts a LayerNorm's output channel by channel to be symmetric before SmoothQuant (Xiao et
al., ICML 2023) scales it: y' = (y - z) / s, W' = W s, b' = b + W z. The float network computes the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from hwsim.backends.execution.program import Step, Values, bind, walk
from hwsim.graph.calls import Ref
from hwsim.graph.ir import Op, WorkloadGraph

#: Channels that never vary keep a scale; without a floor it would be 0.
_SMALLEST = 1e-5


@dataclass(frozen=True)
class _Site:
    """A LayerNorm whose output only linear layers read, and the names of all parameters involved."""

    output: str
    weight: str
    bias: str
    linears: tuple[tuple[str, str | None], ...]


def smooth(
    graph: WorkloadGraph, static: Mapping[str, Tensor], steps: list[Step], batches: Iterable[Values], alpha: float
) -> Values:
    """New values of the parameters that centre and scale every LayerNorm's output into the linear layers that read it.

    s = (half range of the channel)^alpha / (largest weight of the channel)^(1 - alpha). Channels are centred where all
    readers have a bias to take the shift. Parameters that other ops read too are left alone.
    """
    sites = _sites(graph, static)
    ranges = _channel_ranges({site.output for site in sites}, steps, batches)
    changed: Values = {}
    for site in sites:
        low, high = ranges[site.output]
        centre = (high + low) / 2 if all(bias is not None for _, bias in site.linears) else torch.zeros_like(low)
        reach = torch.maximum(high - centre, centre - low).clamp(min=_SMALLEST)
        weights = torch.stack([static[name].abs().amax(0) for name, _ in site.linears]).amax(0).clamp(min=_SMALLEST)
        scale = reach**alpha / weights ** (1 - alpha)
        changed[site.weight] = static[site.weight] / scale
        changed[site.bias] = (static[site.bias] - centre) / scale
        for name, bias in site.linears:
            changed[name] = static[name] * scale
            if bias is not None:
                changed[bias] = static[bias] + static[name] @ centre
    return changed


def _sites(graph: WorkloadGraph, static: Mapping[str, Tensor]) -> list[_Site]:
    reads = Counter(name for op in graph.ops for name in set(op.inputs))
    readers: dict[str, list[Op]] = {}
    for op in graph.ops:
        for name in op.inputs:
            readers.setdefault(name, []).append(op)
    found = []
    for op in graph.ops:
        site = _site(op, readers.get(op.outputs[0], [])) if op.fn == "layer_norm" else None
        if site is None or op.outputs[0] in graph.outputs:
            continue
        names = [site.weight, site.bias, *(name for pair in site.linears for name in pair if name is not None)]
        if all(reads[name] == 1 and name in static for name in names):
            found.append(site)
    return found


def _site(norm: Op, readers: list[Op]) -> _Site | None:
    args = bind(norm, "cpu").args
    affine = [argument.name for argument in args[2:4] if isinstance(argument, Ref)]
    if len(affine) != 2 or not readers or any(op.fn != "linear" for op in readers):
        return None
    linears = []
    for op in readers:
        call = bind(op, "cpu")
        weight, bias = call.argument(1, "weight"), call.argument(2, "bias")
        if not isinstance(weight, Ref) or weight.name == norm.outputs[0]:
            return None
        linears.append((weight.name, bias.name if isinstance(bias, Ref) else None))
    return _Site(norm.outputs[0], affine[0], affine[1], tuple(linears))


def _channel_ranges(names: set[str], steps: list[Step], batches: Iterable[Values]) -> dict[str, tuple[Tensor, Tensor]]:
    """(least, greatest) value of each channel of the last axis, over all batches."""
    ranges: dict[str, tuple[Tensor, Tensor]] = {}
    for values in batches:
        for step in walk(steps, values):
            for name in names.intersection(step.op.outputs):
                rows = values[name].reshape(-1, values[name].shape[-1])
                low, high = rows.amin(0), rows.amax(0)
                if name in ranges:
                    low, high = torch.minimum(low, ranges[name][0]), torch.maximum(high, ranges[name][1])
                ranges[name] = low, high
    return ranges
