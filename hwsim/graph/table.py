"""The table of operators: packet name -> lowering. Operators are added here and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import prod

from hwsim.graph.attention import split_attention
from hwsim.graph.calls import Argument, Call, references
from hwsim.graph.ir import Kind
from hwsim.graph.lowering import Draft, Scope, axis_of, draft_of, elements
from hwsim.graph.products import (
    added_matmul,
    convolution,
    general_convolution,
    linear,
    matmul,
    transposed_convolution,
)

Lowering = Callable[[Call, Scope], list[Draft]]


def lower(call: Call, scope: Scope) -> list[Draft]:
    """The ops of one call; an operator nobody has modelled keeps its bytes under the kind `unmodelled`."""
    rule = TABLE.get(call.packet)
    if rule is not None:
        return rule(call, scope)
    if call.view:
        return _moved("view")(call, scope)
    if call.pointwise:
        return _moved("elementwise")(call, scope)
    return [draft_of(call, "unmodelled", {"elements": elements(call)}, fn=call.target)]


def _moved(kind: Kind) -> Lowering:
    """A kind whose only dim is the number of output elements."""

    def rule(call: Call, scope: Scope) -> list[Draft]:
        return [draft_of(call, kind, {"elements": elements(call)})]

    return rule


def _view(call: Call, scope: Scope) -> list[Draft]:
    """`view` insists on strides that only the capture knew: an executor is given `reshape`, which always works."""
    if call.target in ("aten.view.default", "aten._unsafe_view.default"):
        call = replace(call, target="aten.reshape.default")
    return [draft_of(call, "view", {"elements": elements(call)})]


def _convert(call: Call, scope: Scope) -> list[Draft]:
    """A change of number format is arithmetic; of device or memory format only, a copy."""
    if scope.dtype(call.args[0]) != call.outputs[0].dtype:
        return [draft_of(call, "elementwise", {"elements": elements(call)}, fn="cast")]
    return [draft_of(call, "layout", {"elements": elements(call)}, fn="clone")]


def _softmax(call: Call, scope: Scope) -> list[Draft]:
    shape = call.outputs[0].shape
    cols = shape[axis_of(call.argument(1, "dim"), len(shape))] if shape else 1
    return [draft_of(call, "softmax", {"rows": call.outputs[0].elements // max(cols, 1), "cols": cols})]


def _layer_norm(call: Call, scope: Scope) -> list[Draft]:
    """layer_norm and rms_norm: statistics over the trailing `normalized_shape`."""
    cols = prod(call.args[1])
    return [_norm(call, cols)]


def _group_norm(call: Call, scope: Scope) -> list[Draft]:
    """aten.group_norm(input, num_groups, ...): statistics over the channels of a group and all positions."""
    shape = call.outputs[0].shape
    return [_norm(call, prod(shape[1:]) // call.args[1])]


def _native_group_norm(call: Call, scope: Scope) -> list[Draft]:
    """aten.native_group_norm(input, weight, bias, N, C, HxW, group, eps)."""
    return [_norm(call, call.args[4] * call.args[5] // call.args[6])]


def _batch_norm(call: Call, scope: Scope) -> list[Draft]:
    """Inference: a scale and a shift per channel from stored statistics, written as one aten.batch_norm call."""
    data, weight, bias, mean, variance, momentum, eps = call.args
    args = (data, weight, bias, mean, variance, False, momentum, eps, False)
    single = Call("aten.batch_norm.default", args, {}, call.outputs[:1], call.module)
    channels = call.outputs[0].shape[1]
    return [_norm(single, channels)]


def _batch_statistics(call: Call, scope: Scope) -> list[Draft]:
    """Batch or instance norm over the batch at hand: statistics per channel over everything else."""
    shape = scope.shape(call.args[0])
    return [_norm(call, prod(shape) // max(shape[1], 1))]


def _distance(call: Call, scope: Scope) -> list[Draft]:
    """aten._cdist_forward(a, b, p): each output sums over the coordinates of one pair of points."""
    return [draft_of(call, "reduction", {"elements": elements(call), "window": scope.shape(call.args[0])[-1]})]


def _norm(call: Call, cols: int) -> Draft:
    return draft_of(call, "norm", {"rows": call.outputs[0].elements // max(cols, 1), "cols": cols})


def _windowed(kind: Kind) -> Lowering:
    """Reductions and pools without a stated kernel: `window` is how many inputs each output summarises."""

    def rule(call: Call, scope: Scope) -> list[Draft]:
        count = call.outputs[0].elements
        read = prod(scope.shape(call.args[0])) if any(references(call.args)) else count
        return [draft_of(call, kind, {"elements": count, "window": -(-read // max(count, 1))})]

    return rule


def _pool(call: Call, scope: Scope) -> list[Draft]:
    """avg_poolNd and max_poolNd: the kernel is stated."""
    rank = int(call.fn.split("pool")[1][0])
    kernel = call.args[1]
    window = kernel[0] ** rank if len(kernel) == 1 else prod(kernel)
    return [draft_of(call, "pool", {"elements": call.outputs[0].elements, "window": window})]


def _topk(call: Call, scope: Scope) -> list[Draft]:
    """`window` is the length of the lists that are sorted or searched."""
    shape = scope.shape(call.args[0])
    position = {"topk": 2, "kthvalue": 2}.get(call.fn, 1)
    dim: Argument = call.argument(position, "dim", -1)
    window = shape[axis_of(dim if isinstance(dim, int) else -1, len(shape))] if shape else 1
    return [draft_of(call, "topk", {"elements": call.outputs[0].elements, "window": window})]


def _family(names: str, rule: Lowering) -> dict[str, Lowering]:
    return {f"aten.{name}": rule for name in names.split()}


TABLE: dict[str, Lowering] = {
    **_family("linear", linear),
    **_family("matmul mm bmm mv dot", matmul),
    **_family("addmm baddbmm addmv", added_matmul),
    **_family("conv1d conv2d conv3d", convolution),
    **_family("conv_transpose1d conv_transpose2d conv_transpose3d", transposed_convolution),
    **_family("convolution", general_convolution),
    **_family("scaled_dot_product_attention", split_attention),
    **_family("_to_copy", _convert),
    **_family("softmax _softmax log_softmax _log_softmax _safe_softmax", _softmax),
    **_family("layer_norm rms_norm _fused_rms_norm", _layer_norm),
    **_family("group_norm", _group_norm),
    **_family("native_group_norm", _native_group_norm),
    **_family("_native_batch_norm_legit_no_training", _batch_norm),
    **_family("_native_batch_norm_legit native_batch_norm _native_batch_norm_legit_functional", _batch_statistics),
    **_family(
        "relu relu6 gelu silu mish sigmoid tanh hardtanh hardswish hardsigmoid leaky_relu elu selu celu softplus "
        "prelu log_sigmoid threshold glu",
        _moved("activation"),
    ),
    **_family(
        "add sub rsub mul div pow sqrt rsqrt exp log neg abs reciprocal where maximum minimum clamp erf eq ne lt le gt "
        "ge logical_not logical_and logical_or masked_fill cumsum cumprod "
        "complex polar exponential normal normal_functional uniform geometric",
        _moved("elementwise"),
    ),
    **_family(
        "mean sum prod amax amin max min var std var_mean std_mean argmax argmin norm linalg_vector_norm "
        "logsumexp any all",
        _windowed("reduction"),
    ),
    **_family("avg_pool1d avg_pool2d avg_pool3d max_pool1d max_pool2d max_pool3d", _pool),
    **_family("max_pool2d_with_indices max_pool3d_with_indices", _pool),
    **_family(
        "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d _adaptive_avg_pool2d _adaptive_avg_pool3d "
        "adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d",
        _windowed("pool"),
    ),
    **_family(
        "upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_linear1d upsample_bilinear2d "
        "upsample_trilinear3d upsample_bicubic2d _upsample_bilinear2d_aa _upsample_bicubic2d_aa "
        "_upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d",
        _moved("resize"),
    ),
    **_family(
        "index gather index_select embedding take grid_sampler grid_sampler_2d grid_sampler_3d masked_select nonzero",
        _moved("gather"),
    ),
    **_family(
        "scatter scatter_add scatter_reduce index_put index_add index_copy index_reduce index_fill masked_scatter",
        _moved("scatter"),
    ),
    **_family("topk sort argsort kthvalue median nanmedian mode", _topk),
    **_family("_cdist_forward", _distance),
    **_family("roll", _moved("roll")),
    **_family("im2col unfold", _moved("unfold")),
    **_family("col2im", _moved("fold")),
    **_family("_fft_r2c _fft_c2c _fft_c2r", _moved("fft")),
    **_family(
        "fft_fft fft_ifft fft_rfft fft_irfft fft_fft2 fft_ifft2 fft_rfft2 fft_irfft2 fft_fftn fft_ifftn fft_rfftn "
        "fft_irfftn fft_hfft fft_ihfft",
        _moved("fft"),
    ),
    **_family(
        "cat stack pad constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d "
        "replication_pad2d replication_pad3d repeat repeat_interleave clone copy flip slice_scatter select_scatter "
        "diagonal_scatter as_strided_scatter tril triu diag_embed "
        "arange zeros ones full empty eye linspace scalar_tensor zeros_like ones_like full_like empty_like new_zeros "
        "new_ones new_full new_empty rand randn randint randperm rand_like randn_like tril_indices triu_indices "
        "fill bernoulli",
        _moved("layout"),
    ),
    **_family(
        "view _unsafe_view reshape permute transpose t squeeze unsqueeze expand slice select split split_with_sizes "
        "unbind view_as_complex view_as_real diagonal",
        _view,
    ),
}  # fmt: skip
