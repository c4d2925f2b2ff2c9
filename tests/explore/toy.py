"""A closed-form arch for tests: an array of PEs with a buffer, small enough to check by hand.

latency = macs / (rows * cols * clock), energy = macs * mac + buffer * 1 pJ/B, area = rows * cols * 0.01 mm^2.
A `deep` pipeline doubles the clock and the energy of a MAC. A buffer smaller than the workload's inputs does not fit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import model_validator

from hwsim.backends.base import Backend, Placement, Sweep
from hwsim.core.frozen import FrozenDict
from hwsim.core.results import Estimate, Infeasible, Lever, OpEstimate
from hwsim.graph.ir import Op, Tensor, WorkloadGraph
from hwsim.spec.arch import Arch, ArchSpec
from hwsim.spec.fields import Bytes, Count, Hertz, Joules, Spec
from hwsim.spec.overrides import with_columns


class Array(Spec):
    rows: Count = 16
    cols: Count = 16
    clock_hz: Hertz = 1e9
    pipeline: Literal["flat", "deep"] = "flat"


class Memory(Spec):
    size_bytes: Bytes


class ToySpec(ArchSpec):
    array: Array
    memory: Memory
    mac_j: Joules


class RuledSpec(ToySpec):
    @model_validator(mode="after")
    def _square_enough(self) -> RuledSpec:
        if self.array.rows > 4 * self.array.cols:
            raise ValueError("the array may be at most 4 times as high as wide")
        return self


class Toy(Backend):
    name = "toy"
    spec_model = ToySpec

    def map(self, graph: WorkloadGraph, arch: Arch) -> Sequence[Placement] | Infeasible:
        return [Placement(op.name, "array", "gemm", "the only unit") for op in graph.ops]

    def estimate(self, graph: WorkloadGraph, arch: Arch) -> Estimate | Infeasible:
        sweep = self.sweep(graph, arch, {})
        if 0 in sweep.infeasible:
            return sweep.infeasible[0]
        spec = arch.spec
        assert isinstance(spec, ToySpec)
        start, ops = 0.0, []
        for op in graph.ops:
            latency = float(sweep.latency_s[0]) * op.macs / graph.macs
            energy = (float(sweep.energy_j[0]) - spec.memory.size_bytes * 1e-12) * op.macs / graph.macs
            ledger = FrozenDict({"mac": energy * 0.75, "wire": energy * 0.25})
            ops.append(OpEstimate(op.name, op.kind, op.macs, latency, ledger, start, "array", bound_by="compute"))
            start += latency
        return Estimate(
            arch=arch.name,
            workload=graph.name,
            batch=graph.batch,
            latency_s=float(sweep.latency_s[0]),
            macs=graph.macs,
            params=graph.params,
            ops=tuple(ops),
            static_ledger_j=FrozenDict({"buffer": spec.memory.size_bytes * 1e-12}),
            area_mm2=float(sweep.area_mm2[0]),
            assumptions=("A1",),
        )

    def sweep(self, graph: WorkloadGraph, arch: Arch, columns: Mapping[str, Sequence[object]]) -> Sweep:
        COUNTED.append(len(next(iter(columns.values()))) if columns else 1)
        spec = with_columns(arch.spec, {path: np.array(values) for path, values in columns.items()})
        assert isinstance(spec, ToySpec)
        count = COUNTED[-1]
        deep = 2.0 if spec.array.pipeline == "deep" else 1.0
        pes = np.broadcast_to(spec.array.rows * spec.array.cols * 1.0, count)
        size = np.broadcast_to(spec.memory.size_bytes * 1.0, count)
        latency = graph.macs / (pes * spec.array.clock_hz * deep)
        energy = graph.macs * spec.mac_j * deep + size * 1e-12
        needed = float(graph.tensors[graph.inputs[0]].size_bytes)
        infeasible = {
            int(i): Infeasible(
                "memory.size", needed, float(size[i]), "B", "the input does not fit the buffer",
                levers=(Lever("memory.size", needed, "B"),),
            )
            for i in np.flatnonzero(size < needed)
        }  # fmt: skip
        hole = size < needed
        latency, energy = np.broadcast_to(latency, count), np.broadcast_to(energy, count)
        return Sweep(np.where(hole, np.nan, latency), np.where(hole, np.nan, energy), pes * 0.01, infeasible)


#: Designs of every call of `sweep` in this process.
COUNTED: list[int] = []


class Single(Toy):
    """The toy without a vectorised sweep."""

    sweep_one = Toy.sweep

    def sweep(self, graph: WorkloadGraph, arch: Arch, columns: Mapping[str, Sequence[object]]) -> Sweep:
        return Backend.sweep(self, graph, arch, columns) if columns else Toy.sweep(self, graph, arch, columns)


class Ruled(Toy):
    """The toy with a rule between fields."""

    spec_model = RuledSpec


def toy_graph(name: str = "net", scale: int = 1, batch: int = 1) -> WorkloadGraph:
    """Two matrix products on a (batch, 64) input."""
    tensors = [
        Tensor("x", (batch, 64 * scale), role="input"),
        Tensor("w1", (64 * scale, 32), role="parameter"),
        Tensor("h", (batch, 32)),
        Tensor("w2", (32, 8), role="parameter"),
        Tensor("y", (batch, 8)),
    ]
    ops = (
        Op("fc1", "gemm", "linear", ("x", "w1"), ("h",), FrozenDict(M=batch, N=32, K=64 * scale)),
        Op("fc2", "gemm", "linear", ("h", "w2"), ("y",), FrozenDict(M=batch, N=8, K=32)),
    )
    return WorkloadGraph(name, FrozenDict({t.name: t for t in tensors}), ops, ("x",), ("y",), batch)


ARCH = """\
schema: hwsim/arch/1
backend: toy
name: toy
array: {rows: 16, cols: 16, clock: 1 GHz}
memory: {size: {value: 4 KiB, source: "a data sheet"}}
mac: 1 pJ
search:
  array.rows: [8, 16, 32]
  array.cols: {low: 8, high: 32, step: 8}
  memory.size: [128 B, 1 KiB, 4 KiB]
  array.pipeline: [flat, deep]
objectives: [latency_s, energy_j]
"""


def write_arch(folder: Path, text: str = ARCH) -> Path:
    """The toy's arch file in a folder."""
    path = folder / "toy.yaml"
    path.write_text(text)
    return path
