"""Scaled Fourier transforms between planes whose pixel pitches differ: matrix DFT and chirp-z.

All coordinates are centred as on a panel: sample n of N lies at (n - N/2) pitch. A lens of focal length f takes
x to the frequency nu = u / (lambda f); the FFT's grid is the special case pitch_x pitch_u N = lambda f.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

# A matrix DFT costs M N multiply-adds, a chirp-z three FFTs of M + N: measured to cross near this many outputs.
CHIRP_Z_MIN_SAMPLES = 1024


def centred_coordinates(count: int, pitch_m: float, shift_m: float = 0.0) -> Tensor:
    """Positions (n - count/2) pitch + shift of `count` samples, float64 (count,), in metres."""
    return (torch.arange(count, dtype=torch.float64) - count / 2) * pitch_m + shift_m


def dft_matrix(points: Tensor, frequencies: Tensor, sign: int = -1) -> Tensor:
    """Matrix exp(sign i 2 pi nu_k x_n), complex128 (frequencies, points); points in m, frequencies in 1/m."""
    phase = (2 * math.pi * sign) * torch.outer(frequencies, points)
    return torch.polar(torch.ones_like(phase), phase)


def separable(rows: Tensor, field: Tensor, cols: Tensor) -> Tensor:
    """Apply one matrix to each axis of a field: rows @ field @ cols.T, (..., H, W) -> (..., M_r, M_c)."""
    return rows.to(field.dtype) @ field @ cols.to(field.dtype).mT


def lens_transform(
    field: Tensor,
    *,
    wavelength_m: float,
    focal_m: float,
    pitch_m: float,
    out_pitch_m: float,
    out_samples: tuple[int, int],
) -> Tensor:
    """Field in the back focal plane of an ideal lens, from the field in its front focal plane.

    U_f(u) = p^2 / (i lambda f) sum_n U(x_n) exp(-i 2 pi u x_n / (lambda f)) (Goodman, eq. 5-19), for the
    band-limited field that the samples stand for, so it holds for |u| <= lambda f / (2 p).
    field: (..., H, W) complex at `pitch_m`. Returns (..., *out_samples) at `out_pitch_m`; the method is a matrix
    DFT for small planes and chirp-z for large ones, which agree to rounding.
    """
    step = out_pitch_m / (wavelength_m * focal_m) * pitch_m
    out = field
    for axis, count in ((-2, out_samples[0]), (-1, out_samples[1])):
        out = scaled_dft(out, step, count, axis)
    return out * (pitch_m**2 / (1j * wavelength_m * focal_m))


def scaled_dft(field: Tensor, step: float, out_samples: int, axis: int) -> Tensor:
    """Centred DFT along one axis with a free frequency step in cycles per sample.

    X_k = sum_n x_n exp(-i 2 pi step (n - N/2)(k - M/2)), n < N, k < M = out_samples; step = 1/N, M = N is the FFT.
    """
    count = field.shape[axis]
    if max(count, out_samples) >= CHIRP_Z_MIN_SAMPLES:
        return _chirp_z(field.movedim(axis, -1), step, out_samples).movedim(-1, axis)
    matrix = dft_matrix(centred_coordinates(count, 1.0), centred_coordinates(out_samples, step)).to(field.device)
    return (field.movedim(axis, -1) @ matrix.to(field.dtype).mT).movedim(-1, axis)


def _chirp_z(x: Tensor, step: float, out_samples: int) -> Tensor:
    """Bluestein's algorithm on the last axis: n k = (n^2 + k^2 - (k - n)^2) / 2 (Rabiner, Schafer, Rader 1969)."""
    count = x.shape[-1]
    n = centred_coordinates(count, 1.0).to(x.device)
    k = centred_coordinates(out_samples, 1.0).to(x.device)
    lag = torch.arange(-(count - 1), out_samples, dtype=torch.float64, device=x.device) + (count - out_samples) / 2
    length = 1 << (count + out_samples - 2).bit_length()
    chirp = _unit_phasor(step * lag.square() / 2, +1).to(x.dtype)
    kernel = torch.fft.fft(chirp, n=length)
    spectrum = torch.fft.fft(x * _unit_phasor(step * n.square() / 2, -1).to(x.dtype), n=length) * kernel
    linear: Tensor = torch.fft.ifft(spectrum)[..., count - 1 : count - 1 + out_samples]
    return linear * _unit_phasor(step * k.square() / 2, -1).to(x.dtype)


def _unit_phasor(cycles: Tensor, sign: int) -> Tensor:
    """exp(sign i 2 pi cycles), the whole cycles taken out first: large chirps keep their digits."""
    phase = (2 * math.pi * sign) * (cycles - cycles.round())
    return torch.polar(torch.ones_like(phase), phase)
