from __future__ import annotations
import math
from typing import NamedTuple
from hwsim.backends.systolic.boxes import Box, Floor, Pace, Share, all_loops, box_of, floor_of, halves, halving_loop, mapping_of, one_loop, pace_of, share_of, with_counts
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
    rank, tie = first_rank(objective, cost.cycles, energy), second_rank(objective, cost.cycles, energy)
    if cost.fits and not loses(found, objective, Floor(cost.cycles, energy)):
        return Found(mapping, rank, tie, cost.cycles, energy)
    return found


def loses(found: Found, objective: int, floor: Floor) -> int:
    """1 if a mapping that costs at least `floor` cannot beat what was found.

    Floors add up in another order than costs do: ranks within a hair of each other count as equal.
    """
    rank = first_rank(objective, floor.cycles, floor.energy_j)
    if rank > found.rank * (1 + 1e-12):
        return 1
    close = rank >= found.rank * (1 - 1e-12)
    return 1 if close and second_rank(objective, floor.cycles, floor.energy_j) >= found.tie * (1 - 1e-12) else 0


def search_box(
    machine: Machine, gemm: Gemm, share: Share, reuse: Reuse, box: Box, found: Found, objective: int
) -> Found:  # fmt: skip
    """The better of what was found and the best mapping of a box whose floor does not lose: halve it, or cost it."""
    loop = halving_loop(reuse, box)
    if loop < 0:
        mapping = mapping_of(share, reuse, box)
        return better(found, mapping, evaluate(machine, gemm, mapping), objective)
    near, far = halves(machine, gemm, share, box, loop)
    near_floor, far_floor = floor_of(machine, gemm, share, reuse, near), floor_of(machine, gemm, share, reuse, far)
    near_rank = first_rank(objective, near_floor.cycles, near_floor.energy_j)
    if first_rank(objective, far_floor.cycles, far_floor.energy_j) < near_rank:
        near, far, near_floor, far_floor = far, near, far_floor, near_floor
    if not loses(found, objective, near_floor):
        found = search_box(machine, gemm, share, reuse, near, found, objective)
    if not loses(found, objective, far_floor):
        found = search_box(machine, gemm, share, reuse, far, found, objective)
    return found


def search_from(
    machine: Machine, gemm: Gemm, share: Share, pace: Pace, coarse: Mapping, most: tuple[int, int, int], found: Found,
    objective: int,
) -> Found:  # fmt: skip
    """The better of what was found and the best mapping with the loops of `coarse` and from its tiles up to `most`."""
    reuse, box = reuse_of(coarse), box_of(machine, share, coarse, most, pace)
    if loses(found, objective, floor_of(machine, gemm, share, reuse, box)):
        return found
    return search_box(machine, gemm, share, reuse, box, found, objective)


def search_split(machine: Machine, gemm: Gemm, split: Mapping, found: Found, objective: int) -> Found:
    """The better of what was found and the best mapping of a split over cores, which comes with one tile."""
    found = better(found, split, evaluate(machine, gemm, split), objective)
    share = share_of(machine, gemm, split)
    units = (share.units_m, share.units_n, share.units_k)
    one, two = pace_of(machine, gemm, share, with_counts(split, 1, 1, 1)), pace_of(machine, gemm, share, with_counts(split, 2, 2, 2))
    for outer in range(3):
        if units[outer] > 1:
            coarse, most = one_loop(share, outer)
            t = temporal(machine.dataflow, coarse.tiles_m, coarse.tiles_n, coarse.tiles_k)
            found = search_from(machine, gemm, share, one if t == 1 else two, coarse, most, found, objective)
    for holds in (3, 2, 1, 0):
        for outer in range(3):
            for turn in (1, 2):
                middle = (outer + turn) % 3
                inner = 3 - outer - middle
                if units[outer] > 1 and units[middle] > 1 and (units[inner] > 1 or holds & 2):
                    coarse = all_loops(share, outer, middle, holds)
                    t = temporal(machine.dataflow, coarse.tiles_m, coarse.tiles_n, coarse.tiles_k)
                    found = search_from(machine, gemm, share, one if t == 1 else two, coarse, units, found, objective)
    return found
