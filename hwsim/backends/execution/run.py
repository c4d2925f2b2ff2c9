"""Execute a workload on an arch's arithmetic beside its float reference: accuracy, noise, overflow, code flips."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from hwsim.backends.execution.arithmetic import Arithmetic
from hwsim.backends.execution.coding import Coding, Method, codings, integer_format, observe
from hwsim.backends.execution.data import Data
from hwsim.backends.execution.folding import fold_batch_norms
from hwsim.backends.execution.plan import plan
from hwsim.backends.execution.program import Step, Values, check_finite, float_steps, static_values, walk
from hwsim.backends.execution.result import Execution, LayerReport
from hwsim.core.errors import UsageError
from hwsim.graph.ir import WorkloadGraph
from hwsim.numerics.casts import FORMATS, cast
from hwsim.spec.precision import Rounding
from hwsim.transforms.quantize import Quantize

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Compiled:
    """A graph made executable on codes: its steps, and the codings of its tensors."""

    graph: WorkloadGraph
    static: Mapping[str, Tensor]
    steps: Sequence[Step]
    codings: Mapping[str, Coding]
    device: str

    def start(self, x: Tensor) -> Values:
        """Values to run the steps from: static ones and the encoded input."""
        name = self.graph.inputs[0]
        coding, fmt = self.codings.get(name), self.graph.tensors[name].dtype
        if coding is not None:
            return {**self.static, name: coding.encode(x)}
        return {**self.static, name: cast(x, fmt) if fmt in FORMATS else x}


@dataclass(frozen=True)
class Session:
    """A graph with values on a device, calibrated: ready to be compiled for one or several rounding rules."""

    graph: WorkloadGraph
    static: Mapping[str, Tensor]
    calibrated: Mapping[str, Coding]
    arithmetic: Arithmetic
    device: str

    def compiled(self, rounding: Rounding | None = None) -> Compiled:
        """The integer steps, with another rounding rule if given."""
        arithmetic = self.arithmetic if rounding is None else replace(self.arithmetic, rounding=rounding)
        folding = fold_batch_norms(self.graph, self.static, self.device)
        steps, decided = plan(self.graph, self.static, self.calibrated, arithmetic, self.device, folding)
        return Compiled(self.graph, self.static, steps, decided, self.device)


def in_formats(graph: WorkloadGraph, arithmetic: Arithmetic) -> WorkloadGraph:
    """The graph with the arch's formats, unless a transform has given it formats already."""
    if any(integer_format(t.dtype) is not None for t in graph.tensors.values() if not t.dtype.endswith(("64", "32"))):
        return graph
    options: dict[str, Any] = {"weights": arithmetic.weights, "activations": arithmetic.activations}
    if arithmetic.residual is not None:
        options["residual"] = arithmetic.residual
    return Quantize(**options).apply(graph)


def prepare(
    graph: WorkloadGraph,
    leaves: Mapping[str, Tensor],
    arithmetic: Arithmetic,
    calibration: Sequence[Tensor],
    method: Method = "minmax",
    device: str = "cpu",
) -> Session:
    """Calibrate a graph: run its float form on each batch of `calibration` and choose the coding of every tensor.

    Raises UsageError for a graph with several inputs, and for a layer that makes NaN or infinity.
    """
    if len(graph.inputs) != 1:
        raise UsageError(f"{graph.name} has {len(graph.inputs)} inputs", expected="one: a batch of images")
    graph = in_formats(graph, arithmetic)
    with torch.no_grad():
        static = static_values(graph, leaves, device)
        batches = ({**static, graph.inputs[0]: x.to(device)} for x in calibration)
        observed = observe(float_steps(graph, device), batches)
    formats = {n: f for n, t in graph.tensors.items() if n in observed and (f := integer_format(t.dtype)) is not None}
    return Session(graph, static, codings(observed, formats, method, arithmetic.power_of_two), arithmetic, device)


@dataclass
class _Noise:
    """Energies of a signal and of the difference between it and its quantized form."""

    signal: float = 0.0
    noise: float = 0.0

    def add(self, real: Tensor, decoded: Tensor) -> None:
        real = real.to(torch.float64)
        known = torch.isfinite(real)
        real, decoded = torch.where(known, real, 0), torch.where(known, decoded.to(torch.float64), 0)
        self.signal += float(real.square().sum())
        self.noise += float((real - decoded).square().sum())

    @property
    def sqnr_db(self) -> float | None:
        """Signal to quantization noise ratio; None without signal or without noise."""
        if self.signal <= 0 or self.noise <= 0:
            return None
        return 10 * float(torch.log10(torch.tensor(self.signal / self.noise, dtype=torch.float64)))


@dataclass
class _Score:
    correct: int = 0
    correct_float: int = 0
    agreed: int = 0
    seen: int = 0

    def add(self, logits: Tensor, reference: Tensor, labels: Tensor | None) -> None:
        ours, theirs = logits.flatten(1).argmax(1).cpu(), reference.flatten(1).argmax(1).cpu()
        self.seen += len(ours)
        self.agreed += int((ours == theirs).sum())
        if labels is not None:
            self.correct += int((ours == labels).sum())
            self.correct_float += int((theirs == labels).sum())


@dataclass
class _Watch:
    """What is gathered while the two programs run side by side."""

    noise: dict[str, _Noise] = field(default_factory=dict)
    flips: dict[str, int] = field(default_factory=dict)
    score: _Score = field(default_factory=_Score)


def evaluate(
    session: Session,
    data: Data,
    samples: int,
    compare_rounding: Rounding | None = None,
    progress: Progress | None = None,
) -> Execution:
    """Run `samples` of the data through the integer steps and the float model in lockstep, batch by batch.

    With `compare_rounding` a third program differs in the rounding rule alone; `flipped` counts the codes that differ
    per layer. The batch is the graph's; the last one is filled up with zeros that are not counted.
    """
    started = time.perf_counter()
    samples = min(samples, data.count)
    integer = session.compiled()
    other = None if compare_rounding is None else session.compiled(compare_rounding)
    reference = float_steps(session.graph, session.device)
    watch = _Watch()
    batch = session.graph.batch
    with torch.no_grad():
        for first in range(0, samples, batch):
            count = min(batch, samples - first)
            x = _filled(data.batch(first, first + count), batch).to(session.device)
            labels = None if data.labels is None else data.labels[first : first + count]
            _one_batch(integer, other, reference, x, count, labels, watch)
            if progress is not None:
                progress(first + count, samples)
    return _outcome(integer, watch, samples, data.labels is not None, time.perf_counter() - started)


def _filled(x: Tensor, batch: int) -> Tensor:
    return torch.cat([x, x.new_zeros((batch - len(x), *x.shape[1:]))]) if len(x) < batch else x


def _one_batch(
    integer: Compiled,
    other: Compiled | None,
    reference: Sequence[Step],
    x: Tensor,
    count: int,
    labels: Tensor | None,
    watch: _Watch,
) -> None:
    floats: Values = {**integer.static, integer.graph.inputs[0]: x}
    values, others = integer.start(x), {} if other is None else other.start(x)
    walks: list[Iterator[Step]] = [walk(reference, floats), walk(integer.steps, values)]
    if other is not None:
        walks.append(walk(other.steps, others))
    for step, *_ in zip(*walks, strict=True):
        check_finite(step, floats)
        for name in step.op.outputs:
            if not floats[name].is_floating_point():
                continue
            coding = integer.codings.get(name)
            decoded = values[name] if coding is None else coding.decode(values[name])
            watch.noise.setdefault(step.op.name, _Noise()).add(floats[name][:count], decoded[:count])
            if other is not None:
                flips = int((values[name][:count] != others[name][:count]).sum())
                watch.flips[step.op.name] = watch.flips.get(step.op.name, 0) + flips
    output = integer.graph.outputs[0]
    watch.score.add(values[output][:count], floats[output][:count], labels)


def _outcome(integer: Compiled, watch: _Watch, samples: int, labelled: bool, elapsed_s: float) -> Execution:
    layers = tuple(
        LayerReport(
            step.op.name,
            step.op.kind,
            step.form,
            watch.noise[step.op.name].sqnr_db if step.op.name in watch.noise else None,
            step.tally.outputs,
            step.tally.overflows,
            step.tally.clamped,
            watch.flips.get(step.op.name),
        )
        for step in integer.steps
    )
    maker = next(step.op.name for step in integer.steps if integer.graph.outputs[0] in step.op.outputs)
    score = watch.score
    return Execution(
        arch="",
        workload=integer.graph.name,
        samples=samples,
        top1=score.correct / score.seen if labelled else None,
        top1_float=score.correct_float / score.seen if labelled else None,
        agreement=score.agreed / max(score.seen, 1),
        sqnr_db=watch.noise[maker].sqnr_db if maker in watch.noise else None,
        layers=layers,
        elapsed_s=elapsed_s,
    )


def named(execution: Execution, workload: str, weights: str, data: str) -> Execution:
    """The execution with what it ran."""
    return replace(execution, workload=workload, weights=weights, data=data)
