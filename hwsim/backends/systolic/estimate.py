"""A solved design as an Estimate: a ledger entry per op."""

from __future__ import annotations

from math import ceil

from hwsim.backends.systolic.bounds import compulsory_bytes
from hwsim.backends.systolic.machine import DATAFLOWS, Cost, Mapping, MoveCost
from hwsim.backends.systolic.plan import blocks_of
from hwsim.backends.systolic.program import ArrayStep
from hwsim.backends.systolic.solve import Solution
from hwsim.backends.systolic.tiling import nest
from hwsim.backends.systolic.trace import spans_of
from hwsim.backends.systolic.vector import lane_cycles, lane_energy
from hwsim.core.frozen import FrozenDict
from hwsim.core.results import Estimate, OpEstimate
from hwsim.core.units import show
from hwsim.graph.ir import Op, WorkloadGraph


def assemble(graph: WorkloadGraph, arch_name: str, solution: Solution, assumptions: tuple[str, ...]) -> Estimate:
    """The estimate of a solved design, its ops in the graph's order and one after another in time (A5)."""
    steps = {step.op: index for index, step in enumerate(solution.plan.program.steps)}
    clock = float(solution.design.clock_hz)
    ops: list[OpEstimate] = []
    now = 0.0
    for op in graph.ops:
        row = _row(op, solution, steps, now, clock)
        ops.append(row)
        now += row.latency_s
    dram = sum(row.bytes.get("dram", 0.0) for row in ops)
    rung = solution.plan.rungs[solution.rung]
    least = sum(least_bytes(solution, step) for step in range(len(solution.plan.program.steps)))
    notes: tuple[str, ...] = (
        f"DRAM traffic {show(dram, 'B')}; no mapping of these ops one by one moves less than {show(least, 'B')}",
        f"{len(rung.kept)} activations stay on chip in {show(rung.room_bytes, 'B')}",
    )
    if rung.blocks:
        counts = sorted(set(rung.blocks.values()))
        notes += (f"{len(rung.blocks)} MLPs run in blocks of rows ({', '.join(map(str, counts))} blocks; A18)",)
    return Estimate(
        arch=arch_name,
        workload=graph.name,
        batch=graph.batch,
        latency_s=now,
        macs=graph.macs,
        params=graph.params,
        ops=tuple(ops),
        static_ledger_j=FrozenDict({"leakage": float(solution.design.leakage_w) * now}),
        area_mm2=float(solution.design.area_mm2),
        assumptions=assumptions,
        notes=notes,
        spans=spans_of(solution, tuple(ops), steps),
    )


def least_bytes(solution: Solution, step: int) -> float:
    """Least bytes that cross DRAM for one step; a cut MLP could read its weights once."""
    index = solution.plan.steps[solution.rung][step]
    blocks = blocks_of(solution.plan.program.steps[step], solution.plan.rungs[solution.rung])
    least = compulsory_bytes(solution, index)
    if blocks > 1:
        gemm = solution.gemms[index]
        least -= (blocks - 1) * gemm.K * gemm.N * gemm.b_bytes
    return least


def _row(op: Op, solution: Solution, steps: dict[str, int], start_s: float, clock_hz: float) -> OpEstimate:
    program = solution.plan.program
    if op.name in program.free:
        return OpEstimate(
            op.name, op.kind, op.macs, 0.0, FrozenDict(), start_s, "none", program.free[op.name], 0, 0, 0, None,
            FrozenDict(), "nothing",
        )  # fmt: skip
    if op.name in program.fused:
        energy = FrozenDict({"vector": lane_energy(solution.unit, program.extra[op.name])})
        text = f"streams with {program.fused[op.name]}, whose time holds it"
        return OpEstimate(
            op.name, op.kind, op.macs, 0.0, energy, start_s, "vector", text, 0, 0, 0, None, FrozenDict(), "array"
        )
    index = solution.plan.steps[solution.rung][steps[op.name]]
    step = program.steps[steps[op.name]]
    if isinstance(step, ArrayStep):
        return _array_row(op, solution, index, start_s, clock_hz)
    return _move_row(op, solution, index, start_s, clock_hz)


def _array_row(op: Op, solution: Solution, index: int, start_s: float, clock_hz: float) -> OpEstimate:
    cost, machine = solution.costs[index], solution.machine
    fused = [name for name, product in solution.plan.program.fused.items() if product == op.name]
    vector = lane_energy(solution.unit, solution.plan.products[index].epilogue)
    vector -= sum(lane_energy(solution.unit, solution.plan.program.extra[name]) for name in fused)
    ledger = {
        "mac": cost.mac_j,
        "register": cost.register_j,
        "accumulator": cost.accumulator_j,
        "buffer": cost.buffer_j,
        "global_buffer": cost.stage_j,
        "noc": cost.link_j,
        "dram": cost.dram_j,
        "vector": max(0.0, vector),
    }
    cycles, compute = ceil(cost.cycles), int(cost.compute_cycles)
    moved = {"dram": cost.dram_read_bytes + cost.dram_write_bytes, "buffer": cost.port_bytes}
    return OpEstimate(
        op.name, op.kind, op.macs, cost.cycles / clock_hz, FrozenDict(ledger), start_s, "array",
        describe(solution, index), cycles, compute, max(0, cycles - compute),
        op.macs * solution.gemms[index].passes / (machine.rows * machine.cols * machine.cores * cost.cycles),
        FrozenDict(moved), bound_by(solution, index, cost),
    )  # fmt: skip


def _move_row(op: Op, solution: Solution, index: int, start_s: float, clock_hz: float) -> OpEstimate:
    cost: MoveCost = solution.moves[index]
    move = solution.plan.moves[index - len(solution.plan.products)]
    ledger = {"vector": cost.vector_j, "buffer": cost.buffer_j, "global_buffer": cost.stage_j, "dram": cost.dram_j}
    dram = move.dram_read_bytes + move.dram_write_bytes
    moved = {"dram": dram, "buffer": dram + move.kept_read_bytes + move.kept_write_bytes}
    cycles, compute = ceil(cost.cycles), ceil(cost.compute_cycles)
    computes = any(move.primitives)
    waits = cost.cycles > cost.compute_cycles
    return OpEstimate(
        op.name, op.kind, op.macs, cost.cycles / clock_hz, FrozenDict(ledger), start_s, "vector" if computes else "dma",
        "row by row" if computes else "copied", cycles, compute, max(0, cycles - compute), None, FrozenDict(moved),
        ("dram" if dram else "buffer") if waits else "vector",
    )  # fmt: skip


def describe(solution: Solution, index: int) -> str:
    """A mapping in words."""
    mapping, machine = solution.mappings[index], solution.machine
    loops = nest(machine, solution.gemms[index], mapping)
    order = " > ".join("MNK"[loop] for loop in (mapping.outer, mapping.middle, mapping.inner))
    held = [name for name, flag in zip("abo", (mapping.hold_a, mapping.hold_b, mapping.hold_o), strict=True) if flag]
    text = f"{DATAFLOWS[machine.dataflow]}, tiles {loops.tile_m} x {loops.tile_n} x {loops.tile_k}, loops {order}"
    text += f", holds {' '.join(held)}" if held else ""
    return text + _split(mapping)


def _split(mapping: Mapping) -> str:
    parts = (("batch", mapping.cores_b), ("M", mapping.cores_m), ("N", mapping.cores_n))
    shown = [f"{count} along {name}" for name, count in parts if count > 1]
    return f", cores: {', '.join(shown)}" if shown else ""


def bound_by(solution: Solution, index: int, cost: Cost) -> str:
    """What sets an op's latency: the array, its vector unit, or what it waits for."""
    epilogue = lane_cycles(solution.unit, solution.plan.products[index].epilogue)
    busy = {"array": cost.compute_cycles, "vector": epilogue}
    slowest = max(busy, key=lambda name: busy[name])
    if cost.transfer_cycles > busy[slowest]:
        return "global buffer" if cost.stage_j > 0 and cost.dram_read_bytes + cost.dram_write_bytes == 0 else "dram"
    return slowest
