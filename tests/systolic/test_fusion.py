"""MLPs in blocks of rows: what moves, that it never hurts, where it is out of the question, and how it is shown."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.backends.synthetic import GraphBuilder
from hwsim.backends.systolic import Systolic
from hwsim.backends.systolic.fusion import alternatives
from hwsim.backends.systolic.plan import arithmetic_of, plan_of
from hwsim.backends.systolic.residency import in_blocks
from hwsim.backends.systolic.spec import spec_of
from hwsim.core.results import Estimate, Infeasible
from hwsim.graph.ir import WorkloadGraph
from hwsim.spec.arch import Arch, load_arch

ROWS, WIDTH, HIDDEN = 1024, 32, 256


def mlp(rows: int = ROWS, width: int = WIDTH, hidden: int = HIDDEN, between: str = "activation") -> WorkloadGraph:
    """fc1 -> gelu -> fc2, or a norm in the activation's place, or a second reader of the intermediate."""
    g = GraphBuilder("mlp", dtype="int8")
    y = g.linear("fc1", g.input((rows, width)), hidden)
    norm = between == "norm"
    z = g.rowwise("norm", "norm", "layer_norm", y) if norm else g.pointwise("act", "activation", "gelu", y)
    if between == "second reader":
        g.pointwise("again", "elementwise", "mul", z, z)
    g.linear("fc2", z, width)
    return g.build()


def arch_of(**changes: object) -> Arch:
    """128 KiB of which activations get half; a DRAM burst of one byte, so that bytes can be counted by hand."""
    settings_by_path: dict[str, object] = {"memory.buffer.size": "128 KiB", "memory.dram.burst": "1 B"}
    settings_by_path |= {"mapping.residency": 0.5, "mapping.objective": "energy"}
    return load_arch("systolic_int8", settings_by_path | {p.replace("__", "."): v for p, v in changes.items()})


def estimated(graph: WorkloadGraph, **changes: object) -> Estimate:
    result = Systolic().estimate(graph, arch_of(**changes))
    assert isinstance(result, Estimate)
    return result


def dram_bytes(result: Estimate) -> float:
    return sum(row.bytes.get("dram", 0.0) for row in result.ops)


def test_traffic_is_what_hands_count() -> None:
    data, weights, between = 2 * ROWS * WIDTH, 2 * WIDTH * HIDDEN, ROWS * HIDDEN
    whole = estimated(mlp(), mapping__row_blocks=False)
    blocks = estimated(mlp(), mapping__row_blocks=True)
    # 256 KiB do not fit the 64 KiB that activations have; a quarter does, and reads both layers' weights four times.
    assert dram_bytes(whole) == pytest.approx(data + weights + 2 * between)
    assert dram_bytes(blocks) == pytest.approx(data + 4 * weights)
    assert blocks.notes[-1] == "1 MLPs run in blocks of rows (4 blocks; A18)"


def test_work_is_the_same_in_blocks() -> None:
    whole, blocks = (estimated(mlp(), mapping__row_blocks=flag) for flag in (False, True))
    assert whole.macs == blocks.macs == 2 * ROWS * WIDTH * HIDDEN
    for ledger in ("mac", "register", "vector"):
        assert blocks.energy_ledger_j[ledger] == pytest.approx(whole.energy_ledger_j[ledger])
    assert all(row.utilization is None or 0 < row.utilization <= 1 for row in blocks.ops)


@settings(max_examples=40, deadline=None)
@given(
    rows=st.sampled_from([60, 197, 512, 720, 1576, 3136]),
    width=st.sampled_from([8, 32, 96]),
    ratio=st.integers(1, 6),
    kib=st.integers(4, 400),
    objective=st.sampled_from(["latency", "energy", "edp"]),
)
def test_fusion_never_makes_a_design_worse(rows: int, width: int, ratio: int, kib: int, objective: str) -> None:
    graph, size = mlp(rows, width, width * ratio), f"{kib} KiB"
    whole, best = (
        Systolic().estimate(graph, arch_of(memory__buffer__size=size, mapping__objective=objective, **changes))
        for changes in ({"mapping__row_blocks": False}, {})
    )
    if isinstance(whole, Infeasible):
        assert whole == best
        return
    assert isinstance(best, Estimate)
    dynamic = [item.energy_j - item.static_ledger_j["leakage"] for item in (whole, best)]
    rank = {
        "latency": (whole.latency_s, best.latency_s),
        "energy": (dynamic[0], dynamic[1]),
        "edp": (whole.latency_s * dynamic[0], best.latency_s * dynamic[1]),
    }[objective]
    assert rank[1] <= rank[0] * (1 + 1e-12)


@pytest.mark.parametrize(
    ("graph", "why"),
    [
        (mlp(rows=1021), "a prime number of rows has no equal blocks"),
        (mlp(rows=16, width=64, hidden=64), "weights read twice move more than the intermediate does"),
        (mlp(between="norm"), "the norm is a step of its own"),
        (mlp(between="second reader"), "something else reads the intermediate"),
    ],
)
def test_where_blocks_are_out_of_the_question_there_is_one_plan(graph: WorkloadGraph, why: str) -> None:
    assert len(alternatives(graph, spec_of(arch_of()))) == 1, why


def test_an_activation_off_the_array_keeps_its_mlp_whole() -> None:
    assert plan_of(mlp(), arithmetic_of(spec_of(arch_of(vector__inline=False)))).program.mlps == ()


def test_as_few_blocks_as_fit() -> None:
    program = plan_of(mlp(), arithmetic_of(spec_of(arch_of()))).program
    (pair,) = program.mlps
    assert pair.weight_bytes == 2 * WIDTH * HIDDEN
    ways = in_blocks(pair, program.sizes[pair.root])
    # A block more costs 16 KiB of weights and at most 512 KiB are saved: 32 blocks save next to nothing, 33 lose.
    assert [way.blocks for way in ways] == [2, 4, 8, 16, 32]
    assert [way.saved_bytes for way in ways] == [
        2 * ROWS * HIDDEN - (n - 1) * pair.weight_bytes for n in (2, 4, 8, 16, 32)
    ]
    plan = plan_of(mlp(), arithmetic_of(spec_of(arch_of(mapping__row_blocks=True))))
    for rung in plan.rungs[1:]:
        block = ROWS * HIDDEN / rung.blocks.get(pair.root, 1)
        assert block == rung.room_bytes
    assert [rung.blocks.get(pair.root, 1) for rung in plan.rungs[1:]] == [32, 16, 8, 4, 2, 1]


def test_explain_says_how_the_layers_take_turns() -> None:
    text = Systolic().explain(mlp(), arch_of(), "fc2")
    assert "fc1 and fc2 run in 4 blocks of 256 rows, one after the other (A18)" in text
    assert "weights are read 4 times" in text


def test_the_trace_shows_the_layers_taking_turns() -> None:
    result = estimated(mlp())
    array = [span for span in result.spans if span.track == "array"]
    names = [f"{layer}: block {index} of 4" for index in range(1, 5) for layer in ("fc1", "fc2")]
    assert [span.name for span in array] == names
    for before, after in pairwise(array):
        assert before.start_s + before.duration_s <= after.start_s * (1 + 1e-9)
    assert array[-1].start_s + array[-1].duration_s <= result.latency_s * (1 + 1e-9)


def test_a_sweep_finds_what_an_estimate_finds() -> None:
    sizes = [16 * 1024.0, 128 * 1024.0, 1024 * 1024.0]
    for objective in ("latency", "energy"):
        arch = arch_of(mapping__objective=objective)
        swept = Systolic().sweep(mlp(), arch, {"memory.buffer.size": sizes})
        for index, size in enumerate(sizes):
            one = Systolic().estimate(mlp(), arch.with_values({"memory.buffer.size": f"{size:.0f} B"}))
            assert isinstance(one, Estimate)
            assert np.isclose(swept.latency_s[index], one.latency_s, rtol=1e-9)
            assert np.isclose(swept.energy_j[index], one.energy_j, rtol=1e-9)
