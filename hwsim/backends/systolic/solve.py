"""One design solved: the plan, the chosen share and rung, the mapping and cost of every distinct product and move."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from hwsim.backends.systolic.choose import choose, move_of, product_of, reserved_bytes
from hwsim.backends.systolic.cost import evaluate
from hwsim.backends.systolic.design import Design, design_of
from hwsim.backends.systolic.machine import OBJECTIVES, Cost, Gemm, Machine, Mapping, MoveCost, Unit
from hwsim.backends.systolic.mapper import finest
from hwsim.backends.systolic.plan import Plan, arithmetic_of, plan_of
from hwsim.backends.systolic.spec import MappingSpec, SystolicSpec
from hwsim.backends.systolic.tiling import accumulator_need, buffer_need, nest, weight_need
from hwsim.backends.systolic.vector import gemm_of, move_cost
from hwsim.core.results import Infeasible, Lever
from hwsim.core.units import show
from hwsim.graph.ir import WorkloadGraph

if TYPE_CHECKING:
    import numpy.typing as npt

#: Shares of on-chip memory tried for activations, if the file names none (A16).
SHARES = (0.0, 0.5)


@dataclass(frozen=True)
class Solution:
    """What `estimate`, `explain` and the trace read."""

    plan: Plan
    design: Design
    machine: Machine
    unit: Unit
    rung: int
    share: float
    gemms: dict[int, Gemm]
    mappings: dict[int, Mapping]
    costs: dict[int, Cost]
    moves: dict[int, MoveCost]


def shares_of(mapping: MappingSpec) -> npt.NDArray[np.float64]:
    """Shares of on-chip memory to try for activations; a recipe tries one."""
    if mapping.residency is not None:
        return np.array([mapping.residency])
    return np.array(SHARES[-1:] if mapping.search == "rule" else SHARES)


def solve(graph: WorkloadGraph, spec: SystolicSpec) -> Solution | Infeasible:
    """Map a graph on a design, or say what does not fit."""
    plan = plan_of(graph, arithmetic_of(spec))
    design = design_of(spec)
    machine, unit = design.one()
    if (demand := main_memory_need(plan)) > spec.memory.dram.size_bytes:
        return main_memory_short(demand, spec.memory.dram.size_bytes)
    shares = shares_of(spec.mapping)
    tables = plan.tables
    products, moves = tables.products.tolist(), tables.moves.tolist()
    mappings = np.zeros((len(shares), len(plan.products), len(Mapping._fields)), np.int64)
    objective, by_rule = OBJECTIVES.index(spec.mapping.objective), int(spec.mapping.search == "rule")
    counts, rooms = tables.counts.tolist(), tables.rooms.tolist()
    choice = choose(
        machine, unit, products, moves, counts, rooms, shares.tolist(), objective, by_rule, math.inf, mappings
    )
    if choice.short >= 0:
        return does_not_fit(plan, machine, unit, choice.short, float(shares[choice.share]))
    used = set(plan.steps[choice.rung])
    reserved = reserved_bytes(machine, float(shares[choice.share]))
    first_move = len(plan.products)
    gemms = {i: gemm_of(product_of(products[i]), unit, reserved) for i in used if i < first_move}
    chosen = {i: Mapping(*(int(v) for v in mappings[choice.share, i])) for i in gemms}
    return Solution(
        plan, design, machine, unit, choice.rung, float(shares[choice.share]), gemms, chosen,
        {i: evaluate(machine, gemms[i], chosen[i]) for i in gemms},
        {i: move_cost(machine, unit, move_of(moves[i - first_move])) for i in used if i >= first_move},
    )  # fmt: skip


def main_memory_need(plan: Plan) -> float:
    """Bytes of DRAM that a run takes: all weights, and the two largest activations."""
    largest = sorted(plan.program.sizes.values())[-2:]
    return plan.weight_bytes + sum(largest)


def main_memory_short(demand: float, bound: float) -> Infeasible:
    """The workload does not fit main memory."""
    text = f"weights and activations take {show(demand, 'B')}, main memory holds {show(bound, 'B')}"
    lever = Lever("memory.dram.size", float(np.ceil(demand)), "B", f"at least {show(demand, 'B')}")
    return Infeasible("memory.dram.size", demand, float(bound), "B", text, None, (lever,))


def does_not_fit(plan: Plan, machine: Machine, unit: Unit, product: int, share: float) -> Infeasible:
    """Which memory is too small for one product's smallest tiles, and the smallest changes that would do."""
    gemm = gemm_of(plan.products[product], unit, reserved_bytes(machine, share))
    needs = _needs(machine, gemm)
    path, (demand, bound) = max(needs.items(), key=lambda item: item[1][0] / max(item[1][1], 1e-300))
    step = next(row.index(product) for row in plan.steps if product in row)
    op = plan.program.steps[step].op
    text = (
        f"{op} ({gemm.M} x {gemm.N} x {gemm.K}) needs {show(demand, 'B')} of {path} for tiles of one "
        f"{machine.rows} x {machine.cols} array, which has {show(bound, 'B')}"
    )
    levers = tuple(
        Lever(name, float(np.ceil(need)), "B", f"the smallest {name} that fits") for name, (need, have) in needs.items()
        if need > have
    ) + _array_levers(machine, gemm)  # fmt: skip
    return Infeasible(path, demand, bound, "B", text, op, levers)


def _needs(machine: Machine, gemm: Gemm) -> dict[str, tuple[float, float]]:
    """Demand and size of each memory for the tiles that need least."""
    mapping = finest(machine, gemm)
    loops = nest(machine, gemm, mapping)
    share = 0.0 if machine.stage_bytes > 0 else gemm.reserved_bytes / machine.buffer_bytes
    tiles = buffer_need(machine, gemm, mapping, loops) - share * machine.buffer_bytes
    needs = {"memory.buffer.size": (tiles / (1 - share) if share < 1 else np.inf, float(machine.buffer_bytes))}
    if machine.weight_bytes > 0:
        needs["memory.weight_buffer.size"] = (weight_need(machine, gemm, loops), float(machine.weight_bytes))
    if machine.accumulator_bytes > 0:
        sums = accumulator_need(machine, gemm, loops, mapping.tiles_k)
        needs["memory.accumulator.size"] = (sums, float(machine.accumulator_bytes))
    return needs


def _array_levers(machine: Machine, gemm: Gemm) -> tuple[Lever, ...]:
    """The largest smaller array that fits, by rows and by columns, if one does: smaller arrays need less."""

    def too_big(name: str, size: int) -> bool:
        needs = _needs(machine._replace(**{name: size}), gemm)
        return any(need > have for need, have in needs.values())

    levers = []
    for name in ("rows", "cols"):
        size = bisect_left(range(1, getattr(machine, name)), True, key=partial(too_big, name))
        if size > 0:
            levers.append(Lever(f"array.{name}", float(size), "PE", f"the largest array.{name} that fits"))
    return tuple(levers)
