"""BatchNorm folded into the product before it: w' = gain w, b' = gain b + offset, per output channel.

(Jacob et al., CVPR 2018, arXiv 1712.05877, section 3.2.)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from hwsim.backends.execution.program import Bound, bind
from hwsim.graph.calls import Ref
from hwsim.graph.ir import Op, WorkloadGraph


@dataclass(frozen=True)
class Folding:
    """(norm, product) pairs, the products' new weights by tensor name, and their biases by op name."""

    pairs: tuple[tuple[Op, Op], ...] = ()
    weights: Mapping[str, Tensor] = field(default_factory=dict)
    biases: Mapping[str, Tensor] = field(default_factory=dict)


def fold_batch_norms(
    graph: WorkloadGraph, static: Mapping[str, Tensor], device: str, kept: Collection[str] = ()
) -> Folding:
    """Fold every inference BatchNorm whose input comes from a convolution or linear layer that nothing else reads.

    Ops named in `kept` and weights that several ops share stay as they are, and so does their BatchNorm.
    """
    readers = Counter(name for op in graph.ops for name in set(op.inputs))
    makers = {name: op for op in graph.ops for name in op.outputs}
    pairs: list[tuple[Op, Op]] = []
    weights: dict[str, Tensor] = {}
    biases: dict[str, Tensor] = {}
    for norm in graph.ops:
        product = makers.get(norm.inputs[0]) if norm.fn == "batch_norm" else None
        if product is None or product.name in kept or product.kind not in ("conv", "gemm"):
            continue
        if readers[product.outputs[0]] != 1:
            continue
        call = bind(product, device)
        if product.fn not in ("conv", "linear") or len(call.args) < 2 or not isinstance(call.args[1], Ref):
            continue
        name = call.args[1].name
        if readers[name] != 1 or name not in static or product.outputs[0] in graph.outputs:
            continue
        gain, offset = batch_norm_affine(bind(norm, device), static)
        weight, bias = static[name], call.argument(2, "bias")
        weights[name] = (weight.double() * gain.reshape(-1, *[1] * (weight.dim() - 1))).to(weight.dtype)
        own = static[bias.name].double() if isinstance(bias, Ref) else torch.zeros_like(gain)
        biases[product.name] = (own * gain + offset).to(weight.dtype)
        pairs.append((norm, product))
    return Folding(tuple(pairs), weights, biases)


def batch_norm_affine(bound: Bound, static: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """(gain, offset) per channel, float64, of an aten.batch_norm call: batch_norm(x) = gain x + offset."""
    weight, bias, mean, variance = (
        static[argument.name].double() if isinstance(argument, Ref) else None for argument in bound.args[1:5]
    )
    # An inference call always has its statistics (graph.table); torch's operator takes None in training only.
    gain = torch.rsqrt(torch.as_tensor(variance) + bound.args[7])
    if weight is not None:
        gain = gain * weight
    offset = -gain * torch.as_tensor(mean)
    return gain, offset if bias is None else offset + bias
