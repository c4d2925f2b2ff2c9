"""A workload graph as the steps the hardware takes: products on the array, all else on the vector unit or the DMA.

Views become names of the tensor they look into (its *root*). Products keep their exact sizes; every other operator is
a count of the vector unit's primitives and the bytes it moves (A12).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from math import log2, prod

from hwsim.backends.systolic.spec import PRIMITIVES
from hwsim.core.formats import bits
from hwsim.graph.ir import Op, Tensor, WorkloadGraph

#: Primitives per element and per row of operators that work on rows (A12).
_ROW_OPS: dict[str, tuple[dict[str, float], dict[str, float]]] = {
    # maximum; subtract it; exponential; sum; scale by the reciprocal of the sum
    "softmax": ({"max": 1, "add": 2, "exp": 1, "mul": 1}, {"div": 1}),
    "log_softmax": ({"max": 1, "add": 3, "exp": 1}, {"exp": 1}),
    # mean; centre; squares and their sum; times 1/sigma, gain and bias
    "layer_norm": ({"add": 4, "mul": 3}, {"mul": 2, "rsqrt": 1}),
    "group_norm": ({"add": 4, "mul": 3}, {"mul": 2, "rsqrt": 1}),
    "instance_norm": ({"add": 4, "mul": 3}, {"mul": 2, "rsqrt": 1}),
    "rms_norm": ({"add": 1, "mul": 3}, {"mul": 1, "rsqrt": 1}),
    "normalize": ({"add": 1, "mul": 2}, {"rsqrt": 1}),
    # folded into one gain and one bias at inference
    "batch_norm": ({"add": 1, "mul": 1}, {}),
}
#: Primitives per output element of element-wise operators.
_ELEMENT_OPS: dict[str, dict[str, float]] = {
    "relu": {"max": 1}, "relu6": {"max": 2}, "leaky_relu": {"max": 1, "mul": 1}, "hardtanh": {"max": 2},
    "clamp": {"max": 2}, "maximum": {"max": 1}, "minimum": {"max": 1},
    "gelu": {"gelu": 1}, "quick_gelu": {"exp": 1, "add": 1, "div": 1}, "silu": {"exp": 1, "add": 1, "div": 1},
    "sigmoid": {"exp": 1, "add": 1, "div": 1}, "tanh": {"exp": 1, "add": 2, "div": 1}, "softplus": {"exp": 2, "add": 1},
    "hardsigmoid": {"add": 1, "max": 2, "mul": 1}, "hardswish": {"add": 1, "max": 2, "mul": 2},
    "elu": {"exp": 1, "add": 1, "max": 1}, "mish": {"exp": 2, "add": 2, "div": 1, "mul": 1},
    "add": {"add": 1}, "sub": {"add": 1}, "rsub": {"add": 1}, "neg": {"add": 1}, "abs": {"max": 1},
    "mul": {"mul": 1}, "square": {"mul": 1}, "div": {"div": 1}, "reciprocal": {"div": 1},
    "exp": {"exp": 1}, "log": {"exp": 1}, "sqrt": {"rsqrt": 1, "mul": 1}, "rsqrt": {"rsqrt": 1}, "pow": {"mul": 2},
    "sin": {"exp": 1}, "cos": {"exp": 1}, "erf": {"gelu": 1},
}  # fmt: skip
#: Operators that put the same elements in another order.
_REORDERINGS = ("clone", "contiguous", "permute", "transpose", "t", "swapaxes", "movedim")
_DEFAULT_ELEMENT: dict[str, float] = {"add": 1}


@dataclass(frozen=True)
class Operand:
    """Bytes of a tensor an op reads or writes, and the activation it belongs to (None: a parameter)."""

    root: str | None
    size_bytes: float


@dataclass(frozen=True)
class ArrayStep:
    """`batch` products on the array. `a_share`: distinct part of a (im2col, A9); `epilogue`: primitives that stream
    with its results; `b_is_weight`: b is a parameter."""

    op: str
    batch: int
    M: int
    N: int
    K: int
    a: Operand
    b: Operand
    out: Operand
    a_bytes: float
    b_bytes: float
    o_bytes: float
    a_share: float
    b_is_weight: bool
    epilogue: tuple[float, ...]


@dataclass(frozen=True)
class VectorStep:
    """Primitives on the vector unit (or none: a DMA move) and what is read and written around them."""

    op: str
    primitives: tuple[float, ...]
    reads: tuple[Operand, ...]
    writes: tuple[Operand, ...]


@dataclass(frozen=True)
class Mlp:
    """Two dense layers in a row, steps `step` and `step + 1`, with nothing but `root` between them: block of rows by
    block of rows, only a block of it is alive at a time (A18). `weight_bytes` are those of both layers."""

    step: int
    root: str
    rows: int
    weight_bytes: float


@dataclass(frozen=True)
class Program:
    """Steps in order; `free` names ops that cost nothing, with why; `fused` maps an op to the step it streams with
    and `extra` to the primitives it adds there.

    `slices` maps an activation to the number of parts it is worked on in (heads of one fused attention).
    """

    steps: tuple[ArrayStep | VectorStep, ...]
    free: Mapping[str, str]
    fused: Mapping[str, str]
    extra: Mapping[str, tuple[float, ...]]
    slices: Mapping[str, int]
    sizes: Mapping[str, float]
    outside: frozenset[str]
    mlps: tuple[Mlp, ...]


@dataclass(frozen=True)
class Formats:
    """The arch's choices that decide a program: operand formats, transposer, what streams behind the array, and whether
    depthwise convolutions run on the vector unit."""

    weights: str
    activations: str
    accumulator: str
    transposer: bool
    inline: bool
    depthwise: bool


def counts(**amount: float) -> tuple[float, ...]:
    """Primitive counts as a tuple in the order of `PRIMITIVES`."""
    return tuple(float(amount.get(name, 0.0)) for name in PRIMITIVES)


def added(*parts: tuple[float, ...]) -> tuple[float, ...]:
    """Sum of primitive counts."""
    return tuple(sum(values) for values in zip(*parts, strict=True))


def primitives(op: Op) -> tuple[float, ...]:
    """Primitives of an operator that is no matrix product; all zero for one that only moves data."""
    dims = op.dims
    if op.kind in ("softmax", "norm"):
        default = _ROW_OPS["softmax" if op.kind == "softmax" else "layer_norm"]
        element, row = _ROW_OPS.get(op.fn, default)
        elements = dims["rows"] * dims["cols"]
        names = element.keys() | row.keys()
        return counts(**{n: element.get(n, 0) * elements + row.get(n, 0) * dims["rows"] for n in names})
    elements = dims.get("elements", 0)
    if op.kind in ("activation", "elementwise"):
        per = _ELEMENT_OPS.get(op.fn, _DEFAULT_ELEMENT)
        return counts(**{name: value * elements for name, value in per.items()})
    if op.kind in ("reduction", "pool"):
        window = dims.get("window", 1)
        name = "max" if "max" in op.fn or "min" in op.fn else "add"
        return added(counts(**{name: elements * window}), counts(mul=0 if name == "max" else elements))
    if op.kind == "resize":
        return counts(mul=4 * elements, add=3 * elements)  # bilinear: four products and three sums per element
    if op.kind == "topk":
        return counts(max=elements * dims.get("window", 1))
    if op.kind == "fft":
        return counts(mul=2 * elements * log2(max(2, elements)), add=3 * elements * log2(max(2, elements)))
    if op.kind == "conv":
        return counts(mul=op.macs, add=op.macs, requantize=_outputs(op) * dims["Cout"])
    return counts()


def _outputs(op: Op) -> int:
    """Positions of a convolution's output, all images together; of its input if it is transposed (A9)."""
    side = "I" if op.dims.get("transposed") else "O"
    return op.dims["B"] * prod(op.dims[f"{side}{axis}"] for axis in "DHW" if f"O{axis}" in op.dims)


def is_depthwise(op: Op) -> bool:
    """Whether a convolution has one input channel per group."""
    return op.kind == "conv" and op.dims["G"] > 1 and op.dims["G"] == op.dims["Cin"]


def folded_norms(graph: WorkloadGraph) -> dict[str, str]:
    """Inference BatchNorms that are one gain and one bias of the product before them, which nothing else reads.

    Jacob et al., CVPR 2018, section 3.2; execution folds the same ones.
    """
    readers = Counter(name for op in graph.ops for name in set(op.inputs))
    makers = {name: op for op in graph.ops for name in op.outputs}
    folded: dict[str, str] = {}
    for norm in graph.ops:
        product = makers.get(norm.inputs[0]) if norm.fn == "batch_norm" else None
        if product is None or product.kind not in ("conv", "gemm") or len(product.inputs) < 2:
            continue
        weight, output = product.inputs[1], product.outputs[0]
        constant = graph.tensors[weight].role not in ("activation", "input")
        if constant and readers[weight] == readers[output] == 1 and output not in graph.outputs:
            folded[norm.name] = product.name
    return folded


class _Lowering:
    """Builds a program op by op."""

    def __init__(self, graph: WorkloadGraph, formats: Formats) -> None:
        self.graph, self.formats = graph, formats
        self.folded = folded_norms(graph)
        self.root: dict[str, str] = {}
        self.steps: list[ArrayStep | VectorStep] = []
        self.free: dict[str, str] = {}
        self.fused: dict[str, str] = {}
        self.extra: dict[str, tuple[float, ...]] = {}
        for op in graph.ops:
            if (reason := self.reason_free(op)) is not None:
                self.free[op.name] = reason
                for output in op.outputs:
                    self.root[output] = self.root.get(op.inputs[0], op.inputs[0])
        self.readers = Counter(
            root
            for op in graph.ops
            if op.name not in self.free
            for root in {self.root_of(name) for name in op.inputs}
            if root is not None
        )

    def reason_free(self, op: Op) -> str | None:
        """Why an op costs nothing here, or None: views are addresses, reorderings need a transposer to be."""
        if not op.inputs:
            return None
        if op.name in self.folded:
            return f"folded into the weights of {self.folded[op.name]}"
        reorders = op.fn in _REORDERINGS
        if op.kind == "view" and not reorders:
            return "a view: addresses only"
        if reorders and op.kind in ("view", "layout") and self.formats.transposer:
            return "reordered by strided addresses and the transposer on the next read"
        return None

    def element_bytes(self, tensor: Tensor, fmt: str) -> float:
        """Bytes per element in memory: the narrower of the graph's format and the arch's (A14)."""
        return min(bits(tensor.dtype), bits(fmt)) / 8

    def operand(self, name: str, elements: int | None = None) -> Operand:
        """A tensor as an op moves it: whole, or at most `elements` of it."""
        tensor = self.graph.tensors[name]
        count = tensor.elements if elements is None else min(elements, tensor.elements)
        return Operand(self.root_of(name), count * self.element_bytes(tensor, self.formats.activations))

    def root_of(self, name: str) -> str | None:
        """The activation a tensor is or looks into; None for parameters and constants."""
        if self.graph.tensors[name].role in ("parameter", "buffer", "constant"):
            return None
        return self.root.get(name, name)

    def product(self, op: Op) -> None:
        """Add a GEMM, a batched product, or a convolution as G products of im2col form (A9)."""
        dims, tensors = op.dims, self.graph.tensors
        a_name, b_name = op.inputs[0], op.inputs[1]
        if op.kind == "conv":
            taps = prod(dims[f"K{axis}"] for axis in "DHW" if f"O{axis}" in dims)
            batch, M = dims["G"], _outputs(op)
            N, K = dims["Cout"] // dims["G"], dims["Cin"] // dims["G"] * taps
        else:
            batch, M, N, K = dims.get("B", 1), dims["M"], dims["N"], dims["K"]
        weight = tensors[b_name].role != "activation" and tensors[b_name].role != "input"
        a_bytes = self.element_bytes(tensors[a_name], self.formats.activations)
        b_bytes = self.element_bytes(tensors[b_name], self.formats.weights if weight else self.formats.activations)
        out = self.operand(op.outputs[0])
        share = min(1.0, tensors[a_name].elements / (batch * M * K)) if op.kind == "conv" else 1.0
        biased = len(op.inputs) > 2 or op.name in self.folded.values()
        epilogue = counts(requantize=batch * M * N, add=batch * M * N if biased else 0)
        a = Operand(self.root_of(a_name), batch * M * K * share * a_bytes)
        b = Operand(None if weight else self.root_of(b_name), batch * K * N * b_bytes)
        step = ArrayStep(
            op.name, batch, M, N, K, a, b, out, a_bytes, b_bytes, self.element_bytes(tensors[op.outputs[0]],
            self.formats.activations), share, weight, epilogue,
        )  # fmt: skip
        self.steps.append(step)

    def streams(self, op: Op) -> ArrayStep | None:
        """The product whose results an op can take as they leave the array: unary, whole, its only reader."""
        moving = [name for name in op.inputs if self.root_of(name) is not None]
        if (
            not self.formats.inline
            or op.kind not in ("activation", "elementwise")
            or len(moving) != 1
            or not self.steps
        ):
            return None
        last, source = self.steps[-1], moving[0]
        whole = self.graph.tensors[source].elements == self.graph.tensors[op.outputs[0]].elements
        if not isinstance(last, ArrayStep) or last.out.root != self.root_of(source) or not whole:
            return None
        root = last.out.root
        alone = root is not None and self.readers[root] == 1 and root not in self.outside
        return last if alone else None

    def other(self, op: Op) -> None:
        """Add an operator that is no product: to the product it streams with, or as a step of its own."""
        product = self.streams(op)
        if product is not None:
            self.extra[op.name] = primitives(op)
            epilogue = added(product.epilogue, self.extra[op.name])
            self.steps[-1] = replace(product, out=self.operand(op.outputs[0]), epilogue=epilogue)
            self.fused[op.name] = product.op
            return
        made = sum(self.graph.tensors[name].elements for name in op.outputs)
        limit = made if op.kind in ("gather", "view", "layout") else None  # these read only what they write
        reads = tuple(self.operand(name, limit) for name in dict.fromkeys(op.inputs))
        writes = tuple(self.operand(name) for name in op.outputs)
        self.steps.append(VectorStep(op.name, primitives(op), reads, writes))

    @property
    def outside(self) -> frozenset[str]:
        """Activations that come from or go to memory: inputs and outputs of the graph."""
        return frozenset(self.root.get(name, name) for name in (*self.graph.inputs, *self.graph.outputs))

    def slices(self) -> dict[str, int]:
        """Activations inside one attention group, and the heads they are worked on in (A15)."""
        group_of: dict[str, set[str | None]] = {}
        batch: dict[str, int] = {}
        for op in self.graph.ops:
            if op.kind == "matmul" and op.group:
                batch[op.group] = min(batch.get(op.group, op.dims["B"]), op.dims["B"])
        for op in self.graph.ops:
            for name in (*op.inputs, *op.outputs):
                if (root := self.root_of(name)) is not None and op.name not in self.free:
                    group_of.setdefault(root, set()).add(op.group)
        return {
            root: batch[next(iter(groups))]  # type: ignore[index]
            for root, groups in group_of.items()
            if len(groups) == 1 and next(iter(groups)) in batch
        }

    def mlps(self) -> Iterator[Mlp]:
        """Neighbouring dense layers of which the second alone reads what the first makes; none belongs to two pairs."""
        free = 0
        for index, (first, last) in enumerate(pairwise(self.steps)):
            if index < free or not (isinstance(first, ArrayStep) and isinstance(last, ArrayStep)):
                continue
            root, dense = first.out.root, first.b_is_weight and last.b_is_weight and first.batch == last.batch == 1
            if root is None or last.a.root != root or self.readers[root] != 1 or root in self.outside:
                continue
            if dense and first.M == last.M and first.a_share == last.a_share == 1.0 and first.N == last.K:
                free = index + 2
                yield Mlp(index, root, first.M, first.b.size_bytes + last.b.size_bytes)

    def program(self) -> Program:
        """All steps of the graph."""
        for op in self.graph.ops:
            if op.name in self.free:
                continue
            if op.kind in ("gemm", "matmul", "conv") and not (self.formats.depthwise and is_depthwise(op)):
                self.product(op)
            else:
                self.other(op)
        sizes: dict[str, float] = {}
        for step in self.steps:
            made = (step.out,) if isinstance(step, ArrayStep) else step.writes
            sizes.update({item.root: item.size_bytes for item in made if item.root is not None})
        return Program(
            tuple(self.steps), self.free, self.fused, self.extra, self.slices(), sizes, self.outside, tuple(self.mlps())
        )


@lru_cache(maxsize=64)
def lower(graph: WorkloadGraph, formats: Formats) -> Program:
    """The steps of a graph in the arch's formats."""
    return _Lowering(graph, formats).program()
