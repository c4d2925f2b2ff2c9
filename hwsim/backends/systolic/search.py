"""Branch and bound: the best mapping of a product on one split over cores.

All mappings of a split lie in at most 27 boxes, one per loop order and choice of what is held. A box whose floor loses
to the best mapping so far is dropped, any other is halved until one mapping is left. Nothing is dropped that could
win, so the result equals brute force.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from hwsim.backends.systolic.boxes import (
    Box,
    Floor,
    Pace,
    Share,
    box_of,
    floor_of,
    halves,
    halving_loop,
    mapping_of,
    pace_of,
    share_floor,
    share_of,
    with_counts,
)
from hwsim.backends.systolic.cost import dynamic_energy, evaluate, first_rank, second_rank
from hwsim.backends.systolic.machine import Cost, Gemm, Machine, Mapping
from hwsim.backends.systolic.tiling import Reuse, reuse_of
from hwsim.backends.systolic.timing import temporal


class Found(NamedTuple):
    """The best mapping so far, its two ranks (infinite until one fits), its cycles and its dynamic joules."""

    mapping: Mapping
    rank: float
    tie: float
    cycles: float
    energy_j: float


def nothing(mapping: Mapping) -> Found:
    """Nothing found yet; `mapping` only fills the place."""
    return Found(mapping, math.inf, math.inf, math.inf, math.inf)


def better(found: Found, mapping: Mapping, cost: Cost, objective: int) -> Found:
    """The better of two mappings; the earlier one if they are equal."""
    energy = dynamic_energy(cost)
    if not cost.fits or loses(found, objective, Floor(cost.cycles, energy)):
        return found
    rank, tie = first_rank(objective, cost.cycles, energy), second_rank(objective, cost.cycles, energy)
    return Found(mapping, rank, tie, cost.cycles, energy)


def loses(found: Found, objective: int, floor: Floor) -> int:
    """1 if a mapping that costs at least `floor` cannot beat what was found.

    Sums taken in another order differ in their last digits: ranks within a hair of each other count as equal, so that
    the metric which breaks ties decides, and not the rounding.
    """
    rank = first_rank(objective, floor.cycles, floor.energy_j)
    if rank > found.rank * (1 + 1e-12):
        return 1
    close = rank >= found.rank * (1 - 1e-12)
    return 1 if close and second_rank(objective, floor.cycles, floor.energy_j) >= found.tie * (1 - 1e-12) else 0


def search_box(
    machine: Machine, gemm: Gemm, share: Share, reuse: Reuse, box: Box, floor: Floor, found: Found, objective: int
) -> Found:  # fmt: skip
    """The better of what was found and the best mapping of a box with that floor: halve it until it holds one.

    The more promising half comes first, the other waits; a half whose floor loses is dropped.
    """
    waiting = [(box, floor)]
    while waiting:
        box, floor = waiting.pop()
        while not loses(found, objective, floor):
            loop = halving_loop(reuse, box)
            if loop < 0:
                mapping = mapping_of(share, reuse, box)
                found = better(found, mapping, evaluate(machine, gemm, mapping), objective)
                break
            box, far = halves(machine, gemm, share, box, loop)
            floor, far_floor = floor_of(machine, gemm, share, reuse, box), floor_of(machine, gemm, share, reuse, far)
            rank = first_rank(objective, floor.cycles, floor.energy_j)
            if first_rank(objective, far_floor.cycles, far_floor.energy_j) < rank:
                box, far, floor, far_floor = far, box, far_floor, floor
            if not loses(found, objective, far_floor):
                waiting.append((far, far_floor))
    return found


def search_order(
    machine: Machine, gemm: Gemm, share: Share, paces: tuple[Pace, Pace], coarse: Mapping, free: int, found: Found,
    objective: int,
) -> Found:  # fmt: skip
    """The better of what was found and the best mapping with the loops of `coarse` and as many tiles or more.

    `free` has the bits of the loops that may have more; `paces` are those of one tile along time and of two.
    """
    most_m = share.units_m if free & 1 else coarse.tiles_m
    most_n = share.units_n if free & 2 else coarse.tiles_n
    most_k = share.units_k if free & 4 else coarse.tiles_k
    if most_m < coarse.tiles_m or most_n < coarse.tiles_n or most_k < coarse.tiles_k:
        return found
    pace = paces[temporal(machine.dataflow, coarse.tiles_m, coarse.tiles_n, coarse.tiles_k) - 1]
    reuse, box = reuse_of(coarse), box_of(machine, share, coarse, (most_m, most_n, most_k), pace)
    floor = floor_of(machine, gemm, share, reuse, box)
    if loses(found, objective, floor):
        return found
    return search_box(machine, gemm, share, reuse, box, floor, found, objective)


def coarsest(split: Mapping, outer: int, middle: int, turning: int, holds: int) -> Mapping:
    """The mapping with two tiles along the loops whose bit is in `turning`, one along the others.

    `holds` has bit 0 if the operand that does not depend on the outermost loop is held, bit 1 for the middle loop.
    """
    held = (holds & 1) << outer | (holds >> 1) << middle
    return Mapping(
        split.cores_b, split.cores_m, split.cores_n, 1 + (turning & 1), 1 + (turning >> 1 & 1), 1 + (turning >> 2),
        outer, middle, 3 - outer - middle, held >> 1 & 1, held & 1, held >> 2,
    )  # fmt: skip


def search_split(machine: Machine, gemm: Gemm, split: Mapping, found: Found, objective: int) -> Found:
    """The better of what was found and the best mapping of a split over cores, given as its mapping of one tile.

    Where fewer than two loops turn, nothing is fetched again. Where two do, it is as if the third turned inside them
    and the operand apart from the middle one were held. The choices of what is held come in the order that finds good
    mappings early: most often the best one holds what does not depend on the outermost loop, next often nothing.
    """
    share = share_of(machine, gemm, split)
    one, two = pace_of(machine, gemm, share, split), pace_of(machine, gemm, share, with_counts(split, 2, 2, 2))
    if loses(found, objective, share_floor(machine, gemm, share, one)):
        return found
    found = better(found, split, evaluate(machine, gemm, split), objective)
    for loop in range(3):
        coarse = coarsest(split, loop, 0 if loop else 1, 1 << loop, 0)
        found = search_order(machine, gemm, share, (one, two), coarse, 1 << loop, found, objective)
    for holds in (1, 3, 0, 2):
        for outer in range(3):
            for middle in range(3):
                if middle != outer:
                    turning = 1 << outer | 1 << middle if holds & 2 else 7
                    coarse = coarsest(split, outer, middle, turning, holds)
                    found = search_order(machine, gemm, share, (one, two), coarse, 7, found, objective)
    return found
