"""A small hybrid of convolutions and a vision transformer, in the manner of MobileViT and LeViT, of any size.

Inverted-residual convolutions with BatchNorm shrink the image, transformer blocks work on what is left. No published
network: it is the hybrid that hwsim ships trained (studies/digits), because hybrids are what integer quantization
finds hardest (Q-HyViT, arXiv 2303.12557: the bridge between convolutional and transformer blocks).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hwsim.core.errors import UsageError


class ConvNorm(nn.Sequential):
    """Convolution without bias, BatchNorm, and ReLU6 unless `linear`."""

    def __init__(
        self, d_in: int, d_out: int, kernel: int, stride: int = 1, groups: int = 1, linear: bool = False
    ) -> None:
        layers: list[nn.Module] = [
            nn.Conv2d(d_in, d_out, kernel, stride, kernel // 2, groups=groups, bias=False),
            nn.BatchNorm2d(d_out),
        ]
        super().__init__(*layers, *([] if linear else [nn.ReLU6()]))


class InvertedResidual(nn.Module):
    """Expand, depthwise, project (Sandler et al., MobileNetV2, CVPR 2018); a residual sum where the shape is kept."""

    def __init__(self, d_in: int, d_out: int, stride: int, expansion: int = 4) -> None:
        super().__init__()
        wide = d_in * expansion
        self.body = nn.Sequential(
            ConvNorm(d_in, wide, 1),
            ConvNorm(wide, wide, 3, stride, groups=wide),
            ConvNorm(wide, d_out, 1, linear=True),
        )
        self.residual = stride == 1 and d_in == d_out

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return x + y if self.residual else y


class Block(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, dim: int, heads: int, mlp_ratio: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.fc1, self.fc2 = nn.Linear(dim, mlp_ratio * dim), nn.Linear(mlp_ratio * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, dim = x.shape
        qkv = self.qkv(self.norm1(x)).reshape(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        y = nn.functional.scaled_dot_product_attention(*qkv.unbind(0))
        x = x + self.proj(y.transpose(1, 2).reshape(batch, tokens, dim))
        out: Tensor = x + self.fc2(nn.functional.gelu(self.fc1(self.norm2(x))))
        return out


class HybridViT(nn.Module):
    """Stem, inverted residuals that halve the image once, transformer blocks, mean over tokens, classifier."""

    def __init__(
        self, img_size: int, in_chans: int, width: int, dim: int, depth: int, heads: int, mlp_ratio: int, classes: int
    ) -> None:
        super().__init__()
        self.input_shape = (in_chans, img_size, img_size)
        self.stem = ConvNorm(in_chans, width, 3)
        self.stages = nn.Sequential(InvertedResidual(width, width, 1), InvertedResidual(width, dim, 2))
        self.pos_embed = nn.Parameter(torch.empty(1, ((img_size + 1) // 2) ** 2, dim))
        self.blocks = nn.Sequential(*(Block(dim, heads, mlp_ratio) for _ in range(depth)))
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, classes)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.stages(self.stem(x)).flatten(2).transpose(1, 2) + self.pos_embed
        out: Tensor = self.head(self.norm(self.blocks(tokens)).mean(1))
        return out


def hybridvit(
    img_size: int = 32,
    in_chans: int = 3,
    width: int = 32,
    dim: int = 96,
    depth: int = 3,
    heads: int = 3,
    mlp_ratio: int = 2,
    classes: int = 100,
) -> HybridViT:
    """`zoo:hybridvit`. Raises UsageError for sizes that do not divide."""
    if dim % heads:
        raise UsageError(f"dim {dim} is not a multiple of heads {heads}")
    return HybridViT(img_size, in_chans, width, dim, depth, heads, mlp_ratio, classes)
