"""Which bytes an op moves: views resolved to the storage behind them, traffic split into per-sample and fixed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from hwsim.backends.processor.formats import element_bytes
from hwsim.backends.processor.kernels import Bytes
from hwsim.backends.processor.strides import Strides, strides_of
from hwsim.graph.ir import Op, WorkloadGraph


@dataclass(frozen=True)
class Traffic:
    """Bytes of a graph's tensors as the runtime holds them, per sample of the batch; ops in `wide` compute in fp32,
    norms of the modules `low_norms` in the low format."""

    graph: WorkloadGraph
    precision: str
    wide: frozenset[str] = frozenset()
    low_norms: frozenset[str] = frozenset()

    @cached_property
    def widths(self) -> Mapping[str, float]:
        """Bytes per element of each tensor."""
        widths = dict(element_bytes(self.graph, self.precision, self.low_norms))
        for op in self.graph.ops:
            if op.name in self.wide:
                widths |= dict.fromkeys(op.outputs, 4.0)
        return widths

    @cached_property
    def strides(self) -> Mapping[str, Strides]:
        """Memory layout of each tensor."""
        return strides_of(self.graph)

    @cached_property
    def storage(self) -> Mapping[str, str]:
        """The tensor whose memory each tensor is: itself unless a view made it."""
        base = {name: name for name in self.graph.tensors}
        for op in self.graph.ops:
            if op.kind == "view" and op.inputs:
                base |= dict.fromkeys(op.outputs, base[op.inputs[0]])
        return base

    @cached_property
    def producers(self) -> Mapping[str, Op]:
        """The op that wrote each tensor."""
        return {name: op for op in self.graph.ops for name in op.outputs}

    @cached_property
    def consumers(self) -> Mapping[str, tuple[Op, ...]]:
        """The ops that read each storage, through views or not."""
        found: dict[str, list[Op]] = {}
        for op in self.graph.ops:
            if op.kind != "view":
                for name in dict.fromkeys(self.storage[i] for i in op.inputs):
                    found.setdefault(name, []).append(op)
        return {name: tuple(ops) for name, ops in found.items()}

    @cached_property
    def read_by_wide(self) -> frozenset[str]:
        """Tensors that ops in `wide` read."""
        return frozenset(name for op in self.graph.ops if op.name in self.wide for name in op.inputs)

    def from_outside(self, op: Op) -> list[str]:
        """Inputs of an op in `wide` that no other op in `wide` made."""
        makers = ((name, self.maker(name)) for name in op.inputs)
        return [name for name, maker in makers if maker is None or maker.name not in self.wide]

    def maker(self, name: str) -> Op | None:
        """The op that wrote the storage behind `name`; None for inputs and parameters."""
        return self.producers.get(self.storage[name])

    def elements(self, name: str) -> int:
        """Elements a reader of `name` touches: an expanded view is no larger than its storage."""
        tensors = self.graph.tensors
        return min(tensors[name].elements, tensors[self.storage[name]].elements)

    def size(self, name: str, width: float | None = None) -> Bytes:
        """Bytes of one tensor, at its own width or at `width`."""
        count = self.elements(name) * (self.widths[self.storage[name]] if width is None else width)
        return Bytes(sample=count / self.graph.batch) if name in self.graph.batched else Bytes(fixed=float(count))

    def reads(self, op: Op, width: float | None = None) -> Bytes:
        """Bytes of the op's distinct inputs."""
        return total(self.size(name, width) for name in dict.fromkeys(op.inputs))

    def writes(self, op: Op, width: float | None = None) -> Bytes:
        return total(self.size(name, width) for name in op.outputs)

    def is_batched(self, op: Op) -> bool:
        return any(name in self.graph.batched for name in op.outputs)


def total(parts: Iterable[Bytes]) -> Bytes:
    """Sum of traffic."""
    result = Bytes()
    for part in parts:
        result = result + part
    return result
