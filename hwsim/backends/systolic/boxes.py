"""Boxes of mappings, and floors of what any mapping in one costs.

A box holds all mappings with the same split over cores, loop order and choice of what is held whose tile counts lie
between a coarse and a fine end. From the coarse end to the fine, whatever is fetched again and the array's own cycles
only rise; the room that tiles take, and what moves before the first step and after the last, only fall. The cost
formulas, fed with each quantity from the end where it is least, are therefore a floor for the whole box.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from hwsim.backends.systolic.cost import (
    Borders,
    Port,
    array_cycles,
    array_energy,
    borders,
    buffer_energy,
    computing_cycles,
    in_order,
    port_bytes,
    step_transfers,
    writing_cycles,
)
from hwsim.backends.systolic.machine import Gemm, Machine, Mapping
from hwsim.backends.systolic.tiling import (
    Nest,
    Reuse,
    Traffic,
    fits,
    is_exposed,
    nest_of,
    per_transfer,
    reuse_of,
    unit_of,
)
from hwsim.backends.systolic.timing import ceil_div, least_edge, spatial_cols, temporal


class Share(NamedTuple):
    """A product split over cores: one core's part in elements and in units of a tile, and what moves over all cores.

    `a`, `b`, `o` and `sums` are the bytes of each operand and of all partial sums, `_once` the same in whole bursts;
    0 for operands that stay where they are. `edge` are the fewest cycles of
    fill and drain, `per_byte` the fewest that a byte takes, `energy_j` joules of MACs and registers.
    """

    split: Mapping
    cores: int
    batch: int
    M: int
    N: int
    K: int
    units_m: int
    units_n: int
    units_k: int
    a: float
    b: float
    o: float
    sums: float
    a_once: float
    b_once: float
    o_once: float
    sums_once: float
    edge: float
    per_byte: float
    energy_j: float


class Pace(NamedTuple):
    """What the number of tiles along time decides, at the coarse end of a box.

    `array` are the array's cycles with fill and drain, `busy` those of array, epilogue and reading ports beside which
    tiles move, `edge` those of fill and drain. More tiles along time never make `array` or `busy` less.
    """

    array: float
    busy: float
    edge: float
    port: Port


class Box(NamedTuple):
    """Counts of tiles at the coarse end and at the fine end, and the largest tile at the fine end."""

    least_m: int
    least_n: int
    least_k: int
    most_m: int
    most_n: int
    most_k: int
    tile_m: int
    tile_n: int
    tile_k: int
    pace: Pace


class Floor(NamedTuple):
    """Cycles and dynamic joules that no mapping of a box beats; infinite if none fits."""

    cycles: float
    energy_j: float


def share_of(machine: Machine, gemm: Gemm, split: Mapping) -> Share:
    """One core's part of a product, and what moves."""
    in_place = 1 if machine.stage_bytes == 0 else 0
    batch, burst = float(gemm.batch), machine.burst_bytes
    part = ceil_div(gemm.batch, split.cores_b)
    M, N, K = ceil_div(gemm.M, split.cores_m), ceil_div(gemm.N, split.cores_n), gemm.K
    a = batch * gemm.M * gemm.K * gemm.a_share * gemm.a_bytes * (1 if machine.shared else split.cores_n)
    b = batch * gemm.K * gemm.N * gemm.b_bytes * (1 if machine.shared else split.cores_m)
    a, b = 0.0 if gemm.a_kept and in_place else a, 0.0 if gemm.b_kept and in_place else b
    o = 0.0 if gemm.o_kept and in_place else batch * gemm.M * gemm.N * gemm.o_bytes
    sums = batch * gemm.M * gemm.N * gemm.acc_bytes
    return Share(
        split, split.cores_b * split.cores_m * split.cores_n, part, M, N, K,
        ceil_div(M, unit_of(0, machine)), ceil_div(N, unit_of(1, machine)), ceil_div(K, unit_of(2, machine)),
        a, b, o, sums,
        part * per_transfer(a, part, burst), part * per_transfer(b, part, burst),
        part * per_transfer(o, part, burst), part * per_transfer(sums, part, burst),
        float(least_edge(machine.rows, machine.cols, spatial_cols(machine.dataflow, M, N, K)) * machine.exact),
        1 / (machine.dram_bytes_per_cycle + (0.0 if in_place else machine.stage_bytes_per_cycle)),
        array_energy(machine, gemm),
    )  # fmt: skip


def with_counts(split: Mapping, m: int, n: int, k: int) -> Mapping:
    """A split over cores with those tile counts."""
    return Mapping(split.cores_b, split.cores_m, split.cores_n, m, n, k, 0, 1, 2, 0, 0, 0)


def pace_of(machine: Machine, gemm: Gemm, share: Share, coarse: Mapping) -> Pace:
    """The array's cycles and ports with the tiles along time of a mapping."""
    loops = nest_of(reuse_of(share.split), share.batch, share.M, share.N, share.K, 1, 1, 1, 0, 0, 0)
    cycles, port = array_cycles(machine, gemm, coarse, loops), port_bytes(machine, gemm, coarse, loops)
    busy = computing_cycles(machine, gemm, share.cores, cycles.stream, port)
    return Pace(float(cycles.stream + cycles.edge), busy, float(cycles.edge), port)


def box_of(machine: Machine, share: Share, coarse: Mapping, most: tuple[int, int, int], pace: Pace) -> Box:
    """The box with the tile counts of a mapping up to `most`."""
    most_m, most_n, most_k = most
    return Box(
        coarse.tiles_m, coarse.tiles_n, coarse.tiles_k, most_m, most_n, most_k,
        min(share.M, ceil_div(share.units_m, most_m) * unit_of(0, machine)),
        min(share.N, ceil_div(share.units_n, most_n) * unit_of(1, machine)),
        min(share.K, ceil_div(share.units_k, most_k) * unit_of(2, machine)),
        pace,
    )  # fmt: skip


def mapping_of(share: Share, reuse: Reuse, box: Box) -> Mapping:
    """The mapping at the coarse end of a box; nothing is said to be held that would not be fetched again anyway."""
    nm, nn, nk, outer, middle = box.least_m, box.least_n, box.least_k, reuse.outer, reuse.middle
    return Mapping(
        share.split.cores_b, share.split.cores_m, share.split.cores_n, nm, nn, nk, outer, middle, reuse.inner,
        is_exposed(1, outer, middle, nm, nn, nk) if nn > 1 and not reuse.a_again else 0,
        is_exposed(0, outer, middle, nm, nn, nk) if nm > 1 and not reuse.b_again else 0,
        is_exposed(2, outer, middle, nm, nn, nk) if nk > 1 and not reuse.o_again else 0,
    )  # fmt: skip


def least_traffic(machine: Machine, share: Share, coarse: Nest, fine: Nest) -> Traffic:
    """The least of each transfer and each total in a box, from the loops at its ends."""
    batch, burst = share.batch, machine.burst_bytes
    a_load = per_transfer(share.a, batch * fine.a_tiles, burst)
    b_load = per_transfer(share.b, batch * fine.b_tiles, burst)
    result = per_transfer(share.o, batch * fine.o_tiles, burst)
    a_total = max(share.a_once, a_load * (batch * coarse.a_tiles)) * coarse.a_fetches
    b_total = max(share.b_once, b_load * (batch * coarse.b_tiles)) * coarse.b_fetches
    o_total = max(share.o_once, result * (batch * coarse.o_tiles))
    if coarse.o_visits == 1:
        return Traffic(a_load, b_load, 0.0, result / fine.o_visits, a_total, b_total, 0.0, o_total)
    again = coarse.o_visits - 1
    partial = per_transfer(share.sums, batch * fine.o_tiles, burst)
    partial_load = partial * again / coarse.o_visits
    partial_total = max(share.sums_once, partial * (batch * coarse.o_tiles)) * again
    store = result / fine.o_visits + partial_load
    return Traffic(a_load, b_load, partial_load, store, a_total, b_total, partial_total, o_total)


def stalls(share: Share, coarse: Nest, moved: Traffic, busy: float) -> float:
    """Cycles in which the array waits for tiles, at least, beside `busy` cycles of computation.

    More computation hides more of the transfers, but never more than it adds: the floor of both together may take
    `busy` at its least, and the longest step, in which most is hidden.
    """
    n_outer, n_middle, n_inner = in_order(coarse.reuse, coarse.tiles_m, coarse.tiles_n, coarse.tiles_k)
    compute = busy / (float(coarse.batch) * n_outer * n_middle * n_inner)
    a, b = moved.a_load * share.per_byte, moved.b_load * share.per_byte
    o = (moved.partial_load + moved.o_store) * share.per_byte
    outer, middle, inner = step_transfers(coarse.reuse, a, b, o)
    cycles = (n_outer - 1) * max(0.0, outer - compute)
    cycles += n_outer * (n_middle - 1) * max(0.0, middle - compute)
    cycles += n_outer * n_middle * float(n_inner - 1) * max(0.0, inner - compute)
    between = max(0.0, a + b + moved.o_store * share.per_byte - compute)
    return cycles * coarse.batch + (coarse.batch - 1) * between


def transfer_cycles(machine: Machine, crossed: Borders) -> float:
    """Cycles of all transfers: DRAM and global buffer work side by side."""
    dram = (crossed.dram_read + crossed.dram_write) / machine.dram_bytes_per_cycle
    if machine.stage_bytes == 0:
        return dram
    return max(dram, (crossed.stage_read + crossed.stage_write) / machine.stage_bytes_per_cycle)


def left_out(machine: Machine, coarse: Nest, moved: Traffic) -> float:
    """The most that `total_cycles` charges less than all transfers, as a part of them.

    It charges each change of a tile of sums the mean of what comes and goes, but a product has one change less than
    tiles and visits: the sums of one load are missing.
    """
    if coarse.o_visits == 1:
        return 0.0
    changes = float(coarse.o_tiles) * coarse.o_visits
    if machine.stage_bytes > 0:
        return 0.5 / changes  # what crosses DRAM and the global buffer does not add up to the tiles
    return moved.partial_total / changes / (moved.a_total + moved.b_total + moved.o_total + 2 * moved.partial_total)


def least_energy(machine: Machine, gemm: Gemm, share: Share, port: Port, moved: Traffic, crossed: Borders) -> float:
    """Joules of a product whose ports and tiles move at least that much."""
    energy = share.energy_j + buffer_energy(machine, gemm, moved, port)
    energy += crossed.dram_read * machine.dram_read_j + crossed.dram_write * machine.dram_write_j
    energy += crossed.stage_read * machine.stage_read_j + crossed.stage_write * machine.stage_write_j
    energy += port.sums_read * machine.accumulator_read_j + port.sums_write * machine.accumulator_write_j
    if share.cores == 1:
        return energy
    return energy + (moved.a_total + moved.b_total + moved.o_total + 2 * moved.partial_total) * machine.link_j


def least_cycles(machine: Machine, share: Share, box: Box, coarse: Nest, moved: Traffic, moving: float) -> float:
    """Cycles of any mapping of a box: the first tiles, all computation, stalls and the last results, or all transfers
    (`moving`) and the step that none runs beside; or the array's own."""
    pace = box.pace
    busy = max(pace.busy, writing_cycles(machine, share.cores, pace.port, moved))
    ends = (moved.a_load + moved.b_load + moved.o_store) * share.per_byte
    if machine.double > 1:
        steps = float(share.batch) * box.most_m * box.most_n * box.most_k
        cycles = max(busy + ends + stalls(share, coarse, moved, busy), moving + busy / steps)
    else:
        cycles = busy + moving
    one_pace = temporal(
        machine.dataflow, box.least_m == box.most_m, box.least_n == box.most_n, box.least_k == box.most_k
    )
    cycles += pace.edge if one_pace else share.edge
    return (machine.latency_cycles if ends > 0 else 0.0) + max(cycles, ends + pace.array)


def share_floor(machine: Machine, gemm: Gemm, share: Share, pace: Pace) -> Floor:
    """Cycles and joules that no mapping of a split beats: each operand once, no tile waited for.

    `pace` is that of one tile along time.
    """
    moved = Traffic(0.0, 0.0, 0.0, 0.0, share.a, share.b, 0.0, share.o)
    moving = (share.a + share.b + share.o) * share.per_byte
    cycles = max(pace.array, share.edge + max(pace.busy, moving))
    return Floor(
        cycles + (machine.latency_cycles if moving > 0 else 0.0),
        least_energy(machine, gemm, share, pace.port, moved, borders(machine, gemm, share.split, moved)),
    )


def floor_of(machine: Machine, gemm: Gemm, share: Share, reuse: Reuse, box: Box) -> Floor:
    """Cycles and joules that no mapping of a box beats."""
    least_m, least_n, least_k, most_m, most_n, most_k, tile_m, tile_n, tile_k, pace = box
    batch, M, N, K = share.batch, share.M, share.N, share.K
    low = with_counts(share.split, least_m, least_n, least_k)
    fine = nest_of(reuse, batch, M, N, K, most_m, most_n, most_k, tile_m, tile_n, tile_k)
    if not fits(machine, gemm, low, fine):
        return Floor(math.inf, math.inf)
    coarse = nest_of(reuse, batch, M, N, K, least_m, least_n, least_k, tile_m, tile_n, tile_k)
    moved = least_traffic(machine, share, coarse, fine)
    crossed = borders(machine, gemm, low, moved)
    moving = transfer_cycles(machine, crossed) * (1 - left_out(machine, coarse, moved))
    return Floor(
        least_cycles(machine, share, box, coarse, moved, moving),
        least_energy(machine, gemm, share, pace.port, moved, crossed),
    )


def halving_loop(reuse: Reuse, box: Box) -> int:
    """The loop to halve a box along: the outermost with more than one count, which decides most of what is fetched
    again; -1 if the box is one mapping."""
    more_m, more_n, more_k = box.least_m < box.most_m, box.least_n < box.most_n, box.least_k < box.most_k
    outer, middle, inner = in_order(reuse, more_m, more_n, more_k)
    return reuse.outer if outer else reuse.middle if middle else reuse.inner if inner else -1


def halves(machine: Machine, gemm: Gemm, share: Share, box: Box, loop: int) -> tuple[Box, Box]:
    """The coarse and the fine half of a box along a loop: up to the geometric mean of its counts, and beyond."""
    least_m, least_n, least_k, most_m, most_n, most_k, tile_m, tile_n, tile_k, pace = box
    m, n, k = loop == 0, loop == 1, loop == 2
    units = share.units_m if m else share.units_n if n else share.units_k
    least, most = (least_m, most_m) if m else (least_n, most_n) if n else (least_k, most_k)
    size = ceil_div(units, int(math.sqrt(float(least) * most)))
    until, after, tile = ceil_div(units, size), ceil_div(units, size - 1), size * unit_of(loop, machine)
    coarse = Box(
        least_m, least_n, least_k, until if m else most_m, until if n else most_n, until if k else most_k,
        min(share.M, tile) if m else tile_m, min(share.N, tile) if n else tile_n, min(share.K, tile) if k else tile_k,
        pace,
    )  # fmt: skip
    least_m, least_n, least_k = after if m else least_m, after if n else least_n, after if k else least_k
    if loop == temporal(machine.dataflow, 0, 1, 2):
        pace = pace_of(machine, gemm, share, with_counts(share.split, least_m, least_n, least_k))
    return coarse, Box(least_m, least_n, least_k, most_m, most_n, most_k, tile_m, tile_n, tile_k, pace)
