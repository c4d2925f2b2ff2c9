"""Complex masks on phase-only panels: double phase, kinoform, and a blazed carrier with its depth as amplitude."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hwsim.backends.optical4f.modulators import interpolate
from hwsim.backends.optical4f.surrogates import straight_through

# Power below which a mask's value has no phase.
_DARK = 1e-30


def power_of(field: Tensor) -> Tensor:
    """|U|^2 of a complex field, without the square root that abs takes and its gradient divides by."""
    return field.real.square() + field.imag.square()


def normalise_mask(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Scale a mask (..., H, W) to |H| <= 1; returns the scaled mask and the scale (..., 1, 1) taken out.

    A passive panel only dims: the light efficiency is mean |H|^2 / max |H|^2 of the result.
    """
    peak = power_of(mask).amax(dim=(-2, -1), keepdim=True).sqrt().clamp_min(torch.finfo(mask.real.dtype).tiny)
    return mask / peak, peak


def mask_efficiency(mask: Tensor) -> Tensor:
    """Power that a flat spectrum keeps through a mask scaled to |H| <= 1: mean |H|^2 / max |H|^2, (...)."""
    power = power_of(mask)
    return power.mean((-2, -1)) / power.amax((-2, -1))


def double_phase(mask: Tensor) -> Tensor:
    """Phases (..., H, W) of a panel whose low-passed light is the mask (..., H, W), |H| <= 1, on the panel's pixels.

    a e^(i phi) = (e^(i(phi + acos a)) + e^(i(phi - acos a))) / 2 (Hsueh and Sawchuk, Appl. Opt. 17, 3874 (1978)),
    the two alternating on a checkerboard. Their difference lands half a camera window off axis along both axes, so
    the panel needs twice the image's samples per axis (4 times the pixels) for the middle to be clean.
    """
    # acos is infinitely steep at 1, and the root at 0: amplitudes stay a rounding off both.
    amplitude = power_of(mask).clamp(1e-14, 1 - 2e-7).sqrt()
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
    phase = 2 * math.pi * (column / superpixel + row / superpixel**2)
    carrier = torch.polar(torch.ones_like(phase), phase)
    power = power_of(mask)
    opening = torch.sqrt((1 - power).clamp_min(0.0))
    # cos(phi + carrier) without the angle of every pixel.
    wave = (mask.real * carrier.real - mask.imag * carrier.imag) * torch.rsqrt(power.clamp_min(_DARK))
    is_open = straight_through((wave > opening).to(wave.dtype), 0.5 * (wave - opening))
    panel = 2 * is_open - 1 if phase_levels else is_open
    return panel, carrier.conj()
