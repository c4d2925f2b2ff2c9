"""What a graph becomes before it is mapped: folded norms, depthwise convolutions."""

from __future__ import annotations

import pytest

from hwsim.backends.synthetic import GraphBuilder
from hwsim.backends.systolic import Systolic
from hwsim.backends.systolic.plan import arithmetic_of, plan_of
from hwsim.backends.systolic.program import ArrayStep, Program, VectorStep, folded_norms
from hwsim.backends.systolic.spec import PRIMITIVES, spec_of
from hwsim.core.results import Estimate
from hwsim.graph.ir import WorkloadGraph
from hwsim.spec.arch import load_arch

PIXELS, CHANNELS = 14 * 14, 32


def block(read_twice: bool = False, groups: int = 1) -> WorkloadGraph:
    """conv -> batch norm -> relu, and a second reader of the convolution if wanted."""
    g = GraphBuilder("block", dtype="int8")
    x = g.input((1, CHANNELS, 14, 14))
    y = g.conv("conv", x, CHANNELS, 3, groups=groups, padding=1)
    z = g.op("bn", "norm", "batch_norm", (y,), g.tensors[y].shape, rows=PIXELS, cols=CHANNELS)
    z = g.pointwise("act", "activation", "relu", z)
    if read_twice:
        z = g.pointwise("add", "elementwise", "add", z, y)
    g.conv("last", z, CHANNELS, 1)
    return g.build()


def program(graph: WorkloadGraph, **changes: object) -> Program:
    arch = load_arch("systolic_int8", {path.replace("__", "."): value for path, value in changes.items()})
    return plan_of(graph, arithmetic_of(spec_of(arch))).program


def test_a_batch_norm_is_folded_into_the_convolution_before_it() -> None:
    lowered = program(block())
    assert lowered.free["bn"] == "folded into the weights of conv"
    assert lowered.fused["act"] == "conv"
    (conv, last) = lowered.steps
    assert isinstance(conv, ArrayStep)
    # Its bias is one sum per output; the second convolution has none.
    assert conv.epilogue[PRIMITIVES.index("add")] == PIXELS * CHANNELS
    assert isinstance(last, ArrayStep)
    assert last.epilogue[PRIMITIVES.index("add")] == 0


def test_a_batch_norm_stays_where_something_else_reads_the_convolution() -> None:
    graph = block(read_twice=True)
    assert folded_norms(graph) == {}
    assert "bn" not in program(graph).free


@pytest.mark.parametrize("depthwise", [True, False])
def test_depthwise_convolutions_run_where_the_arch_says(depthwise: bool) -> None:
    graph = block(groups=CHANNELS)
    first, *_ = program(graph, vector__depthwise=depthwise).steps
    macs = PIXELS * CHANNELS * 9
    if depthwise:
        assert isinstance(first, VectorStep)
        assert first.primitives[PRIMITIVES.index("mul")] == macs
        assert first.primitives[PRIMITIVES.index("add")] == macs
    else:
        assert isinstance(first, ArrayStep)
        assert (first.batch, first.M, first.N, first.K) == (CHANNELS, PIXELS, 1, 9)


def test_a_convolution_of_one_group_is_never_depthwise() -> None:
    assert all(isinstance(step, ArrayStep) for step in program(block(), vector__depthwise=True).steps)


def test_a_depthwise_convolution_keeps_its_macs_and_leaves_the_array() -> None:
    graph = block(groups=CHANNELS)
    on_array, beside = (
        Systolic().estimate(graph, load_arch("systolic_int8", {"vector.depthwise": flag})) for flag in (False, True)
    )
    assert isinstance(on_array, Estimate)
    assert isinstance(beside, Estimate)
    assert on_array.macs == beside.macs == graph.macs
    rows = {row.name: row for row in beside.ops}
    assert (rows["conv"].unit, rows["conv"].macs) == ("vector", PIXELS * CHANNELS * 9)
    # One column of a 128-wide array against all lanes of the vector unit.
    assert rows["conv"].latency_s < {row.name: row for row in on_array.ops}["conv"].latency_s
