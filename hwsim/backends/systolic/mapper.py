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
    step_cycles,
)
from hwsim.backends.systolic.machine import OS, WS, Cost, Gemm, Machine, Mapping
from hwsim.backends.systolic.tiling import (
    Nest,
    Traffic,
    changes,
    collapsed_loops,
    fits,
    is_exposed,
    nest,
    tile_size,
    unit_of,
)
from hwsim.backends.systolic.timing import ceil_div, spatial_cols, spatial_rows, temporal


class Found(NamedTuple):
    """The best mapping so far, its two ranks (infinite until one fits), its cycles and its dynamic joules."""

    mapping: Mapping
    rank: float
    tie: float
    cycles: float
    energy_j: float


class Piece(NamedTuple):
    """How one operand moves: cycles of a piece (and, for results, of the last), whether the loop it does not depend on
    brings it again, and the loops it holds whole (bits)."""

    cycles: float
    last: float
    again: int
    whole: int


class TimeFloor(NamedTuple):
    """Lower bounds shared by all mappings with the same tiles along time.

    `stream` and `around` are cycles of the array; `a`, `b`, `o` and `sums` the cycles to move each operand or all
    partial sums once at `rate` bytes per cycle; `energy` joules with each operand moved once, and `fetch_j` joules
    per byte fetched again. `holds_a` and its like are 1 if one core's whole operand fits.
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
    holds_a: int
    holds_b: int
    holds_o: int


def fewer_tiles(units: int, tiles: int) -> int:
    """The next smaller number of tiles that makes them larger; 0 after 1."""
    return ceil_div(units, ceil_div(units, tiles - 1)) if tiles > 1 else 0


def more_tiles(units: int, tiles: int) -> int:
    """The next larger number of tiles that makes them smaller; units + 1 after the last."""
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
    room = machine.buffer_bytes - gemm.reserved_bytes * in_place
    b_room = room if machine.weight_bytes == 0 else machine.weight_bytes
    o_room = room if machine.accumulator_bytes == 0 else machine.accumulator_bytes
    return TimeFloor(
        float(array.stream), array.edge + latency, a / rate, b / rate, o / rate, sums / rate, rate, energy, fetch_j,
        1 if a == 0.0 or float(loops.M) * loops.K * gemm.a_share * gemm.a_bytes <= room else 0,
        1 if b == 0.0 or float(loops.K) * loops.N * gemm.b_bytes <= b_room else 0,
        1 if float(loops.M) * loops.N * gemm.acc_bytes <= o_room else 0,
    )  # fmt: skip


def tiles_floor(floor: TimeFloor, batch: int, tiles: Mapping) -> float:
    """Cycles that no order of these tiles beats: first tiles in, all computation, last result out; or all transfers."""
    steps = float(batch) * tiles.tiles_m * tiles.tiles_n * tiles.tiles_k
    first = (floor.a * tiles.tiles_n + floor.b * tiles.tiles_m + floor.o) / steps
    return floor.around + max(floor.stream + first, floor.a + floor.b + floor.o + floor.stream / steps)


def outer_floor(floor: TimeFloor, batch: int, counts: tuple[int, int, int], outer: int) -> float:
    """Cycles that no mapping with these tiles and this outermost loop beats.

    The operand that does not depend on it is either held whole, and so comes in (or leaves) in one piece, or moves
    again with every step, as it must if it cannot be held.
    """
    nm, nn, nk = counts
    a, b, o = floor.a / (nm * nk * batch), floor.b / (nn * nk * batch), floor.o / (nm * nn * nk * float(batch))
    once = floor.a + floor.b + floor.o + floor.stream / (float(batch) * nm * nn * nk)
    computing = floor.stream + a + b + o
    if counts[outer] == nm * nn * nk:
        return floor.around + max(computing, once)
    if outer == 1:
        whole, again = computing - a + floor.a / batch, once + floor.a * (nn - 1)
    elif outer == 0:
        whole, again = computing - b + floor.b / batch, once + floor.b * (nm - 1)
    else:
        whole, again = computing - o + floor.o / batch, once + 2 * floor.sums * (nk - 1)
    fetching = max(computing, again)
    return floor.around + (min(max(whole, once), fetching) if holdable(floor, outer) else fetching)


def holdable(floor: TimeFloor, outer: int) -> int:
    """1 if the operand that does not depend on a loop fits its memory whole."""
    return floor.holds_a if outer == 1 else floor.holds_b if outer == 0 else floor.holds_o


def outer_energy(floor: TimeFloor, counts: tuple[int, int, int], outer: int) -> float:
    """Joules that no mapping with these tiles and this outermost loop beats."""
    nm, nn, nk = counts
    if counts[outer] == nm * nn * nk or holdable(floor, outer):
        return floor.energy
    again = floor.a * (nn - 1) if outer == 1 else floor.b * (nm - 1) if outer == 0 else 2 * floor.sums * (nk - 1)
    return floor.energy + again * floor.rate * floor.fetch_j


def order_floor(
    machine: Machine, floor: TimeFloor, batch: int, counts: tuple[int, int, int], order: tuple[int, int, int],
    a: Piece, b: Piece, o: Piece,
) -> float:  # fmt: skip
    """Cycles of a loop order and choice of what is held, but for whole bursts and what only `cost` looks at.

    The same sum over kinds of steps as `cost.total_cycles`.
    """
    n_outer, n_middle, n_inner = counts[order[0]], counts[order[1]], counts[order[2]]
    compute = floor.stream / (float(batch) * n_outer * n_middle * n_inner)
    cycles = 0.0
    turns = 1.0
    for place in range(3):
        loop = order[place]
        moving = a.cycles * changes(loop, 1, a.again, a.whole) + b.cycles * changes(loop, 0, b.again, b.whole)
        moving += o.cycles * changes(loop, 2, o.again, o.whole)
        cycles += turns * (counts[loop] - 1) * step_cycles(machine, compute, moving)
        turns *= counts[loop]
    first = a.cycles + b.cycles
    cycles = cycles * batch + (batch - 1) * step_cycles(machine, compute, first + o.last)
    return floor.around + first + cycles + compute + o.last


def pieces(counts: tuple[int, int, int], apart: int, whole: int) -> int:
    """In how many pieces an operand that does not depend on the loop `apart` moves, if each moves once."""
    total = 1
    for loop in range(3):
        if loop != apart and not (whole >> loop) & 1:
            total *= counts[loop]
    return total


def nothing(mapping: Mapping) -> Found:
    """Nothing found yet; `mapping` only fills the place."""
    return Found(mapping, math.inf, math.inf, math.inf, math.inf)


def better(found: Found, mapping: Mapping, cost: Cost, objective: int) -> Found:
    """The better of two mappings; the earlier one if they are equal."""
    energy = dynamic_energy(cost)
    rank, tie = first_rank(objective, cost.cycles, energy), second_rank(objective, cost.cycles, energy)
    if cost.fits and (rank < found.rank or (rank == found.rank and tie < found.tie)):
        return Found(mapping, rank, tie, cost.cycles, energy)
    return found


def loses(best_rank: float, best_tie: float, objective: int, cycles: float, energy_j: float) -> int:
    """1 if a mapping with at least these cycles and joules cannot beat what was found.

    Floors add up in another order than costs do: ranks within a hair of each other count as equal.
    """
    rank = first_rank(objective, cycles, energy_j)
    if rank > best_rank * (1 + 1e-12):
        return 1
    close = rank >= best_rank * (1 - 1e-12)
    return 1 if close and second_rank(objective, cycles, energy_j) >= best_tie * (1 - 1e-12) else 0


def search_orders(
    machine: Machine, gemm: Gemm, tiles: Mapping, floor: TimeFloor, found: Found, objective: int
) -> Found:
    """The best of all loop orders and all choices of what is held, for given tiles."""
    nm, nn, nk = tiles.tiles_m, tiles.tiles_n, tiles.tiles_k
    batch = ceil_div(gemm.batch, tiles.cores_b)
    for outer in range(3):
        counts = (nm, nn, nk)
        if counts[outer] == 1 and nm * nn * nk > 1:
            continue  # a loop that does not turn is not outermost
        if loses(
            found.rank,
            found.tie,
            objective,
            outer_floor(floor, batch, counts, outer),
            outer_energy(floor, counts, outer),
        ):
            continue
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
    counts, order = (nm, nn, nk), (outer, middle, 3 - outer - middle)
    may_a = 1 if nn > 1 and is_exposed(1, outer, middle, nm, nn, nk) else 0
    may_b = 1 if nm > 1 and is_exposed(0, outer, middle, nm, nn, nk) else 0
    may_o = 1 if nk > 1 and is_exposed(2, outer, middle, nm, nn, nk) else 0
    for hold_a in range(may_a + 1):
        whole = collapsed_loops(1, outer, middle, hold_a)
        again = may_a - hold_a
        load = floor.a / (batch * pieces(counts, 1, whole))
        a = Piece(load, 0.0, again, whole)
        fetched_a = floor.a * (nn - 1) * again
        for hold_b in range(may_b + 1):
            whole = collapsed_loops(0, outer, middle, hold_b)
            again = may_b - hold_b
            load = floor.b / (batch * pieces(counts, 0, whole))
            b = Piece(load, 0.0, again, whole)
            fetched_b = floor.b * (nm - 1) * again
            energy = floor.energy + (fetched_a + fetched_b) * floor.rate * floor.fetch_j
            for hold_o in range(may_o + 1):
                whole = collapsed_loops(2, outer, middle, hold_o)
                again = may_o - hold_o
                visits = nk if again else 1
                tile = 1.0 / (batch * pieces(counts, 2, whole) * visits)
                sums = floor.sums * (visits - 1)
                o = Piece((floor.o + 2 * sums) * tile, (floor.o + sums) * tile, again, whole)
                computing = floor.stream + a.cycles + b.cycles + o.last
                moving = floor.a + floor.b + floor.o + fetched_a + fetched_b + 2 * sums
                if loses(found.rank, found.tie, objective, floor.around + max(computing, moving), energy):
                    continue
                cycles = order_floor(machine, floor, batch, counts, order, a, b, o)
                if loses(found.rank, found.tie, objective, cycles, energy):
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
    if loses(found.rank, found.tie, objective, mapping_cycles(machine, gemm, mapping, loops), energy_j):
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


def may_fit(machine: Machine, gemm: Gemm, loops: Nest, tiles: Mapping) -> int:
    """0 if not even one tile of each input fits its memory; `loops` has the extents on one core."""
    in_place = 1 if machine.stage_bytes == 0 else 0
    m = tile_size(loops.M, unit_of(0, machine), tiles.tiles_m)
    n = tile_size(loops.N, unit_of(1, machine), tiles.tiles_n)
    k = tile_size(loops.K, unit_of(2, machine), tiles.tiles_k)
    a = 0.0 if gemm.a_kept and in_place else float(m) * k * gemm.a_share * gemm.a_bytes
    b = 0.0 if gemm.b_kept and in_place else float(k) * n * gemm.b_bytes
    room = machine.buffer_bytes - gemm.reserved_bytes * in_place
    if machine.weight_bytes > 0:
        return 1 if a <= room and b <= machine.weight_bytes else 0
    return 1 if a + b <= room else 0


def search_tiles(machine: Machine, gemm: Gemm, split: Mapping, found: Found, objective: int) -> Found:
    """The best mapping for a given split over cores.

    The floor of a set of tiles falls as tiles shrink along rows and columns, and so does the room they take: each loop
    starts with the smallest and ends at the first that loses or does not fit.
    """
    loops = nest(machine, gemm, split)
    dataflow, batch = machine.dataflow, loops.batch
    units_t = temporal(dataflow, loops.M, loops.N, loops.K)
    units_r = ceil_div(spatial_rows(dataflow, loops.M, loops.N, loops.K), machine.rows)
    units_c = ceil_div(spatial_cols(dataflow, loops.M, loops.N, loops.K), machine.cols)
    found = search_corners(machine, gemm, split, found, objective, units_t, units_r, units_c, batch)
    t = 1
    while t <= units_t:
        floor = time_floor(machine, gemm, split, t)
        if loses(found.rank, found.tie, objective, floor.around + floor.stream, floor.energy):
            break  # more tiles along time only add cycles, and reads of the stationary operand
        r = units_r
        while r > 0:
            finest_c = with_tiles(split, dataflow, t, r, units_c)
            if not may_fit(machine, gemm, loops, finest_c):
                break
            if loses(found.rank, found.tie, objective, tiles_floor(floor, batch, finest_c), floor.energy):
                break
            c = units_c
            while c > 0:
                tiles = with_tiles(split, dataflow, t, r, c)
                if not may_fit(machine, gemm, loops, tiles):
                    break
                if loses(found.rank, found.tie, objective, tiles_floor(floor, batch, tiles), floor.energy):
                    break
                found = search_orders(machine, gemm, tiles, floor, found, objective)
                c = fewer_tiles(units_c, c)
            r = fewer_tiles(units_r, r)
        t = more_tiles(units_t, t)
    return found


def search_corners(
    machine: Machine, gemm: Gemm, split: Mapping, found: Found, objective: int, units_t: int, units_r: int,
    units_c: int, batch: int,
) -> Found:  # fmt: skip
    """The best mapping whose tiles are largest or smallest along rows and columns: good ones early prune the rest."""
    t = 1
    while t <= units_t:
        floor = time_floor(machine, gemm, split, t)
        if loses(found.rank, found.tie, objective, floor.around + floor.stream, floor.energy):
            break
        for r in (1, units_r):
            for c in (1, units_c):
                tiles = with_tiles(split, machine.dataflow, t, r, c)
                if not loses(found.rank, found.tie, objective, tiles_floor(floor, batch, tiles), floor.energy):
                    found = search_orders(machine, gemm, tiles, floor, found, objective)
        t = more_tiles(units_t, t)
    return found


def best_mapping(machine: Machine, gemm: Gemm, objective: int) -> Found:
    """The best mapping of a product for an objective (LATENCY, ENERGY or EDP); ties go to the other metric.

    The rank of the result is infinite if nothing fits; its mapping is then the one with the smallest tiles.
    """
    smallest = finest(machine, gemm)
    cost = evaluate(machine, gemm, smallest)
    found = better(nothing(smallest), smallest, cost, objective)
    cores = machine.cores
    for cores_b in range(1, min(cores, gemm.batch) + 1):
        for cores_m in range(1, min(cores // cores_b, gemm.M) + 1):
            for cores_n in range(1, min(cores // cores_b // cores_m, gemm.N) + 1):
                if cores % (cores_b * cores_m * cores_n) == 0:
                    split = Mapping(cores_b, cores_m, cores_n, 1, 1, 1, 0, 1, 2, 0, 0, 0)
                    found = search_tiles(machine, gemm, split, found, objective)
    return found


def product_floor(machine: Machine, gemm: Gemm) -> tuple[float, float]:
    """Cycles and dynamic joules that no mapping of a product beats."""
    floor = time_floor(machine, gemm, Mapping(1, 1, 1, 1, 1, 1, 0, 1, 2, 0, 0, 0), 1)
    moving = floor.a + floor.b + floor.o
    if machine.cores == 1:
        return floor.around + max(floor.stream, moving), floor.energy
    macs = float(gemm.batch) * gemm.M * gemm.N * gemm.K * gemm.passes
    computing = macs / (float(machine.rows) * machine.cols * machine.cores)
    # Cores read what they do not share once each; what all mappings pay for is the MACs and each operand once.
    return max(computing, moving), array_energy(machine, gemm)


def finest(machine: Machine, gemm: Gemm) -> Mapping:
    """The mapping that needs least memory: one core, tiles of one unit, partial sums leaving in between."""
    units_m = ceil_div(gemm.M, unit_of(0, machine))
    units_n = ceil_div(gemm.N, unit_of(1, machine))
    units_k = ceil_div(gemm.K, unit_of(2, machine))
    return Mapping(1, 1, 1, units_m, units_n, units_k, 0, 1, 2, 0, 0, 0)


def rule_mapping(machine: Machine, gemm: Gemm, objective: int) -> Found:
    """A mapping by recipe: products over cores, then columns; a held whole beside b in columns, else b, else blocks.

    Blocks halve their longest side until they fit. Same result type as `best_mapping`; `objective` only ranks it.
    """
    cores_b = min(machine.cores, gemm.batch)
    cores_n = min(machine.cores // cores_b, ceil_div(gemm.N, unit_of(1, machine)))
    units_m = ceil_div(gemm.M, unit_of(0, machine))
    units_n = ceil_div(ceil_div(gemm.N, cores_n), unit_of(1, machine))
    units_k = ceil_div(gemm.K, unit_of(2, machine))
    mapping = Mapping(cores_b, 1, cores_n, 1, units_n, 1, 1, 0, 2, 0, 0, 0)
    if not fits(machine, gemm, mapping, nest(machine, gemm, mapping)):
        mapping = Mapping(cores_b, 1, cores_n, min(4, units_m), 1, 1, 0, 1, 2, 0, 0, 0)
    nm, nn, nk = 1, 1, 1
    while not fits(machine, gemm, mapping, nest(machine, gemm, mapping)):
        size_m, size_n, size_k = gemm.M // nm, gemm.N // nn, gemm.K // nk
        if nm == units_m and nn == units_n and nk == units_k:
            break
        if nk < units_k and (size_k >= max(size_m, size_n) or (nm == units_m and nn == units_n)):
            nk = min(units_k, 2 * nk)
        elif nm < units_m and (size_m >= size_n or nn == units_n):
            nm = min(units_m, 2 * nm)
        else:
            nn = min(units_n, 2 * nn)
        mapping = Mapping(cores_b, 1, cores_n, nm, nn, nk, 0, 1, 2, 0, 0, 0)
    cost = evaluate(machine, gemm, mapping)
    return better(nothing(mapping), mapping, cost, objective)
