"""What the model must obey: bounds over large shapes, fusion, formats, passes, and messages."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.backends.synthetic import transformer
from hwsim.backends.systolic import Systolic
from hwsim.backends.systolic.bounds import product_bytes
from hwsim.backends.systolic.choose import Choice, choose
from hwsim.backends.systolic.cost import dynamic_energy, evaluate
from hwsim.backends.systolic.design import design_of
from hwsim.backends.systolic.machine import EDP, ENERGY, LATENCY, Mapping
from hwsim.backends.systolic.mapper import best_mapping, product_floor, rule_mapping
from hwsim.backends.systolic.plan import arithmetic_of, plan_of
from hwsim.backends.systolic.solve import shares_of
from hwsim.backends.systolic.spec import spec_of
from hwsim.core.errors import SpecError
from hwsim.core.results import Estimate, Infeasible
from hwsim.graph.ir import WorkloadGraph
from hwsim.spec.arch import load_arch
from tests.systolic.problems import BASE, GEMM

VIT = transformer(grid=14, patch=16, heads=3, head_dim=64, mlp_ratio=4, depth=2, dtype="int8")
size = st.one_of(
    st.integers(1, 64), st.sampled_from([1, 2, 197, 199, 1000, 1009, 19_997, 20_000]), st.integers(1, 20_000)
)


def estimated(graph: WorkloadGraph, **changes: object) -> Estimate:
    settings_by_path = {path.replace("__", "."): value for path, value in changes.items()}
    result = Systolic().estimate(graph, load_arch("systolic_int8", settings_by_path))
    assert isinstance(result, Estimate)
    return result


@settings(max_examples=60, deadline=None)
@given(M=size, N=size, K=size, rows=st.sampled_from([1, 16, 128]), dataflow=st.integers(0, 2), kib=st.integers(2, 4096))
def test_bounds_hold_from_one_to_twenty_thousand(M: int, N: int, K: int, rows: int, dataflow: int, kib: int) -> None:
    machine = BASE._replace(
        rows=rows, cols=32, dataflow=dataflow, buffer_bytes=kib * 1024, accumulator_bytes=1 << 15, burst_bytes=64
    )
    gemm = GEMM._replace(M=M, N=N, K=K)
    found = rule_mapping(machine, gemm, LATENCY)
    if math.isinf(found.rank):
        assert kib < 64, "tiles of one array fit 64 KiB"
        return
    cost = evaluate(machine, gemm, found.mapping)
    assert isinstance(int(cost.compute_cycles), int)
    assert cost.compute_cycles * machine.rows * machine.cols >= M * N * K
    assert cost.cycles >= cost.compute_cycles * (1 - 1e-12)
    moved = cost.dram_read_bytes + cost.dram_write_bytes
    assert moved >= product_bytes(machine, gemm) * (1 - 1e-12)
    assert cost.cycles >= moved / machine.dram_bytes_per_cycle * (1 - 1e-12)
    least_cycles, least_energy = product_floor(machine, gemm)
    assert cost.cycles >= least_cycles * (1 - 1e-12)
    assert dynamic_energy(cost) >= least_energy * (1 - 1e-12)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 64), st.integers(1, 64), st.integers(1, 64), st.integers(0, 2), st.integers(1, 40))
def test_a_larger_buffer_never_hurts(M: int, N: int, K: int, objective: int, kib: int) -> None:
    gemm = GEMM._replace(M=M, N=N, K=K)
    small = best_mapping(BASE._replace(buffer_bytes=kib * 64), gemm, objective)
    large = best_mapping(BASE._replace(buffer_bytes=kib * 80), gemm, objective)
    assert large.rank <= small.rank * (1 + 1e-12)


def test_objectives_are_best_at_what_they_name() -> None:
    machine, gemm = BASE._replace(rows=8, cols=8, buffer_bytes=2048), GEMM._replace(M=97, N=64, K=48)
    found = {objective: best_mapping(machine, gemm, objective) for objective in (LATENCY, ENERGY, EDP)}
    assert found[LATENCY].cycles == min(item.cycles for item in found.values())
    assert found[ENERGY].energy_j == min(item.energy_j for item in found.values())
    products = {objective: item.cycles * item.energy_j for objective, item in found.items()}
    assert products[EDP] == min(products.values())


def test_memory_for_activations_that_do_not_fit_it_is_left_to_tiles() -> None:
    spec = spec_of(load_arch("systolic_int8", {"memory.buffer.size": "64 KiB"}))
    tables, (machine, unit) = plan_of(VIT, arithmetic_of(spec)).tables, design_of(spec).one()
    rooms = [0.0] + [math.inf] * (len(tables.rooms) - 1)

    def choice(*shares: float, limit: float = math.inf) -> Choice:
        mappings = np.zeros((len(shares), len(tables.products), len(Mapping._fields)), np.int64)
        products, moves, counts = tables.products.tolist(), tables.moves.tolist(), tables.counts.tolist()
        return choose(machine, unit, products, moves, counts, rooms, list(shares), ENERGY, 0, limit, mappings)

    assert choice(0.0).energy_j < choice(0.5).energy_j
    best = choice(*shares_of(spec.mapping))
    assert best == choice(0.0)
    assert choice(*shares_of(spec.mapping), limit=best.energy_j) == best, "what ties with the limit is kept"
    assert math.isinf(choice(*shares_of(spec.mapping), limit=0.8 * best.energy_j).energy_j)


def test_keeping_activations_on_chip_saves_dram_and_only_dram() -> None:
    apart = estimated(VIT, mapping__residency=0)
    kept = estimated(VIT, mapping__residency=0.75, memory__buffer__size="8 MiB")
    assert kept.energy_ledger_j["dram"] < 0.8 * apart.energy_ledger_j["dram"]
    assert kept.energy_ledger_j["mac"] == pytest.approx(apart.energy_ledger_j["mac"])
    weights = sum(t.elements for t in VIT.tensors.values() if t.role == "parameter" and t.name.endswith(".weight"))
    assert sum(row.bytes.get("dram", 0.0) for row in kept.ops) >= weights


def test_one_head_of_scores_is_alive_at_a_time_in_a_fused_attention() -> None:
    graph = WorkloadGraph.from_json(_grouped(VIT).to_json())
    arithmetic = arithmetic_of(spec_of(load_arch("systolic_int8")))
    scores = 197 - 1  # tokens
    fused, split = plan_of(graph, arithmetic), plan_of(VIT, arithmetic)
    smallest = min(rung.room_bytes for rung in fused.rungs if any("softmax" in name for name in rung.kept))
    assert smallest < min(rung.room_bytes for rung in split.rungs if any("softmax" in name for name in rung.kept))
    assert smallest >= scores * scores


def _grouped(graph: WorkloadGraph) -> WorkloadGraph:
    from dataclasses import replace

    inside = ("qk", "softmax", "av")
    ops = tuple(
        replace(op, group=f"{op.module.rsplit('.', 1)[0]}:attention") if op.name.endswith(inside) else op
        for op in graph.ops
    )
    return replace(graph, ops=ops)


def test_wider_operands_take_passes_and_narrower_ones_save_memory() -> None:
    int8 = estimated(VIT)
    int16 = estimated(VIT, precision__activations="int16", precision__weights="int16")
    int4 = estimated(VIT, precision__weights="int4")
    assert int16.latency_s > 1.2 * int8.latency_s
    assert int4.energy_ledger_j["dram"] < int8.energy_ledger_j["dram"]
    assert int4.energy_ledger_j["mac"] < int8.energy_ledger_j["mac"]


def test_every_operator_is_priced() -> None:
    result = estimated(VIT)
    by_kind: dict[str, float] = {}
    for row in result.ops:
        by_kind[row.kind] = by_kind.get(row.kind, 0.0) + row.energy_j
    for kind in ("softmax", "norm", "activation", "elementwise", "reduction"):
        assert by_kind[kind] > 0, kind


def test_too_small_a_buffer_names_the_smallest_that_fits() -> None:
    result = Systolic().estimate(VIT, load_arch("systolic_int8", {"memory.buffer.size": "1 KiB"}))
    assert isinstance(result, Infeasible)
    least = next(lever for lever in result.levers if lever.path == "memory.buffer.size").value
    arch = load_arch("systolic_int8")
    enough = arch.with_values({"memory.buffer.size": f"{least:.0f} B"})
    short = arch.with_values({"memory.buffer.size": f"{least - 1:.0f} B"})
    after = Systolic().estimate(VIT, enough)
    assert isinstance(after, Estimate) or after.op != result.op
    still = Systolic().estimate(VIT, short)
    assert isinstance(still, Infeasible)
    assert still.op == result.op


def test_a_shared_buffer_below_a_global_one_is_refused() -> None:
    changes = {
        "array.cores": 2,
        "memory.buffer.shared": True,
        "memory.global_buffer": {"size": "1 MiB", "bandwidth": "1 GB/s"},
    }
    with pytest.raises(SpecError, match="buffers of their own below a global buffer"):
        load_arch("systolic_int8", changes)


def test_spans_fill_the_tracks_of_the_array_the_vector_unit_and_the_dma() -> None:
    result = estimated(VIT)
    assert {"array", "vector", "dma"} <= {span.track for span in result.timeline()}
    assert any("buffer_bytes" in span.counters for span in result.timeline())
