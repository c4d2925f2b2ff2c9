"""The table of lowerings: kind of op -> the integer forms to try, in order; what none fits runs in float."""

from __future__ import annotations

from hwsim.backends.execution import pointwise, products, rows
from hwsim.backends.execution.plan import Context, Lowering, Planned, joined, moved
from hwsim.backends.execution.program import Bound
from hwsim.graph.ir import Op


def _layout(context: Context, op: Op, bound: Bound) -> Planned | None:
    """Concatenations rescale; pads other than zero, and fills, compute; the rest moves codes."""
    if op.fn in ("cat", "stack"):
        return joined(context, op, bound)
    if op.fn == "constant_pad_nd" and bound.argument(2, "value", 0):
        return None
    if op.fn == "pad" and (bound.argument(2, "mode", "constant"), bound.argument(3, "value")) not in _ZERO_PADS:
        return None
    return moved(context, op, bound)


_ZERO_PADS = (("constant", None), ("constant", 0), ("reflect", None), ("replicate", None), ("circular", None))


def _greatest(context: Context, op: Op, bound: Bound) -> Planned | None:
    """Maxima pick codes and compute none."""
    return moved(context, op, bound) if op.fn in _PICKING else None


_PICKING = ("amax", "amin", "max", "min", "max_pool1d", "max_pool2d", "max_pool3d", "max_pool2d_with_indices")
_TABLES: tuple[Lowering, ...] = (pointwise.gelu, pointwise.table)

LOWERINGS: dict[str, tuple[Lowering, ...]] = {
    "gemm": (products.gemm,),
    "matmul": (products.matmul,),
    "conv": (products.conv,),
    "softmax": (rows.softmax_rows,),
    "norm": (rows.layer_norm, rows.batch_norm),
    "activation": _TABLES,
    "elementwise": (pointwise.scaled, pointwise.added, pointwise.multiplied, pointwise.table),
    "reduction": (pointwise.mean, _greatest),
    "pool": (pointwise.mean, _greatest),
    "view": (moved,),
    "layout": (_layout,),
    "gather": (moved,),
    "roll": (moved,),
    "unfold": (moved,),
    "topk": (moved,),
}
