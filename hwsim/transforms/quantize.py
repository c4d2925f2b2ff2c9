"""Quantize: the number format in which weights and activations are stored and multiplied."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import ClassVar

from pydantic import Field

from hwsim.core.frozen import FrozenDict
from hwsim.graph.ir import MAC_KINDS, Op, Tensor, WorkloadGraph
from hwsim.spec.fields import Spec
from hwsim.spec.precision import Format
from hwsim.transforms.base import Transform


class LayerFormats(Spec):
    """Formats of the operands of some products; what is left out keeps the network's."""

    weights: Format | None = None
    activations: Format | None = None


class Quantize(Transform):
    """Store the weights and activations of matrix products and convolutions in `weights` and `activations`.

    `skip` lists op-name patterns (`head*`) that keep their format. What lies between two products (softmax, norms,
    residual sums) is stored in the activations' format too, as an integer-only pipeline holds it; `residual` gives
    what sums and norms read, and no product does, a format of its own (I-ViT holds it in 16 bits). `layers` overrides
    the operands of products by op-name pattern, the last match first: mixed precision.
    """

    summary: ClassVar[str] = "number format of weights and activations (int2..int16, fp8, bf16, mx)"

    weights: Format = Field(default="int8", description="format of parameters of products")
    activations: Format = Field(default="int8", description="format of every tensor between ops")
    residual: Format | None = Field(default=None, description="format of what residual sums and norms read")
    layers: dict[str, LayerFormats] = Field(default={}, description="op-name pattern -> {weights, activations}")
    skip: list[str] = Field(default=[], description="op names that stay as they are; `*` matches anything")

    def apply(self, graph: WorkloadGraph) -> WorkloadGraph:
        """The same ops with tensors in their new formats; float tensors only (masks and indices stay)."""
        formats: dict[str, str] = {}
        kept: set[str] = set()
        for op in graph.ops:
            if any(fnmatchcase(op.name, pattern) for pattern in self.skip):
                kept.update((*op.inputs, *op.outputs))
                continue
            formats |= dict.fromkeys(_weights(graph, op), self.weights)
            active = (*op.inputs, *op.outputs)
            formats |= {name: self.activations for name in active if _is_activation(graph.tensors[name])}
        if self.residual is not None:
            formats |= dict.fromkeys(residual_stream(graph) & formats.keys(), self.residual)
        for op in graph.ops:
            formats |= self._own(graph, op)
        tensors = {
            name: replace(tensor, dtype=formats[name])
            if name in formats and name not in kept and tensor.dtype.startswith(("float", "bfloat"))
            else tensor
            for name, tensor in graph.tensors.items()
        }
        return replace(graph, tensors=FrozenDict(tensors))

    def _own(self, graph: WorkloadGraph, op: Op) -> Iterator[tuple[str, str]]:
        """(tensor, format) of the operands of a product that `layers` names."""
        if op.kind not in MAC_KINDS:
            return
        found = [formats for pattern, formats in self.layers.items() if fnmatchcase(op.name, pattern)]
        for formats in found[-1:]:
            weights = set(_weights(graph, op))
            for name in op.inputs[:2]:
                fmt = formats.weights if name in weights else formats.activations
                if fmt is not None and (name in weights or _is_activation(graph.tensors[name])):
                    yield name, fmt


def _weights(graph: WorkloadGraph, op: Op) -> list[str]:
    """Parameters that a product multiplies; its bias is held at accumulator width, never at operand width."""
    operands = op.inputs[:2] if op.kind in MAC_KINDS else ()
    return [name for name in operands if graph.tensors[name].role == "parameter"]


def residual_stream(graph: WorkloadGraph) -> set[str]:
    """Activations that sums and norms read and no product does, seen through views and concatenations."""
    stream: set[str] = set()
    multiplied: set[str] = set()
    for op in reversed(graph.ops):
        if op.kind in MAC_KINDS:
            multiplied.update(op.inputs)
        elif op.kind == "norm" or (op.fn in ("add", "sub") and len(op.inputs) == 2):
            stream.update(op.inputs)
        elif op.kind in ("view", "layout"):
            for found in (stream, multiplied):
                if not found.isdisjoint(op.outputs):
                    found.update(op.inputs)
    return {name for name in stream - multiplied if _is_activation(graph.tensors[name])}


def _is_activation(tensor: Tensor) -> bool:
    return tensor.role in ("activation", "input")
