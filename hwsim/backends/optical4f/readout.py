"""Signed numbers from a camera that reads |U|^2: two frames, an interferometer, or incoherent light.

A readout says which frames are taken of which fields and how their signals in electrons are put together again.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor

from hwsim.backends.optical4f.surrogates import straight_through
from hwsim.core.errors import UsageError

Readout: TypeAlias = Literal["amplitude", "two_frame", "interferometric", "incoherent"]


def split_signs(kernel: Tensor) -> tuple[Tensor, Tensor]:
    """Positive and negative part of a real kernel: k = k_plus - k_minus, both non-negative."""
    return kernel.clamp_min(0.0), (-kernel).clamp_min(0.0)


def amplitude_of(signal_e: Tensor) -> Tensor:
    """Square root of a measured signal in electrons; dark-subtracted signals below zero read as zero.

    Its slope 1 / (2 sqrt(S)) is held at that of one electron, the least a camera counts, so that dark pixels learn.
    """
    root = signal_e.detach().clamp_min(0.0).sqrt_()
    return straight_through(root, signal_e, 0.5 / root.clamp_min(1.0)) if signal_e.requires_grad else root


def interferogram_phases(steps: int) -> Tensor:
    """Reference phases of an interferometric readout, (steps,): 0 and pi, or a turn in 3 or more steps."""
    if steps < 2:
        raise UsageError(
            f"{steps} phase step",
            where="interferometric readout",
            got=steps,
            expected="2 steps for the real part, 3 or more for the complex field",
            remedy="use phase_steps=2",
        )
    return torch.arange(steps, dtype=torch.float64) * (2 * torch.pi / steps)


def demodulate(frames: Tensor, reference: float) -> Tensor:
    """Complex field from frames |U + R e^(i phi_k)|^2 at equal phase steps, (steps, ..., H, W) -> (..., H, W).

    sum_k I_k e^(i phi_k) = steps R U for 3 or more steps (Bruning et al., Appl. Opt. 13, 2693 (1974)); with two
    steps the real part alone, I_0 - I_pi = 4 R Re U.
    """
    steps = frames.shape[0]
    if steps == 2:
        return (frames[0] - frames[1]) / (4 * reference)
    phases = interferogram_phases(steps).to(frames.device, frames.dtype)
    weights = torch.polar(torch.ones_like(phases), phases).reshape(-1, *[1] * (frames.ndim - 1))
    return (frames * weights).sum(0) / (steps * reference)
