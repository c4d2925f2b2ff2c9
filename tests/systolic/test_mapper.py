"""The search against brute force, and a mapping's traffic and cycles against a walk through its loops."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from itertools import permutations, product

import pytest

from hwsim.backends.systolic.cost import dynamic_energy, evaluate, first_rank, second_rank
from hwsim.backends.systolic.machine import EDP, ENERGY, LATENCY, Gemm, Machine, Mapping
from hwsim.backends.systolic.mapper import best_mapping, rule_mapping
from hwsim.backends.systolic.tiling import nest, unit_of
from tests.systolic.problems import BASE, GEMM, random_gemm, random_machine


def all_mappings(machine: Machine, gemm: Gemm) -> Iterator[Mapping]:
    """Every mapping: any tile size along each dimension, any order, any split over the cores; each operand that the
    loops would fetch again is held or fetched again."""
    divisors = [n for n in range(1, machine.cores + 1) if machine.cores % n == 0]
    for cores in product(divisors, repeat=3):
        if machine.cores % math.prod(cores) or cores[0] > gemm.batch or cores[1] > gemm.M or cores[2] > gemm.N:
            continue
        extents = (-(-gemm.M // cores[1]), -(-gemm.N // cores[2]), gemm.K)
        units = [-(-extent // unit_of(dim, machine)) for dim, extent in enumerate(extents)]
        for tiles in product(*({-(-count // size) for size in range(1, count + 1)} for count in units)):
            for order in permutations(range(3)):
                fetched = nest(machine, gemm, Mapping(*cores, *tiles, *order, 0, 0, 0))
                again = (fetched.a_fetches, fetched.b_fetches, fetched.o_visits)
                for holds in product(*((0, 1) if times > 1 else (0,) for times in again)):
                    yield Mapping(*cores, *tiles, *order, *holds)


def ranks(machine: Machine, gemm: Gemm, mapping: Mapping, objective: int) -> tuple[float, float]:
    cost = evaluate(machine, gemm, mapping)
    if not cost.fits:
        return math.inf, math.inf
    energy = dynamic_energy(cost)
    return first_rank(objective, cost.cycles, energy), second_rank(objective, cost.cycles, energy)


def check_against_brute_force(seed: int, most: int) -> None:
    rng = random.Random(seed)
    machine, gemm = random_machine(rng), random_gemm(rng, most)
    objective = rng.choice([LATENCY, ENERGY, EDP])
    best = min(ranks(machine, gemm, mapping, objective)[0] for mapping in all_mappings(machine, gemm))
    found = best_mapping(machine, gemm, objective)
    if math.isinf(best):
        assert math.isinf(found.rank)
        return
    assert evaluate(machine, gemm, found.mapping).fits
    assert found.rank <= best * (1 + 1e-9), (seed, machine, gemm, objective, found.mapping)
    assert found.rank >= best * (1 - 1e-9), "the search found a mapping outside the map space"


@pytest.mark.parametrize("seed", range(60))
def test_search_equals_brute_force(seed: int) -> None:
    check_against_brute_force(seed, 5)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1000, 1500))
def test_search_equals_brute_force_on_500_problems(seed: int) -> None:
    check_against_brute_force(seed, 9)


@pytest.mark.parametrize("seed", range(40))
def test_the_recipe_is_legal_and_never_better_than_the_search(seed: int) -> None:
    rng = random.Random(seed)
    machine, gemm = random_machine(rng), random_gemm(rng, 30)
    objective = rng.choice([LATENCY, ENERGY, EDP])
    found, recipe = best_mapping(machine, gemm, objective), rule_mapping(machine, gemm, objective)
    assert found.rank <= recipe.rank * (1 + 1e-9)


def walk(counts: tuple[int, int, int], mapping: Mapping) -> Iterator[tuple[dict[str, tuple[int, ...]], bool]]:
    """The tile or panel of each operand at every step of the loops, in order."""
    order = (mapping.outer, mapping.middle, mapping.inner)
    apart = {"a": 1, "b": 0, "o": 2}
    held = {"a": mapping.hold_a, "b": mapping.hold_b, "o": mapping.hold_o}
    for place in product(*(range(counts[loop]) for loop in order)):
        index = dict(zip(order, place, strict=True))
        panels = {}
        for name, loop in apart.items():
            inside = order[order.index(loop) + 1 :] if held[name] else ()
            panels[name] = tuple(index[d] for d in range(3) if d != loop and d not in inside)
        yield panels, True


@pytest.mark.parametrize("seed", range(80))
def test_traffic_and_cycles_equal_a_walk_through_the_loops(seed: int) -> None:
    """Tiles that divide evenly leave no mean to take: the closed form must equal the walk to the last digit."""
    rng = random.Random(seed)
    machine = BASE._replace(
        rows=2, cols=2, dataflow=rng.randrange(3), dram_bytes_per_cycle=rng.choice([0.5, 2.0, 8.0]),
        double=rng.choice([1, 2]), overlap=rng.randrange(2),
    )  # fmt: skip
    counts = (rng.choice([1, 2, 3]), rng.choice([1, 2, 3]), rng.choice([1, 2, 3]))
    gemm = GEMM._replace(M=4 * counts[0], N=4 * counts[1], K=4 * counts[2], batch=rng.choice([1, 2]))
    order = rng.choice(list(permutations(range(3))))
    mapping = Mapping(1, 1, 1, *counts, *order, *(rng.randrange(2) for _ in range(3)))
    cost, loops = evaluate(machine, gemm, mapping), nest(machine, gemm, mapping)
    loads, stores = [], []
    before: dict[str, tuple[int, ...]] = {}
    visited: dict[tuple[int, ...], int] = {}
    visits_each = math.prod(counts) // len({p["o"] for p, _ in walk(counts, mapping)})
    size = {"a": 1.0 * gemm.M * gemm.K, "b": 1.0 * gemm.K * gemm.N}
    pieces = {name: len({p[name] for p, _ in walk(counts, mapping)}) for name in ("a", "b", "o")}
    assert visits_each >= 1
    for panels, _ in walk(counts, mapping):
        load = sum(size[name] / pieces[name] for name in ("a", "b") if before.get(name) != panels[name])
        if before.get("o") != panels["o"]:
            visited[panels["o"]] = visited.get(panels["o"], 0) + 1
        loads.append(load)
        stores.append(panels["o"])
        before = panels
    visits = max(visited.values())
    assert len(set(visited.values())) == 1
    assert loops.o_visits == visits
    a_and_b = gemm.batch * sum(loads)
    assert cost.a_bytes + cost.b_bytes == pytest.approx(a_and_b)
    assert cost.o_bytes == gemm.batch * gemm.M * gemm.N
    assert cost.partial_bytes == pytest.approx(gemm.batch * gemm.M * gemm.N * gemm.acc_bytes * (visits - 1))
    if visits == 1:
        assert cost.cycles == pytest.approx(
            _clocked(machine, gemm, cost.compute_cycles, loads, stores, pieces["o"], loops)
        )


def _clocked(machine, gemm, compute_cycles, loads, stores, pieces_o, loops):  # type: ignore[no-untyped-def]
    """Ping-pong buffers step by step: a step computes while the next loads and the last one's results leave."""
    from hwsim.backends.systolic.timing import edge_cycles, spatial_cols, spatial_rows, temporal

    shape = (gemm.M, gemm.N, gemm.K)
    flow = machine.dataflow
    chunks = temporal(flow, loops.M // loops.tile_m, loops.N // loops.tile_n, loops.K // loops.tile_k)
    edge = edge_cycles(
        machine.rows, machine.cols, flow, machine.overlap, spatial_rows(flow, *shape), spatial_cols(flow, *shape),
        temporal(flow, *shape), chunks,
    )  # fmt: skip
    steps = gemm.batch * len(loads)
    compute = (compute_cycles - edge) / steps
    rate = machine.dram_bytes_per_cycle
    result = gemm.M * gemm.N * gemm.o_bytes / pieces_o
    all_loads, all_stores = loads * gemm.batch, [(n, s) for n in range(gemm.batch) for s in stores]
    total = all_loads[0] / rate
    for step in range(steps - 1):
        leaves = result if all_stores[step] != all_stores[step + 1] else 0.0
        moving = (all_loads[step + 1] + leaves) / rate
        total += max(compute, moving) if machine.double > 1 else compute + moving
    return total + compute + result / rate + edge
