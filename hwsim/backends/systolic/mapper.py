"""The exact search: the best mapping of a product, with whatever cannot be it pruned by lower bounds.

The map space: every way to split the product over divisors of the cores along batch, M and N; every distinct tile
size along M, N and K in whole units (A4), imperfect factors included; all six loop orders; each operand held or
fetched again. `rule_mapping` is the cheap alternative, a fixed recipe without a search.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from hwsim.backends.systolic.cost import (
    array_cycles,
    array_energy,
    buffer_energy,
    dynamic_energy,
    evaluate,
    first_rank,
    mapping_cycles,
    port_bytes,
    second_rank,
)
from hwsim.backends.systolic.machine import OS, WS, Cost, Gemm, Machine, Mapping
from hwsim.backends.systolic.tiling import Traffic, collapsed_loops, fits, is_exposed, nest, unit_of
from hwsim.backends.systolic.timing import ceil_div, spatial_cols, spatial_rows, temporal


class Found(NamedTuple):
    """The best mapping so far, its cost and its two ranks, infinite until one fits."""

    mapping: Mapping
    cost: Cost
    rank: float
    tie: float


class TimeFloor(NamedTuple):
    """Lower bounds shared by all mappings with the same tiles along time.

    `stream` and `around` are cycles of the array; `a`, `b`, `o`, `sums` cycles to move each operand or all partial sums once at `rate` bytes per
    cycle; `energy` joules with each operand moved once, and `fetch_j` joules per byte fetched again.
    """

    stream: float
    around: float
    a: float
    b: float
    o: float
    sums: float
    rate: float
    energy: float
    fetch_j: float


def next_tiles(units: int, tiles: int) -> int:
    """The next number of tiles whose tiles are smaller; units + 1 after the last."""
    size = ceil_div(units, tiles)
    return ceil_div(units, size - 1) if size > 1 else units + 1


def is_canonical(outer: int, middle: int, inner: int, tiles_m: int, tiles_n: int, tiles_k: int) -> int:
    """1 unless the same loops in another order mean the same: loops that do not turn go inside, M before N before K."""
    counts = (tiles_m, tiles_n, tiles_k)
    for before, after in ((outer, middle), (middle, inner)):
        if counts[before] == 1 and (counts[after] > 1 or after < before):
            return 0
    return 1


def time_floor(machine: Machine, gemm: Gemm, split: Mapping, tiles_t: int) -> TimeFloor:
    """What every mapping with `tiles_t` tiles along time costs at least on this split over cores."""
    tiles = with_tiles(split, machine.dataflow, tiles_t, 1, 1)
    loops = nest(machine, gemm, tiles)
    array = array_cycles(machine, gemm, tiles, loops)
    port = port_bytes(machine, gemm, tiles, loops)
    in_place = 1 if machine.stage_bytes == 0 else 0
    size = float(gemm.batch)
    a = 0.0 if gemm.a_kept and in_place else size * gemm.M * gemm.K * gemm.a_share * gemm.a_bytes
    b = 0.0 if gemm.b_kept and in_place else size * gemm.K * gemm.N * gemm.b_bytes
    o = 0.0 if gemm.o_kept and in_place else size * gemm.M * gemm.N * gemm.o_bytes
    sums = size * gemm.M * gemm.N * gemm.acc_bytes
    rate = machine.dram_bytes_per_cycle + (0.0 if in_place else machine.stage_bytes_per_cycle)
    once = Traffic(0.0, 0.0, 0.0, 0.0, a, b, 0.0, o)
    energy = buffer_energy(machine, gemm, once, port)
    energy += port.sums_read * machine.accumulator_read_j + port.sums_write * machine.accumulator_write_j
    energy += array_energy(machine, gemm)
    if in_place:
        energy += (a + b) * machine.dram_read_j + o * machine.dram_write_j
    fetch_j = machine.dram_read_j if in_place else 0.0
    latency = machine.latency_cycles if a + b + o > 0.0 else 0.0
    return TimeFloor(float(array.stream), array.edge + latency, a / rate, b / rate, o / rate, sums / rate, rate, energy, fetch_j)


def tiles_floor(floor: TimeFloor, batch: int, tiles_m: int, tiles_n: int, tiles_k: int) -> float:
    """Cycles that no order of these tiles beats: first tiles in, all computation, last result out; or all transfers."""
    share = 1.0 / batch
    steps = float(tiles_m) * tiles_n * tiles_k * batch
    first = (floor.a / (tiles_m * tiles_k) + floor.b / (tiles_n * tiles_k)) * share
    computing = floor.stream + first + floor.o / (tiles_m * tiles_n) * share / tiles_k
    moving = floor.a + floor.b + floor.o + floor.stream / steps
    return floor.around + max(computing, moving)


def loops_floor(
    floor: TimeFloor, steps: float, a_loads: int, b_loads: int, o_stores: int, a_fetches: int, b_fetches: int, spills: int
) -> float:
    """Cycles that a loop order does not beat, from how often it fetches each operand and how much comes first.

    `a_loads`, `b_loads` and `o_stores` are how many pieces each operand moves in, `spills` how often all partial sums
    leave and come back.
    """
    computing = floor.stream + floor.a / a_loads + floor.b / b_loads + floor.o / o_stores
    moving = floor.a * a_fetches + floor.b * b_fetches + floor.o + 2 * floor.sums * spills + floor.stream / steps
    return floor.around + max(computing, moving)


def better(found: Found, mapping: Mapping, cost: Cost, objective: int) -> Found:
    """The better of two mappings; the earlier one if they are equal."""
    energy = dynamic_energy(cost)
    rank, tie = first_rank(objective, cost.cycles, energy), second_rank(objective, cost.cycles, energy)
    if cost.fits == 0:
        return found
    if rank < found.rank or (rank == found.rank and tie < found.tie):
        return Found(mapping, cost, rank, tie)
    return found


def loses(found: Found, objective: int, cycles: float, energy_j: float) -> int:
    """1 if a mapping with at least these cycles and joules cannot beat what was found.

    The floors add up in another order than the costs do, so a hair of rounding is granted.
    """
    cycles, energy_j = cycles * (1 - 1e-12), energy_j * (1 - 1e-12)
    rank = first_rank(objective, cycles, energy_j)
    if rank > found.rank:
        return 1
    return 1 if rank == found.rank and second_rank(objective, cycles, energy_j) >= found.tie else 0


def search_orders(
    machine: Machine, gemm: Gemm, tiles: Mapping, floor: TimeFloor, found: Found, objective: int
) -> Found:
    """The best of all loop orders and all choices of what is held, for given tiles."""
    nm, nn, nk = tiles.tiles_m, tiles.tiles_n, tiles.tiles_k
    batch = ceil_div(gemm.batch, tiles.cores_b)
    for outer in range(3):
        for middle in range(3):
            if middle != outer and is_canonical(outer, middle, 3 - outer - middle, nm, nn, nk):
                found = search_holds(machine, gemm, tiles, floor, found, objective, outer, middle, batch)
    return found


def search_holds(
    machine: Machine, gemm: Gemm, tiles: Mapping, floor: TimeFloor, found: Found, objective: int, outer: int,
    middle: int, batch: int,
) -> Found:  # fmt: skip
    """The best choice of what is held, for given tiles and loop order."""
    nm, nn, nk = tiles.tiles_m, tiles.tiles_n, tiles.tiles_k
    inside_n = collapsed_loops(1, outer, middle, 1)
    inside_m = collapsed_loops(0, outer, middle, 1)
    inside_k = collapsed_loops(2, outer, middle, 1)
    may_a = 1 if nn > 1 and is_exposed(1, outer, middle, nm, nn, nk) else 0
    may_b = 1 if nm > 1 and is_exposed(0, outer, middle, nm, nn, nk) else 0
    may_o = 1 if nk > 1 and is_exposed(2, outer, middle, nm, nn, nk) else 0
    steps = float(nm) * nn * nk * batch
    for hold_a in range(may_a + 1):
        a_loads = batch * (1 if hold_a and inside_n & 1 else nm) * (1 if hold_a and inside_n & 4 else nk)
        a_fetches = nn if may_a > hold_a else 1
        for hold_b in range(may_b + 1):
            b_loads = batch * (1 if hold_b and inside_m & 2 else nn) * (1 if hold_b and inside_m & 4 else nk)
            b_fetches = nm if may_b > hold_b else 1
            for hold_o in range(may_o + 1):
                o_tiles = batch * (1 if hold_o and inside_k & 1 else nm) * (1 if hold_o and inside_k & 2 else nn)
                spills = nk - 1 if may_o > hold_o else 0
                o_stores = o_tiles * (spills + 1)
                cycles = loops_floor(floor, steps, a_loads, b_loads, o_stores, a_fetches, b_fetches, spills)
                again = floor.a * (a_fetches - 1) + floor.b * (b_fetches - 1)
                energy = floor.energy + again * floor.rate * floor.fetch_j
                if loses(found, objective, cycles, energy):
                    continue
                mapping = Mapping(
                    tiles.cores_b, tiles.cores_m, tiles.cores_n, nm, nn, nk, outer, middle, 3 - outer - middle,
                    hold_a, hold_b, hold_o,
                )  # fmt: skip
                found = challenge(machine, gemm, mapping, energy, found, objective)
    return found


def challenge(machine: Machine, gemm: Gemm, mapping: Mapping, energy_j: float, found: Found, objective: int) -> Found:
    """The better of a mapping and what was found; `energy_j` is a floor of the mapping's energy."""
    loops = nest(machine, gemm, mapping)
    if not fits(machine, gemm, mapping, loops):
        return found
    if loses(found, objective, mapping_cycles(machine, gemm, mapping, loops), energy_j):
        return found
    return better(found, mapping, evaluate(machine, gemm, mapping), objective)


def with_tiles(split: Mapping, dataflow: int, tiles_t: int, tiles_r: int, tiles_c: int) -> Mapping:
    """A mapping with that many tiles along time, rows and columns of the array, in the first loop order."""
    b, m, n = split.cores_b, split.cores_m, split.cores_n
    if dataflow == OS:
        return Mapping(b, m, n, tiles_r, tiles_c, tiles_t, 0, 1, 2, 0, 0, 0)
    if dataflow == WS:
        return Mapping(b, m, n, tiles_t, tiles_c, tiles_r, 0, 1, 2, 0, 0, 0)
    return Mapping(b, m, n, tiles_c, tiles_t, tiles_r, 0, 1, 2, 0, 0, 0)


def search_tiles(machine: Machine, gemm: Gemm, split: Mapping, found: Found, objective: int) -> Found:
    """The best mapping for a given split over cores: the tiles that promise most first, then all that could win."""
    loops = nest(machine, gemm, split)
    dataflow = machine.dataflow
    units_t = temporal(dataflow, loops.M, loops.N, loops.K)
    units_r = ceil_div(spatial_rows(dataflow, loops.M, loops.N, loops.K), machine.rows)
    units_c = ceil_div(spatial_cols(dataflow, loops.M, loops.N, loops.K), machine.cols)
    for everything in range(2):
        hope, promising = math.inf, split
        t = 1
        while t <= units_t:
            floor = time_floor(machine, gemm, split, t)
            if loses(found, objective, floor.around + floor.stream, floor.energy):
                break  # more tiles along time only add cycles and reads of the stationary operand
            r = 1
            while r <= units_r:
                c = 1
                while c <= units_c:
                    tiles = with_tiles(split, dataflow, t, r, c)
                    cycles = tiles_floor(floor, loops.batch, tiles.tiles_m, tiles.tiles_n, tiles.tiles_k)
                    if everything and not loses(found, objective, cycles, floor.energy):
                        found = search_orders(machine, gemm, tiles, floor, found, objective)
                    promise = first_rank(objective, cycles, floor.energy)
                    if promise < hope:
                        hope, promising = promise, tiles
                    c = next_tiles(units_c, c)
                r = next_tiles(units_r, r)
            t = next_tiles(units_t, t)
        if not everything and hope < math.inf:
            tiles_t = temporal(dataflow, promising.tiles_m, promising.tiles_n, promising.tiles_k)
            found = search_orders(machine, gemm, promising, time_floor(machine, gemm, split, tiles_t), found, objective)
    return found


def best_mapping(machine: Machine, gemm: Gemm, objective: int) -> Found:
    """The best mapping of a product for an objective (LATENCY, ENERGY or EDP); ties go to the other metric.

    `cost.fits` of the result is 0 if nothing fits; its mapping is then the one with the smallest tiles.
    """
    smallest = finest(machine, gemm)
    cost = evaluate(machine, gemm, smallest)
    found = better(Found(smallest, cost, math.inf, math.inf), smallest, cost, objective)
    cores = machine.cores
    for cores_b in range(1, min(cores, gemm.batch) + 1):
        for cores_m in range(1, min(cores // cores_b, gemm.M) + 1):
            for cores_n in range(1, min(cores // cores_b // cores_m, gemm.N) + 1):
                if cores % (cores_b * cores_m * cores_n) == 0:
                    split = Mapping(cores_b, cores_m, cores_n, 1, 1, 1, 0, 1, 2, 0, 0, 0)
                    found = search_tiles(machine, gemm, split, found, objective)
    return found


def finest(machine: Machine, gemm: Gemm) -> Mapping:
    """The mapping that needs least memory: one core, tiles of one unit, partial sums leaving in between."""
    units_m = ceil_div(gemm.M, unit_of(0, machine))
    units_n = ceil_div(gemm.N, unit_of(1, machine))
    units_k = ceil_div(gemm.K, unit_of(2, machine))
    return Mapping(1, 1, 1, units_m, units_n, units_k, 0, 1, 2, 0, 0, 0)
