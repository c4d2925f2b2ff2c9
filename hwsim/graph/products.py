"""Lowering of matrix products and convolutions: everything whose multiply-accumulates count."""

from __future__ import annotations

from math import prod

from hwsim.graph.calls import Argument, Call, references
from hwsim.graph.ir import Kind
from hwsim.graph.lowering import Draft, Scope, draft_of

_COMPLEX = ("complex64", "complex128", "complex32")


def linear(call: Call, scope: Scope) -> list[Draft]:
    """x[..., K] w[N, K] (+ b): torch.nn.functional.linear."""
    a, b, bias = call.args[0], call.args[1], call.argument(2, "bias")
    *rows, K = scope.shape(a)
    N = 1 if len(scope.shape(b)) == 1 else scope.shape(b)[0]
    return [_product(call, scope, a, b, bias, batch=1, M=prod(rows), N=N, K=K)]


def matmul(call: Call, scope: Scope) -> list[Draft]:
    """torch.matmul and its special cases (mm, bmm, mv, dot), with torch's broadcast of the batch axes."""
    return [_matmul(call, scope, call.args[0], call.args[1], None)]


def added_matmul(call: Call, scope: Scope) -> list[Draft]:
    """addend + a b: addmm, baddbmm, addmv."""
    return [_matmul(call, scope, call.args[1], call.args[2], call.args[0])]


def _matmul(call: Call, scope: Scope, a: Argument, b: Argument, addend: Argument) -> Draft:
    left, right = scope.shape(a), scope.shape(b)
    K = left[-1]
    M = left[-2] if len(left) > 1 else 1
    N = right[-1] if len(right) > 1 else 1
    left_batch, right_batch = left[:-2], right[:-2]
    if prod(right_batch) == 1 and not scope.is_dynamic(b):
        return _product(call, scope, a, b, addend, batch=1, M=prod(left_batch) * M, N=N, K=K)
    if prod(left_batch) == 1 and not scope.is_dynamic(a):
        # A weight on the left: out^T = b^T a^T, so the weight is the second operand of the GEMM as always.
        return _product(call, scope, b, a, addend, batch=1, M=prod(right_batch) * N, N=M, K=K)
    batch = prod(_broadcast(left_batch, right_batch))
    return _product(call, scope, a, b, addend, batch=batch, M=M, N=N, K=K)


def _broadcast(a: tuple[int, ...], b: tuple[int, ...]) -> list[int]:
    rank = max(len(a), len(b))
    padded = ((1,) * (rank - len(a)) + a, (1,) * (rank - len(b)) + b)
    return [y if x == 1 else x for x, y in zip(*padded, strict=True)]


def _product(
    call: Call, scope: Scope, a: Argument, b: Argument, addend: Argument, *, batch: int, M: int, N: int, K: int
) -> Draft:
    """A GEMM where one operand is static (known before the input arrives), else a batch of products.

    A complex product is its real equivalent [Re Im] [[Re, Im], [-Im, Re]]: twice the columns and twice the depth,
    four real MACs per complex one.
    """
    attrs: dict[str, object] = {}
    if scope.dtype(a) in _COMPLEX or scope.dtype(b) in _COMPLEX:
        N, K = 2 * N, 2 * K
        attrs["complex"] = True
    operands = [*references(a), *references(b), *references(addend)]
    inputs = dict.fromkeys([*operands, *references([call.args, dict(call.kwargs)])])
    kind: Kind = "gemm" if batch == 1 and not scope.is_dynamic(b) else "matmul"
    dims = {"M": M, "N": N, "K": K} if kind == "gemm" else {"B": batch, "M": M, "N": N, "K": K}
    return draft_of(call, kind, dims, fn=call.fn, inputs=inputs, attrs=attrs)


def convolution(call: Call, scope: Scope) -> list[Draft]:
    """aten.conv1d/2d/3d(input, weight, bias, stride, padding, dilation, groups), padding possibly a word."""
    stride, padding, dilation = (
        call.argument(3, "stride", 1),
        call.argument(4, "padding", 0),
        call.argument(5, "dilation", 1),
    )
    groups = call.argument(6, "groups", 1)
    return [_conv(call, scope, stride, padding, dilation, groups, transposed=False)]


def transposed_convolution(call: Call, scope: Scope) -> list[Draft]:
    """aten.conv_transposeNd(input, weight, bias, stride, padding, output_padding, groups, dilation)."""
    stride, padding, groups = (
        call.argument(3, "stride", 1),
        call.argument(4, "padding", 0),
        call.argument(6, "groups", 1),
    )
    return [_conv(call, scope, stride, padding, call.argument(7, "dilation", 1), groups, transposed=True)]


def general_convolution(call: Call, scope: Scope) -> list[Draft]:
    """aten.convolution(input, weight, bias, stride, padding, dilation, transposed, output_padding, groups)."""
    _, _, _, stride, padding, dilation, transposed, _, groups = call.args[:9]
    return [_conv(call, scope, stride, padding, dilation, groups, transposed=bool(transposed))]


def _conv(
    call: Call,
    scope: Scope,
    stride: Argument,
    padding: Argument,
    dilation: Argument,
    groups: int,
    *,
    transposed: bool,
) -> Draft:
    data, weight = scope.shape(call.args[0]), scope.shape(call.args[1])
    axes = "DHW"[-(len(weight) - 2) :]
    rank = len(axes)
    spatial_in, spatial_out = data[-rank:], call.outputs[0].shape[-rank:]
    out_channels = weight[1] * groups if transposed else weight[0]
    dims = {
        "B": prod(data[: -rank - 1]),
        "G": groups,
        "Cin": data[-rank - 1],
        "Cout": out_channels,
    }
    strides = _per_axis(stride, rank)
    for index, axis in enumerate(axes):
        dims |= {
            f"I{axis}": spatial_in[index],
            f"O{axis}": spatial_out[index],
            f"K{axis}": weight[2 + index],
            f"S{axis}": strides[index],
        }
    if transposed:
        dims["transposed"] = 1
    attrs = {
        "padding": padding if isinstance(padding, str) else _per_axis(padding, rank),
        "dilation": _per_axis(dilation, rank),
    }
    inputs = [*references(call.args[0]), *references(call.args[1]), *references(call.argument(2, "bias"))]
    return draft_of(call, "conv", dims, fn="conv_transpose" if transposed else "conv", inputs=inputs, attrs=attrs)


def _per_axis(value: Argument, rank: int) -> tuple[int, ...]:
    if isinstance(value, int):
        return (value,) * rank
    return tuple(value) * rank if len(value) == 1 else tuple(value)
