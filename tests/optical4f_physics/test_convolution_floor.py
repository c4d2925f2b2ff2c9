"""The exact 4f at its rounding floor: any size, any image, kernels that cancel, against 80-bit transforms."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import pytest
import scipy.fft
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hwsim.backends.optical4f.convolution import convolve_4f, embed_kernel

Plane: TypeAlias = NDArray[np.float64]
Shape: TypeAlias = tuple[int, int]
FLOOR = {torch.float32: 4e-7, torch.complex64: 4e-7, torch.float64: 1e-15, torch.complex128: 1e-15}


def natural(shape: Shape, rng: np.random.Generator) -> Plane:
    """Amplitudes falling as 1 / frequency, as in photographs, made non-negative."""
    frequency = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.fftfreq(shape[1]))
    frequency[0, 0] = 1 / max(shape)
    image = np.fft.ifft2(np.fft.fft2(rng.standard_normal(shape)) / frequency).real
    return np.asarray(image - image.min())


def padded(shape: Shape, rng: np.random.Generator) -> Plane:
    image = np.zeros(shape)
    inside = tuple(slice(n // 4, 3 * n // 4 + 1) for n in shape)
    image[inside] = rng.random(image[inside].shape)
    return image


IMAGES: dict[str, Callable[[Shape, np.random.Generator], Plane]] = {
    "uniform": lambda shape, rng: rng.random(shape),
    "signed": lambda shape, rng: rng.standard_normal(shape),
    "natural": natural,
    "padded": padded,
    "constant": lambda shape, rng: np.full(shape, 0.7),
    "checkerboard": lambda shape, rng: (np.indices(shape).sum(0) % 2).astype(np.float64),
    "ramp": lambda shape, rng: np.indices(shape).sum(0) / sum(shape),
}


def zero_mean(shape: Shape, rng: np.random.Generator) -> Plane:
    kernel = rng.standard_normal(shape)
    return np.asarray(kernel - kernel.mean()) if kernel.size > 1 else kernel


KERNELS: dict[str, Callable[[Shape, np.random.Generator], Plane]] = {
    "signed": lambda shape, rng: rng.standard_normal(shape),
    "positive": lambda shape, rng: rng.random(shape),
    "zero mean": zero_mean,
}
SOBEL = np.array([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]]) / 8


def error_and_cancellation(image: Plane, kernel: Plane, dtype: torch.dtype) -> tuple[float, float]:
    """Relative L2 error of the field, and |image| |kernel| / |field|; both inf where everything cancels."""
    given_image = torch.from_numpy(image).to(dtype)
    given_kernel = embed_kernel(torch.from_numpy(kernel).to(dtype), (image.shape[0], image.shape[1]))
    wide = [x.real.numpy().astype(np.longdouble) for x in (given_image, given_kernel)]
    exact = scipy.fft.ifft2(scipy.fft.fft2(wide[0]) * scipy.fft.fft2(wide[1])).real
    norms = [float(np.sqrt((x * x).sum())) for x in (*wide, exact)]
    # What is left of doubles that cancel to their last bit has no correct digits in any double algorithm.
    if norms[2] <= 1e-12 * norms[0] * norms[1]:
        return 0.0, np.inf
    off = np.abs(convolve_4f(given_image, given_kernel).numpy() - exact)
    return float(np.sqrt((off * off).sum())) / norms[2], norms[0] * norms[1] / norms[2]


@given(
    shape=st.tuples(st.integers(1, 150), st.integers(1, 150)),
    taps=st.tuples(st.integers(1, 63), st.integers(1, 63)),
    image=st.sampled_from(list(IMAGES)),
    kernel=st.sampled_from(list(KERNELS)),
    dtype=st.sampled_from(list(FLOOR)),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=150, deadline=None)
def test_any_image_and_kernel(
    shape: Shape, taps: Shape, image: str, kernel: str, dtype: torch.dtype, seed: int
) -> None:
    """complex64 meets its floor whatever cancels; complex128 meets it relative to what went into the sum."""
    rng = np.random.default_rng(seed)
    small = (min(taps[0], shape[0]), min(taps[1], shape[1]))
    error, cancellation = error_and_cancellation(IMAGES[image](shape, rng), KERNELS[kernel](small, rng), dtype)
    single = dtype in (torch.float32, torch.complex64)
    assert error <= FLOOR[dtype] * (1.0 if single else max(1.0, cancellation))


# Primes, odd lengths and radix-5 lengths, whose transforms round worst.
@pytest.mark.parametrize("shape", [(1000, 1000), (509, 509), (1215, 250), (331, 600), (1, 2048), (2000, 3), (643, 700)])
@pytest.mark.parametrize("dtype", list(FLOOR))
@pytest.mark.parametrize("image", ["uniform", "padded"])
def test_sobel_at_awkward_sizes(shape: Shape, dtype: torch.dtype, image: str) -> None:
    rng = np.random.default_rng(0)
    kernel = SOBEL if min(shape) >= 3 else SOBEL[1:2]
    error, _ = error_and_cancellation(IMAGES[image](shape, rng), kernel, dtype)
    assert error <= FLOOR[dtype]


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(2048, 2048), (2000, 2000), (1021, 1531), (1331, 1215)])
@pytest.mark.parametrize("dtype", list(FLOOR))
def test_sobel_at_large_sizes(shape: Shape, dtype: torch.dtype) -> None:
    error, _ = error_and_cancellation(np.random.default_rng(0).random(shape), SOBEL, dtype)
    assert error <= FLOOR[dtype]
