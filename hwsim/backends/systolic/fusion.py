"""MLPs whole or in blocks of rows (A18): both plans are solved, and the better one is taken.

A block of the first layer's rows passes the activation and the second layer before the next block starts, so that only
that block of the intermediate is alive; every block reads the weights of both layers again. Whether that pays is known
only when both are mapped, so that fusion never makes a design worse.
"""

from __future__ import annotations

from hwsim.backends.systolic.cost import dynamic_energy, first_rank, second_rank
from hwsim.backends.systolic.machine import OBJECTIVES
from hwsim.backends.systolic.plan import arithmetic_of, plan_of
from hwsim.backends.systolic.residency import in_blocks
from hwsim.backends.systolic.solve import Solution, solve
from hwsim.backends.systolic.spec import SystolicSpec
from hwsim.backends.systolic.vector import lane_energy
from hwsim.core.results import Infeasible
from hwsim.graph.ir import WorkloadGraph


def alternatives(graph: WorkloadGraph, spec: SystolicSpec) -> tuple[SystolicSpec, ...]:
    """The spec with MLPs whole, and with blocks where its file leaves that open and they could save traffic."""
    if spec.mapping.row_blocks is not None:
        return (spec,)
    program = plan_of(graph, arithmetic_of(spec)).program
    if spec.mapping.residency == 0 or not any(in_blocks(mlp, program.sizes[mlp.root]) for mlp in program.mlps):
        return (spec,)
    mapping = spec.mapping.model_copy(update={"row_blocks": True})
    return spec, spec.model_copy(update={"mapping": mapping})


def best_solution(graph: WorkloadGraph, spec: SystolicSpec) -> Solution | Infeasible:
    """The better of the alternatives for the spec's objective, the first of equals; what does not fit, if none does."""
    first, *others = (solve(graph, item) for item in alternatives(graph, spec))
    objective = OBJECTIVES.index(spec.mapping.objective)
    for other in others:
        if isinstance(other, Infeasible):
            continue
        if isinstance(first, Infeasible) or ranks(other, objective) < ranks(first, objective):
            first = other
    return first


def ranks(solution: Solution, objective: int) -> tuple[float, float]:
    """What the mapper minimises, over the whole workload, and what breaks a tie."""
    cycles, joules = 0.0, 0.0
    for index in solution.plan.steps[solution.rung]:
        if index in solution.costs:
            cost = solution.costs[index]
            cycles += cost.cycles
            joules += dynamic_energy(cost) + lane_energy(solution.unit, solution.plan.products[index].epilogue)
        else:
            move = solution.moves[index]
            cycles += move.cycles
            joules += move.vector_j + move.dram_j + move.stage_j + move.buffer_j
    return first_rank(objective, cycles, joules), second_rank(objective, cycles, joules)
