"""The two networks of FatNet's latency model: ResNet-18 for 32 x 32 images, and FatNet, its wide-kernel transform.

Source: FatNet, AI 2023 4(2) 361, doi 10.3390/ai4020018; layer lists as in the authors' code (riadibadulla/simulator
@a093a1f). FatNet keeps the number of layers and, per layer, about the number of features and parameters, but trades
channels for larger maps and kernels: maps shrink only to 10 x 10, the number of classes of CIFAR-100.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class Layer:
    """A convolution to `channels`, then batch norm, ReLU, and pooling to `pool` x `pool` if set."""

    channels: int
    kernel: int = 3
    pool: int | None = None


#: Pairs of layers; a pair with a shortcut adds its input to its output.
Pair = tuple[Layer, Layer, bool]


def _plain(channels: int, pool: int) -> list[Pair]:
    narrow = Layer(channels)
    return [(Layer(channels, pool=pool), narrow, False), (narrow, narrow, True)]


STEM = Layer(64, kernel=7, pool=16)
RESNET18: Sequence[Pair] = (
    (Layer(64), Layer(64), True),
    (Layer(64), Layer(64), True),
    *_plain(128, 8),
    *_plain(256, 4),
    *_plain(512, 2),
)
FATNET: Sequence[Pair] = (
    (Layer(64), Layer(64), True),
    (Layer(64), Layer(64), True),
    (Layer(82, 4, pool=10), Layer(82, 5), False),
    (Layer(82, 5), Layer(82, 5), True),
    (Layer(78, 7), Layer(78, 10), False),
    (Layer(78, 10), Layer(78, 10), True),
    (Layer(151, 10), Layer(155, 10), False),
    (Layer(151, 10), Layer(155, 10), True),
)


def _layer(c_in: int, layer: Layer) -> nn.Sequential:
    parts: list[nn.Module] = [
        nn.Conv2d(c_in, layer.channels, layer.kernel, padding="same"),
        nn.BatchNorm2d(layer.channels),
        nn.ReLU(),
    ]
    if layer.pool is not None:
        parts.append(nn.AdaptiveAvgPool2d(layer.pool))
    return nn.Sequential(*parts)


class _Pair(nn.Module):
    def __init__(self, c_in: int, pair: Pair) -> None:
        super().__init__()
        first, second, self.shortcut = pair
        self.layers = nn.Sequential(_layer(c_in, first), _layer(first.channels, second))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return y + x if self.shortcut else y


class CifarNet(nn.Module):
    """Stem, pairs of layers, classifier, for (batch, 3, 32, 32) images."""

    input_shape = (3, 32, 32)

    def __init__(self, pairs: Sequence[Pair], classifier: nn.Module) -> None:
        super().__init__()
        self.conv1 = _layer(3, STEM)
        widths = [STEM.channels, *(pair[1].channels for pair in pairs)]
        self.pairs = nn.Sequential(*(_Pair(c_in, pair) for c_in, pair in zip(widths, pairs, strict=False)))
        self.classifier = classifier

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.classifier(self.pairs(self.conv1(x)))
        return out


def resnet18_cifar() -> CifarNet:
    """`zoo:resnet18_cifar`: 17 convolutions without 1 x 1 shortcuts and a dense classifier, for CIFAR-100."""
    return CifarNet(RESNET18, nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(512, 100)))


def fatnet() -> CifarNet:
    """`zoo:fatnet`: 17 convolutions, and as classifier an 18th whose 10 x 10 output is the 100 classes."""
    return CifarNet(FATNET, nn.Sequential(nn.Conv2d(155, 1, 10, padding="same"), nn.Flatten()))
