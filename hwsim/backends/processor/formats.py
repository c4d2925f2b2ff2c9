"""The width of every tensor as the runtime holds it: fp32, a cast model, or autocast's rules.

Autocast runs products and convolutions in the low format and layer norms, group norms and softmax in fp32; everything
else promotes its inputs (docs: PyTorch, "Automatic Mixed Precision", CUDA op-specific behaviour).
"""

from __future__ import annotations

from collections.abc import Mapping

from hwsim.core.formats import bits
from hwsim.graph.ir import MAC_KINDS, Op, WorkloadGraph

#: Autocast's fp32 list, as far as inference uses it.
_FP32_FUNCTIONS = frozenset(
    (
        "layer_norm", "group_norm", "native_group_norm", "rms_norm", "softmax", "log_softmax", "_softmax",
        "_safe_softmax", "pow", "exp", "log", "rsqrt", "reciprocal", "norm", "linalg_vector_norm", "cumsum",
        "cumprod", "prod", "sum", "softplus", "erfinv",
    )
)  # fmt: skip
_CAST_BYTES = {"fp32": 4.0, "tf32": 4.0, "fp16": 2.0, "bf16": 2.0, "int8": 2.0, "fp8": 2.0}


def is_autocast(precision: str) -> bool:
    return precision.startswith("amp_")


def product_format(precision: str) -> str:
    """The operand format of products: what the tensor cores are fed."""
    return precision.removeprefix("amp_")


def operand_bytes(precision: str) -> float:
    """Bytes of one operand of a product."""
    return {"fp32": 4.0, "tf32": 4.0, "int8": 1.0, "fp8": 1.0}.get(product_format(precision), 2.0)


def wants_fp32(op: Op, low_norms: frozenset[str]) -> bool:
    """Whether autocast runs the op in fp32 whatever its inputs are: its list, but for norms of modules in `low_norms`,
    which turn autocast off and cast their input down themselves."""
    return op.fn in _FP32_FUNCTIONS and not is_low_norm(op, low_norms)


def is_low_norm(op: Op, low_norms: frozenset[str]) -> bool:
    return op.kind == "norm" and op.module in low_norms


def element_bytes(graph: WorkloadGraph, precision: str, low_norms: frozenset[str] = frozenset()) -> Mapping[str, float]:
    """Bytes per element of each tensor as stored between kernels.

    A tensor whose format a transform has set (anything but float32) keeps it. Under autocast parameters stay fp32 and
    each activation follows the rules above; otherwise every float has the model's format.
    """
    widths = {
        name: bits(tensor.dtype) / 8 if tensor.dtype != "float32" else _CAST_BYTES.get(product_format(precision), 2.0)
        for name, tensor in graph.tensors.items()
    }
    if not is_autocast(precision):
        return widths
    for name, tensor in graph.tensors.items():
        if tensor.dtype == "float32" and tensor.role != "activation":
            widths[name] = 4.0
    for op in graph.ops:
        width = _output_bytes(op, widths, low_norms)
        widths |= {name: width for name in op.outputs if graph.tensors[name].dtype == "float32"}
    return widths


def _output_bytes(op: Op, widths: Mapping[str, float], low_norms: frozenset[str]) -> float:
    if op.kind in MAC_KINDS or op.group is not None or is_low_norm(op, low_norms):
        return 2.0
    if wants_fp32(op, low_norms):
        return 4.0
    # Norms from stored statistics keep the format of their data although their parameters are fp32.
    data = op.inputs[:1] if op.kind in ("norm", "view", "activation", "pool", "resize", "layout", "roll") else op.inputs
    if op.fn in ("cat", "stack"):
        data = op.inputs
    return max((min(widths[name], 4.0) for name in data), default=4.0)
