"""Running the ops of a graph: calls bound to tensors, steps that free what nobody reads again, the float reference."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import torch
from torch import Tensor

from hwsim.core.errors import UsageError
from hwsim.graph.calls import Argument, Ref, operator_of, resolve
from hwsim.graph.ir import Op, WorkloadGraph

Values = dict[str, Tensor]


@dataclass
class Tally:
    """Counts of one op: outputs, those whose accumulator overflowed, and those clamped to the output format."""

    outputs: int = 0
    overflows: int = 0
    clamped: int = 0

    def add(self, other: Tally) -> None:
        """Count what another tally counted."""
        self.outputs += other.outputs
        self.overflows += other.overflows
        self.clamped += other.clamped


class OwnOperator(Protocol):
    """An op as the hardware itself computes it: the operator's arguments in real values to its output."""

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor: ...

    def measured(self) -> Mapping[str, float]:
        """What the hardware counted over all calls so far, by name."""
        ...


#: Computes the outputs of one op from the tensors by name.
Kernel = Callable[[Mapping[str, Tensor], Tally], Tensor | Sequence[Tensor]]
#: integer: in codes; moved: codes in another place; float: dequantized, computed in float32 and quantized again; own:
#: dequantized, computed by the hardware's own operator and quantized again.
Form = str


@dataclass(frozen=True)
class Step:
    """One op made executable; `free` names tensors that no later step reads."""

    op: Op
    kernel: Kernel
    form: Form
    free: tuple[str, ...] = ()
    tally: Tally = field(default_factory=Tally)

    def __call__(self, values: Values) -> None:
        """Compute the op's outputs into `values`."""
        result = self.kernel(values, self.tally)
        outputs = (result,) if isinstance(result, Tensor) else tuple(result)
        for name, value in zip(self.op.outputs, outputs, strict=False):
            values[name] = value
        self.tally.outputs += outputs[0].numel()


@dataclass(frozen=True)
class Bound:
    """The call of an op with its operator looked up and its arguments decoded; tensors stay references."""

    operator: Callable[..., Any]
    args: list[Argument]
    kwargs: dict[str, Argument]

    def __call__(self, values: Mapping[str, Tensor]) -> Tensor | Sequence[Tensor]:
        """The operator's result for these tensors."""
        result = self.operator(*_filled(self.args, values), **_filled(self.kwargs, values))
        return result if isinstance(result, Tensor) else [item for item in result if item is not None]

    def argument(self, index: int, name: str, default: Argument = None) -> Argument:
        """The argument at a position or of that name."""
        return self.args[index] if index < len(self.args) else self.kwargs.get(name, default)


def bind(op: Op, device: str) -> Bound:
    """The executable call of an op. Raises UsageError for an op that a transform left without one."""
    if not op.call:
        raise UsageError(
            f"op {op.name!r} ({op.fn}) has no call to execute",
            expected="a graph whose ops were captured from a model",
            remedy="a transform that only changes cost cannot be executed",
        )
    references = cast(Mapping[str, Tensor], {name: Ref(name) for name in op.inputs})
    target, args, kwargs = resolve(op.call, references, device)
    return Bound(operator_of(target), args, kwargs)


def _filled(argument: Argument, values: Mapping[str, Tensor]) -> Argument:
    if isinstance(argument, Ref):
        return values[argument.name]
    if isinstance(argument, list):
        return [_filled(item, values) for item in argument]
    if isinstance(argument, dict):
        return {key: _filled(item, values) for key, item in argument.items()}
    return argument


def last_reads(graph: WorkloadGraph) -> dict[str, tuple[str, ...]]:
    """Op name -> batched tensors that no later op reads and the network does not return."""
    kept = set(graph.outputs)
    frees: dict[str, tuple[str, ...]] = {}
    for op in reversed(graph.ops):
        done = tuple(name for name in dict.fromkeys((*op.inputs, *op.outputs)) if name not in kept)
        kept.update(done)
        frees[op.name] = tuple(name for name in done if name in graph.batched)
    return frees


def static_values(graph: WorkloadGraph, leaves: Mapping[str, Tensor], device: str) -> Values:
    """Every tensor that does not depend on an input: leaves and what is computed from them alone."""
    values = dict(leaves)
    for op in graph.ops:
        if any(name in graph.batched for name in op.outputs):
            continue
        result = bind(op, device)(values)
        values.update(zip(op.outputs, (result,) if isinstance(result, Tensor) else result, strict=False))
    return values


def float_steps(graph: WorkloadGraph, device: str) -> list[Step]:
    """The graph in float32, as the model itself computes it."""
    frees = last_reads(graph)
    return [
        Step(op, _float_kernel(bind(op, device)), "float", frees[op.name])
        for op in graph.ops
        if any(name in graph.batched for name in op.outputs)
    ]


def _float_kernel(bound: Bound) -> Kernel:
    def kernel(values: Mapping[str, Tensor], tally: Tally) -> Tensor | Sequence[Tensor]:
        return bound(values)

    return kernel


def walk(steps: Sequence[Step], values: Values) -> Iterator[Step]:
    """Run the steps in order, yielding each before it frees its inputs; `values` is changed in place."""
    for step in steps:
        step(values)
        yield step
        for name in step.free:
            values.pop(name, None)


def run(steps: Sequence[Step], values: Values) -> Values:
    """Run all steps; the remaining values, the network's outputs among them."""
    for _ in walk(steps, values):
        pass
    return values


def check_finite(step: Step, values: Mapping[str, Tensor]) -> None:
    """Raise UsageError naming the layer if an output is NaN or infinite where no operand was."""
    for name in step.op.outputs:
        value = values[name]
        if not value.is_floating_point() or bool(torch.isfinite(value).all()):
            continue
        # A mask is minus infinity on purpose, in a constant or written by the op itself.
        if step.op.kind in ("elementwise", "view", "layout") and not bool((value.isnan() | (value == torch.inf)).any()):
            continue
        word = "NaN" if bool(value.isnan().any()) else "infinite"
        raise UsageError(
            f"layer {step.op.name!r} has {word} activations", remedy="check the weights and the scaling of the input"
        )
