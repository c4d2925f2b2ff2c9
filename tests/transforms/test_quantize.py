"""Quantize: formats of operands, nothing else."""

from __future__ import annotations

import pytest

from hwsim.backends.synthetic import convnet, transformer
from hwsim.core.errors import SpecError, UsageError
from hwsim.graph.ir import WorkloadGraph
from hwsim.transforms.base import apply_all
from hwsim.transforms.quantize import Quantize


def small() -> WorkloadGraph:
    return transformer(grid=2, patch=4, heads=2, head_dim=8, mlp_ratio=2, depth=1, batch=1, classes=10, dtype="float32")


def quantized(graph: WorkloadGraph, **options: object) -> WorkloadGraph:
    return apply_all(graph, [{"quantize": options}])


def test_weights_and_activations_take_their_formats() -> None:
    graph = quantized(small(), weights="int4", activations="int8")
    for op in graph.ops:
        if op.kind in ("gemm", "conv"):
            assert graph.tensors[op.inputs[1]].dtype == "int4"
        for name in op.outputs:
            assert graph.tensors[name].dtype == "int8"


def test_biases_keep_full_width() -> None:
    graph = quantized(small(), weights="int4")
    biases = [op.inputs[2] for op in graph.ops if op.kind == "gemm" and len(op.inputs) > 2]
    assert biases
    assert {graph.tensors[name].dtype for name in biases} == {"float32"}


def test_work_and_parameters_do_not_change() -> None:
    before = small()
    after = quantized(before, weights="int2", activations="fp8_e4m3")
    assert (after.macs, after.params, after.ops) == (before.macs, before.params, before.ops)
    assert after.content_hash != before.content_hash
    assert quantized(before).content_hash == quantized(before).content_hash


def test_skipped_ops_keep_their_operands() -> None:
    before = convnet(size=8, channels=4, kernel=3, stride=1, depthwise=False, batch=1, classes=10, dtype="float32")
    name = next(op.name for op in before.ops if op.kind == "gemm")
    after = quantized(before, skip=[name])
    op = after.op(name)
    assert {after.tensors[t].dtype for t in (*op.inputs, *op.outputs)} == {"float32"}
    assert any(after.tensors[o.outputs[0]].dtype == "int8" for o in after.ops if o.name != name)


def test_bad_options_are_named() -> None:
    with pytest.raises(SpecError, match=r"weights = 'int99': number format 'int99' is not known"):
        Quantize.from_options({"weights": "int99"})
    with pytest.raises(SpecError, match=r"wieghts is not a known key[\s\S]*did you mean `weights`"):
        Quantize.from_options({"wieghts": "int8"})
    with pytest.raises(UsageError, match=r"transform 'quantise' does not exist[\s\S]*did you mean `quantize`"):
        apply_all(small(), ["quantise"])
