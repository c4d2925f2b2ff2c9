"""The published system, and a direct convolution that shares nothing with an FFT."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

WAVELENGTH_M, FOCAL_M, PITCH_M = 532e-9, 0.1, 8e-6


@dataclass(frozen=True)
class Golden:
    """The published image, its kernels and its exact fields."""

    image: Tensor
    kernels: dict[str, Tensor]
    fields: dict[str, Tensor]
    finite: dict[str, Tensor]


def direct_convolution(image: NDArray[np.generic], kernel: NDArray[np.generic]) -> NDArray[np.generic]:
    """Circular convolution with a small centred kernel, summed tap by tap in extended precision."""
    wide = np.clongdouble if np.iscomplexobj(image) or np.iscomplexobj(kernel) else np.longdouble
    total = np.zeros(image.shape, dtype=wide)
    for a in range(kernel.shape[0]):
        for b in range(kernel.shape[1]):
            shift = (a - kernel.shape[0] // 2, b - kernel.shape[1] // 2)
            total += wide(kernel[a, b]) * np.roll(image.astype(wide), shift, (0, 1))
    return total


def error(field: Tensor, reference: Tensor | NDArray[np.generic]) -> float:
    """Relative L2, no rescaling."""
    want = np.asarray(reference)
    return float(np.linalg.norm((field.numpy() - want).astype(complex)) / np.linalg.norm(want.astype(complex)))
