"""Mappings of one product: the best by exact search, one by recipe, and what none beats.

The map space: every way to split the product over divisors of the cores along batch, M and N; every distinct tile
size along M, N and K in whole units (A4), imperfect factors included; all six loop orders; each operand held or
fetched again. `rule_mapping` is the cheap alternative, a fixed recipe without a search.
"""

from __future__ import annotations

from hwsim.backends.systolic.boxes import Floor, pace_of, share_floor, share_of
from hwsim.backends.systolic.cost import evaluate
from hwsim.backends.systolic.machine import Gemm, Machine, Mapping
from hwsim.backends.systolic.search import Found, better, nothing, search_split
from hwsim.backends.systolic.tiling import fits, nest, unit_of
from hwsim.backends.systolic.timing import ceil_div


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
                    found = search_split(machine, gemm, split, found, objective)
    return found


def product_floor(machine: Machine, gemm: Gemm) -> Floor:
    """Cycles and dynamic joules that no mapping of a product beats."""
    share = share_of(machine, gemm, Mapping(1, 1, 1, 1, 1, 1, 0, 1, 2, 0, 0, 0))
    floor = share_floor(machine, gemm, share, pace_of(machine, gemm, share, share.split))
    if machine.cores == 1:
        return floor
    # More cores read more copies, so that joules of one core are a floor for all splits; cycles are not.
    macs = float(gemm.batch) * gemm.M * gemm.N * gemm.K * gemm.passes
    computing = macs / (float(machine.rows) * machine.cols * machine.cores)
    return Floor(max(computing, (share.a + share.b + share.o) * share.per_byte), floor.energy_j)


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
