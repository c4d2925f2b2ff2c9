"""The finite relay against converged references, and what it loses told apart."""

from __future__ import annotations

import pytest
import torch

from hwsim.backends.optical4f.finite import camera_field
from hwsim.backends.optical4f.grid import angular_spectrum_field
from hwsim.backends.optical4f.losses import isolated_convolution, relative_error, relay_losses
from hwsim.backends.optical4f.masks import PixelMask, SmoothMask, kernel_response
from hwsim.backends.optical4f.pupils import Pupil
from hwsim.backends.optical4f.quadrature import gauss_nodes, gauss_order
from hwsim.backends.optical4f.relay import Relay
from hwsim.core.errors import UsageError
from tests.optical4f_physics.oracles import FOCAL_M, PITCH_M, WAVELENGTH_M, Golden

SIDE_M = 512 * PITCH_M
CROP = slice(120, 392)


def relay(samples: int = 512, **changes: object) -> Relay:
    pitch_m = changes.pop("pitch_m", PITCH_M)
    return Relay(WAVELENGTH_M, FOCAL_M, pitch_m, (samples, samples), **changes)  # type: ignore[arg-type]


def panel_values(kernel: torch.Tensor) -> torch.Tensor:
    nu = (torch.arange(512, dtype=torch.float64) - 256) * PITCH_M / (WAVELENGTH_M * FOCAL_M)
    return kernel_response(kernel, nu, nu, PITCH_M)


def test_truncated_mask(golden: Golden) -> None:
    field = camera_field(golden.image, SmoothMask(golden.kernels["k7"], SIDE_M), relay())
    assert relative_error(field[CROP, CROP], golden.finite["truncated_k7"]) < 1e-6


def test_pixel_mask(golden: Golden) -> None:
    field = camera_field(golden.image, PixelMask(panel_values(golden.kernels["k7"]), PITCH_M), relay())
    assert relative_error(field[CROP, CROP], golden.finite["slm_k7"]) < 1e-6


def test_finite_lenses(golden: Golden) -> None:
    mask = SmoothMask(golden.kernels["k7"], SIDE_M)
    field = camera_field(golden.image, mask, relay(lens_side_m=SIDE_M))
    assert relative_error(field[CROP, CROP], golden.finite["aperture_k7"]) < 1e-6


@pytest.mark.parametrize("name", ["k3", "k7"])
def test_unbounded_relay_is_the_convolution(golden: Golden, name: str) -> None:
    field = camera_field(golden.image, SmoothMask(golden.kernels[name]), relay())
    assert relative_error(field, golden.fields[name]) < 1e-9


def test_lenses_wide_enough_lose_almost_nothing() -> None:
    image = torch.zeros(64, 64, dtype=torch.float64)
    image[16:48, 16:48] = torch.rand(32, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    kernel = torch.randn(3, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    wide = camera_field(image, SmoothMask(kernel), relay(64, pitch_m=16e-6, lens_side_m=0.006))
    narrow = camera_field(image, SmoothMask(kernel), relay(64, pitch_m=16e-6, lens_side_m=0.002))
    ideal = isolated_convolution(image, kernel)
    assert relative_error(wide, ideal) < 0.03 < relative_error(narrow, ideal)


def test_losses_match_the_published_ones(golden: Golden, closed_forms: dict[str, tuple[float, float]]) -> None:
    mask = SmoothMask(golden.kernels["k7"], SIDE_M)
    losses = relay_losses(golden.image.to(torch.complex64), mask, relay(lens_side_m=SIDE_M))
    for value, row in ((losses.clipping, "aperture_512_paraxial"), (losses.total, "aperture_512_angular_spectrum")):
        expected, tolerance = closed_forms[row]
        assert value == pytest.approx(expected, rel=tolerance)
    assert losses.sampling < 1e-6 < losses.aberration < 0.01


@pytest.mark.slow
def test_quadratic_lenses_with_full_apertures(golden: Golden, closed_forms: dict[str, tuple[float, float]]) -> None:
    mask = SmoothMask(golden.kernels["k7"], 6.65e-3)
    field = angular_spectrum_field(golden.image.to(torch.complex64), mask, relay(lens_side_m=10.746e-3))
    expected, tolerance = closed_forms["full_aperture_512_angular_spectrum"]
    assert relative_error(field, golden.fields["k7"]) == pytest.approx(expected, rel=tolerance)


@pytest.mark.parametrize("fill", [0.7, 0.9, 0.93])
def test_zero_order_of_a_panel_with_dark_gaps(fill: float, closed_forms: dict[str, tuple[float, float]]) -> None:
    point = torch.zeros(32, 32, dtype=torch.float64)
    point[16, 16] = 1
    open_panel = torch.ones(512, 512, dtype=torch.complex128)
    full = camera_field(point, PixelMask(open_panel, PITCH_M), relay(32))[16, 16].abs() ** 2
    gapped = camera_field(point, PixelMask(open_panel, PITCH_M, fill), relay(32))[16, 16].abs() ** 2
    assert float(gapped / full) == pytest.approx(closed_forms[f"fill_{fill}"][0], rel=1e-3)


def test_open_gaps_make_the_panel_transparent() -> None:
    image = torch.rand(32, 32, dtype=torch.float64)
    values = torch.ones(64, 64, dtype=torch.complex128)
    solid = camera_field(image, PixelMask(values, 32e-6), relay(32))
    gaps = camera_field(image, PixelMask(values, 32e-6, fill_factor=0.8, gap_amplitude=1.0), relay(32))
    torch.testing.assert_close(solid, gaps, rtol=1e-6, atol=1e-9)


def test_a_round_pupil_passes_its_area() -> None:
    """A point's on-axis amplitude through a pupil is proportional to the open area."""
    point = torch.zeros(32, 32, dtype=torch.float64)
    point[16, 16] = 1
    delta = torch.ones(1, 1, dtype=torch.float64)
    square = camera_field(point, SmoothMask(delta, 4e-3), relay(32))[16, 16]
    disc = camera_field(point, SmoothMask(delta, 4e-3, Pupil(4e-3)), relay(32))[16, 16]
    assert float((disc / square).real) == pytest.approx(torch.pi / 4, rel=2e-3)


def test_defocus_and_camera_shift_of_both_lens_models() -> None:
    image = torch.zeros(64, 64, dtype=torch.float64)
    image[24:40, 24:40] = 1
    kernel = torch.ones(1, 1, dtype=torch.float64)
    moved = {"defocus_m": 2e-4, "camera_shift_m": (4e-6, -2e-6)}
    ideal = camera_field(image, SmoothMask(kernel, 3e-3), relay(64, **moved))
    lensed = camera_field(image, SmoothMask(kernel, 3e-3), relay(64, lens_side_m=0.009, **moved))
    assert relative_error(lensed, ideal) < 5e-3
    assert relative_error(ideal, camera_field(image, SmoothMask(kernel, 3e-3), relay(64))) > 0.05


def test_magnified_image_is_the_scaled_one() -> None:
    """A relay with f2 = 2 f1 shows a Gaussian twice as wide and, per axis, sqrt(2) dimmer."""
    n = torch.arange(64, dtype=torch.float64) - 32
    gauss = torch.exp(-((n[:, None] ** 2 + n**2) / (2 * 4.0**2)))
    wide = torch.exp(-((n[:, None] ** 2 + n**2) / (2 * 8.0**2))) / 2
    field = camera_field(gauss, SmoothMask(torch.ones(1, 1)), relay(64, second_focal_m=2 * FOCAL_M))
    torch.testing.assert_close(field.real, wide, atol=1e-6, rtol=0)


@pytest.mark.parametrize("phase", [0.0, 1.9, 40.0, 1000.0])
def test_gauss_order_integrates_the_phase(phase: float) -> None:
    nodes = gauss_nodes(-1.0, 1.0, phase, 1e-10)
    integral = (nodes.weights * torch.cos(phase * nodes.points)).sum()
    exact = 2.0 * torch.sinc(torch.tensor(phase / torch.pi, dtype=torch.float64))
    assert abs(float(integral - exact)) < 1e-9
    assert gauss_order(phase, 1e-10) < phase / 2 + 40


def test_refuses_an_image_of_another_size() -> None:
    with pytest.raises(UsageError, match="relay for"):
        camera_field(torch.rand(16, 16), SmoothMask(torch.ones(1, 1)), relay(32))


def test_refuses_an_aperture_too_wide_for_quadrature() -> None:
    with pytest.raises(UsageError, match="quadrature nodes per axis"):
        camera_field(torch.rand(32, 32), SmoothMask(torch.ones(1, 1)), relay(32, lens_side_m=0.1))
