"""Functions of single codes and sums of codes: tables, residual additions, products of activations, means."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from hwsim.backends.execution.coding import Coding, TwinCoding
from hwsim.backends.execution.plan import Context, Planned, scaler
from hwsim.backends.execution.products import op_target
from hwsim.backends.execution.program import Bound, Tally
from hwsim.graph.calls import Ref, references
from hwsim.graph.ir import Op
from hwsim.numerics.gelu import ibert_gelu, shift_gelu
from hwsim.numerics.integer import Scaled
from hwsim.numerics.kernels import (
    RULE_CODES,
    added_rows,
    fixed_point_added_rows,
    over_rows,
    peak_table_rows,
    table_rows,
)
from hwsim.numerics.rescale import RULES, Rule, fixed_point, round_scaled

#: Tables are kept for inputs of up to 16 bits; ShiftGELU's has a row per maximum and takes 8 bits.
_MAX_TABLE = 1 << 16
_MAX_PEAK_TABLE = 1 << 8
#: Operators of one tensor whose outputs are not functions of one element each.
_NOT_POINTWISE = ("cumsum", "cumprod", "glu", "to_copy")


def scaled(context: Context, op: Op, bound: Bound) -> Planned | None:
    """A product or quotient with a positive number changes the real value of a code and no code."""
    target = op_target(op)
    if target not in ("aten.mul.Tensor", "aten.mul.Scalar", "aten.div.Tensor", "aten.div.Scalar"):
        return None
    coding, number = context.coding(bound.args[0]), _number(context, bound.args[1])
    if coding is None or number is None or number <= 0 or context.is_output(op):
        return None
    if context.arithmetic.power_of_two and number not in (2.0**e for e in range(-32, 33)):
        return None
    factor = number if ".mul." in target else 1 / number
    name = bound.args[0].name
    rescaled = Coding(coding.scale * factor, coding.low, coding.high)
    return Planned(lambda values, tally: values[name], [rescaled], "moved")


def _number(context: Context, argument: object) -> float | None:
    """A scalar argument, or a static tensor of one element."""
    if isinstance(argument, bool):
        return None
    if isinstance(argument, int | float):
        return float(argument)
    value = context.constant(argument)
    return float(value) if value is not None and value.numel() == 1 and value.is_floating_point() else None


def gelu(context: Context, op: Op, bound: Bound) -> Planned | None:
    """GELU of the arch's family; other activations, and the family `table`, are exact tables."""
    family = context.arithmetic.functions
    coding, target = context.coding(bound.args[0]), context.target(op)
    if (
        op.fn != "gelu"
        or family in ("table", "fqvit")
        or isinstance(target, TwinCoding)
        or coding is None
        or target is None
        or context.is_output(op)
    ):
        return None
    codes = torch.arange(coding.low, coding.high + 1)
    name, low = bound.args[0].name, coding.low
    if family == "ivit" and len(codes) <= _MAX_PEAK_TABLE:
        # Row M, column x: a code above the row's maximum never occurs.
        rows = torch.minimum(codes[None, :], codes[:, None])
        peaked = _output_codes(context, shift_gelu(rows, coding.scale, peak=codes[:, None]), target)
        return _looked_up_by_peak(name, low, peaked, target)
    if len(codes) > _MAX_TABLE:
        return None
    # The authors' shift by 14 is for inputs of accumulator precision (numerics.gelu).
    table = _output_codes(context, ibert_gelu(codes, coding.scale, 0 if len(codes) <= 4096 else 14), target)
    return _looked_up(name, low, table, target)


def _output_codes(context: Context, result: Scaled, target: Coding) -> Tensor:
    """Codes of the output for every code of the input: the integer function, then the requantizer."""
    # A unit of either sign: the requantizer's multiplier is positive.
    unit = float(result.scale) / target.scale
    acc = result.codes if unit > 0 else -result.codes
    rounded = round_scaled(acc, torch.tensor(abs(unit), dtype=torch.float64), context.arithmetic.rounding)
    return rounded.clamp(target.low, target.high).to(torch.float32)


def table(context: Context, op: Op, bound: Bound) -> Planned | None:
    """Any operator that maps each element of one coded tensor: a table of its correctly rounded outputs."""
    tensors = list(references([bound.args, bound.kwargs]))
    if len(tensors) != 1 or op.fn in _NOT_POINTWISE or len(op.outputs) != 1:
        return None
    name = tensors[0]
    coding, target = context.codings.get(name), context.target(op)
    if coding is None or target is None or context.is_output(op) or coding.high - coding.low >= _MAX_TABLE:
        return None
    if context.graph.tensors[name].shape != context.graph.tensors[op.outputs[0]].shape:
        return None
    codes = torch.arange(coding.low, coding.high + 1, device=context.device)
    result = bound({name: codes.to(torch.float64) * coding.scale})
    if not isinstance(result, Tensor) or not bool(torch.isfinite(result).all()):
        return None
    return _looked_up(name, coding.low, target.encode(result), target)


def _looked_up(name: str, low: int, entries: Tensor, target: Coding) -> Planned:
    array = entries.cpu().numpy()

    def kernel(values: Mapping[str, Tensor], tally: Tally) -> Tensor:
        codes = values[name]
        if codes.device.type == "cpu":
            return over_rows(table_rows, codes, array, low)[0]
        return entries.to(codes.device)[(codes - low).to(torch.int64)]

    return Planned(kernel, [target])


def _looked_up_by_peak(name: str, low: int, entries: Tensor, target: Coding) -> Planned:
    """`_looked_up` in a table with a row per largest code of the row."""
    array = entries.cpu().numpy()

    def kernel(values: Mapping[str, Tensor], tally: Tally) -> Tensor:
        codes = values[name]
        if codes.device.type == "cpu":
            return over_rows(peak_table_rows, codes, array, low)[0]
        peak = codes.amax(-1, keepdim=True).expand_as(codes)
        return entries.to(codes.device)[(peak - low).to(torch.int64), (codes - low).to(torch.int64)]

    return Planned(kernel, [target])


def added(context: Context, op: Op, bound: Bound) -> Planned | None:
    """Sum or difference: each operand rounded to the output's unit by itself, then added and clamped (as I-ViT)."""
    target, sign = context.target(op), {"aten.add.Tensor": 1, "aten.sub.Tensor": -1}.get(op_target(op))
    if target is None or sign is None or context.is_output(op) or bound.kwargs.get("alpha", 1) != 1:
        return None
    left, right = (_term(context, argument, target) for argument in bound.args[:2])
    if left is None or right is None:
        return None

    def kernel(values: Mapping[str, Tensor], tally: Tally) -> Tensor:
        codes, clamped = _sum(left(values), right(values), sign, context.arithmetic.rounding, target)
        tally.clamped += clamped
        return codes

    return Planned(kernel, [target])


@dataclass(frozen=True)
class _Scaled:
    """An operand of a sum: whole numbers, and the factor to the sum's unit that is still to be applied."""

    codes: Tensor
    factor: float = 1.0


Term = Callable[[Mapping[str, Tensor]], _Scaled]


def _term(context: Context, argument: object, target: Coding) -> Term | None:
    """A function of the values that gives one operand of a sum; None if it holds neither codes nor a finite number."""
    constant = context.constant(argument)
    if isinstance(argument, int | float) and not isinstance(argument, bool):
        constant = torch.tensor(float(argument), device=context.device)
    if constant is not None:
        if not constant.is_floating_point() or not bool(torch.isfinite(constant).all()):
            return None
        fixed = _Scaled(torch.round(constant / target.scale))
        return lambda values: fixed
    coding = context.coding(argument)
    if coding is None or not isinstance(argument, Ref):
        return None
    name, factor = argument.name, coding.scale / target.scale
    return lambda values: _Scaled(values[name], factor)


def _sum(left: _Scaled, right: _Scaled, sign: int, rule: Rule, target: Coding) -> tuple[Tensor, int]:
    """left + sign right, each times its factor and rounded by the rule, clamped; and how many were clamped."""
    shape = left.codes.shape if left.codes.shape == right.codes.shape else (left.codes + right.codes).shape
    x, y = left.codes.expand(shape), right.codes.expand(shape)
    if sign < 0:
        y = -y
    if x.device.type == "cpu" and x.dim() and max(left.factor, right.factor) < _LARGEST_FACTOR[rule]:
        rows = y.reshape(-1, y.shape[-1]).contiguous().numpy()
        if rule == "onnx":
            return over_rows(added_rows, x, rows, left.factor, right.factor, float(target.low), float(target.high))
        multipliers, exponents = fixed_point(torch.tensor([left.factor, right.factor], dtype=torch.float64))
        (a, b), (c, d) = multipliers.tolist(), exponents.tolist()
        return over_rows(fixed_point_added_rows, x, rows, a, c, b, d, RULE_CODES[rule], target.low, target.high)
    terms = zip((x, y), (left.factor, right.factor), strict=True)
    scaled_terms = [round_scaled(t.to(torch.int64), torch.tensor(f, dtype=torch.float64), rule) for t, f in terms]
    total = scaled_terms[0] + scaled_terms[1]
    codes = total.clamp(target.low, target.high)
    return codes.to(torch.float32), int((codes != total).sum())


#: Factors up to which the compiled rules hold (numerics.kernels): high multiplies shift left first from 1 on.
_LARGEST_FACTOR = {rule: 0.999 if rule in ("gemmlowp", "tosa", "ruy") else 2.0**14 for rule in RULES}


def multiplied(context: Context, op: Op, bound: Bound) -> Planned | None:
    """The product of two activations (gates), or of one and a static tensor in 16-bit codes."""
    target = context.target(op)
    if op_target(op) != "aten.mul.Tensor" or target is None or context.is_output(op):
        return None
    left = context.coding(bound.args[0])
    right = context.coding(bound.args[1])
    fixed = context.constant(bound.args[1])
    if left is None or not isinstance(bound.args[1], Ref):
        return None
    if right is None:
        if fixed is None or not fixed.is_floating_point():
            return None
        peak = float(fixed.abs().max())
        right = Coding((peak or 1.0) / _GATE_HIGH, -_GATE_HIGH, _GATE_HIGH)
    a, b = bound.args[0].name, bound.args[1].name
    codes = None if fixed is None else right.encode(fixed)
    rescale = scaler(context, torch.tensor([left.scale * right.scale / target.scale]), torch.zeros(1), target)

    def kernel(values: Mapping[str, Tensor], tally: Tally) -> Tensor:
        other = values[b] if codes is None else codes
        # 16 x 16 bits need 31: exact in float64, held in int32.
        return rescale((values[a].to(torch.float64) * other).to(torch.int32), tally)

    return Planned(kernel, [target])


_GATE_HIGH = (1 << 15) - 1


def mean(context: Context, op: Op, bound: Bound) -> Planned | None:
    """Mean or sum over axes: an exact sum, then one scaling."""
    target, name = context.target(op), op_target(op)
    coding = context.coding(bound.args[0])
    pooled = name.startswith("aten.adaptive_avg_pool") and set(bound.args[1]) == {1}
    if coding is None or target is None or context.is_output(op):
        return None
    if not (pooled or name in ("aten.mean.dim", "aten.sum.dim_IntList")):
        return None
    source = bound.args[0].name
    axes = list(range(-len(bound.args[1]), 0)) if pooled else list(bound.args[1])
    keep = True if pooled else bool(bound.argument(2, "keepdim", False))
    shape = context.graph.tensors[source].shape
    count = 1 if ".sum" in name else prod(shape[axis] for axis in axes)
    rescale = scaler(context, torch.tensor([coding.scale / count / target.scale]), torch.zeros(1), target)

    def kernel(values: Mapping[str, Tensor], tally: Tally) -> Tensor:
        total = values[source].to(torch.float64).sum(axes, keepdim=keep)
        flat = rescale(total.to(torch.int32).reshape(1, -1), tally)
        return flat.reshape(total.shape)

    return Planned(kernel, [target])
