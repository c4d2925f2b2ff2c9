"""Free space: exact angular spectrum and paraxial Fresnel, chosen by what the sampling and the angles allow.

The samples stand for a band-limited (sinc-interpolated) field alone in an empty plane. `angular_spectrum` pads the
window until light that leaves it cannot come back round; `fresnel` convolves with the propagator of that
interpolation in closed form and so has no sampling condition at all, only the paraxial one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import fresnel as fresnel_integrals
from torch import Tensor

from hwsim.backends.optical4f.convolution import transform_length
from hwsim.backends.optical4f.quadrature import DEFAULT_TOLERANCE, gauss_nodes
from hwsim.core.errors import UsageError

Method: TypeAlias = Literal["auto", "angular_spectrum", "fresnel"]

# Phase by which the paraxial propagator may be wrong at the corner of the band before `auto` avoids it.
PARAXIAL_PHASE_LIMIT_RAD = 0.1
# Padded windows beyond this side are refused: 8192^2 complex128 is 1 GiB.
MAX_WINDOW_SAMPLES = 8192


@dataclass(frozen=True)
class FreeSpace:
    """A gap to cross: wavelength, distance (negative goes back), sampling pitch and samples per axis."""

    wavelength_m: float
    distance_m: float
    pitch_m: float
    shape: tuple[int, int]

    @property
    def paraxial_phase_rad(self) -> float:
        """k z (lambda nu)^4 / 8 at the corner of the band: the phase the Fresnel propagator leaves out."""
        corner = 2 * (0.5 / self.pitch_m) ** 2
        return math.pi / 4 * abs(self.distance_m) * self.wavelength_m**3 * corner**2

    @property
    def spread_m(self) -> float:
        """How far the steepest ray of the band walks sideways on one axis; infinite for evanescent bands."""
        sine_sq = (0.5 * self.wavelength_m / self.pitch_m) ** 2
        if 2 * sine_sq >= 1:
            return math.inf
        return abs(self.distance_m) * math.sqrt(sine_sq / (1 - 2 * sine_sq))

    def window_samples(self, axis: int) -> int:
        """Samples that the padded window needs: N + spread / p keeps wrapped light out of the N samples kept."""
        if math.isinf(self.spread_m):
            return MAX_WINDOW_SAMPLES + 1
        needed = self.shape[axis] + math.ceil(self.spread_m / self.pitch_m)
        return needed + needed % 2


def propagate(field: Tensor, gap: FreeSpace, method: Method = "auto", window: tuple[int, int] | None = None) -> Tensor:
    """Field (..., H, W) after free space, on the same grid, complex and differentiable.

    field: (..., H, W) on `gap.shape`. `auto` takes `fresnel` while its phase error stays under 0.1 rad in the
    corner of the band, else `angular_spectrum`. `window` forces the padded samples per axis of the latter.
    Raises UsageError, with the smallest change that works, where the choice would alias.
    Sources: Goodman, eqs. 3-74 (angular spectrum) and 4-20 (Fresnel transfer function).
    """
    if tuple(field.shape[-2:]) != gap.shape:
        raise UsageError(
            f"field of {tuple(field.shape[-2:])} samples in a gap for {gap.shape}",
            where="propagate",
            got=tuple(field.shape),
            expected=f"(..., {gap.shape[0]}, {gap.shape[1]})",
            remedy="set FreeSpace.shape to the field's last two axes",
        )
    field = field.to(torch.promote_types(field.dtype, torch.complex64))
    if gap.distance_m == 0.0:
        return field
    chosen = choose_method(gap) if method == "auto" else method
    if chosen == "fresnel":
        return _fresnel(field, gap)
    return _angular_spectrum(field, gap, _checked_window(gap, window))


def choose_method(gap: FreeSpace) -> Literal["angular_spectrum", "fresnel"]:
    """The cheapest propagator that is right for this gap; UsageError with a remedy when none is."""
    if gap.paraxial_phase_rad <= PARAXIAL_PHASE_LIMIT_RAD:
        return "fresnel"
    _checked_window(gap, None)
    return "angular_spectrum"


def _checked_window(gap: FreeSpace, window: tuple[int, int] | None) -> tuple[int, int]:
    needed = (gap.window_samples(0), gap.window_samples(1))
    if max(needed) > MAX_WINDOW_SAMPLES:
        raise UsageError(
            f"angular spectrum over {gap.distance_m:g} m at {gap.pitch_m:g} m: light spreads {gap.spread_m:.3g} m",
            where="propagate",
            got=max(needed),
            expected=f"N + spread/p <= {MAX_WINDOW_SAMPLES} samples",
            remedy=_wide_remedy(gap),
        )
    if window is None:
        return needed
    if any(have < need for have, need in zip(window, needed, strict=True)):
        raise UsageError(
            f"window of {window[0]} x {window[1]} samples wraps light that spreads {gap.spread_m:.3g} m back into view",
            where="propagate",
            got=window,
            expected="N + spread/p <= window",
            remedy=f"pad to {needed[0]} x {needed[1]} samples, or leave window=None",
        )
    return window


def _wide_remedy(gap: FreeSpace) -> str:
    room = (MAX_WINDOW_SAMPLES - max(gap.shape)) * gap.pitch_m
    paraxial = f"method='fresnel' with a phase error of {gap.paraxial_phase_rad:.2g} rad at the band's corner"
    if math.isinf(gap.spread_m) or room <= 0:
        return f"sample at {gap.wavelength_m / math.sqrt(2) * 1e6:.3g} um or more, or use {paraxial}"
    return f"shorten the gap to {abs(gap.distance_m) * room / gap.spread_m:.3g} m, or use {paraxial}"


def _angular_spectrum(field: Tensor, gap: FreeSpace, window: tuple[int, int]) -> Tensor:
    rows, cols = gap.shape
    transfer = angular_spectrum_transfer(gap, window).to(field.device, field.dtype)
    wide: Tensor = torch.fft.ifft2(torch.fft.fft2(field, s=window) * transfer)
    return wide[..., :rows, :cols]


def angular_spectrum_transfer(gap: FreeSpace, window: tuple[int, int]) -> Tensor:
    """exp(i 2 pi z (sqrt(1/lambda^2 - nu^2) - 1/lambda)) in FFT order, complex128 `window`; exp(ikz) is left out.

    Going back, evanescent components are dropped: their growth would be noise's (A20).
    """
    nu_y = torch.fft.fftfreq(window[0], gap.pitch_m, dtype=torch.float64)
    nu_x = torch.fft.fftfreq(window[1], gap.pitch_m, dtype=torch.float64)
    nu_sq = nu_y[:, None].square() + nu_x.square()
    axial = 1 / gap.wavelength_m**2 - nu_sq
    # sqrt(a) - k written without cancellation.
    phase = 2 * math.pi * gap.distance_m * (-nu_sq / (axial.clamp_min(0.0).sqrt() + 1 / gap.wavelength_m))
    if gap.distance_m > 0:
        evanescent = torch.exp(-2 * math.pi * gap.distance_m * (-axial).clamp_min(0.0).sqrt())
    else:
        evanescent = torch.zeros_like(axial)
    return torch.polar(torch.where(axial < 0, evanescent, torch.ones_like(axial)), phase)


def _fresnel(field: Tensor, gap: FreeSpace) -> Tensor:
    """Linear convolution with the separable propagator of the sinc interpolation, exact at every distance."""
    out = field
    for axis in (-2, -1):
        count = gap.shape[axis]
        kernel = fresnel_kernel(count, gap.pitch_m, gap.wavelength_m * gap.distance_m)
        length = transform_length(2 * count - 1)
        response = torch.fft.fft(torch.from_numpy(kernel).to(field.device, field.dtype), n=length)
        shape = [1, 1]
        shape[axis] = length
        spectrum = torch.fft.fft(out, n=length, dim=axis) * response.reshape(shape)
        out = torch.fft.ifft(spectrum, dim=axis).narrow(axis, count - 1, count)
    return out


def fresnel_kernel(count: int, pitch_m: float, scale: float) -> NDArray[np.complex128]:
    """Paraxial propagator of one sinc sample at lags -(N-1)..N-1, complex128 (2N - 1,); scale = lambda z.

    p times the integral over |nu| < 1/(2p) of exp(-i pi scale nu^2 + i 2 pi nu d): Fresnel integrals for long
    distances, Gauss-Legendre where their difference would cancel.
    """
    lags = np.arange(-(count - 1), count) * pitch_m
    if scale < 0:
        return fresnel_kernel(count, pitch_m, -scale).conj()
    band = 0.5 / pitch_m
    if scale < pitch_m**2:
        half_phase = 2 * math.pi * band * (count * pitch_m + scale * band)
        nodes = gauss_nodes(-band, band, half_phase, DEFAULT_TOLERANCE * 1e-8)
        nu, weights = nodes.points.numpy(), nodes.weights.numpy()
        phase = np.outer(lags, 2 * np.pi * nu) - np.pi * scale * nu**2
        return np.asarray(np.exp(1j * phase) @ (pitch_m * weights))
    stretch = math.sqrt(2 * scale)
    upper, lower = stretch * (band - lags / scale), stretch * (-band - lags / scale)
    s_up, c_up = fresnel_integrals(upper)
    s_low, c_low = fresnel_integrals(lower)
    integral = (c_up - c_low) - 1j * (s_up - s_low)
    return np.asarray(pitch_m / stretch * np.exp(1j * np.pi * lags**2 / scale) * integral)
