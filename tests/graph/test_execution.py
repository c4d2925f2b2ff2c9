"""A captured graph computes what its module computes: every family of operators, run call by call."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from interpreter import run_graph
from torch import nn
from torch.nn import functional as F  # noqa: N812 - its name everywhere

from hwsim.graph.capture import capture

Forward = Callable[..., object]


class Function(nn.Module):
    """A module whose forward is one function, with a few parameters to use."""

    def __init__(self, function: Forward) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.function = function
        self.w = nn.Parameter(torch.randn(6, 6, generator=generator))
        self.v = nn.Parameter(torch.randn(6, generator=generator))
        self.register_buffer("table", torch.arange(6).flip(0))
        self.register_buffer("fleeting", torch.randn(6, generator=generator), persistent=False)
        self.attribute = torch.randn(6, generator=generator)

    def forward(self, *inputs: torch.Tensor) -> object:
        return self.function(self, *inputs)


def _in_place(m: Function, x: torch.Tensor) -> torch.Tensor:
    y = x * 1
    y.add_(1).mul_(2).relu_()
    y[:, 0] = 3
    y[..., 1:3] += m.v[1:3]
    return y.clamp_(max=5)


def _no_grad(m: Function, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        y = x @ m.w
    with torch.enable_grad():
        return y + x


def _moe(m: Function, x: torch.Tensor) -> torch.Tensor:
    """Token routing with static shapes: the two best of six experts by score."""
    scores, experts = (x @ m.w).softmax(-1).topk(2, dim=-1)
    return torch.zeros_like(x).scatter(-1, experts, scores) * x


FUNCTIONS: dict[str, tuple[Forward, tuple[tuple[int, ...], ...]]] = {
    "linear_4d": (lambda m, x: F.linear(x, m.w, m.v), ((2, 3, 4, 6),)),
    "linear_1d_weight": (lambda m, x: F.linear(x, m.v), ((2, 3, 6),)),
    "matmul_vector": (lambda m, x: x @ m.v, ((2, 3, 6),)),
    "matmul_left_parameter": (lambda m, x: m.w @ x, ((2, 6, 5),)),
    "matmul_broadcast": (lambda m, a, b: a @ b, ((2, 1, 3, 4), (5, 4, 6))),
    "bmm": (lambda m, a, b: torch.bmm(a, b), ((2, 3, 4), (2, 4, 5))),
    "mm": (lambda m, a: torch.mm(a, m.w), ((2, 6),)),
    "mv": (lambda m, a: torch.mv(a, m.v), ((2, 6),)),
    "dot": (lambda m, a: torch.dot(a, m.v), ((6,),)),
    "outer": (lambda m, a: torch.outer(a, m.v), ((4,),)),
    "addmm": (lambda m, a: torch.addmm(m.v, a, m.w, alpha=0.5, beta=2), ((3, 6),)),
    "baddbmm": (lambda m, c, a, b: torch.baddbmm(c, a, b, beta=0.5), ((2, 3, 5), (2, 3, 4), (2, 4, 5))),
    "einsum_attention": (lambda m, q, k: torch.einsum("bhlt,bhtv->bhlv", q, k), ((2, 3, 4, 5), (2, 3, 5, 6))),
    "einsum_weight": (lambda m, x: torch.einsum("bnc,cd->bnd", x, m.w), ((2, 3, 6),)),
    "einsum_diagonal": (lambda m, x: torch.einsum("bii->bi", x), ((2, 6, 6),)),
    "einsum_three": (lambda m, x, y: torch.einsum("bi,ij,bj->b", x, m.w, y), ((2, 6), (2, 6))),
    "complex_matmul": (
        lambda m, x: torch.view_as_real(torch.view_as_complex(x) @ torch.complex(m.w[:3, :3], m.w[3:, 3:])),
        ((2, 4, 3, 2),),
    ),
    "conv1d": (lambda m, x: F.conv1d(x, m.w[:, :3, None].expand(6, 3, 3), m.v, padding="same"), ((2, 3, 7),)),
    "conv3d": (lambda m, x: F.conv3d(x, m.w[:, :2, None, None, None], stride=(1, 2, 2)), ((1, 2, 3, 4, 5),)),
    "conv_grouped": (lambda m, x: F.conv2d(x, m.w[:, :3, None, None], groups=2), ((1, 6, 4, 5),)),
    "conv_transposed": (
        lambda m, x: F.conv_transpose2d(x, m.w.reshape(6, 2, 3, 1), stride=2, padding=1, output_padding=1, groups=3),
        ((1, 6, 4, 5),),
    ),
    "unfold_fold": (lambda m, x: F.fold(F.unfold(x, 3, padding=1), (4, 5), 3, padding=1), ((2, 3, 4, 5),)),
    "tensor_unfold": (lambda m, x: x.unfold(2, 3, 2).sum(-1), ((2, 3, 7),)),
    "fft2": (lambda m, x: torch.fft.irfft2(torch.fft.rfft2(x, norm="ortho") * m.w[0, 0], s=(4, 6)), ((2, 4, 6),)),
    "fftn_complex": (lambda m, x: torch.fft.ifft(torch.fft.fftn(x, dim=(0, 1)), dim=1).real, ((4, 6),)),
    "roll": (lambda m, x: torch.roll(x, (-1, 2), (1, 2)), ((2, 4, 5),)),
    "index": (lambda m, x: x[:, m.table] + m.w[m.table, 0], ((2, 6),)),
    "index_mask": (lambda m, x: torch.where(x > 0, x, m.v), ((2, 6),)),
    "index_select": (lambda m, x: x.index_select(1, m.table[:3]), ((2, 6),)),
    "embedding": (lambda m, x: F.embedding(x.argmax(-1), m.w), ((2, 6),)),
    "topk": (lambda m, x: x.topk(3, dim=1), ((2, 6),)),
    "sort_gather": (lambda m, x: x.gather(1, x.sort(descending=True)[1]), ((2, 6),)),
    "argsort": (lambda m, x: x.argsort(dim=0), ((4, 6),)),
    "scatter_add": (lambda m, x: torch.zeros(2, 6).scatter_add(1, x.argsort(1), x), ((2, 6),)),
    "scatter_reduce": (lambda m, x: x.scatter_reduce(1, m.table.expand(2, 6), x * 2, "mean"), ((2, 6),)),
    "index_put": (lambda m, x: x.clone().index_put_((m.table[:2],), m.v, accumulate=True), ((6, 6),)),
    "index_add": (lambda m, x: x.index_add(1, m.table, x), ((2, 6),)),
    "moe": (_moe, ((4, 6),)),
    "pad_modes": (
        lambda m, x: F.pad(F.pad(F.pad(x, (1, 2)), (1, 1, 1, 1), "reflect"), (1, 0, 0, 1), "replicate"),
        ((2, 3, 4, 5),),
    ),
    "pad_circular": (lambda m, x: F.pad(x, (1, 1, 1, 1), "circular"), ((2, 3, 4, 5),)),
    "upsample": (
        lambda m, x: [F.interpolate(x, scale_factor=2, mode=mode) for mode in ("nearest", "bilinear", "bicubic")],
        ((1, 2, 3, 4),),
    ),
    "upsample_antialias": (
        lambda m, x: F.interpolate(x, (2, 3), mode="bicubic", antialias=True, align_corners=False), ((1, 2, 5, 6),)
    ),
    "grid_sample": (
        lambda m, x, g: F.grid_sample(x, g.tanh(), align_corners=False), ((1, 2, 4, 5), (1, 3, 3, 2))
    ),
    "pools": (
        lambda m, x: [F.max_pool2d(x, 3, 2, 1), F.avg_pool2d(x, (2, 1)), F.adaptive_avg_pool2d(x, (3, 2)),
                      F.adaptive_max_pool2d(x, 1), F.adaptive_avg_pool2d(x, 1), F.lp_pool2d(x, 2, 2)],
        ((2, 3, 6, 6),),
    ),
    "pools_1d_3d": (lambda m, x: [F.avg_pool1d(x, 2), F.max_pool1d(x, 3), F.avg_pool3d(x[None], 2)], ((2, 4, 6),)),
    "cat_stack_split": (lambda m, x: torch.stack([torch.cat(x.split([3, 3], -1), 0), x.repeat(2, 1)[:, ::2]]),
                        ((2, 6),)),
    "chunk_unbind_flip": (lambda m, x: [x.chunk(2, 1)[0].flip(0), *x.unbind(0)], ((2, 6),)),
    "repeat_interleave": (lambda m, x: x.repeat_interleave(3, dim=0), ((2, 6),)),
    "norms": (
        lambda m, x: [F.layer_norm(x, (6,), m.v), F.rms_norm(x, (6,), m.v), F.group_norm(x.mT, 3, m.v),
                      F.instance_norm(x), F.normalize(x, dim=-1), F.local_response_norm(x, 3)],
        ((2, 4, 6),),
    ),
    "activations": (
        lambda m, x: [f(x) for f in (F.gelu, F.silu, F.mish, F.hardswish, F.hardsigmoid, F.elu, F.selu, F.softplus,
                                     F.relu6, F.leaky_relu, F.glu, F.logsigmoid, F.softsign, F.tanhshrink, F.celu)],
        ((2, 6),),
    ),
    "gelu_tanh_prelu": (lambda m, x: F.prelu(F.gelu(x, approximate="tanh"), m.v), ((2, 6),)),
    "softmaxes": (lambda m, x: [x.softmax(1), x.log_softmax(-1), F.softmin(x, 0)], ((2, 6),)),
    "reductions": (
        lambda m, x: [x.mean(), x.sum(1), x.amax(0), x.max(1)[0], x.var(1), x.std(), x.norm(dim=1), x.prod(1),
                      x.logsumexp(1), x.cumsum(1), (x > 0).any(1), x.argmin(1), x.median(1)[0]],
        ((2, 6),),
    ),
    "pointwise": (
        lambda m, x: [torch.addcmul(x, x, x), torch.lerp(x, m.v, 0.3), torch.atan2(x, m.v), x.fmod(2), x.sign(),
                      x.erf(), torch.hypot(x, m.v), x.nan_to_num(), torch.logaddexp(x, m.v), x.remainder(3), x // 2],
        ((2, 6),),
    ),
    "casts": (lambda m, x: (x.half() * 2).to(torch.float64).int().bool().float(), ((2, 6),)),
    "constants": (lambda m, x: x * torch.tensor([1.0, 2, 3, 4, 5, 6]) + m.attribute + m.fleeting, ((2, 6),)),
    "arange_eye": (lambda m, x: x + torch.arange(6) @ torch.eye(6, dtype=torch.int64) + torch.full((1, 6), 2.0),
                   ((2, 6),)),
    "infinite_fill": (lambda m, x: x.masked_fill(x < 0, float("-inf")).softmax(1), ((2, 6),)),
    "pixel_shuffle": (lambda m, x: F.pixel_unshuffle(F.pixel_shuffle(x, 2), 2), ((1, 8, 3, 4),)),
    "channel_shuffle": (lambda m, x: F.channel_shuffle(x, 3), ((1, 6, 3, 4),)),
    "distances": (lambda m, x: torch.cdist(x, x * 2), ((2, 4, 6),)),
    "cosine": (lambda m, x: F.cosine_similarity(x, m.v, dim=-1), ((2, 6),)),
    "tensordot_kron": (lambda m, x: torch.kron(torch.tensordot(x, m.w, 1), m.v), ((2, 6),)),
    "meshgrid": (lambda m, x: torch.stack(torch.meshgrid(x[0], m.v, indexing="ij")), ((2, 6),)),
    "one_hot": (lambda m, x: F.one_hot(x.argmax(1), 6).float() @ m.w, ((2, 6),)),
    "in_place": (_in_place, ((2, 6),)),
    "no_grad": (_no_grad, ((2, 6),)),
    "einops_like": (lambda m, x: x.reshape(2, 2, 3, 4).permute(2, 0, 3, 1).flatten(1).unflatten(1, (4, 4)),
                    ((2, 6, 4),)),
    "strided_view": (lambda m, x: x.T.contiguous().as_strided((3, 2), (1, 3)), ((2, 6),)),
    "unused_input": (lambda m, x, y: x + 1, ((2, 6), (2, 6))),
    "returns_input": (lambda m, x: (x, x + 1), ((2, 6),)),
    "deterministic_arguments": (lambda m, x: torch.clamp(x, min=-0.5, max=m.v.numel()), ((2, 6),)),
}  # fmt: skip


def flat(value: object) -> list[torch.Tensor]:
    return [value] if isinstance(value, torch.Tensor) else [t for part in value for t in flat(part)]  # type: ignore[attr-defined]


def check(module: nn.Module, *inputs: torch.Tensor) -> None:
    graph = capture(module.eval(), inputs)
    assert not graph.unmodelled
    with torch.no_grad():
        wanted = list({id(t): t for t in flat(module(*(i.clone() for i in inputs)))}.values())
        got = run_graph(graph, module, *inputs)
    assert len(got) == len(wanted)
    for a, b in zip(got, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_equals_its_graph(name: str) -> None:
    function, shapes = FUNCTIONS[name]
    generator = torch.Generator().manual_seed(0)
    check(Function(function), *(torch.randn(shape, generator=generator) for shape in shapes))


MODULES: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "multi_head_attention": (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (2, 5, 8)),
    "transformer_decoder": (nn.Transformer(8, 2, 1, 1, 16, batch_first=True), (2, 5, 8)),
    "gru": (nn.GRU(8, 6, 2, batch_first=True, bidirectional=True), (2, 4, 8)),
    "lstm": (nn.LSTM(8, 6), (4, 2, 8)),
    "rnn": (nn.RNN(8, 6, nonlinearity="relu"), (4, 2, 8)),
    "batch_norm_2d": (nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(inplace=True)), (2, 3, 6, 6)),
    "batch_norm_1d": (nn.BatchNorm1d(8, affine=False), (2, 8)),
    "group_norm": (nn.GroupNorm(2, 8), (2, 8, 3, 3)),
    "instance_norm": (nn.InstanceNorm2d(8, affine=True, track_running_stats=True), (2, 8, 3, 3)),
    "weight_norm": (nn.utils.parametrizations.weight_norm(nn.Linear(8, 4)), (2, 8)),
    "dropout_last": (nn.Sequential(nn.Linear(8, 4), nn.Dropout(0.5)), (2, 8)),
    "conv_transpose3d": (nn.ConvTranspose3d(4, 6, 3, stride=2, groups=2), (1, 4, 3, 3, 3)),
    "conv_reflect": (nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), (1, 3, 5, 5)),
    "embedding_bag": (nn.Sequential(nn.Linear(8, 8), nn.Flatten(), nn.Unflatten(1, (2, 4))), (2, 8)),
}


@pytest.mark.parametrize("name", MODULES)
def test_module_equals_its_graph(name: str) -> None:
    module, shape = MODULES[name]
    torch.manual_seed(0)
    inputs = [torch.randn(shape)] * (2 if name == "transformer_decoder" else 1)
    check(module, *inputs)


class Cell(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(6, 5)
        self.lstm = nn.LSTMCell(5, 5)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        h = torch.zeros(2, 5)
        for _ in range(3):
            h = self.cell(x, h)
        return self.lstm(h, (h, h))


def test_recurrent_cells_equal_their_graph_and_count_each_step() -> None:
    check(Cell(), torch.randn(2, 6))
    graph = capture(Cell(), (torch.randn(2, 6),))
    assert graph.macs == 3 * 2 * 15 * (6 + 5) + 2 * 20 * (5 + 5)
