"""Fused attention split into its parts: softmax(scale Q K^T + mask) V as ops that share one group.

The order and the meaning of the arguments are those of torch.nn.functional.scaled_dot_product_attention.
"""

from __future__ import annotations

from math import prod, sqrt

from hwsim.core.frozen import FrozenDict
from hwsim.graph.calls import Argument, Call, Ref, references
from hwsim.graph.ir import Kind, Tensor
from hwsim.graph.lowering import Draft, Scope

_MINUS_INFINITY = float("-inf")


class _Parts:
    """Collects the ops of one attention call, each reading what an earlier one wrote."""

    def __init__(self, call: Call, scope: Scope) -> None:
        self.call, self.scope = call, scope
        self.drafts: list[Draft] = []

    def add(
        self,
        label: str,
        kind: Kind,
        target: str,
        args: list[Argument],
        shape: tuple[int, ...],
        dims: dict[str, int] | None = None,
        output: Tensor | None = None,
        dtype: str | None = None,
        kwargs: dict[str, Argument] | None = None,
    ) -> Ref:
        """Append the op and return its output."""
        out = output or self.scope.fresh(
            f"{self.call.outputs[0].name}/{label}", shape, dtype or self.call.outputs[0].dtype
        )
        inputs = tuple(dict.fromkeys(references(args)))
        fn = target.split(".")[1].strip("_")
        self.drafts.append(
            Draft(
                kind, fn, target, tuple(args), kwargs or {}, inputs, (out,),
                FrozenDict(dims or {"elements": prod(shape)}), module=self.call.module, label=label,
                group=f"{self.call.module}:attention",
            )
        )  # fmt: skip
        return Ref(out.name)


def split_attention(call: Call, scope: Scope) -> list[Draft]:
    """Scale Q, QK^T, the mask if there is one, softmax, AV; grouped-query heads are repeated by reference.

    Q is (..., L, E), K (..., S, E), V (..., S, Ev). The scale multiplies Q, the smallest of the operands it may
    multiply. A boolean or causal mask uses torch's safe softmax, which gives 0 where a row is masked entirely.
    """
    query, key, value = call.args[:3]
    mask, causal = call.argument(3, "attn_mask"), call.argument(5, "is_causal", False)
    scale = call.kwargs.get("scale", call.args[6] if len(call.args) > 6 else None)
    *heads, L, E = scope.shape(query)
    parts = _Parts(call, scope)
    if call.kwargs.get("enable_gqa", False):
        key = _shared_heads(parts, "k_heads", key, heads[-1])
        value = _shared_heads(parts, "v_heads", value, heads[-1])
    *_, S, Ev = scope.shape(value)
    scale = 1 / sqrt(E) if scale is None else float(scale)
    if scale != 1.0:
        query = parts.add("scale", "elementwise", "aten.mul.Tensor", [query, scale], (*heads, L, E))
    key_shape = scope.shape(key)
    transposed = (*key_shape[:-2], E, S)
    key = parts.add("k_transpose", "view", "aten.transpose.int", [key, -2, -1], transposed)
    batch = prod(call.outputs[0].shape[:-2])
    scores_shape = (*call.outputs[0].shape[:-2], L, S)
    scores = parts.add(
        "qk", "matmul", "aten.matmul.default", [query, key], scores_shape, {"B": batch, "M": L, "N": S, "K": E}
    )
    if causal:
        mask = _causal_mask(parts, L, S)
    boolean = mask is not None and scope.dtype(mask) == "bool"
    if mask is not None:
        scores = _masked(parts, scores, mask, scores_shape, boolean=boolean)
    softmax = "aten._safe_softmax.default" if boolean else "aten.softmax.int"
    rows = {"rows": batch * L, "cols": S}
    weights = parts.add("softmax", "softmax", softmax, [scores, -1], scores_shape, rows)
    products = {"B": batch, "M": L, "N": Ev, "K": S}
    output = call.outputs[0]
    parts.add("av", "matmul", "aten.matmul.default", [weights, value], output.shape, products, output)
    return parts.drafts


def _shared_heads(parts: _Parts, label: str, operand: Argument, heads: int) -> Argument:
    """Each key-value head read by several query heads: no data moves, so a view."""
    shape = parts.scope.shape(operand)
    repeats = heads // shape[-3]
    if repeats == 1:
        return operand
    repeated = (*shape[:-3], heads, *shape[-2:])
    return parts.add(label, "view", "aten.repeat_interleave.self_int", [operand, repeats, -3], repeated)


def _causal_mask(parts: _Parts, L: int, S: int) -> Ref:
    """Row i sees columns 0..i."""
    kwargs = {"dtype": {"dtype": "bool"}, "device": {"device": None}}
    ones = parts.add("ones", "layout", "aten.ones.default", [[L, S]], (L, S), dtype="bool", kwargs=kwargs)
    return parts.add("causal", "layout", "aten.tril.default", [ones], (L, S), dtype="bool")


def _masked(parts: _Parts, scores: Ref, mask: Argument, shape: tuple[int, ...], *, boolean: bool) -> Ref:
    if boolean:
        return parts.add("mask", "elementwise", "aten.where.ScalarOther", [mask, scores, _MINUS_INFINITY], shape)
    return parts.add("mask", "elementwise", "aten.add.Tensor", [scores, mask], shape)
