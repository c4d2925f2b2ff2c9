"""Systolic arrays: exact cycles, the best mapping, sourced energy, one design or a million."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from hwsim.backends.base import Backend, Placement, Sweep
from hwsim.backends.systolic.spec import SystolicSpec, spec_of
from hwsim.core.results import Estimate, Infeasible
from hwsim.spec.arch import Arch, ArchSpec

if TYPE_CHECKING:
    from hwsim.backends.execution.arithmetic import Arithmetic
    from hwsim.graph.ir import WorkloadGraph

__all__ = ["Systolic", "SystolicSpec"]


class Systolic(Backend):
    """An array of multiply-accumulate cells with its buffers, DRAM and vector unit."""

    name: ClassVar[str] = "systolic"
    spec_model: ClassVar[type[ArchSpec]] = SystolicSpec

    def arithmetic(self, arch: Arch) -> Arithmetic:
        """What `execute` computes with: the arch's precision; a fold sums as many products as the array has rows.

        In output-stationary arrays the whole of K runs through one PE.
        """
        from hwsim.backends.execution.arithmetic import arithmetic_of

        spec = spec_of(arch)
        return arithmetic_of(spec.precision, None if spec.array.dataflow == "os" else spec.array.rows)

    def map(self, graph: WorkloadGraph, arch: Arch) -> Sequence[Placement] | Infeasible:
        """Place every op: on the array with its tiles and loop order, on the vector unit, on the DMA, or nowhere."""
        result = self.estimate(graph, arch)
        if isinstance(result, Infeasible):
            return result
        return tuple(Placement(row.name, row.unit, row.choice, f"bound by {row.bound_by}") for row in result.ops)

    def estimate(self, graph: WorkloadGraph, arch: Arch) -> Estimate | Infeasible:
        """Latency, energy and area of one run, with the mapping of every op the best of its map space."""
        from hwsim.backends.systolic.estimate import assemble
        from hwsim.backends.systolic.fusion import best_solution

        solution = best_solution(graph, spec_of(arch))
        if isinstance(solution, Infeasible):
            return solution
        used = tuple(item.id for item in self.assumptions())
        return assemble(graph, arch.name, solution, used)

    def sweep(self, graph: WorkloadGraph, arch: Arch, columns: Mapping[str, Sequence[object]]) -> Sweep:
        """Objectives of many designs by the same kernels, compiled."""
        from hwsim.backends.systolic.sweep import sweep

        return sweep(graph, arch, columns)

    def explain(self, graph: WorkloadGraph, arch: Arch, op: str) -> str:
        """The cycles and joules of one op as formulas with their numbers."""
        from hwsim.backends.systolic.explain import explain
        from hwsim.backends.systolic.fusion import best_solution

        graph.op(op)
        solution = best_solution(graph, spec_of(arch))
        return solution.reason if isinstance(solution, Infeasible) else explain(graph, solution, op)
