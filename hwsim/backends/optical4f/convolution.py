"""The exact paraxial 4f: two Fourier transforms with a mask between them.

A lens takes the field of its front focal plane to the Fourier transform in its back focal plane (Goodman,
Introduction to Fourier Optics, 3rd ed., eq. 5-19). On N samples of pitch p the Fourier plane has bins of
lambda f / (N p), which is the DFT's own grid, so the ideal system needs no geometry at all.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hwsim.core.errors import UsageError

ArrayLike: TypeAlias = "Tensor | NDArray[np.generic]"


def convolve_4f(image: ArrayLike, kernel: ArrayLike) -> Tensor:
    """Complex field on the camera of an ideal coherent 4f system whose mask is the transform of `kernel`.

    image: (..., H, W), real or complex amplitude in the input plane.
    kernel: (..., H, W), on the image's full grid with its origin at [0, 0]; leading axes broadcast.
    Returns the upright field (..., H, W), complex, without the constant phase and scale of the lenses: the
    circular convolution of image and kernel, to the rounding of the FFT in the wider of the two dtypes.
    Raises UsageError when the last two axes differ. Integers are taken at torch's default precision.
    """
    image, kernel = _same_dtype(image, kernel)
    _require_same_grid(image, kernel)
    # The mean is convolved exactly: kept out of the transforms, it adds no rounding to what a zero-sum kernel leaves.
    mean = image.mean(dim=(-2, -1), keepdim=True)
    uniform = mean * kernel.sum(dim=(-2, -1), keepdim=True)
    field = _convolve(image - mean, kernel).add_(uniform)
    return field.to(torch.promote_types(field.dtype, torch.complex64))


def _convolve(image: Tensor, kernel: Tensor) -> Tensor:
    rows, cols = image.shape[-2:]
    lengths = (transform_length(rows), transform_length(cols))
    if image.is_complex() or kernel.is_complex():
        spectrum = torch.fft.fft2(image, s=lengths) * torch.fft.fft2(kernel, s=lengths)
        return _fold(torch.fft.ifft2(spectrum), rows, cols)
    half_spectrum = torch.fft.rfft2(image, s=lengths) * torch.fft.rfft2(kernel, s=lengths)
    return _fold(torch.fft.irfft2(half_spectrum, s=lengths), rows, cols)


def transform_length(samples: int) -> int:
    """FFT length at which a circular convolution of `samples` points keeps the rounding floor.

    The length itself when its prime factors are 13 or less, else the next such length that holds the linear
    convolution: MKL's transforms of prime factors 17 to 149 are off by 3e-15 to 3e-14, its smooth ones by 3e-16.
    """
    if _is_smooth(samples):
        return samples
    length = 2 * samples - 1
    while not _is_smooth(length):
        length += 1
    return length


def transfer_function(kernel: Tensor) -> Tensor:
    """Mask H on the whole Fourier plane in FFT order for a full-grid kernel (..., H, W)."""
    mask: Tensor = torch.fft.fft2(kernel)
    return mask


def half_transfer_function(kernel: Tensor) -> Tensor:
    """Mask of a real kernel (..., H, W) on the non-redundant half plane (..., H, W // 2 + 1)."""
    mask: Tensor = torch.fft.rfft2(kernel)
    return mask


def apply_mask(image: Tensor, mask: Tensor) -> Tensor:
    """Camera field (..., H, W) of a prepared mask, so that a kernel's transform is paid once for many frames.

    image: (..., H, W). mask: from `transfer_function`, (..., H, W), or for a real image and kernel from
    `half_transfer_function`, (..., H, W // 2 + 1). Raises UsageError when the mask is on another grid.
    """
    rows, cols = image.shape[-2:]
    if tuple(mask.shape[-2:]) == (rows, cols):
        passed: Tensor = torch.fft.ifft2(torch.fft.fft2(image) * mask)
        return passed
    if tuple(mask.shape[-2:]) != (rows, cols // 2 + 1) or image.is_complex():
        raise UsageError(
            f"a mask of {tuple(mask.shape[-2:])} bins does not belong to an image of {rows} x {cols} samples",
            where="apply_mask",
            got=tuple(mask.shape),
            expected=f"({rows}, {cols}), or ({rows}, {cols // 2 + 1}) for a real image",
            remedy="build the mask from a kernel on the image's full grid",
        )
    field: Tensor = torch.fft.irfft2(torch.fft.rfft2(image) * mask, s=(rows, cols))
    return field.to(mask.dtype)


def embed_kernel(kernel: Tensor, shape: tuple[int, int]) -> Tensor:
    """Put a small kernel (..., k_r, k_c) on the full grid `shape` with its centre [k // 2] at index [0, 0].

    Raises UsageError when the kernel is larger than the grid.
    """
    rows, cols = kernel.shape[-2:]
    if rows > shape[0] or cols > shape[1]:
        raise UsageError(
            f"kernel of {rows} x {cols} samples does not fit a plane of {shape[0]} x {shape[1]}",
            where="embed_kernel",
            got=(rows, cols),
            expected=f"at most {shape[0]} x {shape[1]}",
            remedy=f"use a plane of at least {max(rows, shape[0])} x {max(cols, shape[1])} samples",
        )
    padded = torch.nn.functional.pad(kernel, (0, shape[1] - cols, 0, shape[0] - rows))
    return torch.roll(padded, (-(rows // 2), -(cols // 2)), dims=(-2, -1))


def signed_index(count: int, device: torch.device | None = None) -> Tensor:
    """Index n of each sample of a full grid with its origin at [0], -count/2 <= n < count/2, in FFT order."""
    index: Tensor = torch.fft.fftfreq(count, d=1.0 / count, dtype=torch.float64, device=device)
    return index.round()


def _is_smooth(count: int) -> bool:
    for prime in (2, 3, 5, 7, 11, 13):
        while count > 1 and count % prime == 0:
            count //= prime
    return count <= 1


def _fold(field: Tensor, rows: int, cols: int) -> Tensor:
    """Wrap a linear convolution, zero beyond 2n - 1 samples of each axis, onto the circle of (rows, cols)."""
    for axis, count in ((-2, rows), (-1, cols)):
        excess = field.shape[axis] - count
        if excess > 0:
            tail = field.narrow(axis, count, min(excess, count))
            field = field.narrow(axis, 0, count)
            padding = (0, 0) * (-axis - 1) + (0, count - tail.shape[axis])
            field = field + torch.nn.functional.pad(tail, padding)
    return field


def _same_dtype(image: ArrayLike, kernel: ArrayLike) -> tuple[Tensor, Tensor]:
    first, second = torch.as_tensor(image), torch.as_tensor(kernel)
    real = torch.promote_types(_real_dtype(first), _real_dtype(second))
    return _cast(first, real), _cast(second, real)


def _real_dtype(x: Tensor) -> torch.dtype:
    if x.is_complex():
        return torch.float64 if x.dtype == torch.complex128 else torch.float32
    if x.is_floating_point():
        # CPUs have no half-precision FFT.
        return x.dtype if x.dtype in (torch.float32, torch.float64) else torch.float32
    return torch.get_default_dtype()


def _cast(x: Tensor, real: torch.dtype) -> Tensor:
    if x.is_complex():
        return x.to(torch.complex128 if real == torch.float64 else torch.complex64)
    return x.to(real)


def _require_same_grid(image: Tensor, kernel: Tensor) -> None:
    if image.ndim < 2 or kernel.ndim < 2 or image.shape[-2:] != kernel.shape[-2:]:
        raise UsageError(
            f"image {tuple(image.shape)} and kernel {tuple(kernel.shape)} are not on one grid",
            where="convolve_4f",
            got=tuple(kernel.shape),
            expected=f"(..., {', '.join(str(n) for n in image.shape[-2:])})",
            remedy="put a small kernel on the image's grid with embed_kernel(kernel, image.shape[-2:])",
        )
