"""Steps and draws that have no derivative, with the gradient of what they stand for (straight-through)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

# Poisson mean from which a normal is drawn instead: its skewness is then below 0.1.
BRIGHT = 100.0


class _Through(torch.autograd.Function):
    """Forward the first argument, backward to the second with a factor."""

    @staticmethod
    def forward(ctx: Any, exact: Tensor, smooth: Tensor, slope: Tensor | None) -> Tensor:
        ctx.slope = slope
        return exact

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor, None]:
        (gradient,) = gradients
        return None, gradient if ctx.slope is None else gradient * ctx.slope, None


def straight_through(exact: Tensor, smooth: Tensor, slope: Tensor | None = None) -> Tensor:
    """The value of `exact`, with `slope` (1 if None) for its derivative by `smooth`, whose shape it has.

    Bengio, Leonard, Courville, arXiv 1308.3432.
    """
    value: Tensor = _Through.apply(exact.detach(), smooth, slope)  # type: ignore[no-untyped-call]
    return value


def round_through(x: Tensor) -> Tensor:
    """Round to the nearest whole number; gradient 1."""
    return straight_through(torch.round(x), x)


def poisson(means: Tensor, generator: torch.Generator) -> Tensor:
    """Poisson counts of `means` >= 0, without a gradient.

    Means of BRIGHT and more draw a rounded normal of the same mean and variance, which is many times faster (A28).
    """
    counts = torch.randn(means.shape, generator=generator, dtype=means.dtype, device=means.device)
    counts = torch.addcmul(means, means.sqrt(), counts).round_()
    dim = means < BRIGHT
    counts[dim] = torch.poisson(means[dim], generator=generator)
    return counts


def gaussian_blur(x: Tensor, sigma_px: float) -> Tensor:
    """Periodic Gaussian blur of the last two axes, of `sigma_px` samples, by its transfer function."""
    if sigma_px == 0.0:
        return x
    rows = torch.fft.fftfreq(x.shape[-2], dtype=x.dtype, device=x.device)
    cols = torch.fft.rfftfreq(x.shape[-1], dtype=x.dtype, device=x.device)
    transfer = torch.exp(-2 * (math.pi * sigma_px) ** 2 * (rows[:, None].square() + cols.square()))
    blurred: Tensor = torch.fft.irfft2(torch.fft.rfft2(x) * transfer, s=x.shape[-2:])
    return blurred
