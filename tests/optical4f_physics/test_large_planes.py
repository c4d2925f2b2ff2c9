"""Panels of 1024 and 2048 samples: the exact field at published pixels, and what finite apertures cost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from hwsim.backends.optical4f import grid
from hwsim.backends.optical4f.convolution import convolve_4f, embed_kernel
from hwsim.backends.optical4f.finite import camera_field
from hwsim.backends.optical4f.grid import angular_spectrum_field, grid_samples, paraxial_field
from hwsim.backends.optical4f.losses import isolated_convolution, relative_error
from hwsim.backends.optical4f.masks import SmoothMask
from hwsim.backends.optical4f.relay import Relay
from hwsim.core.errors import UsageError
from tests.optical4f_physics.oracles import FOCAL_M, PITCH_M, WAVELENGTH_M, Golden

PUBLISHED = Path(__file__).parent / "published"
CROP = slice(120, 392)


def image_of(samples: int) -> Tensor:
    """The published input of 2048 samples, or one of 1024 drawn by the same rule, for which no file is published."""
    if samples == 2048:
        return torch.from_numpy(np.load(PUBLISHED / "input_N2048_padded.npz")["image_u8"] / 255.0)
    inside = np.random.default_rng(samples).integers(0, 256, (samples // 2, samples // 2)) / 255.0
    return torch.nn.functional.pad(torch.from_numpy(inside), (samples // 4,) * 4)


def square_apertures(golden: Golden, samples: int) -> tuple[SmoothMask, Relay]:
    """Both lenses and the mask as wide as the panel."""
    side_m = samples * PITCH_M
    relay = Relay(WAVELENGTH_M, FOCAL_M, PITCH_M, (samples, samples), lens_side_m=side_m)
    return SmoothMask(golden.kernels["k7"], side_m), relay


@pytest.mark.parametrize(("dtype", "floor"), [(torch.float64, 1e-15), (torch.float32, 4e-7)])
@pytest.mark.parametrize("name", ["k3", "k7"])
def test_exact_field_at_2048(golden: Golden, name: str, dtype: torch.dtype, floor: float) -> None:
    exact = np.load(PUBLISHED / "expected_N2048_samples.npz")
    field = convolve_4f(image_of(2048).to(dtype), embed_kernel(golden.kernels[name].to(dtype), (2048, 2048)))
    given, wanted = field[exact["row"], exact["column"]], torch.from_numpy(exact[f"field_{name}"])
    # Inputs rounded to the dtype err by half an ulp each, which is not the field's error: float32 holds neither.
    tolerance = floor if dtype == torch.float64 else floor + 2**-24
    assert float((given - wanted).norm() / wanted.norm()) <= tolerance
    wide = field.to(torch.complex128)
    assert float(wide.abs().square().sum().sqrt()) == pytest.approx(float(exact[f"l2_{name}"]), rel=tolerance)


def test_paraxial_grid_is_the_quadrature(golden: Golden) -> None:
    """Two methods that share nothing but the physics, within the 3e-4 that a grid of half the pitch costs."""
    mask, relay = square_apertures(golden, 512)
    field = paraxial_field(golden.image.to(torch.complex64), mask, relay)[CROP, CROP]
    assert relative_error(field, golden.finite["aperture_k7"]) < 3e-4


def test_grid_refuses_an_aperture_too_wide(golden: Golden) -> None:
    mask, relay = SmoothMask(golden.kernels["k7"]), Relay(WAVELENGTH_M, FOCAL_M, PITCH_M, (64, 64), lens_side_m=0.05)
    with pytest.raises(UsageError, match=r"needs a grid of \d+ samples per axis at 4 um"):
        paraxial_field(torch.rand(64, 64), mask, relay)


def test_no_light_comes_round_the_edge_of_the_grid(golden: Golden, monkeypatch: pytest.MonkeyPatch) -> None:
    relay = Relay(WAVELENGTH_M, FOCAL_M, 20e-6, (64, 64), lens_side_m=1.28e-3)
    mask = SmoothMask(golden.kernels["k7"], 1.28e-3)
    image = golden.image[224:288, 224:288]
    field = paraxial_field(image, mask, relay)
    monkeypatch.setattr(grid, "grid_samples", lambda *given: 2 * grid_samples(*given))
    assert relative_error(field, paraxial_field(image, mask, relay)) < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("row", "samples", "method"),
    [
        ("aperture_1024_paraxial", 1024, camera_field),
        ("aperture_1024_paraxial", 1024, paraxial_field),
        ("aperture_1024_angular_spectrum", 1024, angular_spectrum_field),
        ("aperture_2048_paraxial", 2048, paraxial_field),
        ("aperture_2048_angular_spectrum", 2048, angular_spectrum_field),
    ],
)
def test_square_apertures(
    row: str,
    samples: int,
    method: Callable[[Tensor, SmoothMask, Relay], Tensor],
    golden: Golden,
    closed_forms: dict[str, tuple[float, float]],
) -> None:
    mask, relay = square_apertures(golden, samples)
    image = image_of(samples)
    ideal = isolated_convolution(image, golden.kernels["k7"])
    expected, tolerance = closed_forms[row]
    error = relative_error(method(image.to(torch.complex64), mask, relay), ideal)
    assert error == pytest.approx(expected, rel=tolerance)
