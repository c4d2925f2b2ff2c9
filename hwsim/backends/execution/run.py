"""Execute a workload on an arch's arithmetic beside its float reference: accuracy, noise, overflow, code flips."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from hwsim.backends.execution.arithmetic import Arithmetic
from hwsim.backends.execution.coding import (
    MINMAX,
    Calibration,
    Coding,
    codings,
    integer_format,
    observe,
    twin_coding,
)
from hwsim.backends.execution.data import Data
from hwsim.backends.execution.equalize import smooth
from hwsim.backends.execution.folding import fold_batch_norms
from hwsim.backends.execution.plan import plan
from hwsim.backends.execution.program import (
    OwnOperator,
    Step,
    Tally,
    Values,
    check_finite,
    float_steps,
    static_values,
    walk,
)
from hwsim.backends.execution.reconstruction import reconstruct
from hwsim.backends.execution.result import Execution, LayerReport
from hwsim.core.errors import UsageError
from hwsim.core.frozen import EMPTY, FrozenDict
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
    """A calibrated network: ready to be compiled for any batch that `graphs` has a graph for, and any rounding rule.

    `leaves` are its parameters and buffers, smoothed if that was asked for.
    """

    graphs: Callable[[int], WorkloadGraph]
    batch: int
    leaves: Mapping[str, Tensor]
    calibrated: Mapping[str, Coding]
    arithmetic: Arithmetic
    device: str
    operators: Mapping[str, OwnOperator] = field(default_factory=dict)

    def compiled(self, rounding: Rounding | None = None, batch: int | None = None) -> Compiled:
        """The integer steps, with another rounding rule or batch if given."""
        graph = self.graphs(batch or self.batch)
        arithmetic = self.arithmetic if rounding is None else replace(self.arithmetic, rounding=rounding)
        with torch.no_grad():
            static = static_values(graph, self.leaves, self.device)
            folding = fold_batch_norms(graph, static, self.device, self.operators)
            steps, decided = plan(graph, static, self.calibrated, arithmetic, self.device, folding, self.operators)
        return Compiled(graph, static, steps, decided, self.device)


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
    samples: Sequence[Tensor],
    calibration: Calibration = MINMAX,
    device: str = "cpu",
) -> Session:
    """Calibrate a graph: run its float form on each batch of `samples` and choose the coding of every tensor.

    Raises UsageError for a graph with several inputs, and for a layer that makes NaN or infinity.
    """
    if len(graph.inputs) != 1:
        raise UsageError(f"{graph.name} has {len(graph.inputs)} inputs", expected="one: a batch of images")
    graph = in_formats(graph, arithmetic)
    with torch.no_grad():
        steps, name = float_steps(graph, device), graph.inputs[0]
        static = static_values(graph, leaves, device)
        if calibration.smoothing is not None:
            batches = ({**static, name: x.to(device)} for x in samples)
            leaves = {**leaves, **smooth(graph, static, steps, batches, calibration.smoothing)}
            static = static_values(graph, leaves, device)
        observed = observe(steps, ({**static, name: x.to(device)} for x in samples))
    formats = {n: f for n, t in graph.tensors.items() if n in observed and (f := integer_format(t.dtype)) is not None}
    chosen = codings(observed, formats, calibration.method, arithmetic.power_of_two)
    if calibration.twin_gelu:
        outputs = {op.outputs[0] for op in graph.ops if op.fn == "gelu"} & chosen.keys()
        chosen |= {n: twin_coding(observed[n], formats[n], arithmetic.power_of_two) for n in outputs}
    if calibration.bridges:
        with torch.no_grad():
            found = reconstruct(graph, leaves, static, steps, samples, chosen, arithmetic.power_of_two, device)
        leaves, chosen = found.leaves, found.codings
    return Session(_only(graph), graph.batch, leaves, chosen, arithmetic, device)


def _only(graph: WorkloadGraph) -> Callable[[int], WorkloadGraph]:
    """The one graph there is, at its own batch."""

    def at(batch: int) -> WorkloadGraph:
        if batch != graph.batch:
            raise UsageError(f"{graph.name} was captured for batches of {graph.batch}, not {batch}")
        return graph

    return at


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
    """What is gathered while the programs run side by side, by op name."""

    noise: dict[str, _Noise] = field(default_factory=dict)
    flips: dict[str, int] = field(default_factory=dict)
    tallies: dict[str, Tally] = field(default_factory=dict)
    score: _Score = field(default_factory=_Score)


@dataclass(frozen=True)
class _Programs:
    """The integer steps, the same by another rounding rule, and the float reference, for one batch size."""

    integer: Compiled
    other: Compiled | None
    reference: Sequence[Step]


def evaluate(
    session: Session,
    data: Data,
    samples: int,
    compare_rounding: Rounding | None = None,
    progress: Progress | None = None,
) -> Execution:
    """Run `samples` of the data through the integer steps and the float model in lockstep, batch by batch.

    With `compare_rounding` a third program differs in the rounding rule alone; `flipped` counts the codes that differ
    per layer, what earlier layers changed included. A last, smaller batch runs on a graph of its size.
    """
    started = time.perf_counter()
    samples = min(samples, data.count)
    watch = _Watch()
    programs: dict[int, _Programs] = {}
    with torch.no_grad():
        for first in range(0, samples, session.batch):
            count = min(session.batch, samples - first)
            if count not in programs:
                programs[count] = _programs(session, count, compare_rounding)
            x = data.batch(first, first + count).to(session.device)
            labels = None if data.labels is None else data.labels[first : first + count]
            _one_batch(programs[count], x, labels, watch)
            if progress is not None:
                progress(first + count, samples)
    for step in (step for held in programs.values() for step in held.integer.steps):
        watch.tallies.setdefault(step.op.name, Tally()).add(step.tally)
    integer = next(iter(programs.values())).integer
    elapsed_s = time.perf_counter() - started
    return _outcome(integer, session.operators, watch, samples, data.labels is not None, elapsed_s)


def _programs(session: Session, batch: int, compare_rounding: Rounding | None) -> _Programs:
    return _Programs(
        session.compiled(batch=batch),
        None if compare_rounding is None else session.compiled(compare_rounding, batch),
        float_steps(session.graphs(batch), session.device),
    )


def _one_batch(programs: _Programs, x: Tensor, labels: Tensor | None, watch: _Watch) -> None:
    integer, other = programs.integer, programs.other
    floats: Values = {**integer.static, integer.graph.inputs[0]: x}
    values, others = integer.start(x), {} if other is None else other.start(x)
    walks: list[Iterator[Step]] = [walk(programs.reference, floats), walk(integer.steps, values)]
    if other is not None:
        walks.append(walk(other.steps, others))
    for step, *_ in zip(*walks, strict=True):
        check_finite(step, floats)
        for name in step.op.outputs:
            if not floats[name].is_floating_point():
                continue
            coding = integer.codings.get(name)
            decoded = values[name] if coding is None else coding.decode(values[name])
            watch.noise.setdefault(step.op.name, _Noise()).add(floats[name], decoded)
            if other is not None:
                flips = int((values[name] != others[name]).sum())
                watch.flips[step.op.name] = watch.flips.get(step.op.name, 0) + flips
    output = integer.graph.outputs[0]
    watch.score.add(values[output], floats[output], labels)


def _outcome(
    integer: Compiled,
    operators: Mapping[str, OwnOperator],
    watch: _Watch,
    samples: int,
    labelled: bool,
    elapsed_s: float,
) -> Execution:
    layers = []
    for step in integer.steps:
        name, tally = step.op.name, watch.tallies[step.op.name]
        sqnr_db = watch.noise[name].sqnr_db if name in watch.noise else None
        counts = (tally.outputs, tally.overflows, tally.clamped, watch.flips.get(name))
        measured = FrozenDict(operators[name].measured()) if name in operators else EMPTY
        layers.append(LayerReport(name, step.op.kind, step.form, sqnr_db, *counts, measured))
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
        layers=tuple(layers),
        elapsed_s=elapsed_s,
    )


def named(execution: Execution, workload: str, weights: str, data: str) -> Execution:
    """The execution with what it ran."""
    return replace(execution, workload=workload, weights=weights, data=data)
