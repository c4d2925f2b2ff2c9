"""Complex masks on phase-only panels: double phase, kinoform, and a blazed carrier with its depth as amplitude."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hwsim.backends.optical4f.bench import BINARY_ORDER as BINARY_ORDER
from hwsim.backends.optical4f.modulators import interpolate
from hwsim.backends.optical4f.surrogates import straight_through


def normalise_mask(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Scale a mask (..., H, W) to |H| <= 1; returns the scaled mask and the scale (..., 1, 1) taken out.

    A passive panel only dims: the light efficiency is mean |H|^2 / max |H|^2 of the result.
    """
    peak = mask.abs().amax(dim=(-2, -1), keepdim=True).clamp_min(torch.finfo(mask.real.dtype).tiny)
    return mask / peak, peak


def mask_efficiency(mask: Tensor) -> Tensor:
    """Power that a flat spectrum keeps through a mask scaled to |H| <= 1: mean |H|^2 / max |H|^2, (...)."""
    power = mask.abs().square()
    return power.mean((-2, -1)) / power.amax((-2, -1))


def double_phase(mask: Tensor) -> Tensor:
    """Phases (..., H, W) of a panel whose low-passed light is the mask (..., H, W), |H| <= 1, on the panel's pixels.

    a e^(i phi) = (e^(i(phi + acos a)) + e^(i(phi - acos a))) / 2 (Hsueh and Sawchuk, Appl. Opt. 17, 3874 (1978)),
    the two alternating on a checkerboard. Their difference lands half a camera window off axis along both axes, so
    the panel needs twice the image's samples per axis (4 times the pixels) for the middle to be clean.
    """
    # acos is infinitely steep at 1: the largest amplitude stays a rounding below it.
    amplitude = mask.abs().clamp_max(1 - 1e-7)
    return torch.angle(mask) + checkerboard(amplitude) * torch.acos(amplitude)


def checkerboard(like: Tensor) -> Tensor:
    """+1 and -1 alternating over the last two axes of `like`, +1 at [0, 0], (H, W)."""
    rows = torch.arange(like.shape[-2], device=like.device)[:, None]
    cols = torch.arange(like.shape[-1], device=like.device)
    return (1 - 2 * ((rows + cols) % 2)).to(like.dtype)


def kinoform(mask: Tensor) -> Tensor:
    """Phases of a mask (..., H, W) with its amplitude ignored: every pixel is used and all light passes."""
    return torch.angle(mask)


def blazed_carrier(mask: Tensor, period_px: int) -> Tensor:
    """Phases (..., H, W) whose first diffraction order along columns carries the mask, |H| <= 1.

    A ramp of one turn per `period_px` pixels, its depth M reduced so that the order's amplitude sinc(1 - M) is |H|
    (Davis et al., Appl. Opt. 38, 5004 (1999)). The image appears 1/period of the camera window off axis.
    """
    depth_grid = torch.linspace(0, 1, 4097, dtype=mask.real.dtype, device=mask.device)
    depth = interpolate(mask.abs().clamp_max(1.0), torch.sinc(1 - depth_grid), depth_grid)
    column = torch.arange(mask.shape[-1], dtype=mask.real.dtype, device=mask.device)
    ramp = torch.angle(mask) + 2 * math.pi * column / period_px
    wrapped = torch.remainder(ramp + math.pi, 2 * math.pi) - math.pi
    return depth * wrapped


def binary_hologram(mask: Tensor, superpixel: int, phase_levels: bool) -> tuple[Tensor, Tensor]:
    """Two-valued panel (..., H, W) whose first order carries the mask, |H| <= 1, and the conjugate carrier (H, W).

    Lee's hologram (Appl. Opt. 18, 3661 (1979)): a pixel is open where cos(phi + carrier) > cos(asin |H|), which puts
    |H| / pi into the first order; a panel of phases 0 and pi (`phase_levels`) puts 2 |H| / pi. The carrier is tilted so
    that the n^2 pixels of a superpixel hold n^2 phases (Goorden et al., Opt. Express 22, 17999 (2014)). The panel
    times the second result has the order on the axis.
    """
    row = torch.arange(mask.shape[-2], dtype=mask.real.dtype, device=mask.device)[:, None]
    column = torch.arange(mask.shape[-1], dtype=mask.real.dtype, device=mask.device)
    carrier = 2 * math.pi * (column / superpixel + row / superpixel**2)
    opening = torch.sqrt((1 - mask.abs().square()).clamp_min(0.0))
    wave = torch.cos(torch.angle(mask) + carrier)
    is_open = straight_through((wave > opening).to(wave.dtype), 0.5 * (wave - opening))
    panel = 2 * is_open - 1 if phase_levels else is_open
    return panel, torch.polar(torch.ones_like(carrier), -carrier)
