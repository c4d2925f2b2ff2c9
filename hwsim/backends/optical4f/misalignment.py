"""What stands where it should not: mask and camera shifted or turned, the camera out of focus, the image scaled.

On the DFT's own grid (a mask of the full band) each of these is a factor on the spectrum or a resampling of the
camera plane, so that they compose, batch and differentiate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hwsim.backends.optical4f.convolution import signed_index
from hwsim.backends.optical4f.transforms import dft_matrix, scaled_dft


@dataclass(frozen=True)
class Misalignment:
    """Errors of position. Pairs are (row, column); rotations are counter-clockwise about the optical axis.

    mask_shift_m in the Fourier plane, camera_shift_m on the camera, defocus_m along the axis, magnification the true
    f2 / f1 over the one the camera was placed for.
    """

    mask_shift_m: tuple[float, float] = (0.0, 0.0)
    mask_rotation_rad: float = 0.0
    camera_shift_m: tuple[float, float] = (0.0, 0.0)
    camera_rotation_rad: float = 0.0
    defocus_m: float = 0.0
    magnification: float = 1.0


def misplaced_response(
    kernel: Tensor, shape: tuple[int, int], fourier_bin_m: tuple[float, float], misalignment: Misalignment
) -> Tensor:
    """Mask H (..., H, W) in FFT order of a small centred kernel whose mask is shifted and turned, complex128.

    Turning the mask turns the kernel; shifting it by delta multiplies the tap at x by exp(i 2 pi delta x / (lambda
    f)), which in samples n of an N-sample panel is exp(i 2 pi n delta / (N bin)).
    """
    rows, cols = kernel.shape[-2:]
    y = torch.arange(rows, dtype=torch.float64).repeat_interleave(cols) - rows // 2
    x = torch.arange(cols, dtype=torch.float64).repeat(rows) - cols // 2
    angle = misalignment.mask_rotation_rad
    turned_y, turned_x = y * math.cos(angle) - x * math.sin(angle), x * math.cos(angle) + y * math.sin(angle)
    shift_y, shift_x = (s / b for s, b in zip(misalignment.mask_shift_m, fourier_bin_m, strict=True))
    phase = 2 * math.pi * (turned_y * shift_y / shape[0] + turned_x * shift_x / shape[1])
    taps = kernel.flatten(-2).to(torch.complex128) * torch.polar(torch.ones_like(phase), phase)
    to_rows = dft_matrix(turned_y, signed_index(shape[0]) / shape[0])
    to_cols = dft_matrix(turned_x, signed_index(shape[1]) / shape[1])
    return (to_rows * taps[..., None, :]) @ to_cols.mT


def camera_factor(shape: tuple[int, int], pitch_m: float, wavelength_m: float, misalignment: Misalignment) -> Tensor:
    """Spectral factor (H, W) of a shifted, defocused camera: exp(i 2 pi nu s) exp(-i pi lambda dz |nu|^2)."""
    nu_y = signed_index(shape[0])[:, None] / (shape[0] * pitch_m)
    nu_x = signed_index(shape[1]) / (shape[1] * pitch_m)
    shift_y, shift_x = misalignment.camera_shift_m
    focus = wavelength_m * misalignment.defocus_m * (nu_y.square() + nu_x.square())
    phase = 2 * math.pi * (nu_y * shift_y + nu_x * shift_x) - math.pi * focus
    return torch.polar(torch.ones_like(phase), phase)


def resample_camera(field: Tensor, misalignment: Misalignment) -> Tensor:
    """What a turned camera sees of a magnified image (..., H, W): chirp-z for the scale, three shears for the turn.

    Both are band-limited interpolations about index N/2, periodic at the edges (A23).
    """
    out = _magnify(field, misalignment.magnification)
    return rotate(out, misalignment.camera_rotation_rad)


def _magnify(field: Tensor, magnification: float) -> Tensor:
    """Samples of the image scaled by m: out(x) = field(x / m) / m, the power kept."""
    if magnification == 1.0:
        return field
    field = field.to(torch.promote_types(field.dtype, torch.complex64))
    for axis in (-2, -1):
        count = field.shape[axis]
        spectrum = scaled_dft(field, 1 / count, count, axis)
        field = scaled_dft(spectrum, -1 / (count * magnification), count, axis) / count
    return field / magnification


def rotate(field: Tensor, angle_rad: float) -> Tensor:
    """Field (..., H, W) seen by a camera turned by `angle_rad`: a rotation as three shears, each a phase ramp.

    Unser, Thevenaz, Yaroslavsky, IEEE Trans. Image Processing 4(10), 1371 (1995).
    """
    if angle_rad == 0.0:
        return field
    slope = math.tan(angle_rad / 2)
    sheared = _shear(field, -1, -slope)
    sheared = _shear(sheared, -2, math.sin(angle_rad))
    return _shear(sheared, -1, -slope)


def _shear(field: Tensor, axis: int, slope: float) -> Tensor:
    """Move each line along `axis` by slope times its distance from the centre on the other axis, in samples."""
    other = -3 - axis
    along, across = field.shape[axis], field.shape[other]
    offset = slope * (torch.arange(across, dtype=torch.float64) - across // 2)
    cycles = torch.outer(offset, signed_index(along) / along)
    ramp = torch.polar(torch.ones_like(cycles), 2 * math.pi * cycles)
    ramp = (ramp if axis == -1 else ramp.mT).to(field.device, field.dtype)
    moved: Tensor = torch.fft.ifft(torch.fft.fft(field, dim=axis) * ramp, dim=axis)
    return moved
