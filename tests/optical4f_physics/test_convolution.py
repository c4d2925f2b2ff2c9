"""The exact 4f: circular convolution at the rounding floor, whatever the size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.backends.optical4f.convolution import (
    convolve_4f,
    convolve_prepared,
    embed_kernel,
    kernel_spectrum,
    transform_length,
)
from hwsim.core.errors import UsageError
from tests.optical4f_physics.oracles import Golden, direct_convolution, error

FLOORS = [(torch.float64, 1e-15), (torch.complex128, 1e-15), (torch.float32, 4e-7), (torch.complex64, 4e-7)]


@pytest.mark.parametrize("name", ["k3", "k7"])
@pytest.mark.parametrize(("dtype", "floor"), FLOORS)
def test_golden_field(golden: Golden, name: str, dtype: torch.dtype, floor: float) -> None:
    kernel = embed_kernel(golden.kernels[name], (512, 512))
    field = convolve_4f(golden.image.to(dtype), kernel.to(dtype))
    assert field.dtype == torch.promote_types(dtype, torch.complex64)
    assert error(field, golden.fields[name]) <= floor


@pytest.mark.parametrize("shape", [(509, 509), (500, 333), (97, 206), (411, 128), (64, 1021)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_sizes_that_fft_libraries_round_badly(shape: tuple[int, int], dtype: torch.dtype) -> None:
    rng = np.random.default_rng(7)
    image, kernel = rng.random(shape), rng.standard_normal((5, 5))
    kernel -= kernel.mean()
    field = convolve_4f(torch.from_numpy(image).to(dtype), embed_kernel(torch.from_numpy(kernel), shape))
    assert error(field, direct_convolution(image, kernel)) <= 1e-15


@given(rows=st.integers(3, 60), cols=st.integers(3, 60), seed=st.integers(0, 2**31), imaginary=st.booleans())
@settings(max_examples=60, deadline=None)
def test_equals_direct_convolution(rows: int, cols: int, seed: int, imaginary: bool) -> None:
    rng = np.random.default_rng(seed)
    image, kernel = rng.standard_normal((rows, cols)), rng.standard_normal((3, 3))
    if imaginary:
        image = image + 1j * rng.standard_normal((rows, cols))
    field = convolve_4f(image, embed_kernel(torch.from_numpy(kernel), (rows, cols)))
    assert error(field, direct_convolution(image, kernel)) <= 1e-14


def test_broadcasts_images_against_kernels() -> None:
    images, kernels = torch.rand(4, 1, 12, 10), torch.rand(3, 12, 10)
    field = convolve_4f(images, kernels)
    assert field.shape == (4, 3, 12, 10)
    torch.testing.assert_close(field[2, 1], convolve_4f(images[2, 0], kernels[1]))


def test_origin_of_the_kernel_is_the_first_sample() -> None:
    image = torch.rand(8, 8, dtype=torch.float64)
    kernel = torch.zeros(8, 8, dtype=torch.float64)
    kernel[0, 1] = 1
    torch.testing.assert_close(convolve_4f(image, kernel).real, torch.roll(image, 1, dims=1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64, torch.complex128])
@pytest.mark.parametrize("tap", [torch.float64, torch.complex128])
def test_prepared_kernel(dtype: torch.dtype, tap: torch.dtype) -> None:
    """One transform of the kernel serves real and complex images, in the kernel's precision."""
    image, kernel = torch.rand(2, 16, 17, dtype=dtype), torch.rand(16, 17, dtype=tap)
    field = convolve_prepared(image, kernel_spectrum(kernel))
    assert field.dtype == torch.complex128
    torch.testing.assert_close(field, convolve_4f(image, kernel))


@given(st.integers(1, 4000))
def test_transform_length_holds_the_linear_convolution(samples: int) -> None:
    length = transform_length(samples)
    assert length == samples or length >= 2 * samples - 1


def test_refuses_a_kernel_on_another_grid() -> None:
    with pytest.raises(UsageError, match=r"not on one grid.*\n.*embed_kernel"):
        convolve_4f(torch.rand(8, 8), torch.rand(3, 3))


def test_refuses_a_kernel_larger_than_the_plane() -> None:
    with pytest.raises(UsageError, match="at least 9 x 8"):
        embed_kernel(torch.rand(9, 3), (8, 8))


@pytest.mark.parametrize("shape", [(512, 512), (1000, 1000), (509, 300)])
def test_prepared_kernel_in_single_precision(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    image, kernel = rng.random(shape), np.outer([1.0, 2.0, 1.0], [1.0, 0.0, -1.0]) / 8
    narrow = torch.from_numpy(image).float()
    field = convolve_prepared(narrow, kernel_spectrum(embed_kernel(torch.from_numpy(kernel).float(), shape)))
    assert field.dtype == torch.complex64
    assert error(field, direct_convolution(narrow.double().numpy(), kernel)) <= 4e-7


def test_refuses_an_image_on_another_grid_than_the_prepared_kernel() -> None:
    with pytest.raises(UsageError, match=r"image \(8, 8\) and kernel \(4, 4\) are not on one grid"):
        convolve_prepared(torch.rand(8, 8), kernel_spectrum(torch.rand(4, 4)))
