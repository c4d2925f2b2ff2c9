"""The table of operators, on torch-free records."""

from __future__ import annotations

import json
from math import prod

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hwsim.graph.calls import Argument, Call, Ref, call_json, references, resolve, tensor_literal
from hwsim.graph.ir import Tensor
from hwsim.graph.lowering import Draft, Scope
from hwsim.graph.table import TABLE, lower

Shape = tuple[int, ...]
sizes = st.integers(1, 5)


def lowered(
    target: str, shapes: list[Shape], out: Shape, *rest: Argument, static: frozenset[int] = frozenset()
) -> Draft:
    """The only op of a call on tensors of these shapes; those numbered in `static` are parameters."""
    tensors = {f"t{i}": Tensor(f"t{i}", shape) for i, shape in enumerate(shapes)}
    scope = Scope(dict(tensors), {f"t{i}" for i in range(len(shapes)) if i not in static})
    call = Call(target, (*(Ref(name) for name in tensors), *rest), {}, (Tensor("out", out),), "blocks.0")
    (draft,) = lower(call, scope)
    assert set(draft.inputs) == set(tensors)
    return draft


@given(st.lists(sizes, max_size=3), sizes, sizes, sizes)
def test_a_product_with_a_parameter_is_one_gemm(batch: list[int], m: int, n: int, k: int) -> None:
    rows = {"M": prod(batch) * m, "N": n, "K": k}
    left, out = (*batch, m, k), (*batch, m, n)
    for target, weight in (("aten.linear.default", (n, k)), ("aten.matmul.default", (k, n))):
        draft = lowered(target, [left, weight], out, static=frozenset({1}))
        assert (draft.kind, dict(draft.dims)) == ("gemm", rows)


@given(st.lists(sizes, max_size=2), sizes, sizes, sizes)
def test_a_parameter_on_the_left_is_the_second_operand(batch: list[int], m: int, n: int, k: int) -> None:
    draft = lowered("aten.matmul.default", [(m, k), (*batch, k, n)], (*batch, m, n), static=frozenset({0}))
    assert (draft.kind, dict(draft.dims)) == ("gemm", {"M": prod(batch) * n, "N": m, "K": k})
    assert draft.inputs == ("t1", "t0")


@given(st.lists(sizes, max_size=2), sizes, sizes, sizes)
def test_a_product_of_activations_is_a_batch(batch: list[int], m: int, n: int, k: int) -> None:
    draft = lowered("aten.matmul.default", [(*batch, m, k), (*batch, k, n)], (*batch, m, n))
    assert (draft.kind, dict(draft.dims)) == ("matmul", {"B": prod(batch), "M": m, "N": n, "K": k})


def test_a_batch_of_parameters_is_no_single_gemm() -> None:
    draft = lowered("aten.bmm.default", [(4, 2, 3), (4, 3, 5)], (4, 2, 5), static=frozenset({1}))
    assert (draft.kind, draft.dims["B"]) == ("matmul", 4)


@pytest.mark.parametrize(
    ("target", "shapes", "out", "rest", "kind", "dims"),
    [
        ("aten.softmax.int", [(2, 3, 4)], (2, 3, 4), (1,), "softmax", {"rows": 8, "cols": 3}),
        ("aten.layer_norm.default", [(2, 3, 4)], (2, 3, 4), ([3, 4],), "norm", {"rows": 2, "cols": 12}),
        ("aten.group_norm.default", [(2, 6, 5)], (2, 6, 5), (3,), "norm", {"rows": 6, "cols": 10}),
        ("aten.mean.dim", [(2, 3, 4)], (2, 4), ([1],), "reduction", {"elements": 8, "window": 3}),
        ("aten.avg_pool2d.default", [(1, 2, 6, 6)], (1, 2, 3, 2), ([2, 3],), "pool", {"elements": 12, "window": 6}),
        ("aten.max_pool3d.default", [(1, 2, 6, 6, 6)], (1, 2, 3, 3, 3), ([2],), "pool", {"elements": 54, "window": 8}),
        ("aten.adaptive_avg_pool2d.default", [(1, 2, 6, 6)], (1, 2, 1, 1), ([1, 1],), "pool",
         {"elements": 2, "window": 36}),
        ("aten.topk.default", [(2, 9)], (2, 3), (3, 1), "topk", {"elements": 6, "window": 9}),
        ("aten.cat.default", [(2, 3)], (2, 3), (), "layout", {"elements": 6}),
        ("aten.relu_.default", [(2, 3)], (2, 3), (), "unmodelled", {"elements": 6}),
    ],
)  # fmt: skip
def test_dims(
    target: str, shapes: list[Shape], out: Shape, rest: tuple[Argument, ...], kind: str, dims: dict[str, int]
) -> None:
    draft = lowered(target, shapes, out, *rest)
    assert (draft.kind, dict(draft.dims)) == (kind, dims)


@pytest.mark.parametrize(("flag", "kind"), [("pointwise", "elementwise"), ("view", "view"), ("", "unmodelled")])
def test_what_torch_says_of_an_operator_outside_the_table(flag: str, kind: str) -> None:
    scope = Scope({"x": Tensor("x", (2, 3))}, {"x"})
    flags = {flag: True} if flag else {}
    (draft,) = lower(Call("aten.brand_new.default", (Ref("x"),), {}, (Tensor("y", (2, 3)),), **flags), scope)
    assert (draft.kind, draft.dims["elements"]) == (kind, 6)


def test_the_table_names_operators_of_this_torch() -> None:
    gone = [packet for packet in TABLE if not hasattr(torch.ops.aten, packet.removeprefix("aten."))]
    assert gone == []


@given(st.recursive(st.one_of(st.integers(), st.booleans(), st.none(), st.text(max_size=3)), st.lists, max_leaves=6))
def test_arguments_survive_json(value: Argument) -> None:
    body = json.loads(call_json("aten.x.default", [value, Ref("t")], {"k": value}))
    assert (body["args"], body["kwargs"]) == ([value, {"$": "t"}], {"k": value})
    assert list(references([value, Ref("t")])) == ["t"]


def test_numbers_that_json_lacks() -> None:
    held = torch.tensor([[1, 2], [3, 4]], dtype=torch.int16)
    args = [float("-inf"), 1 + 2j, {"dtype": "bfloat16"}, {"device": None}, tensor_literal(held)]
    _, back, _ = resolve(call_json("aten.x.default", args, {}), {})
    assert back[:4] == [float("-inf"), 1 + 2j, torch.bfloat16, torch.device("cpu")]
    assert torch.equal(back[4], held)
    for empty in (torch.empty(0, 3), torch.tensor(True)):
        (again,) = resolve(call_json("aten.x.default", [tensor_literal(empty)], {}), {})[1]
        assert (again.shape, again.dtype, again.tolist()) == (empty.shape, empty.dtype, empty.tolist())
