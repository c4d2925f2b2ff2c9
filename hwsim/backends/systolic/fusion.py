"""MLPs whole or in blocks of rows (A18): both plans are solved, and the better one is taken.

A block of the first layer's rows passes the activation and the second layer before the next block starts, so that only
that block of the intermediate is alive; every block reads the weights of both layers again. Whether that pays is known
only when both are mapped, so that fusion never makes a design worse.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hwsim.backends.systolic.choose import room_bytes
from hwsim.backends.systolic.cost import dynamic_energy, first_rank, second_rank
from hwsim.backends.systolic.design import design_of
from hwsim.backends.systolic.machine import OBJECTIVES
from hwsim.backends.systolic.plan import Plan, arithmetic_of, plan_of
from hwsim.backends.systolic.residency import in_blocks
from hwsim.backends.systolic.solve import Solution, shares_of, solve
from hwsim.backends.systolic.spec import SystolicSpec
from hwsim.backends.systolic.vector import lane_energy
from hwsim.core.results import Infeasible
from hwsim.graph.ir import WorkloadGraph

if TYPE_CHECKING:
    import numpy.typing as npt


def alternatives(graph: WorkloadGraph, spec: SystolicSpec) -> tuple[SystolicSpec, ...]:
    """The spec with MLPs whole, and with blocks where its file leaves that open and they could save traffic."""
    if spec.mapping.row_blocks is not None:
        return (spec,)
    program = plan_of(graph, arithmetic_of(spec)).program
    if spec.mapping.residency == 0 or not any(in_blocks(mlp, program.sizes[mlp.root]) for mlp in program.mlps):
        return (spec,)
    mapping = spec.mapping.model_copy(update={"row_blocks": True})
    return spec, spec.model_copy(update={"mapping": mapping})


def cuts(plan: Plan, rooms: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Whether a plan cuts an MLP where activations have these bytes; shape of `rooms`."""
    last = (np.arange(len(plan.rungs)) * (plan.tables.rooms <= rooms[..., None])).max(axis=-1)
    found: npt.NDArray[np.bool_] = np.array([bool(rung.blocks) for rung in plan.rungs])[last]
    return found


def best_solution(graph: WorkloadGraph, spec: SystolicSpec) -> Solution | Infeasible:
    """The better of the alternatives for the spec's objective, the first of equals; what does not fit, if none does."""
    whole, *others = alternatives(graph, spec)
    best = solve(graph, whole)
    machine, _ = design_of(spec).one()
    rooms = np.array([room_bytes(machine, float(share)) for share in shares_of(spec.mapping)])
    for item in others:
        if cuts(plan_of(graph, arithmetic_of(item)), rooms).any():
            best = better(best, solve(graph, item), OBJECTIVES.index(spec.mapping.objective))
    return best


def better(one: Solution | Infeasible, other: Solution | Infeasible, objective: int) -> Solution | Infeasible:
    """The better of two, the first if they are equal or neither fits."""
    if isinstance(other, Infeasible):
        return one
    if isinstance(one, Infeasible) or ranks(other, objective) < ranks(one, objective):
        return other
    return one


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
