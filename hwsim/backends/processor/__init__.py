"""Processor backend: GPUs and CPUs that run a network kernel by kernel (PyTorch, eager or compiled)."""

from __future__ import annotations

from collections.abc import Sequence

from hwsim.backends.base import Backend, Placement
from hwsim.backends.processor.spec import ProcessorSpec
from hwsim.core.results import Estimate, Infeasible
from hwsim.graph.ir import WorkloadGraph
from hwsim.spec.arch import Arch


class Processor(Backend):
    """Latency, power and energy of a graph on a GPU or a CPU, from its data sheet and a calibration."""

    name = "processor"
    spec_model = ProcessorSpec

    def map(self, graph: WorkloadGraph, arch: Arch) -> Sequence[Placement] | Infeasible:
        """Matrix units, SIMD lanes or nothing at all (views, fused ops), per op."""
        from hwsim.backends.processor.device import runtime_of
        from hwsim.backends.processor.lower import lower
        from hwsim.backends.processor.mapper import misfit, place

        spec = _spec(arch)
        return misfit(graph, spec) or place(graph, lower(graph, runtime_of(spec)))

    def estimate(self, graph: WorkloadGraph, arch: Arch) -> Estimate | Infeasible:
        """One forward pass of the graph at its batch, in steady state: warm caches, clock settled under the cap."""
        from hwsim.backends.processor.result import estimate

        return estimate(graph, arch.name, _spec(arch))

    def explain(self, graph: WorkloadGraph, arch: Arch, op: str) -> str:
        """The kernels one op launches, each with the terms of its time."""
        from hwsim.backends.processor.result import explain

        return explain(graph, _spec(arch), op)


def _spec(arch: Arch) -> ProcessorSpec:
    if not isinstance(arch.spec, ProcessorSpec):
        raise TypeError(f"{arch.name} is not a processor arch")
    return arch.spec
