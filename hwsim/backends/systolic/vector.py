"""Time and energy of everything that is no matrix product: the vector unit and the DMA (A12)."""

from __future__ import annotations

from hwsim.backends.systolic.machine import Gemm, Machine, Move, MoveCost, Product, Unit


def lane_cycles(unit: Unit, primitives: tuple[float, ...]) -> float:
    """Cycles of one vector unit for counts of primitives, all lanes busy."""
    total = 0.0
    for index in range(len(primitives)):
        total += primitives[index] * unit.cycles[index]
    return total / unit.lanes


def lane_energy(unit: Unit, primitives: tuple[float, ...]) -> float:
    """Joules for counts of primitives."""
    total = 0.0
    for index in range(len(primitives)):
        total += primitives[index] * unit.energy_j[index]
    return total


def gemm_of(product: Product, unit: Unit, reserved_bytes: float) -> Gemm:
    """A product on a design: with the cycles of its epilogue and the room that is taken."""
    return Gemm(
        product.batch,
        product.M,
        product.N,
        product.K,
        product.a_bytes,
        product.b_bytes,
        product.o_bytes,
        product.acc_bytes,
        product.a_share,
        product.passes,
        product.a_kept,
        product.b_kept,
        product.o_kept,
        reserved_bytes,
        lane_cycles(unit, product.epilogue),
        product.mac_j,
    )


def move_cost(machine: Machine, unit: Unit, move: Move) -> MoveCost:
    """Cost of one step of the vector unit: it computes while its data come and go, and waits for the slower."""
    cores = machine.cores
    computing = lane_cycles(unit, move.primitives) / cores
    dram_bytes = move.dram_read_bytes + move.dram_write_bytes
    reads = move.dram_read_bytes + move.kept_read_bytes
    writes = move.dram_write_bytes + move.kept_write_bytes
    ports = 1 if machine.shared else cores
    ported = max(
        (reads + move.dram_write_bytes) / machine.read_bytes_per_cycle,
        (writes + move.dram_read_bytes) / machine.write_bytes_per_cycle,
    )
    moving = max(dram_bytes / machine.dram_bytes_per_cycle, ported / ports)
    staged = 0.0
    if machine.stage_bytes > 0:
        moving = max(moving, (move.kept_read_bytes + move.kept_write_bytes) / machine.stage_bytes_per_cycle)
        staged = move.kept_read_bytes * machine.stage_read_j + move.kept_write_bytes * machine.stage_write_j
    latency = machine.latency_cycles if dram_bytes > 0.0 else 0.0
    cycles = latency + (max(computing, moving) if machine.double > 1 else computing + moving)
    buffer = (reads + move.dram_write_bytes) * machine.buffer_read_j
    buffer += (writes + move.dram_read_bytes) * machine.buffer_write_j
    dram = move.dram_read_bytes * machine.dram_read_j + move.dram_write_bytes * machine.dram_write_j
    return MoveCost(cycles, computing, lane_energy(unit, move.primitives), dram, staged, buffer)
