"""Time and energy of one mapping of one product, from its loops and its traffic."""

from __future__ import annotations

from typing import NamedTuple

from hwsim.backends.systolic.machine import EDP, ENERGY, IS, OS, WS, Cost, Gemm, Machine, Mapping
from hwsim.backends.systolic.tiling import Nest, Reuse, Traffic, buffer_need, fits, nest, stage_fits, traffic
from hwsim.backends.systolic.timing import (
    ceil_div,
    edge_cycles,
    scalesim_cycles,
    spatial_cols,
    spatial_rows,
    stream_cycles,
    temporal,
)


class ArrayCycles(NamedTuple):
    """Cycles of the busiest core: all folds without a gap, and fill and drain around them."""

    stream: int
    edge: int


class Borders(NamedTuple):
    """Bytes that cross DRAM and the global buffer, each way, over the whole op."""

    dram_read: float
    dram_write: float
    stage_read: float
    stage_write: float


class Port(NamedTuple):
    """Bytes the arrays read of each operand and of partial sums, over all cores and the whole op."""

    a: float
    b: float
    sums_read: float
    sums_write: float


def array_cycles(machine: Machine, gemm: Gemm, mapping: Mapping, loops: Nest) -> ArrayCycles:
    """Cycles of the array (`timing`); operands wider than its multipliers pass `gemm.passes` times (A3)."""
    dataflow, rows, cols = machine.dataflow, machine.rows, machine.cols
    M, N, K = loops.M, loops.N, loops.K
    if not machine.exact:
        return ArrayCycles(loops.batch * gemm.passes * scalesim_cycles(rows, cols, dataflow, M, N, K), 0)
    sr, sc = spatial_rows(dataflow, M, N, K), spatial_cols(dataflow, M, N, K)
    t = temporal(dataflow, M, N, K) * gemm.passes
    chunks = temporal(dataflow, mapping.tiles_m, mapping.tiles_n, mapping.tiles_k)
    stream = loops.batch * stream_cycles(rows, cols, machine.overlap, sr, sc, t, chunks)
    return ArrayCycles(stream, edge_cycles(rows, cols, dataflow, machine.overlap, sr, sc, t, chunks))


def port_bytes(machine: Machine, gemm: Gemm, mapping: Mapping, loops: Nest) -> Port:
    """Bytes between the arrays and the memories next to them, from the number of folds (A7)."""
    dataflow = machine.dataflow
    a_all = float(gemm.batch) * gemm.M * gemm.K * gemm.a_bytes * mapping.cores_n
    b_all = float(gemm.batch) * gemm.K * gemm.N * gemm.b_bytes * mapping.cores_m
    sums = float(gemm.batch) * gemm.M * gemm.N * gemm.acc_bytes
    if dataflow == OS:
        a_times, b_times = ceil_div(loops.N, machine.cols), ceil_div(loops.M, machine.rows)
        written = mapping.tiles_k
    elif dataflow == WS:
        a_times, b_times = ceil_div(loops.N, machine.cols), mapping.tiles_m
        written = ceil_div(loops.K, machine.rows)
    else:
        a_times, b_times = mapping.tiles_n, ceil_div(loops.M, machine.cols)
        written = ceil_div(loops.K, machine.rows)
    return Port(a_all * a_times, b_all * b_times, sums * written, sums * written)


def borders(machine: Machine, gemm: Gemm, mapping: Mapping, moved: Traffic) -> Borders:
    """What crosses DRAM and the global buffer (A8).

    The global buffer takes what is fetched more than once, so that it crosses DRAM once; what is fetched once bypasses
    it, and what is kept in it never crosses DRAM.
    """
    if machine.stage_bytes == 0:
        reads = moved.a_total + moved.b_total + moved.partial_total
        return Borders(reads, moved.o_total + moved.partial_total, 0.0, 0.0)
    batch, holds = float(gemm.batch), stage_fits(machine, gemm)
    a = staged(moved.a_total, batch * gemm.M * gemm.K * gemm.a_share * gemm.a_bytes, gemm.a_kept, holds)
    b = staged(moved.b_total, batch * gemm.K * gemm.N * gemm.b_bytes, gemm.b_kept, holds)
    sums = moved.partial_total if holds else 0.0
    o_stage = moved.o_total if gemm.o_kept else 0.0
    spilled = moved.partial_total - sums
    return Borders(
        a.dram_read + b.dram_read + spilled,
        moved.o_total - o_stage + spilled,
        a.stage_read + b.stage_read + sums,
        a.stage_write + b.stage_write + o_stage + sums,
    )


def staged(total: float, once: float, kept: int, holds: int) -> Borders:
    """Borders that one input crosses: `total` bytes of tiles, `once` bytes of the operand itself."""
    if kept:
        return Borders(0.0, 0.0, total, 0.0)
    if holds and total > once * (1 + 1e-9):
        return Borders(once, 0.0, total, once)
    return Borders(total, 0.0, 0.0, 0.0)


def cycles_per_byte(machine: Machine, moved: Traffic, crossed: Borders) -> float:
    """Transfer cycles per byte of tile: DRAM and global buffer work side by side, the slower one decides."""
    total = moved.a_total + moved.b_total + moved.o_total + 2 * moved.partial_total
    if total == 0:
        return 0.0
    dram = (crossed.dram_read + crossed.dram_write) / machine.dram_bytes_per_cycle
    stage = (crossed.stage_read + crossed.stage_write) / machine.stage_bytes_per_cycle
    return max(dram, stage) / total


def computing_cycles(machine: Machine, gemm: Gemm, cores: int, stream: int, port: Port) -> float:
    """Cycles the array, the epilogue on the vector unit and the reads through the memory ports need, side by side."""
    reads = port.a + (port.b if machine.weight_bytes == 0 else 0.0)
    if machine.accumulator_bytes == 0:
        reads += port.sums_read
    read_cycles = reads / (1 if machine.shared else cores) / machine.read_bytes_per_cycle
    return max(max(float(stream), gemm.epilogue_cycles / cores), read_cycles)


def writing_cycles(machine: Machine, cores: int, port: Port, moved: Traffic) -> float:
    """Cycles of the writes through the memory ports: tiles coming in, results and sums."""
    writes = moved.a_total + moved.o_total + (moved.b_total if machine.weight_bytes == 0 else 0.0)
    if machine.accumulator_bytes == 0:
        writes += port.sums_write
    return writes / (1 if machine.shared else cores) / machine.write_bytes_per_cycle


def step_cycles(machine: Machine, compute: float, transfer: float) -> float:
    """One step: with double buffers the next tiles come while this one is worked on, else one after the other."""
    return max(compute, transfer) if machine.double > 1 else compute + transfer


def in_order(reuse: Reuse, m: float, n: float, k: float) -> tuple[float, float, float]:
    """Values that belong to the loops over M, N and K, outermost loop first."""
    outer = m if reuse.outer == 0 else n if reuse.outer == 1 else k
    middle = m if reuse.middle == 0 else n if reuse.middle == 1 else k
    inner = m if reuse.inner == 0 else n if reuse.inner == 1 else k
    return outer, middle, inner


def step_transfers(reuse: Reuse, a: float, b: float, o: float) -> tuple[float, float, float]:
    """What a step of each loop moves, outermost first; `a`, `b`, `o` are what a change of each operand's tile moves."""
    return in_order(
        reuse,
        (1 - reuse.a_m) * a + reuse.b_again * b + (1 - reuse.o_m) * o,
        reuse.a_again * a + (1 - reuse.b_n) * b + (1 - reuse.o_n) * o,
        (1 - reuse.a_k) * a + (1 - reuse.b_k) * b + reuse.o_again * o,
    )


def total_cycles(machine: Machine, loops: Nest, moved: Traffic, per_byte: float, busy: float, edge: int) -> float:
    """Cycles of the op: first tiles in, a step per tile beside the next transfers, the last result out (A5).

    A step of a loop is charged the mean of its kind: the transfers it causes against the mean computation of a tile.
    """
    n_outer, n_middle, n_inner = in_order(loops.reuse, loops.tiles_m, loops.tiles_n, loops.tiles_k)
    compute = busy / (float(loops.batch) * n_outer * n_middle * n_inner)
    a, b, o = moved.a_load * per_byte, moved.b_load * per_byte, (moved.partial_load + moved.o_store) * per_byte
    last = moved.o_store * per_byte
    first = a + b
    outer, middle, inner = step_transfers(loops.reuse, a, b, o)
    cycles = (n_outer - 1) * step_cycles(machine, compute, outer)
    cycles += n_outer * (n_middle - 1) * step_cycles(machine, compute, middle)
    cycles += n_outer * n_middle * float(n_inner - 1) * step_cycles(machine, compute, inner)
    cycles *= loops.batch
    cycles += (loops.batch - 1) * step_cycles(machine, compute, first + last)
    latency = machine.latency_cycles if first + last > 0 else 0.0
    return latency + first + cycles + compute + last + edge


def array_energy(machine: Machine, gemm: Gemm) -> float:
    """Joules of the MACs and of the registers their operands and sums pass."""
    return (
        float(gemm.batch) * gemm.M * gemm.N * gemm.K * (gemm.mac_j * machine.mac_scale + register_energy(machine, gemm))
    )


def register_energy(machine: Machine, gemm: Gemm) -> float:
    """Joules per MAC of the registers in a PE: one operand stays (ws, is) or the sum does (os), the rest moves on."""
    a_moves = 0.0 if machine.dataflow == IS else gemm.a_bytes
    b_moves = 0.0 if machine.dataflow == WS else gemm.b_bytes
    return (a_moves + b_moves + gemm.acc_bytes) * machine.register_j


def evaluate(machine: Machine, gemm: Gemm, mapping: Mapping) -> Cost:
    """Everything one mapping of one product costs; `fits` is 0 if its tiles do not fit (the rest still holds)."""
    loops = nest(machine, gemm, mapping)
    moved = traffic(machine, gemm, mapping, loops)
    crossed = borders(machine, gemm, mapping, moved)
    array = array_cycles(machine, gemm, mapping, loops)
    port = port_bytes(machine, gemm, mapping, loops)
    per_byte = cycles_per_byte(machine, moved, crossed)
    cores = mapping.cores_b * mapping.cores_m * mapping.cores_n
    busy = max(computing_cycles(machine, gemm, cores, array.stream, port), writing_cycles(machine, cores, port, moved))
    macs = float(gemm.batch) * gemm.M * gemm.N * gemm.K
    tiles = moved.a_total + moved.b_total + moved.o_total + 2 * moved.partial_total
    return Cost(
        fits(machine, gemm, mapping, loops),
        total_cycles(machine, loops, moved, per_byte, busy, array.edge),
        float(array.stream + array.edge),
        tiles * per_byte,
        (moved.a_load + moved.b_load) * per_byte,
        moved.o_store * per_byte,
        moved.a_total,
        moved.b_total,
        moved.partial_total,
        moved.o_total,
        port.a + port.b,
        buffer_need(machine, gemm, mapping, loops),
        crossed.dram_read,
        crossed.dram_write,
        crossed.dram_read * machine.dram_read_j + crossed.dram_write * machine.dram_write_j,
        crossed.stage_read * machine.stage_read_j + crossed.stage_write * machine.stage_write_j,
        buffer_energy(machine, gemm, moved, port),
        port.sums_read * machine.accumulator_read_j + port.sums_write * machine.accumulator_write_j,
        macs * register_energy(machine, gemm),
        tiles * machine.link_j if cores > 1 else 0.0,
        macs * gemm.mac_j * machine.mac_scale,
    )


def buffer_energy(machine: Machine, gemm: Gemm, moved: Traffic, port: Port) -> float:
    """Joules of the scratchpads: tiles written in, read by the arrays; results written, and read out again."""
    results = float(gemm.batch) * gemm.M * gemm.N * gemm.o_bytes
    in_buffer = port.a * machine.buffer_read_j + moved.a_total * machine.buffer_write_j
    out = results * machine.buffer_write_j + moved.o_total * machine.buffer_read_j
    spilled = moved.partial_total * (machine.accumulator_read_j + machine.accumulator_write_j)
    if machine.weight_bytes > 0 and not (gemm.b_kept and machine.stage_bytes == 0):
        weights = port.b * machine.weight_read_j + moved.b_total * machine.weight_write_j
    else:
        weights = port.b * machine.buffer_read_j + moved.b_total * machine.buffer_write_j
    return in_buffer + out + spilled + weights


def dynamic_energy(cost: Cost) -> float:
    """Joules of one op without leakage, which is charged on the whole latency."""
    on_chip = cost.buffer_j + cost.accumulator_j + cost.register_j + cost.link_j + cost.mac_j
    return cost.dram_j + cost.stage_j + on_chip


def first_rank(objective: int, cycles: float, energy_j: float) -> float:
    """What the mapper minimises: cycles, joules, or their product op by op (A10)."""
    if objective == ENERGY:
        return energy_j
    return cycles * energy_j if objective == EDP else cycles


def second_rank(objective: int, cycles: float, energy_j: float) -> float:
    """What breaks a tie: the metric that the objective leaves out."""
    return cycles if objective == ENERGY else energy_j
