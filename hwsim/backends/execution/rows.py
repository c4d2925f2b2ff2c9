"""Ops over rows: softmax and normalisation in integers."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from hwsim.backends.execution.coding import Coding
from hwsim.backends.execution.folding import batch_norm_affine
from hwsim.backends.execution.plan import Context, Planned, scaler
from hwsim.backends.execution.products import op_target
from hwsim.backends.execution.program import Bound, Tally
from hwsim.graph.ir import Op
from hwsim.numerics.layernorm import IntegerLayerNorm, Variant
from hwsim.numerics.softmax import log_int_softmax, softmax

#: Softmax is computed to 16 bits and then scaled to its output format: attention over hundreds of tokens lies far
#: below one unit of 8 bits over 0..1 (I-ViT's models do the same).
_SOFTMAX_BITS = 16
_LOG2_BITS = 4
_LAYER_NORMS = ("aten.layer_norm.default", "aten.native_layer_norm.default")


def softmax_rows(context: Context, op: Op, bound: Bound) -> Planned | None:
    """Softmax over the last axis by the arch's family; with `table` it runs in float (E2)."""
    target, coding, family = context.target(op), context.coding(bound.args[0]), context.arithmetic.functions
    rank = len(context.graph.tensors[op.outputs[0]].shape)
    if target is None or coding is None or family == "table" or context.is_output(op):
        return None
    if op.fn not in ("softmax", "safe_softmax") or bound.args[1] not in (-1, rank - 1):
        return None
    name, scale = bound.args[0].name, coding.scale
    if family == "fqvit":
        return _log2_softmax(name, scale)
    unit = 2.0 ** -(_SOFTMAX_BITS if family == "ibert" else _SOFTMAX_BITS - 1)
    rescale = scaler(context, torch.tensor([unit / target.scale]), torch.zeros(1), target)

    def kernel(values: Mapping[str, Tensor], tally: Tally) -> Tensor:
        return rescale(softmax(values[name], scale, family, _SOFTMAX_BITS).codes, tally)

    return Planned(kernel, [target])


def _log2_softmax(name: str, scale: float) -> Planned:
    """FQ-ViT's log-int-softmax: 4-bit exponents q that stand for 2^-q, or 0.

    Held as the whole number 2^(15 - q), so that the product with V is its exact shift-and-add with 15 guard bits.
    """
    largest = (1 << _LOG2_BITS) - 1

    def kernel(values: Mapping[str, Tensor], tally: Tally) -> Tensor:
        exponents = log_int_softmax(values[name], scale, _LOG2_BITS)
        powers = torch.exp2((largest - exponents).to(torch.float32))
        return torch.where(exponents > largest, 0.0, powers)

    return Planned(kernel, [Coding(2.0**-largest, 0, 1 << largest)])


def layer_norm(context: Context, op: Op, bound: Bound) -> Planned | None:
    """LayerNorm over the last axis by the arch's family (I-BERT's for `table`); its output rounds as `onnx` (E3)."""
    target, coding = context.target(op), context.coding(bound.args[0])
    if op_target(op) not in _LAYER_NORMS or len(bound.args[1]) != 1 or target is None or coding is None:
        return None
    if context.is_output(op):
        return None
    width = bound.args[1][0]
    weight, bias = context.constant(bound.argument(2, "weight")), context.constant(bound.argument(3, "bias"))
    variant: Variant = "ivit" if context.arithmetic.functions == "ivit" else "ibert"
    norm = IntegerLayerNorm(
        torch.ones(width, device=context.device) if weight is None else weight,
        torch.zeros(width, device=context.device) if bias is None else bias,
        variant,
    )
    name = bound.args[0].name

    def kernel(values: Mapping[str, Tensor], tally: Tally) -> Tensor:
        codes, clamped = norm.requantized(values[name], target.scale, target.low, target.high)
        tally.clamped += clamped
        return codes

    return Planned(kernel, [target])


def batch_norm(context: Context, op: Op, bound: Bound) -> Planned | None:
    """BatchNorm: nothing where it was folded into the product before it, else a multiplier and an offset per channel.

    The multiplier is the requantizer's own; a channel with a negative one flips its codes first.
    """
    if op_target(op) != "aten.batch_norm.default":
        return None
    name = bound.args[0].name
    if any(norm is op for norm, _ in context.folding.pairs) and name in context.codings:
        return Planned(lambda values, tally: values[name], [context.codings[name]], "moved")
    target, coding = context.target(op), context.coding(bound.args[0])
    if target is None or coding is None or context.is_output(op):
        return None
    gain, offset = batch_norm_affine(bound, context.static)
    sign = torch.sign(gain).reshape(-1, *[1] * (len(context.graph.tensors[name].shape) - 2))
    unit = (gain.abs() * coding.scale).clamp(min=torch.finfo(torch.float32).tiny)
    start = torch.round(offset / unit).clamp(-(1 << 30), 1 << 30)
    rescale = scaler(context, unit / target.scale, start, target, channel_axis=1)
    return Planned(lambda values, tally: rescale(values[name] * sign, tally), [target])
