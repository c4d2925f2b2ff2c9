"""The workload graph: immutable, torch-free records of tensors and ops in topological order.

One graph serves cost and function: `Op.dims` is what an estimator reads, `Op.call` is what an executor runs.

Op kinds and their dims (sizes include the batch of the capture unless `WorkloadGraph.with_batch` rescaled them):

| kind | dims | meaning |
|---|---|---|
| gemm | M N K | out[M,N] = a[M,K] b[K,N], b known before the input (a parameter); inputs (a, b[, bias]) |
| matmul | B M N K | B products of two activations |
| conv | B G Cin Cout and, per axis X of D H W: IX OX KX SX (in, out, kernel, stride) | G groups; `transposed` 1 if so |
| softmax, norm | rows cols | `fn`: softmax, log_softmax; layer_norm, batch_norm, group_norm, rms_norm ... |
| activation, elementwise | elements | `fn`: gelu, relu, silu ...; add, mul, div, exp ... (elements of the output) |
| reduction, pool | elements window | output elements, inputs read per output |
| topk | elements window | output elements, length of the lists sorted or searched |
| resize, gather, scatter, roll, unfold, fold, fft | elements (output) | `fn` names the exact operator |
| layout | elements | moves or makes data without arithmetic: cat, pad, repeat, zeros, the copy of a permuted tensor |
| view | elements | renames data without moving it: reshape, permute, transpose, slice, split, expand |
| unmodelled | elements | an operator nobody has modelled: its bytes still count |

A complex product has the N and K of its real equivalent (twice each) and the attribute `complex`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from typing import Any, Literal, get_args

from hwsim.core.errors import UsageError
from hwsim.core.formats import size_bytes
from hwsim.core.frozen import EMPTY, FrozenDict, frozen
from hwsim.core.hashing import canonical_json, content_hash
from hwsim.core.names import nearest

GRAPH_SCHEMA = "hwsim/graph/1"

Kind = Literal[
    "gemm", "matmul", "conv", "softmax", "norm", "activation", "elementwise", "reduction", "pool", "resize",
    "gather", "scatter", "topk", "roll", "unfold", "fold", "fft", "layout", "view", "unmodelled",
]  # fmt: skip
KINDS: tuple[str, ...] = get_args(Kind)
Role = Literal["input", "parameter", "buffer", "constant", "activation"]
#: Kinds whose multiply-accumulates are counted (the convention of papers: convolutions and matrix products).
MAC_KINDS = ("gemm", "matmul", "conv")


@dataclass(frozen=True)
class Tensor:
    """A value that flows between ops, or a parameter; `shape` is (batch, ...) in elements."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    role: Role = "activation"

    @property
    def elements(self) -> int:
        return prod(self.shape)

    @property
    def size_bytes(self) -> int:
        return size_bytes(self.elements, self.dtype)


@dataclass(frozen=True)
class Op:
    """One operation; see the module's table for `dims`.

    `module` is the path of the torch module it came from; `group` ties ops that one call was split into
    (`blocks.3.attn:attention`), so that a backend may fuse them again. `call` is JSON: the operator and its arguments
    with `{"$": tensor}` for tensors, enough to execute the op without the original module.
    """

    name: str
    kind: Kind
    fn: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    dims: FrozenDict[str, int] = field(default=EMPTY)
    attrs: FrozenDict[str, Any] = field(default=EMPTY)
    module: str = ""
    group: str | None = None
    call: str = ""

    @property
    def macs(self) -> int:
        """Multiply-accumulates: products of matrices and convolutions; 0 for every other kind."""
        return macs(self.kind, self.dims)


def macs(kind: str, dims: Mapping[str, int]) -> int:
    """Multiply-accumulates of an op of `kind` with `dims`."""
    if kind == "gemm":
        return dims["M"] * dims["N"] * dims["K"]
    if kind == "matmul":
        return dims["B"] * dims["M"] * dims["N"] * dims["K"]
    if kind == "conv":
        spatial = [axis for axis in "DHW" if f"O{axis}" in dims]
        taps = prod(dims[f"K{axis}"] for axis in spatial)
        # A transposed convolution does one product per input sample, kernel tap and output channel of its group.
        outputs = prod(dims[f"{'I' if dims.get('transposed') else 'O'}{axis}"] for axis in spatial)
        return dims["B"] * outputs * dims["Cout"] * (dims["Cin"] // dims["G"]) * taps
    return 0


@dataclass(frozen=True)
class WorkloadGraph:
    """Tensors and ops of one network, ops in topological order; equal content gives equal `content_hash`.

    `tensors` maps a name to its record and includes parameters no op reads, so that `params` equals the model's count.
    `source` and `provenance` (versions, input shape) say where the graph came from and are not part of the hash.
    """

    name: str
    tensors: FrozenDict[str, Tensor]
    ops: tuple[Op, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    batch: int = 1
    source: str = field(default="", compare=False)
    provenance: FrozenDict[str, Any] = field(default=EMPTY, compare=False)

    def __post_init__(self) -> None:
        known = {name for name, tensor in self.tensors.items() if tensor.role != "activation"}
        seen: set[str] = set()
        for op in self.ops:
            if op.name in seen:
                raise UsageError(f"graph {self.name!r} has two ops named {op.name!r}")
            seen.add(op.name)
            for tensor in op.inputs:
                if tensor not in known:
                    raise UsageError(f"op {op.name!r} of graph {self.name!r} reads {tensor!r} before it exists")
            known.update(op.outputs)
            for tensor in op.outputs:
                if tensor not in self.tensors:
                    raise UsageError(f"op {op.name!r} of graph {self.name!r} writes unknown tensor {tensor!r}")

    @cached_property
    def macs(self) -> int:
        return sum(op.macs for op in self.ops)

    @cached_property
    def params(self) -> int:
        """Elements of all parameters, each counted once."""
        return sum(tensor.elements for tensor in self.tensors.values() if tensor.role == "parameter")

    @cached_property
    def input_shape(self) -> tuple[int, ...]:
        return self.tensors[self.inputs[0]].shape if self.inputs else ()

    @cached_property
    def unmodelled(self) -> FrozenDict[str, int]:
        """Operators nobody has modelled, by name and count."""
        counts: dict[str, int] = {}
        for op in self.ops:
            if op.kind == "unmodelled":
                counts[op.fn] = counts.get(op.fn, 0) + 1
        return FrozenDict(counts)

    @cached_property
    def content_hash(self) -> str:
        return content_hash([self.name, self.batch, [_tensor_json(t) for t in self.tensors.values()],
                             [_op_json(op, 0) for op in self.ops], self.inputs, self.outputs])  # fmt: skip

    def __hash__(self) -> int:
        return hash(self.content_hash)

    def op(self, name: str) -> Op:
        """The op of that name; UsageError names the nearest."""
        for op in self.ops:
            if op.name == name:
                return op
        raise UsageError(f"{self.name} has no op {name!r}", remedy=nearest(name, (op.name for op in self.ops)))

    def operand_bytes(self, op: Op, roles: Iterable[Role]) -> int:
        """Bytes of the op's distinct inputs that have one of `roles`."""
        wanted = set(roles)
        return sum(self.tensors[name].size_bytes for name in set(op.inputs) if self.tensors[name].role in wanted)

    def op_params(self, op: Op) -> int:
        """Parameter elements the op reads."""
        return sum(self.tensors[name].elements for name in set(op.inputs) if self.tensors[name].role == "parameter")

    def output_bytes(self, op: Op) -> int:
        return sum(self.tensors[name].size_bytes for name in op.outputs)

    @cached_property
    def batched(self) -> frozenset[str]:
        """Tensors that depend on an input, and so grow with the batch; the rest come from parameters alone."""
        found = set(self.inputs)
        for op in self.ops:
            if any(name in found for name in op.inputs):
                found.update(op.outputs)
        return frozenset(found)

    def with_batch(self, batch: int) -> WorkloadGraph:
        """The same network on `batch` samples: work and activations scale, parameters do not.

        The result is for estimation: its `call`s keep the captured shapes. Raises UsageError if the captured batch
        does not divide evenly.
        """
        if batch == self.batch:
            return self
        if batch < 1 or batch % self.batch:
            raise UsageError(f"batch {batch} is not a multiple of the captured batch {self.batch}")
        times = batch // self.batch
        tensors = {
            name: replace(tensor, shape=(tensor.shape[0] * times, *tensor.shape[1:]))
            if name in self.batched and tensor.shape
            else tensor
            for name, tensor in self.tensors.items()
        }
        ops = tuple(
            replace(op, dims=_scaled(op, times)) if any(name in self.batched for name in op.inputs) else op
            for op in self.ops
        )
        return replace(self, tensors=FrozenDict(tensors), ops=ops, batch=batch)

    def to_json(self) -> dict[str, Any]:
        """The contract's `hwsim/graph/1`; `from_json` reads it back exactly."""
        return {
            "schema": GRAPH_SCHEMA,
            "name": self.name,
            "macs": self.macs,
            "params": self.params,
            "input_shape": list(self.input_shape),
            "batch": self.batch,
            "source": self.source,
            "provenance": dict(self.provenance),
            "inputs": list(self.inputs),
            "outputs": list(self.outputs),
            "unmodelled": dict(self.unmodelled),
            "tensors": [_tensor_json(tensor) for tensor in self.tensors.values()],
            "ops": [_op_json(op, self.op_params(op)) for op in self.ops],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> WorkloadGraph:
        tensors = (Tensor(row[0], tuple(row[1]), row[2], row[3]) for row in data["tensors"])
        return cls(
            name=data["name"],
            tensors=FrozenDict({tensor.name: tensor for tensor in tensors}),
            ops=tuple(_op_from_json(row) for row in data["ops"]),
            inputs=tuple(data["inputs"]),
            outputs=tuple(data["outputs"]),
            batch=data["batch"],
            source=data["source"],
            provenance=frozen(data["provenance"]),
        )


#: The dim that carries the batch, by kind; kinds absent here scale `elements`.
_BATCH_DIM: dict[str, str] = {"gemm": "M", "matmul": "B", "conv": "B", "softmax": "rows", "norm": "rows"}


def _scaled(op: Op, times: int) -> FrozenDict[str, int]:
    key = _BATCH_DIM.get(op.kind, "elements")
    return FrozenDict({**op.dims, key: op.dims[key] * times})


def _tensor_json(tensor: Tensor) -> list[Any]:
    return [tensor.name, list(tensor.shape), tensor.dtype, tensor.role]


def _op_json(op: Op, params: int) -> dict[str, Any]:
    return {
        "name": op.name,
        "kind": op.kind,
        "fn": op.fn,
        "dims": dict(op.dims),
        "macs": op.macs,
        "params": params,
        "inputs": list(op.inputs),
        "outputs": list(op.outputs),
        "attrs": dict(op.attrs),
        "module": op.module,
        "group": op.group,
        "call": json.loads(op.call) if op.call else None,
    }


def _op_from_json(row: Mapping[str, Any]) -> Op:
    return Op(
        name=row["name"],
        kind=row["kind"],
        fn=row["fn"],
        inputs=tuple(row["inputs"]),
        outputs=tuple(row["outputs"]),
        dims=frozen(row["dims"]),
        attrs=frozen({key: tuple(v) if isinstance(v, list) else v for key, v in row["attrs"].items()}),
        module=row["module"],
        group=row["group"],
        call=canonical_json(row["call"]) if row["call"] else "",
    )
