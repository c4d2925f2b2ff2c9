"""The 4f on an oversampled grid: exact or paraxial gaps between quadratic thin lenses, by padded FFTs.

A quadratic lens is ideal only together with paraxial gaps; with exact ones it leaves a phase of k z (lambda nu)^4 / 8
per gap. This module exists to tell that aberration from clipping and from sampling, and holds the panels whose
apertures are too wide for the quadrature of `finite`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from hwsim.backends.optical4f.masks import SmoothMask
from hwsim.backends.optical4f.propagation import FreeSpace, angular_spectrum_transfer
from hwsim.backends.optical4f.pupils import edge_coverage
from hwsim.backends.optical4f.quadrature import Nodes
from hwsim.backends.optical4f.relay import Relay
from hwsim.backends.optical4f.transforms import centred_coordinates
from hwsim.core.errors import UsageError

Transfer: TypeAlias = Callable[[FreeSpace, tuple[int, int]], Tensor]

# 8192^2 samples of complex128 are 1 GiB.
MAX_GRID_SAMPLES = 8192


def angular_spectrum_field(image: Tensor, mask: SmoothMask, relay: Relay, oversample: int = 2) -> Tensor:
    """Upright camera field (..., H, W) with exact gaps and thin quadratic lenses (A19).

    image: (..., H, W) on `relay.shape`. The same systems as `finite.camera_field`, whose paraxial gaps are replaced.
    Raises UsageError where the window that keeps wrapped light out is too large. Memory: about four complex planes
    of the padded, oversampled window.
    """
    return _grid_field(image, mask, relay, oversample, angular_spectrum_transfer)


def paraxial_field(image: Tensor, mask: SmoothMask, relay: Relay, oversample: int = 2) -> Tensor:
    """`angular_spectrum_field` with paraxial gaps (A18): `finite.camera_field` to 3e-4, for panels too wide for it."""
    return _grid_field(image, mask, relay, oversample, _paraxial_transfer)


def _grid_field(image: Tensor, mask: SmoothMask, relay: Relay, oversample: int, crossing: Transfer) -> Tensor:
    pitch = relay.pitch_m / oversample
    window = grid_samples(mask, relay, oversample) * oversample
    if window > MAX_GRID_SAMPLES:
        raise UsageError(
            f"this relay needs a grid of {window} samples per axis at {pitch * 1e6:.3g} um",
            where="optical relay on a grid",
            got=window,
            expected=f"at most {MAX_GRID_SAMPLES}",
            remedy="use finite.camera_field (paraxial), a smaller aperture or a shorter focal length",
        )
    field = _interpolate(image.to(torch.promote_types(image.dtype, torch.complex64)), window, oversample)
    gap = FreeSpace(relay.wavelength_m, relay.focal_m, pitch, (window, window))
    transfer = crossing(gap, (window, window)).to(field.device, field.dtype)
    points = centred_coordinates(window, pitch)
    lens = _lens(points, pitch, mask, relay).to(field.device, field.dtype)
    cells = Nodes(points, torch.full_like(points, pitch))
    hole = edge_coverage(points, cells.weights, 2 * mask.half_side_m(0, relay))
    stop = (hole[:, None] * hole * mask.transmission(cells, cells, relay)).to(field.device, field.dtype)
    for element in (lens, stop, lens, torch.ones((), dtype=field.dtype, device=field.device)):
        field = torch.fft.ifft2(torch.fft.fft2(field) * transfer) * element
    return _upright_samples(field, relay, oversample)


def grid_samples(mask: SmoothMask, relay: Relay, oversample: int = 2) -> int:
    """Samples at the input's pitch of a window in which no light of any gap wraps into the next aperture.

    From a source of half width a, the steepest rays of the fine grid's band reach a + spread, and come round again
    beyond b, the half width of the next aperture, in a window of a + b + spread.
    """
    panel = max(relay.shape) * relay.pitch_m / 2
    lens, stop = _lens_side(mask, relay) / 2, mask.half_side_m(0, relay)
    fine = FreeSpace(relay.wavelength_m, relay.focal_m, relay.pitch_m / oversample, relay.shape)
    needed = lens + max(panel, stop) + fine.spread_m
    samples = 2 * math.ceil(needed / relay.pitch_m / 2)
    while _largest_factor(samples) > 7:
        samples += 2
    return samples


def _paraxial_transfer(gap: FreeSpace, window: tuple[int, int]) -> Tensor:
    """exp(-i pi lambda z nu^2) in FFT order, complex128 `window` (Goodman, eq. 4-20)."""
    nu_y = torch.fft.fftfreq(window[0], gap.pitch_m, dtype=torch.float64)
    nu_x = torch.fft.fftfreq(window[1], gap.pitch_m, dtype=torch.float64)
    phase = -math.pi * gap.wavelength_m * gap.distance_m * (nu_y[:, None].square() + nu_x.square())
    return torch.polar(torch.ones_like(phase), phase)


def _lens_side(mask: SmoothMask, relay: Relay) -> float:
    if relay.lens_side_m is not None:
        return relay.lens_side_m
    return 1.05 * (max(relay.shape) * relay.pitch_m + 2 * mask.half_side_m(0, relay))


def _lens(points: Tensor, pitch_m: float, mask: SmoothMask, relay: Relay) -> Tensor:
    phase = -math.pi / (relay.wavelength_m * relay.focal_m) * points.square()
    inside = edge_coverage(points, torch.full_like(points, pitch_m), _lens_side(mask, relay))
    axis = torch.polar(inside, phase)
    return axis[:, None] * axis


def _interpolate(image: Tensor, window: int, oversample: int) -> Tensor:
    """Sinc interpolation into the middle of an empty window: (..., H, W) -> (..., window, window)."""
    coarse = window // oversample
    rows, cols = image.shape[-2:]
    top, left = coarse // 2 - rows // 2, coarse // 2 - cols // 2
    padded = torch.nn.functional.pad(image, (left, coarse - cols - left, top, coarse - rows - top))
    spectrum = torch.fft.fftshift(torch.fft.fft2(padded), dim=(-2, -1))
    # Half of the Nyquist bin belongs to each end; an image of the band limit has none to speak of (A21).
    margin = (window - coarse) // 2
    wide = torch.nn.functional.pad(spectrum, (margin, margin, margin, margin))
    fine: Tensor = torch.fft.ifft2(torch.fft.ifftshift(wide, dim=(-2, -1)))
    return fine * oversample**2


def _upright_samples(field: Tensor, relay: Relay, oversample: int) -> Tensor:
    """Point samples of the inverted image at the input's pitch, turned upright about the optical axis."""
    # Two lenses each give 1/i per axis pair: (1/i)^2 = -1.
    turned = -torch.roll(torch.flip(field, dims=(-2, -1)), (1, 1), dims=(-2, -1))
    centre = field.shape[-1] // 2
    top, left = centre - relay.shape[0] // 2 * oversample, centre - relay.shape[1] // 2 * oversample
    rows, cols = relay.shape[0] * oversample, relay.shape[1] * oversample
    return turned[..., top : top + rows : oversample, left : left + cols : oversample]


def _largest_factor(count: int) -> int:
    largest, prime = 1, 2
    while count > 1:
        while count % prime == 0:
            largest, count = prime, count // prime
        prime += 1
    return largest
