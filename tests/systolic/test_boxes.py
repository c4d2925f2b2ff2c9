"""The floors that the search prunes by: never above the cost of what a box holds, and its cost where it holds one."""

from __future__ import annotations

import math
import random
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.backends.systolic.boxes import Floor, box_of, floor_of, halves, halving_loop, mapping_of, pace_of, share_of
from hwsim.backends.systolic.cost import dynamic_energy, evaluate
from hwsim.backends.systolic.machine import ENERGY, LATENCY, WS, Gemm, Machine, Mapping
from hwsim.backends.systolic.mapper import best_mapping, product_floor
from hwsim.backends.systolic.search import coarsest, loses, nothing
from hwsim.backends.systolic.tiling import reuse_of
from hwsim.backends.systolic.timing import ceil_div, edge_cycles, least_edge, stream_cycles
from tests.systolic.problems import BASE, GEMM, random_gemm, random_machine

SLACK = 1 + 1e-12


def random_split(rng: random.Random, machine: Machine, gemm: Gemm) -> Mapping:
    """One tile on some split over cores."""
    splits = [(b, m, n) for b in (1, 2, 4) for m in (1, 2, 4) for n in (1, 2, 4) if machine.cores % (b * m * n) == 0]
    b, m, n = rng.choice([s for s in splits if s[0] <= gemm.batch and s[1] <= gemm.M and s[2] <= gemm.N])
    return Mapping(b, m, n, 1, 1, 1, 0, 1, 2, 0, 0, 0)


def random_start(rng: random.Random, split: Mapping) -> tuple[Mapping, int]:
    """The coarse end of one of the boxes that the search starts from, and the loops that may have more tiles."""
    outer, middle, _ = rng.choice(list(permutations(range(3))))
    holds = rng.randrange(5)
    if holds == 4:
        return coarsest(split, outer, middle, 1 << outer, 0), 1 << outer
    return coarsest(split, outer, middle, 1 << outer | 1 << middle if holds & 2 else 7, holds), 7


def check_floors(machine: Machine, gemm: Gemm, rng: random.Random) -> int:
    """Halve a random box down to one random mapping; every floor on the way must hold. 1 if that mapping fits."""
    share = share_of(machine, gemm, random_split(rng, machine, gemm))
    coarse, free = random_start(rng, share.split)
    units = (share.units_m, share.units_n, share.units_k)
    counts = coarse.tiles_m, coarse.tiles_n, coarse.tiles_k
    most = tuple(units[loop] if free >> loop & 1 else counts[loop] for loop in range(3))
    if any(most[loop] < counts[loop] for loop in range(3)):
        return 0
    reuse, box = reuse_of(coarse), box_of(machine, share, coarse, most, pace_of(machine, gemm, share, coarse))
    floors = [floor_of(machine, gemm, share, reuse, box)]
    while (loop := halving_loop(reuse, box)) >= 0:
        box = rng.choice(halves(machine, gemm, share, box, loop))
        floors.append(floor_of(machine, gemm, share, reuse, box))
    cost = evaluate(machine, gemm, mapping_of(share, reuse, box))
    assert cost.fits == (1 if math.isfinite(floors[-1].cycles) else 0)
    if not cost.fits:
        return 0
    energy = dynamic_energy(cost)
    for floor in floors:
        assert floor.cycles <= cost.cycles * SLACK, (machine, gemm, box)
        assert floor.energy_j <= energy * SLACK, (machine, gemm, box)
    assert floors[-1].energy_j == pytest.approx(energy, rel=1e-12)
    if machine.stage_bytes == 0 and machine.double == 1:
        assert floors[-1].cycles == pytest.approx(cost.cycles, rel=1e-12)
    return 1


@pytest.mark.parametrize("seed", range(20))
def test_no_mapping_beats_the_floor_of_its_box(seed: int) -> None:
    rng = random.Random(seed)
    sizes = (4, 9, 40) * 60
    tried = sum(check_floors(random_machine(rng), random_gemm(rng, most), rng) for most in sizes)
    assert tried > 30, "too few of the mappings fit"


size = st.integers(1, 3000)


@settings(max_examples=150, deadline=None)
@given(M=size, N=size, K=size, seed=st.integers(0, 1 << 30))
def test_floors_hold_for_large_products_too(M: int, N: int, K: int, seed: int) -> None:
    rng = random.Random(seed)
    machine = random_machine(rng)._replace(
        rows=rng.choice([8, 16, 64]), cols=rng.choice([8, 16, 64]), buffer_bytes=1 << rng.randrange(12, 23),
        weight_bytes=0, accumulator_bytes=rng.choice([0, 1 << 16]), burst_bytes=64,
    )  # fmt: skip
    check_floors(machine, random_gemm(rng)._replace(M=M, N=N, K=K), rng)


def test_halves_share_out_all_tile_counts_of_a_box() -> None:
    gemm = GEMM._replace(M=97, N=1, K=1)
    machine = BASE._replace(dataflow=WS)
    share = share_of(machine, gemm, Mapping(1, 1, 1, 1, 1, 1, 0, 1, 2, 0, 0, 0))
    coarse = coarsest(share.split, 0, 1, 1, 0)
    reuse = reuse_of(coarse)
    todo, found = [box_of(machine, share, coarse, (97, 1, 1), pace_of(machine, gemm, share, coarse))], []
    while todo:
        box = todo.pop()
        loop = halving_loop(reuse, box)
        if loop < 0:
            found.append(box.least_m)
        else:
            todo += halves(machine, gemm, share, box, loop)
    assert sorted(found) == sorted({ceil_div(97, tile) for tile in range(1, 97)})


def test_the_floor_of_a_box_is_tight_where_it_is_one_mapping() -> None:
    """With double buffers stalls are per kind of step: the floor of one mapping is its cost, not merely below."""
    machine, gemm = BASE._replace(dram_bytes_per_cycle=1.0), GEMM._replace(M=40, N=36, K=32)
    share = share_of(machine, gemm, Mapping(1, 1, 1, 1, 1, 1, 0, 1, 2, 0, 0, 0))
    tight = 0
    for order in permutations(range(3)):
        for holds in range(4):
            coarse = coarsest(share.split, order[0], order[1], 7, holds)
            pace = pace_of(machine, gemm, share, coarse)
            floor = floor_of(machine, gemm, share, reuse_of(coarse), box_of(machine, share, coarse, (2, 2, 2), pace))
            cost = evaluate(machine, gemm, coarse)
            assert cost.fits
            assert floor.cycles > 0.8 * cost.cycles
            tight += floor.cycles > (1 - 1e-12) * cost.cycles
    assert tight >= 12


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([1, 2, 5, 16]), st.sampled_from([1, 2, 5, 16]), st.integers(0, 2), st.integers(0, 1),
    st.integers(1, 60), st.integers(1, 60), st.integers(1, 90),
)  # fmt: skip
def test_more_tiles_along_time_only_add_cycles(
    rows: int, cols: int, dataflow: int, overlap: int, sr: int, sc: int, t: int
) -> None:
    streams, totals = [], []
    for chunks in sorted({ceil_div(t, length) for length in range(1, t + 1)}):
        edge = edge_cycles(rows, cols, dataflow, overlap, sr, sc, t, chunks)
        assert edge >= least_edge(rows, cols, sc)
        streams.append(stream_cycles(rows, cols, overlap, sr, sc, t, chunks))
        totals.append(streams[-1] + edge)
    assert streams == sorted(streams)
    assert totals == sorted(totals)


@pytest.mark.parametrize("seed", range(60))
def test_no_product_beats_its_floor(seed: int) -> None:
    rng = random.Random(seed)
    machine, gemm = random_machine(rng), random_gemm(rng, 30)
    floor = product_floor(machine, gemm)
    for objective in (LATENCY, ENERGY):
        found = best_mapping(machine, gemm, objective)
        assert math.isinf(found.rank) or (
            found.cycles >= floor.cycles / SLACK and found.energy_j >= floor.energy_j / SLACK
        )


def test_what_is_a_hair_faster_but_burns_more_does_not_win() -> None:
    machine, gemm = BASE, GEMM
    found = best_mapping(machine, gemm, LATENCY)
    assert loses(nothing(found.mapping), LATENCY, Floor(found.cycles, found.energy_j)) == 0
    assert loses(found, LATENCY, Floor(found.cycles * (1 - 1e-15), found.energy_j * 1.1)) == 1
    assert loses(found, LATENCY, Floor(found.cycles * (1 + 1e-15), found.energy_j * 0.9)) == 0
    assert loses(found, LATENCY, Floor(found.cycles * 1.01, 0.0)) == 1
