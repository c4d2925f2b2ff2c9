"""Split a classifier by classes into narrower sub-models whose features a small network fuses (ED-ViT)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import ceil
from typing import Annotated, ClassVar

from pydantic import Field

from hwsim.core.errors import UsageError
from hwsim.core.frozen import FrozenDict
from hwsim.graph.ir import Op, Tensor, WorkloadGraph
from hwsim.spec.fields import Count, PositiveFraction, Quantity
from hwsim.transforms.base import Transform

# The dim that carries channels, by kind; a softmax has a row per head, an attention product a matrix per head.
_CHANNELS = {"softmax": "rows", "norm": "cols", "matmul": "B"}
#: The op attribute that numbers the sub-model an op belongs to; the edge backend places sub-models by it.
BRANCH = "branch"


class ClassSplit(Transform):
    """`parts` sub-models, each for its share of the classes, with `keep` of all heads, hidden and embedding channels.

    Each is the network without its classifier; their features are concatenated and go through two layers. So the
    cost of fusion grows with the number of parts, and 9 devices can be slower than 7 (EC-SNN, IJCAI 2024). The result
    is for estimation: its ops carry no `call`; training, pruning by importance and accuracy are in backends/edge.
    """

    summary: ClassVar[str] = "sub-models by classes, narrower by pruning, fused by an MLP (ED-ViT)"

    parts: Count = Field(default=2, description="number of sub-models")
    keep: PositiveFraction = Field(default=0.5, description="share of heads and channels that stay in each")
    fusion_width: Annotated[int, Quantity(""), Field(ge=1)] = Field(default=256, description="of the hidden layer")

    def apply(self, graph: WorkloadGraph) -> WorkloadGraph:
        """The fused graph. Raises UsageError unless the last product of the network is its classifier."""
        head = classifier(graph)
        body = tuple(op for op in graph.ops if op is not head)
        builder = Split(graph)
        features = [builder.branch(number, body, head.inputs[0], self.keep) for number in range(self.parts)]
        builder.fuse(features, self.fusion_width, head)
        return builder.build()


def classifier(graph: WorkloadGraph) -> Op:
    """The matrix product that makes the graph's output."""
    last = graph.ops[-1]
    if last.kind != "gemm" or graph.outputs != last.outputs:
        raise UsageError(
            f"{graph.name} ends with {last.kind} {last.name!r}",
            where="class_split",
            expected="a network whose last op is its classifier (a gemm)",
        )
    return last


@dataclass
class Split:
    """Collects the tensors and ops of the split graph."""

    graph: WorkloadGraph
    tensors: dict[str, Tensor] = field(default_factory=dict)
    ops: list[Op] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tensors |= {name: self.graph.tensors[name] for name in self.graph.inputs}

    def branch(self, number: int, body: tuple[Op, ...], feature: str, keep: float) -> str:
        """A pruned copy of the network; returns the name of its feature tensor."""
        narrowed = narrowed_tensors(self.graph, body, keep)
        prefix = f"{BRANCH}{number}."

        def renamed(name: str) -> str:
            return name if name in self.graph.inputs else prefix + name

        for op in body:
            for name in (*op.inputs, *op.outputs):
                if name not in self.graph.inputs:
                    self.tensors[prefix + name] = replace(narrowed[name], name=prefix + name)
            self.ops.append(
                replace(
                    op,
                    name=prefix + op.name,
                    inputs=tuple(map(renamed, op.inputs)),
                    outputs=tuple(map(renamed, op.outputs)),
                    dims=narrowed_dims(self.graph, op, narrowed, keep),
                    attrs=FrozenDict({**op.attrs, BRANCH: number}),
                    group=None if op.group is None else prefix + op.group,
                    call="",
                )
            )
        return prefix + feature

    def fuse(self, features: list[str], width: int, head: Op) -> None:
        """Concatenate the features and add the two layers of the fusion network."""
        rows = head.dims["M"]
        columns = sum(self.tensors[name].elements // rows for name in features)
        dtype = self.tensors[features[0]].dtype
        joined = self._op(
            "fusion.cat", "layout", "cat", tuple(features), (rows, columns), dtype, elements=rows * columns
        )
        hidden = self._linear("fusion.fc1", joined, rows, columns, width, dtype)
        active = self._op("fusion.relu", "activation", "relu", (hidden,), (rows, width), dtype, elements=rows * width)
        self._linear("fusion.fc2", active, rows, width, head.dims["N"], dtype)

    def _linear(self, name: str, x: str, rows: int, k: int, n: int, dtype: str) -> str:
        for part, shape in (("weight", (n, k)), ("bias", (n,))):
            self.tensors[f"{name}.{part}"] = Tensor(f"{name}.{part}", shape, dtype, "parameter")
        inputs = (x, f"{name}.weight", f"{name}.bias")
        return self._op(name, "gemm", "linear", inputs, (rows, n), dtype, M=rows, N=n, K=k)

    def _op(
        self, name: str, kind: str, fn: str, inputs: tuple[str, ...], shape: tuple[int, ...], dtype: str, **dims: int
    ) -> str:
        output = f"{name}:0"
        self.tensors[output] = Tensor(output, shape, dtype)
        self.ops.append(Op(name, kind, fn, inputs, (output,), FrozenDict(dims), module=name))  # type: ignore[arg-type]
        return output

    def build(self) -> WorkloadGraph:
        """The split graph."""
        return replace(self.graph, tensors=FrozenDict(self.tensors), ops=tuple(self.ops), outputs=self.ops[-1].outputs)


def narrowed_tensors(graph: WorkloadGraph, body: tuple[Op, ...], keep: float) -> dict[str, Tensor]:
    """Every tensor of the sub-model: all but the input have fewer channels."""
    narrowed = {name: graph.tensors[name] for name in graph.inputs}
    for op in body:
        for place, name in enumerate(op.inputs):
            if name not in narrowed:
                axes = parameter_axes(graph, op, place, narrowed)
                narrowed[name] = shrunk(graph.tensors[name], axes, keep)
        for name in op.outputs:
            wide = all(same(graph, narrowed, n) for n in op.inputs if graph.tensors[n].role in ("input", "activation"))
            axes = (channel_axis(graph, op, graph.tensors[name], narrowed),)
            learned = any(graph.tensors[n].role == "parameter" for n in op.inputs)
            narrowed[name] = graph.tensors[name] if wide and not learned else shrunk(graph.tensors[name], axes, keep)
    return narrowed


def same(graph: WorkloadGraph, narrowed: dict[str, Tensor], name: str) -> bool:
    """Whether a tensor kept all its channels."""
    return narrowed[name].shape == graph.tensors[name].shape


def parameter_axes(graph: WorkloadGraph, op: Op, place: int, narrowed: dict[str, Tensor]) -> tuple[int, ...]:
    """Axes of a parameter that shrink: outputs of a product always, its inputs where the data has shrunk."""
    tensor = graph.tensors[op.inputs[place]]
    if tensor.role != "parameter" or not tensor.shape:
        return ()
    if op.kind in ("gemm", "conv") and place == 1:
        data_wide = same(graph, narrowed, op.inputs[0])
        return (0,) if data_wide or (op.kind == "conv" and op.dims["G"] > 1) else (0, 1)
    return (len(tensor.shape) - 1,)


def channel_axis(graph: WorkloadGraph, op: Op, tensor: Tensor, narrowed: dict[str, Tensor]) -> int:
    """The axis that carries channels: heads in attention, the second of a feature map, in a layout or view the axis
    that shrank in its input, else the last."""
    rank = len(tensor.shape)
    if op.kind in ("matmul", "softmax"):
        return max(0, rank - 3)
    if op.kind in ("layout", "view"):
        old, new = graph.tensors[op.inputs[0]].shape, narrowed[op.inputs[0]].shape
        moved = [size for size, now in zip(old, new, strict=True) if size != now]
        if moved and moved[0] in tensor.shape:
            return tensor.shape.index(moved[0])
    return 1 if op.kind in ("conv", "pool") and rank > 2 else rank - 1


def shrunk(tensor: Tensor, axes: tuple[int, ...], keep: float) -> Tensor:
    """The tensor with `keep` of its channels, rounded up, along each of `axes`."""
    shape = tuple(narrow(size, keep) if axis in axes else size for axis, size in enumerate(tensor.shape))
    return replace(tensor, shape=shape)


def narrow(size: int, keep: float) -> int:
    """`keep` of `size`, rounded up, where `keep` is known to five digits: 16.6667 % of 768 is 128."""
    return max(1, ceil(size * keep * (1.0 - 1e-5)))


def narrowed_dims(graph: WorkloadGraph, op: Op, narrowed: dict[str, Tensor], keep: float) -> FrozenDict[str, int]:
    """The op's dims after pruning."""
    dims = dict(op.dims)
    if op.kind == "gemm":
        if not same(graph, narrowed, op.inputs[0]):
            dims["K"] = narrow(dims["K"], keep)
        dims["N"] = narrow(dims["N"], keep)
    elif op.kind == "conv":
        if not same(graph, narrowed, op.inputs[0]):
            dims["Cin"] = narrow(dims["Cin"], keep)
        dims["Cout"] = narrow(dims["Cout"], keep)
        dims["G"] = min(dims["G"], dims["Cin"]) if dims["G"] == op.dims["Cin"] else dims["G"]
    elif not all(same(graph, narrowed, name) for name in op.outputs):
        key = _CHANNELS.get(op.kind, "elements")
        if key == "elements":  # of the outputs, whose channels were rounded, not the count itself
            before = sum(graph.tensors[name].elements for name in op.outputs)
            dims[key] = dims[key] * sum(narrowed[name].elements for name in op.outputs) // before
        else:
            dims[key] = narrow(dims[key], keep)
    return FrozenDict(dims)
