"""Our map space at ZigZag's prices: the loop nest of each of our ws mappings, and the cheapest of them all.

Only tiles that divide evenly are enumerated: ZigZag's nests have whole loops, so that any other tile costs it padding.
What each memory holds is left to ZigZag's own rule, so that both sides are priced alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import permutations, product
from math import ceil

from zigzag_price import Gemm, Loop, Nest, allocate, latency, price

from hwsim.backends.systolic.machine import Mapping


@dataclass(frozen=True)
class Priced:
    """What ZigZag charges for a nest: picojoules and cycles."""

    energy_pj: float
    cycles: float

    @property
    def edp(self) -> float:
        """Energy-delay product in picojoule cycles."""
        return self.energy_pj * self.cycles


@dataclass(frozen=True)
class Cheapest:
    """The least of each over a map space, not necessarily of one mapping."""

    energy_pj: float
    cycles: float
    edp: float


def nest_of(mapping: Mapping, gemm: Gemm) -> tuple[Nest, Gemm]:
    """The loops of a ws mapping from inside out, and the GEMM they cover (padded where tiles do not divide evenly).

    Inside a tile M passes in time, then come the folds of K, then those of N, as the array takes them.
    """
    units = (gemm.M, ceil(gemm.N / gemm.side), ceil(gemm.K / gemm.side))
    tiles = (mapping.tiles_m, mapping.tiles_n, mapping.tiles_k)
    within = [ceil(unit / count) for unit, count in zip(units, tiles, strict=True)]
    inside = [Loop("M", within[0]), Loop("K", within[2]), Loop("N", within[1])]
    around = [Loop(("M", "N", "K")[loop], tiles[loop]) for loop in (mapping.inner, mapping.middle, mapping.outer)]
    nest = tuple(loop for loop in inside + around if loop.size > 1) or (Loop("M", 1),)
    return nest, replace(gemm, M=within[0] * tiles[0])


def priced(nest: Nest, gemm: Gemm) -> Priced:
    """A nest at ZigZag's prices."""
    cuts = allocate(gemm, nest)
    return Priced(sum(price(gemm, nest, cuts).values()), sum(latency(gemm, nest, cuts).values()))


def mappings(gemm: Gemm) -> Iterator[Mapping]:
    """Our mappings on one ws array whose tiles divide evenly, in every loop order."""
    steps, columns, rows = divisors(gemm.M), divisors(ceil(gemm.N / gemm.side)), divisors(ceil(gemm.K / gemm.side))
    for tiles_m, tiles_n, tiles_k in product(steps, columns, rows):
        for outer, middle, inner in permutations(range(3)):
            yield Mapping(1, 1, 1, tiles_m, tiles_n, tiles_k, outer, middle, inner, 0, 0, 0)


def nests(gemm: Gemm) -> frozenset[Nest]:
    """The distinct loop nests of our map space; evenly divided, all cover the GEMM itself."""
    return frozenset(nest_of(mapping, gemm)[0] for mapping in mappings(gemm))


def divisors(units: int) -> list[int]:
    """Numbers of equal tiles of a dimension."""
    return [count for count in range(1, units + 1) if units % count == 0]


def cheapest(gemm: Gemm) -> Cheapest:
    """The least energy, cycles and energy-delay product of our map space."""
    found = [priced(nest, gemm) for nest in nests(gemm)]
    return Cheapest(
        min(item.energy_pj for item in found), min(item.cycles for item in found), min(item.edp for item in found)
    )
