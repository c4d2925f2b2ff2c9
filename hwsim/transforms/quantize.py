"""Quantize: the number format in which weights and activations are stored and multiplied."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from hwsim.core.formats import bits
from hwsim.core.frozen import FrozenDict
from hwsim.graph.ir import MAC_KINDS, Tensor, WorkloadGraph
from hwsim.transforms.base import Transform


def _known_format(name: str) -> str:
    bits(name)
    return name


Format = Annotated[str, AfterValidator(_known_format)]


class Quantize(Transform):
    """Store the weights and activations of matrix products and convolutions in `weights` and `activations`.

    `skip` lists op-name patterns (`head*`) that keep their format. What lies between two products (softmax, norms,
    residual sums) is stored in the activations' format too, as an integer-only pipeline holds it.
    """

    summary: ClassVar[str] = "number format of weights and activations (int2..int16, fp8, bf16, mx)"

    weights: Format = Field(default="int8", description="format of parameters of products")
    activations: Format = Field(default="int8", description="format of every tensor between ops")
    skip: list[str] = Field(default=[], description="op names that stay as they are; `*` matches anything")

    def apply(self, graph: WorkloadGraph) -> WorkloadGraph:
        """The same ops with tensors in their new formats; float tensors only (masks and indices stay)."""
        formats: dict[str, str] = {}
        kept: set[str] = set()
        for op in graph.ops:
            if any(fnmatchcase(op.name, pattern) for pattern in self.skip):
                kept.update((*op.inputs, *op.outputs))
                continue
            # Input 2 of a product is its bias: it is held at accumulator width, never at operand width.
            weights = op.inputs[:2] if op.kind in MAC_KINDS else ()
            formats |= {name: self.weights for name in weights if graph.tensors[name].role == "parameter"}
            active = (*op.inputs, *op.outputs)
            formats |= {name: self.activations for name in active if _is_activation(graph.tensors[name])}
        tensors = {
            name: replace(tensor, dtype=formats[name])
            if name in formats and name not in kept and tensor.dtype.startswith(("float", "bfloat"))
            else tensor
            for name, tensor in graph.tensors.items()
        }
        return replace(graph, tensors=FrozenDict(tensors))


def _is_activation(tensor: Tensor) -> bool:
    return tensor.role in ("activation", "input")
