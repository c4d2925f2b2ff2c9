"""ConvShareViT: a vision transformer whose dense layers are depthwise convolutions with kernels shared by all tokens.

Source: arXiv 2504.11517, IEEE TNNLS 2026 (doi 10.1109/TNNLS.2026.3689450), from the abstracts: the linear layers of
attention and MLP become a depthwise convolution whose kernel every input channel shares; with valid padding the network
learns attention, with same padding it acts as a CNN. The papers' abstracts give no layer table: image, patch, width,
depth and heads below are parameters with defaults of ours, so a graph of this model is a stand-in for theirs.
"""

from __future__ import annotations

from math import isqrt, prod
from typing import Literal

import torch
from torch import Tensor, nn

from hwsim.core.errors import UsageError

Padding = Literal["valid", "same"]
Shape2 = tuple[int, int]


def token_image(features: int) -> Shape2:
    """Rows and columns of the squarest image of exactly `features` pixels: 256 is 16 x 16, 384 is 16 x 24."""
    rows = next(rows for rows in range(isqrt(features), 0, -1) if features % rows == 0)
    return rows, features // rows


class SharedConv(nn.Module):
    """A dense layer on tokens as a convolution of token images, (batch, token, d_in) to (batch, token, d_out).

    Every token is a channel that holds an image, and all channels share the kernels, so tokens go through as a batch of
    one-channel images. `valid`: d_out kernels as large as the image, one output sample each; this is the dense layer
    Y = X W with W[:, j] = vec(K_j). `same`: d_in and d_out are whole numbers of images of `image`, and each output
    image has one kernel per input image, of the image's size: a block-Toeplitz map with fewer free weights.
    """

    def __init__(self, d_in: int, d_out: int, padding: Padding, image: Shape2) -> None:
        super().__init__()
        self.padding = padding
        self.images = 1 if padding == "valid" else d_in // prod(image)
        self.image = token_image(d_in) if padding == "valid" else image
        kernels = d_out if padding == "valid" else d_out // prod(image)
        self.weight = nn.Parameter(torch.empty(kernels, self.images, *self.image))
        self.bias = nn.Parameter(torch.zeros(kernels))
        nn.init.trunc_normal_(self.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, _ = x.shape
        images = x.reshape(batch * tokens, self.images, *self.image)
        return nn.functional.conv2d(images, self.weight, self.bias, padding=self.padding).reshape(batch, tokens, -1)


class Attention(nn.Module):
    """Multi-head self-attention with shared convolutions for its projections; the two products are unchanged."""

    def __init__(self, dim: int, heads: int, padding: Padding) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = SharedConv(dim, 3 * dim, padding, token_image(dim))
        self.proj = SharedConv(dim, dim, padding, token_image(dim))

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, dim = x.shape
        q, k, v = self.qkv(x).reshape(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        y = nn.functional.scaled_dot_product_attention(q, k, v)
        out: Tensor = self.proj(y.transpose(1, 2).reshape(batch, tokens, dim))
        return out


class Block(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, dim: int, heads: int, mlp_ratio: int, padding: Padding) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, heads, padding)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.fc1 = SharedConv(dim, mlp_ratio * dim, padding, token_image(dim))
        self.act = nn.GELU()
        self.fc2 = SharedConv(mlp_ratio * dim, dim, padding, token_image(dim))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        out: Tensor = x + self.fc2(self.act(self.fc1(self.norm2(x))))
        return out


class ConvShareViT(nn.Module):
    """The whole network: patch embedding, class token, position embedding, blocks, norm, dense classifier."""

    def __init__(
        self,
        img_size: int,
        patch_size: int,
        in_chans: int,
        dim: int,
        depth: int,
        heads: int,
        mlp_ratio: int,
        classes: int,
        padding: Padding,
    ) -> None:
        super().__init__()
        self.input_shape = (in_chans, img_size, img_size)
        self.patch_embed = nn.Conv2d(in_chans, dim, patch_size, stride=patch_size)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + (img_size // patch_size) ** 2, dim))
        self.blocks = nn.Sequential(*(Block(dim, heads, mlp_ratio, padding) for _ in range(depth)))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.head = nn.Linear(dim, classes)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patch_embed(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls_token.expand(len(x), -1, -1), tokens], dim=1) + self.pos_embed
        out: Tensor = self.head(self.norm(self.blocks(tokens))[:, 0])
        return out


def convsharevit(
    img_size: int = 32,
    patch_size: int = 4,
    dim: int = 256,
    depth: int = 6,
    heads: int = 4,
    mlp_ratio: int = 4,
    classes: int = 100,
    padding: Padding = "valid",
    in_chans: int = 3,
) -> ConvShareViT:
    """`zoo:convsharevit`. The defaults are ours, for 32 x 32 images: 64 patches and a class token of 16 x 16 pixels.

    With img_size 224, patch_size 16, dim 384, depth 12, heads 6 and 1000 classes it has exactly the parameters and MACs
    of DeiT-S, whose dense layers it replaces. Raises UsageError for sizes that do not divide.
    """
    if padding not in ("valid", "same"):
        raise UsageError(f"padding {padding!r}", got=padding, expected="`valid` or `same`")
    sizes = {"img_size": img_size, "patch_size": patch_size, "dim": dim, "depth": depth, "heads": heads,
             "mlp_ratio": mlp_ratio, "classes": classes, "in_chans": in_chans}  # fmt: skip
    for name, size in sizes.items():
        if not isinstance(size, int) or size < 1:
            raise UsageError(f"{name} {size!r}", got=size, expected="a whole number, 1 or more")
    for whole, part in (("img_size", "patch_size"), ("dim", "heads")):
        if sizes[whole] % sizes[part]:
            raise UsageError(f"{whole} {sizes[whole]} is not a multiple of {part} {sizes[part]}")
    return ConvShareViT(img_size, patch_size, in_chans, dim, depth, heads, mlp_ratio, classes, padding)
