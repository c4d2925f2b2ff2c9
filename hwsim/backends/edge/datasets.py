"""Two small image sets for measuring accuracy: handwritten digits, and shapes drawn on the spot."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from hwsim.backends.edge.edvit import Data
from hwsim.core.errors import CapabilityError

SHAPES = 10


def digits(seed: int = 0) -> Data:
    """scikit-learn's 1,797 handwritten digits, 8 x 8, a fifth of them for testing."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise CapabilityError("the digits need scikit-learn", remedy="pip install 'hwsim[digits]'") from error
    bunch = load_digits()
    return divided(bunch.images[:, None] / 16.0, bunch.target, seed)


def drawn_shapes(count: int = 2000, size: int = 16, seed: int = 0) -> Data:
    """Ten shapes (disc, ring, square, frame, cross, x, bars, stripes, triangle, checks) of random place, size and
    grey on noise."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, SHAPES, count)
    images = np.stack([draw(int(label), size, rng) for label in labels])
    return divided(images[:, None], labels, seed)


def draw(label: int, size: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """One noisy image."""
    radius = rng.uniform(0.25, 0.42) * size
    middle = size / 2 + rng.uniform(-1, 1, 2) * (size / 2 - radius)
    v, u = np.meshgrid(*(np.arange(size) + 0.5 - m for m in middle), indexing="ij")
    far, box = np.hypot(u, v), np.maximum(abs(u), abs(v))
    thin = radius / 3
    inside = box < radius
    masks = (
        far < radius,
        abs(far - radius + thin / 2) < thin / 2,
        inside,
        inside & (box > radius - thin),
        inside & ((abs(u) < thin / 2) | (abs(v) < thin / 2)),
        inside & ((abs(u - v) < thin) | (abs(u + v) < thin)),
        inside & (np.floor(u / thin * 1.5) % 2 == 0),
        inside & (np.floor(v / thin * 1.5) % 2 == 0),
        (v < radius) & (v > -radius) & (abs(u) < (v + radius) / 2),
        inside & ((np.floor(u / thin) + np.floor(v / thin)) % 2 == 0),
    )
    image: NDArray[np.float64] = rng.normal(0.0, 0.15, (size, size)) + rng.uniform(0.6, 1.0) * masks[label]
    return image


def divided(images: NDArray[np.float64], labels: NDArray[np.int64], seed: int) -> Data:
    """Shuffle, and keep the last fifth for testing."""
    order = np.random.default_rng(seed).permutation(len(labels))
    x = torch.tensor(images[order], dtype=torch.float32)
    y = torch.tensor(labels[order], dtype=torch.int64)
    cut = len(labels) * 4 // 5
    return Data(x[:cut], y[:cut], x[cut:], y[cut:])
