"""The exact paraxial 4f: two Fourier transforms with a mask between them.

A lens takes the field of its front focal plane to the Fourier transform in its back focal plane (Goodman,
Introduction to Fourier Optics, 3rd ed., eq. 5-19). On N samples of pitch p the Fourier plane has bins of
lambda f / (N p), which is the DFT's own grid, so the ideal system needs no geometry at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hwsim.core.errors import UsageError

ArrayLike: TypeAlias = "Tensor | NDArray[np.generic]"

# Odd lengths up to this one convolve to 1e-15 in two dimensions (measured, MKL 2024.2); 375, 1215 and 1331 do not.
LONGEST_ODD = 255


@dataclass(frozen=True)
class KernelSpectrum:
    """A full-grid kernel's transform, ready for many images; made by `kernel_spectrum`.

    spectrum: of the kernel less its mean, (..., H', W') in FFT order, of a real kernel the half (..., H', W' // 2 + 1).
    total: the kernel's sum, (..., 1, 1). lengths: (H', W'), `transform_length` of each axis of `shape`.
    """

    spectrum: Tensor
    total: Tensor
    shape: tuple[int, int]
    lengths: tuple[int, int]

    @property
    def real(self) -> bool:
        """Whether the kernel is real, so that half of its spectrum says it all."""
        return not self.total.is_complex()


def convolve_4f(image: ArrayLike, kernel: ArrayLike) -> Tensor:
    """Complex field on the camera of an ideal coherent 4f system whose mask is the transform of `kernel`.

    image: (..., H, W), real or complex amplitude in the input plane.
    kernel: (..., H, W), on the image's full grid with its origin at [0, 0]; leading axes broadcast.
    Returns the upright field (..., H, W), complex, in the wider of the two dtypes, without the constant phase and
    scale of the lenses: the circular convolution of image and kernel. It is computed in double precision in every
    dtype, so that complex64 keeps its digits where a kernel cancels; complex128 is right to 6e-16 of |image| |kernel|
    (Frobenius norms). Raises UsageError when the last two axes differ. Integers are taken at torch's default precision.
    """
    image, kernel = _floating(image), _floating(kernel)
    _require_same_grid(tuple(image.shape), tuple(kernel.shape))
    dtype = _complex_of(torch.promote_types(image.dtype, kernel.dtype))
    return convolve_prepared(image, kernel_spectrum(_double(kernel))).to(dtype)


def kernel_spectrum(kernel: ArrayLike) -> KernelSpectrum:
    """Transform a full-grid kernel (..., H, W), real or complex, once for many images; rounded to its dtype once."""
    kernel = _floating(kernel)
    shape = (kernel.shape[-2], kernel.shape[-1])
    lengths = (transform_length(shape[0]), transform_length(shape[1]))
    wide = _double(kernel)
    total = wide.sum(dim=(-2, -1), keepdim=True)
    spectrum = _transform(wide - total / (shape[0] * shape[1]), lengths)
    return KernelSpectrum(spectrum.to(_complex_of(kernel.dtype)), total.to(kernel.dtype), shape, lengths)


def convolve_prepared(image: ArrayLike, kernel: KernelSpectrum) -> Tensor:
    """`convolve_4f` with a kernel transformed before, in that kernel's precision: (..., H, W) -> (..., H, W), complex.

    Single precision takes half the time and memory and errs by 3e-7 of |image| |kernel|. Raises UsageError when the
    image is not on the kernel's grid.
    """
    image = _floating(image)
    _require_same_grid(tuple(image.shape), kernel.shape)
    if image.is_complex() and kernel.real:
        return torch.complex(_convolve(image.real, kernel), _convolve(image.imag, kernel))
    return _convolve(image, kernel).to(kernel.spectrum.dtype)


def _convolve(image: Tensor, kernel: KernelSpectrum) -> Tensor:
    """Field of a real image and a real kernel, real, or of a complex kernel, complex."""
    image = image.to(kernel.total.dtype)
    # The means are convolved exactly: kept out of the transforms, they add no rounding to what is left of the rest.
    mean = image.mean(dim=(-2, -1), keepdim=True)
    spectrum = _transform(image - mean, kernel.lengths) * kernel.spectrum
    field: Tensor = torch.fft.irfft2(spectrum, s=kernel.lengths) if kernel.real else torch.fft.ifft2(spectrum)
    return _fold(field, *kernel.shape).add_(mean * kernel.total)


def _transform(plane: Tensor, lengths: tuple[int, int]) -> Tensor:
    spectrum: Tensor = torch.fft.fft2(plane, s=lengths) if plane.is_complex() else torch.fft.rfft2(plane, s=lengths)
    return spectrum


def transform_length(samples: int) -> int:
    """FFT length at which a circular convolution of `samples` points keeps the rounding floor.

    The length itself when its prime factors are 13 or less and it is even or short, else the next power of two, times
    1, 3, 5, 9 or 15, that holds the linear convolution. MKL's transforms of prime factors 17 to 149 are off by 3e-15
    to 3e-14, those of long odd lengths by up to 6e-16 where these are by 3e-16.
    """
    if _rounds_well(samples):
        return samples
    length = 2 * samples - 1
    while length // (length & -length) not in (1, 3, 5, 9, 15):
        length += 1
    return length


def transfer_function(kernel: Tensor) -> Tensor:
    """Mask H on the whole Fourier plane in FFT order for a full-grid kernel (..., H, W)."""
    mask: Tensor = torch.fft.fft2(kernel)
    return mask


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


def _rounds_well(length: int) -> bool:
    if length % 2 and length > LONGEST_ODD:
        return False
    for prime in (2, 3, 5, 7, 11, 13):
        while length > 1 and length % prime == 0:
            length //= prime
    return length <= 1


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


def _floating(x: ArrayLike) -> Tensor:
    """The array as a float32 or float64 tensor, or the complex ones of those widths."""
    tensor = torch.as_tensor(x)
    if tensor.is_complex():
        return tensor.to(torch.promote_types(tensor.dtype, torch.complex64))
    if tensor.is_floating_point():
        return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
    return tensor.to(torch.get_default_dtype())


def _double(x: Tensor) -> Tensor:
    return x.to(torch.complex128 if x.is_complex() else torch.float64)


def _complex_of(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.complex64)


def _require_same_grid(image: tuple[int, ...], kernel: tuple[int, ...]) -> None:
    if len(image) < 2 or len(kernel) < 2 or image[-2:] != kernel[-2:]:
        raise UsageError(
            f"image {image} and kernel {kernel} are not on one grid",
            where="convolve_4f",
            got=kernel,
            expected=f"(..., {', '.join(str(n) for n in image[-2:])})",
            remedy="put a small kernel on the image's grid with embed_kernel(kernel, image.shape[-2:])",
        )
