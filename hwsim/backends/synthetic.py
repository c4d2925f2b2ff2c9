"""Workload graphs made by hand: the networks on which conformance tests try a backend, without torch or a model zoo."""

from __future__ import annotations

from dataclasses import dataclass, field

from hwsim.core.frozen import FrozenDict
from hwsim.graph.ir import Kind, Role, Tensor, WorkloadGraph
from hwsim.graph.ir import Op as GraphOp

Shape = tuple[int, ...]


@dataclass
class GraphBuilder:
    """Collects tensors and ops in the order they are added; every activation is stored as `dtype`."""

    name: str
    batch: int = 1
    dtype: str = "float32"
    tensors: dict[str, Tensor] = field(default_factory=dict)
    ops: list[GraphOp] = field(default_factory=list)

    def tensor(self, name: str, shape: Shape, role: Role) -> str:
        self.tensors[name] = Tensor(name, shape, self.dtype, role)
        return name

    def input(self, shape: Shape) -> str:
        return self.tensor("x", shape, "input")

    def op(self, name: str, kind: Kind, fn: str, inputs: tuple[str, ...], shape: Shape, **dims: int) -> str:
        """Add an op with one output of `shape`; returns the output's name."""
        output = self.tensor(f"{name}:0", shape, "activation")
        self.ops.append(GraphOp(name, kind, fn, inputs, (output,), FrozenDict(dims), module=name))
        return output

    def pointwise(self, name: str, kind: Kind, fn: str, *inputs: str) -> str:
        """An op whose output has the shape of its first input and whose one dim is its elements."""
        first = self.tensors[inputs[0]]
        return self.op(name, kind, fn, inputs, first.shape, elements=first.elements)

    def rowwise(self, name: str, kind: Kind, fn: str, x: str) -> str:
        """Softmax or a norm over the last axis."""
        shape = self.tensors[x].shape
        return self.op(name, kind, fn, (x,), shape, rows=self.tensors[x].elements // shape[-1], cols=shape[-1])

    def view(self, name: str, x: str, shape: Shape) -> str:
        return self.op(name, "view", "reshape", (x,), shape, elements=self.tensors[x].elements)

    def linear(self, name: str, x: str, features: int) -> str:
        """A dense layer with bias over the last axis."""
        *rows, k = self.tensors[x].shape
        weight = self.tensor(f"{name}.weight", (features, k), "parameter")
        bias = self.tensor(f"{name}.bias", (features,), "parameter")
        m = self.tensors[x].elements // k
        return self.op(name, "gemm", "linear", (x, weight, bias), (*rows, features), M=m, N=features, K=k)

    def matmul(self, name: str, a: str, b: str) -> str:
        """Batched product of two activations, (batch, m, k) x (batch, k, n)."""
        batch, m, k = self.tensors[a].shape
        n = self.tensors[b].shape[-1]
        return self.op(name, "matmul", "matmul", (a, b), (batch, m, n), B=batch, M=m, N=n, K=k)

    def conv(
        self, name: str, x: str, channels: int, kernel: int, stride: int = 1, groups: int = 1, padding: int = 0
    ) -> str:
        """A square convolution without bias on (batch, channels, rows, columns)."""
        batch, c_in, rows, columns = self.tensors[x].shape
        weight = self.tensor(f"{name}.weight", (channels, c_in // groups, kernel, kernel), "parameter")
        o_h, o_w = ((size + 2 * padding - kernel) // stride + 1 for size in (rows, columns))
        dims = {"B": batch, "G": groups, "Cin": c_in, "Cout": channels}
        dims |= {
            "IH": rows,
            "OH": o_h,
            "KH": kernel,
            "SH": stride,
            "IW": columns,
            "OW": o_w,
            "KW": kernel,
            "SW": stride,
        }
        return self.op(name, "conv", "conv2d", (x, weight), (batch, channels, o_h, o_w), **dims)

    def build(self) -> WorkloadGraph:
        return WorkloadGraph(
            name=self.name,
            tensors=FrozenDict(self.tensors),
            ops=tuple(self.ops),
            inputs=tuple(name for name, tensor in self.tensors.items() if tensor.role == "input"),
            outputs=self.ops[-1].outputs,
            batch=self.batch,
            source="synthetic",
        )


def transformer(
    grid: int = 4,
    patch: int = 4,
    heads: int = 2,
    head_dim: int = 8,
    mlp_ratio: int = 2,
    depth: int = 1,
    classes: int = 10,
    batch: int = 1,
    dtype: str = "float32",
) -> WorkloadGraph:
    """A vision transformer of grid x grid patches: patch embedding, pre-norm blocks, mean pooling, classifier."""
    g = GraphBuilder("transformer", batch, dtype)
    dim, tokens = heads * head_dim, grid * grid
    x = g.conv("patch_embed", g.input((batch, 3, grid * patch, grid * patch)), dim, patch, stride=patch)
    x = g.view("patch_embed.flatten", x, (batch, dim, tokens))
    x = g.op("patch_embed.tokens", "layout", "permute", (x,), (batch, tokens, dim), elements=batch * tokens * dim)
    for index in range(depth):
        x = _block(g, f"blocks.{index}", x, heads, mlp_ratio)
    x = g.rowwise("norm", "norm", "layer_norm", x)
    x = g.op("mean", "reduction", "mean", (x,), (batch, dim), elements=batch * dim, window=tokens)
    g.linear("head", x, classes)
    return g.build()


def _block(g: GraphBuilder, name: str, x: str, heads: int, mlp_ratio: int) -> str:
    batch, tokens, dim = g.tensors[x].shape
    folded = (batch * heads, tokens, dim // heads)
    elements = batch * tokens * dim
    y = g.rowwise(f"{name}.norm1", "norm", "layer_norm", x)
    q, k, v = (g.view(f"{name}.{part}.split", g.linear(f"{name}.{part}", y, dim), folded) for part in "qkv")
    transposed = (folded[0], folded[2], folded[1])
    k = g.op(f"{name}.k.transpose", "layout", "transpose", (k,), transposed, elements=elements)
    scores = g.rowwise(f"{name}.softmax", "softmax", "softmax", g.matmul(f"{name}.qk", q, k))
    y = g.view(f"{name}.merge", g.matmul(f"{name}.av", scores, v), (batch, tokens, dim))
    x = g.pointwise(f"{name}.add1", "elementwise", "add", x, g.linear(f"{name}.proj", y, dim))
    y = g.rowwise(f"{name}.norm2", "norm", "layer_norm", x)
    y = g.pointwise(f"{name}.gelu", "activation", "gelu", g.linear(f"{name}.fc1", y, mlp_ratio * dim))
    return g.pointwise(f"{name}.add2", "elementwise", "add", x, g.linear(f"{name}.fc2", y, dim))


def convnet(
    size: int = 12,
    channels: int = 8,
    kernel: int = 3,
    stride: int = 1,
    depthwise: bool = False,
    classes: int = 10,
    batch: int = 1,
    dtype: str = "float32",
) -> WorkloadGraph:
    """Two convolutions (the second strided, grouped by channel if `depthwise`), norm, ReLU, pooling, classifier."""
    g = GraphBuilder("convnet", batch, dtype)
    x = g.conv("conv1", g.input((batch, 3, size, size)), channels, kernel, padding=kernel // 2)
    elements = g.tensors[x].elements
    x = g.op("bn1", "norm", "batch_norm", (x,), g.tensors[x].shape, rows=elements // channels, cols=channels)
    x = g.pointwise("relu1", "activation", "relu", x)
    x = g.conv("conv2", x, channels, kernel, stride, channels if depthwise else 1)
    _, _, rows, columns = g.tensors[x].shape
    x = g.op("pool", "pool", "avg_pool2d", (x,), (batch, channels), elements=batch * channels, window=rows * columns)
    g.linear("head", x, classes)
    return g.build()
