"""Fused attention, split into its parts, still computes torch's scaled_dot_product_attention."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from interpreter import run_graph
from torch import nn
from torch.nn import functional as F  # noqa: N812 - its name everywhere

from hwsim.graph.capture import capture
from hwsim.graph.ir import WorkloadGraph


class Attention(nn.Module):
    def __init__(self, function: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return self.function(*inputs)


class Nested(nn.Module):
    def __init__(self, function: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.attn = Attention(function)

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return self.attn(*inputs)


def check(function: Callable[..., torch.Tensor], *inputs: torch.Tensor) -> WorkloadGraph:
    module = Nested(function)
    graph = capture(module, inputs)
    (got,) = run_graph(graph, module, *inputs)
    torch.testing.assert_close(got, function(*inputs), rtol=1e-5, atol=1e-5)
    return graph


def qkv(batch: int = 2, heads: int = 4, L: int = 5, S: int = 7, E: int = 8, Ev: int = 6, kv_heads: int | None = None):  # type: ignore[no-untyped-def]
    generator = torch.Generator().manual_seed(0)
    kv = kv_heads or heads
    shapes = ((batch, heads, L, E), (batch, kv, S, E), (batch, kv, S, Ev))
    return [torch.randn(shape, generator=generator) for shape in shapes]


def labels(graph: WorkloadGraph) -> list[str]:
    return [op.name.removeprefix("attn.") for op in graph.ops]


def test_parts_share_a_group_and_count_both_products() -> None:
    graph = check(F.scaled_dot_product_attention, *qkv())
    assert labels(graph) == ["scale", "k_transpose", "qk", "softmax", "av"]
    assert {op.group for op in graph.ops} == {"attn:attention"}
    assert dict(graph.op("attn.qk").dims) == {"B": 8, "M": 5, "N": 7, "K": 8}
    assert dict(graph.op("attn.softmax").dims) == {"rows": 40, "cols": 7}
    assert dict(graph.op("attn.av").dims) == {"B": 8, "M": 5, "N": 6, "K": 7}
    assert graph.macs == 8 * (5 * 7 * 8 + 5 * 7 * 6)


def test_float_mask_is_added() -> None:
    mask = torch.randn(4, 5, 7)
    graph = check(lambda q, k, v, m: F.scaled_dot_product_attention(q, k, v, attn_mask=m), *qkv(), mask)
    assert graph.op("attn.mask").fn == "add"
    assert graph.op("attn.softmax").fn == "softmax"


def test_boolean_mask_with_a_fully_masked_row_gives_zero() -> None:
    mask = torch.rand(2, 1, 5, 7) > 0.5
    mask[0, 0, 3] = False
    graph = check(lambda q, k, v, m: F.scaled_dot_product_attention(q, k, v, attn_mask=m), *qkv(), mask)
    assert graph.op("attn.mask").fn == "where"


@pytest.mark.parametrize(("L", "S"), [(5, 5), (3, 6), (6, 3)])
def test_causal(L: int, S: int) -> None:
    graph = check(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True), *qkv(L=L, S=S))
    assert labels(graph)[-4:] == ["causal", "mask", "softmax", "av"]


def test_own_scale_and_no_scale() -> None:
    check(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, scale=0.3), *qkv())
    graph = check(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, scale=1.0), *qkv())
    assert "scale" not in labels(graph)


def test_grouped_query_heads_are_read_again_not_copied() -> None:
    graph = check(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, enable_gqa=True), *qkv(heads=6, kv_heads=2))
    assert graph.op("attn.k_heads").kind == graph.op("attn.v_heads").kind == "view"
    assert graph.op("attn.qk").dims["B"] == 12


def test_keys_shared_over_the_batch_are_broadcast() -> None:
    q, k, v = qkv()
    check(F.scaled_dot_product_attention, q, k[:1], v[:1])


@settings(max_examples=6, deadline=None)
@given(
    batch=st.integers(1, 2), heads=st.integers(1, 3), L=st.integers(1, 4), S=st.integers(1, 4), E=st.integers(1, 4),
    Ev=st.integers(1, 4),
)  # fmt: skip
def test_macs_are_both_products_for_any_shape(batch: int, heads: int, L: int, S: int, E: int, Ev: int) -> None:
    graph = check(F.scaled_dot_product_attention, *qkv(batch, heads, L, S, E, Ev))
    assert graph.macs == batch * heads * L * S * (E + Ev)
