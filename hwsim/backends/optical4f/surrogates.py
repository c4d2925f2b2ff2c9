"""Steps and draws that have no derivative, with the gradient of what they stand for (straight-through)."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def straight_through(exact: Tensor, smooth: Tensor) -> Tensor:
    """The value of `exact` with the gradient of `smooth` (Bengio, Leonard, Courville, arXiv 1308.3432)."""
    return smooth + (exact - smooth).detach()


def round_through(x: Tensor) -> Tensor:
    """Round to the nearest whole number; gradient 1."""
    return straight_through(torch.round(x), x)


def poisson_through(mean: Tensor, generator: torch.Generator) -> Tensor:
    """Poisson counts of `mean` >= 0; the gradient of a count is that of its mean."""
    return straight_through(torch.poisson(mean.detach(), generator=generator), mean)


def gaussian_blur(x: Tensor, sigma_px: float) -> Tensor:
    """Periodic Gaussian blur of the last two axes, of `sigma_px` samples, by its transfer function."""
    if sigma_px == 0.0:
        return x
    rows = torch.fft.fftfreq(x.shape[-2], dtype=x.dtype, device=x.device)
    cols = torch.fft.rfftfreq(x.shape[-1], dtype=x.dtype, device=x.device)
    transfer = torch.exp(-2 * (math.pi * sigma_px) ** 2 * (rows[:, None].square() + cols.square()))
    blurred: Tensor = torch.fft.irfft2(torch.fft.rfft2(x) * transfer, s=x.shape[-2:])
    return blurred
