"""From a graph, its values and its calibration to integer steps: one lowering per kind of op, float where none fits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from hwsim.backends.execution.arithmetic import Arithmetic
from hwsim.backends.execution.coding import Coding
from hwsim.backends.execution.folding import Folding
from hwsim.backends.execution.program import Bound, Kernel, OwnOperator, Step, Tally, bind, last_reads
from hwsim.graph.calls import Ref, references
from hwsim.graph.ir import Op, WorkloadGraph
from hwsim.numerics.casts import FORMATS, cast
from hwsim.numerics.rescale import requantize_codes


@dataclass(frozen=True)
class Planned:
    """A lowered op: its kernel, the codings of its outputs, and whether it computes or only moves codes."""

    kernel: Kernel
    codings: Sequence[Coding | None]
    form: str = "integer"


@dataclass
class Context:
    """What a lowering may read: the graph, static values, calibrated codings, and the codings decided so far."""

    graph: WorkloadGraph
    static: Mapping[str, Tensor]
    calibrated: Mapping[str, Coding]
    arithmetic: Arithmetic
    device: str
    folding: Folding = field(default_factory=Folding)
    operators: Mapping[str, OwnOperator] = field(default_factory=dict)
    codings: dict[str, Coding] = field(default_factory=dict)

    def coding(self, argument: object) -> Coding | None:
        """The coding of a tensor argument that holds codes; None for floats, static values and scalars."""
        return self.codings.get(argument.name) if isinstance(argument, Ref) else None

    def constant(self, argument: object) -> Tensor | None:
        """The value of an argument known before the input arrives, None for activations."""
        return self.static.get(argument.name) if isinstance(argument, Ref) else None

    def bias(self, op: Op, argument: object) -> Tensor | None:
        """The bias of a product: its own, or the one that folding a BatchNorm gave it."""
        return self.folding.biases.get(op.name, self.constant(argument))

    def target(self, op: Op) -> Coding | None:
        """The calibrated coding of the op's first output."""
        return self.calibrated.get(op.outputs[0])

    def is_output(self, op: Op) -> bool:
        """Whether the network returns what the op makes."""
        return op.outputs[0] in self.graph.outputs

    def dtype(self, name: str) -> str:
        """Format of a tensor in the graph."""
        return self.graph.tensors[name].dtype


Lowering = Callable[[Context, Op, Bound], Planned | None]


def plan(
    graph: WorkloadGraph,
    static: Mapping[str, Tensor],
    calibrated: Mapping[str, Coding],
    arithmetic: Arithmetic,
    device: str = "cpu",
    folding: Folding | None = None,
    operators: Mapping[str, OwnOperator] | None = None,
) -> tuple[list[Step], dict[str, Coding]]:
    """Steps that run the graph on codes, and the coding of every tensor that holds codes.

    Ops that `operators` names run on those instead of in codes. Products that `folding` lets absorb the BatchNorm after
    them have its weights and bias, and take its output coding.
    """
    folding = folding or Folding()
    absorbed = {
        product.outputs[0]: calibrated[norm.outputs[0]]
        for norm, product in folding.pairs
        if norm.outputs[0] in calibrated
    }
    context = Context(
        graph,
        {**static, **folding.weights},
        {**calibrated, **absorbed},
        arithmetic,
        device,
        folding=folding,
        operators=operators or {},
    )
    for name in graph.inputs:
        if name in calibrated:
            context.codings[name] = calibrated[name]
    frees = last_reads(graph)
    steps = []
    for op in graph.ops:
        if any(name in graph.batched for name in op.outputs):
            planned = lower(context, op)
            context.codings.update({n: c for n, c in zip(op.outputs, planned.codings, strict=False) if c is not None})
            steps.append(Step(op, _in_format(context, op, planned), planned.form, frees[op.name]))
    return steps, context.codings


def lower(context: Context, op: Op) -> Planned:
    """The integer form of an op, or its float form between a dequantization and a quantization."""
    from hwsim.backends.execution.lowerings import LOWERINGS

    bound = bind(op, context.device)
    own = context.operators.get(op.name)
    if own is not None:
        return replace(in_float(context, op, replace(bound, operator=own)), form="own")
    for lowering in LOWERINGS.get(op.kind, ()):
        planned = lowering(context, op, bound)
        if planned is not None:
            return planned
    return in_float(context, op, bound)


def in_float(context: Context, op: Op, bound: Bound) -> Planned:
    """Decode, run the operator in float32, encode what has a calibrated coding (E2)."""
    decoders = {name: context.codings[name] for name in op.inputs if name in context.codings}
    casts = {name: context.dtype(name) for name in op.inputs if context.dtype(name) in FORMATS}
    encoders = [None if name in context.graph.outputs else context.calibrated.get(name) for name in op.outputs]
    static = {name: cast(context.static[name], fmt) for name, fmt in casts.items() if name in context.static}

    def kernel(values: Mapping[str, Tensor], tally: Tally) -> Sequence[Tensor]:
        real = {name: coding.decode(values[name]) for name, coding in decoders.items()}
        result = bound({**values, **static, **real})
        outputs = [result] if isinstance(result, Tensor) else list(result)
        return [value if c is None else c.encode(value) for value, c in zip(outputs, encoders, strict=False)]

    return Planned(kernel, encoders, "float")


def _in_format(context: Context, op: Op, planned: Planned) -> Kernel:
    """The kernel with its outputs rounded to the floating format that the graph gives them (fp8, bf16, MX)."""
    fmt = context.dtype(op.outputs[0])
    if planned.codings[0] is not None or fmt not in FORMATS or op.kind == "view":
        return planned.kernel
    inner = planned.kernel

    def kernel(values: Mapping[str, Tensor], tally: Tally) -> Sequence[Tensor]:
        result = inner(values, tally)
        outputs = (result,) if isinstance(result, Tensor) else result
        return [cast(value, fmt) if value.is_floating_point() else value for value in outputs]

    return kernel


def moved(context: Context, op: Op, bound: Bound) -> Planned | None:
    """Ops that only place data elsewhere run on the codes of their one coded input as they are."""
    coded = [name for name in op.inputs if name in context.codings]
    others = [name for name in op.inputs if name not in context.codings]
    if len(coded) != 1 or any(_is_float(context, name) for name in others):
        return None
    coding = context.codings[coded[0]]
    if any(name in context.graph.outputs for name in op.outputs):
        return None
    outputs = [coding if _is_float_or_coded(context, name) else None for name in op.outputs]
    return Planned(lambda values, tally: bound(values), outputs, "moved")


def joined(context: Context, op: Op, bound: Bound) -> Planned | None:
    """Concatenation: every part is rescaled to the coding of the whole, static parts once."""
    target = context.target(op)
    parts = list(references(bound.args[0]))
    if target is None or not parts or context.is_output(op):
        return None
    static = {name: target.encode(context.static[name]) for name in parts if name in context.static}
    coded = {name: context.codings.get(name) for name in parts if name not in static}
    if any(coding is None for coding in coded.values()):
        return None
    rescales = {name: rescaling(context, coding, target) for name, coding in coded.items() if coding is not None}

    def kernel(values: Mapping[str, Tensor], tally: Tally) -> Tensor | Sequence[Tensor]:
        return bound({**values, **static, **{name: rescale(values[name], tally) for name, rescale in rescales.items()}})

    return Planned(kernel, [target])


Rescale = Callable[[Tensor, Tally], Tensor]


def rescaling(context: Context, source: Coding, target: Coding) -> Rescale:
    """Codes of one coding to codes of another by the arch's rounding rule."""
    if source == target:
        return lambda codes, tally: codes
    scale = source.scale / target.scale
    return scaler(context, torch.tensor([scale]), torch.zeros(1), target)


def scaler(context: Context, scale: Tensor, bias: Tensor, target: Coding, channel_axis: int = -1) -> Rescale:
    """Accumulators to codes of `target`: (acc + bias) x scale by the arch's rule, clamped, counted.

    `scale` (in units of the target) and `bias` are vectors over `channel_axis`, or of length 1.
    """
    rule, factor = context.arithmetic.rounding, scale.to(torch.float64)

    def rescale(acc: Tensor, tally: Tally) -> Tensor:
        codes, clamped = requantize_codes(acc, bias, factor, rule, target.low, target.high, channel_axis)
        tally.clamped += clamped
        return codes

    return rescale


def _is_float(context: Context, name: str) -> bool:
    value = context.static.get(name)
    if value is not None:
        return value.is_floating_point()
    return context.dtype(name).startswith(("float", "bfloat"))


def _is_float_or_coded(context: Context, name: str) -> bool:
    return context.dtype(name) not in ("bool", "int64", "int32", "uint8") or name in context.calibrated
