"""Pupils: circular and square stops, Zernike aberrations, and what they do to a point (PSF, OTF, Strehl)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from hwsim.core.errors import UsageError

# First zero of J1 over pi: the Airy radius is this times lambda f / D (Goodman, eq. 4-32).
AIRY_ZERO = 1.2196698912665045


@dataclass(frozen=True)
class Pupil:
    """A stop in the Fourier plane with wavefront aberrations.

    `diameter_m` is the circle's diameter or the square's side. `zernike_waves` maps Noll's index j to the RMS
    wavefront error of that term in waves over the circle (for a square, over its circumscribed circle).
    """

    diameter_m: float
    circular: bool = True
    zernike_waves: dict[int, float] = field(default_factory=dict)

    def transmission(self, u_rows: Tensor, u_cols: Tensor, cell_m: tuple[Tensor, Tensor]) -> Tensor:
        """Complex amplitude (R, C) at the points u_rows (R,), u_cols (C,) in metres, each of size `cell_m`.

        A cell that the edge crosses counts with the part of it that is inside, to first order (A22).
        """
        y, x = u_rows[:, None], u_cols[None, :]
        if self.circular:
            radius = torch.hypot(y, x)
            # Width of the cell along the radius.
            cell = (y.abs() * cell_m[0][:, None] + x.abs() * cell_m[1][None, :]) / radius.clamp_min(1e-30)
            smallest = torch.minimum(cell_m[0][:, None], cell_m[1][None, :])
            inside = ((self.diameter_m / 2 - radius) / torch.maximum(cell, smallest) + 0.5).clamp(0.0, 1.0)
            normal = self.diameter_m / 2
        else:
            inside = edge_coverage(y, cell_m[0][:, None], self.diameter_m) * edge_coverage(
                x, cell_m[1][None, :], self.diameter_m
            )
            normal = self.diameter_m / math.sqrt(2)
        if not self.zernike_waves:
            return inside.to(torch.complex128)
        return inside * wavefront(self.zernike_waves, y / normal, x / normal)


def edge_coverage(u: Tensor, cell_m: Tensor, side_m: float) -> Tensor:
    """Part of each cell (at u, wide cell_m) that lies inside a hole of `side_m` about zero."""
    return ((side_m / 2 - u.abs()) / cell_m + 0.5).clamp(0.0, 1.0)


def wavefront(zernike_waves: dict[int, float], y: Tensor, x: Tensor) -> Tensor:
    """Phase factor exp(i 2 pi sum_j c_j Z_j), y and x in units of the pupil's radius, broadcast together."""
    waves = sum((c * zernike(j, y, x) for j, c in zernike_waves.items()), torch.zeros(()))
    phase = 2 * math.pi * torch.as_tensor(waves, dtype=torch.float64)
    return torch.polar(torch.ones_like(phase), phase)


def zernike(j: int, y: Tensor, x: Tensor) -> Tensor:
    """Noll's Zernike polynomial Z_j, unit variance over the unit disc (Noll, JOSA 66, 207 (1976), eqs. 1-2).

    y, x: broadcastable coordinates in units of the pupil's radius. Raises UsageError for j < 1.
    """
    n, m = noll_indices(j)
    rho, theta = torch.hypot(y, x), torch.atan2(y, x)
    radial = torch.zeros_like(rho)
    for s in range((n - abs(m)) // 2 + 1):
        ways = math.factorial(s) * math.factorial((n + abs(m)) // 2 - s) * math.factorial((n - abs(m)) // 2 - s)
        radial = radial + (-1) ** s * math.factorial(n - s) / ways * rho ** (n - 2 * s)
    if m == 0:
        return math.sqrt(n + 1) * radial
    angular = torch.cos(m * theta) if m > 0 else torch.sin(-m * theta)
    return math.sqrt(2 * (n + 1)) * radial * angular


def noll_indices(j: int) -> tuple[int, int]:
    """Radial order n and signed azimuthal order m (negative for sine) of Noll's index j = 1, 2, ..."""
    if j < 1:
        raise UsageError(
            f"Zernike index {j}", where="zernike", got=j, expected="Noll's index, 1 or more", remedy="1 is piston"
        )
    n = 0
    while (n + 1) * (n + 2) // 2 < j:
        n += 1
    place = j - n * (n + 1) // 2
    m = place // 2 * 2 if n % 2 == 0 else (place - 1) // 2 * 2 + 1
    return n, m if j % 2 == 0 else -m


def strehl(pupil: Tensor) -> Tensor:
    """Strehl ratio |mean P|^2 / mean |P|^2 x area of a sampled complex pupil (..., H, W): peak against flat phase."""
    return (pupil.sum((-2, -1)).abs() / pupil.abs().sum((-2, -1))).square()


def point_spread(pupil: Tensor) -> Tensor:
    """Coherent point response h (..., H, W) of a pupil sampled about index N/2, centred at N/2."""
    shifted = torch.fft.ifftshift(pupil, dim=(-2, -1))
    response: Tensor = torch.fft.fftshift(torch.fft.ifft2(shifted), dim=(-2, -1))
    return response


def optical_transfer(pupil: Tensor) -> Tensor:
    """Incoherent OTF (..., H, W): the pupil's autocorrelation, 1 at zero frequency (Goodman, eq. 6-28).

    The pupil is sampled about N/2 with room around it: it may fill at most half of each axis.
    """
    spread = torch.fft.ifft2(torch.fft.ifftshift(pupil, dim=(-2, -1))).abs().square()
    otf = torch.fft.fft2(spread)
    centred: Tensor = torch.fft.fftshift(otf / otf[..., :1, :1], dim=(-2, -1))
    return centred


def circular_mtf(r: Tensor) -> Tensor:
    """MTF of an aberration-free circular pupil at r times the cut-off D / (lambda f) (Goodman, eq. 6-32)."""
    r = r.clamp(0.0, 1.0)
    return 2 / math.pi * (torch.acos(r) - r * torch.sqrt(1 - r.square()))
