"""Free space against the Gaussian beam, and the refusals of the automatic choice."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.backends.optical4f.propagation import FreeSpace, choose_method, propagate
from hwsim.core.errors import UsageError

WAVELENGTH_M = 532e-9


def gaussian_beam(waist_m: float, z_m: float, pitch_m: float, count: int) -> torch.Tensor:
    """Paraxial Gaussian beam (Saleh and Teich, Fundamentals of Photonics, eq. 3.1-7), without exp(ikz)."""
    x = (torch.arange(count, dtype=torch.float64) - count / 2) * pitch_m
    r_sq = x[:, None] ** 2 + x**2
    q = complex(z_m, math.pi * waist_m**2 / WAVELENGTH_M)
    # U = (i z_R / q) exp(i k r^2 / (2 q)) for light in the phase convention exp(+ikz).
    q = complex(z_m, -math.pi * waist_m**2 / WAVELENGTH_M)
    amplitude = complex(0, -math.pi * waist_m**2 / WAVELENGTH_M) / q
    return amplitude * torch.exp(1j * math.pi / WAVELENGTH_M * r_sq / q)


@pytest.mark.parametrize("z_m", [1e-6, 1e-3, 0.02, 0.1, -0.05])
@pytest.mark.parametrize("method", ["fresnel", "angular_spectrum"])
def test_gaussian_beam(z_m: float, method: str) -> None:
    pitch, count, waist = 10e-6, 160, 150e-6
    gap = FreeSpace(WAVELENGTH_M, z_m, pitch, (count, count))
    field = propagate(gaussian_beam(waist, 0.0, pitch, count), gap, method)  # type: ignore[arg-type]
    expected = gaussian_beam(waist, z_m, pitch, count)
    assert float((field - expected).abs().max()) < 2e-4


@given(z_mm=st.floats(0.01, 200), seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_fresnel_conserves_no_more_than_it_got(z_mm: float, seed: int) -> None:
    """Power in the window never grows: the propagator of a band-limited field is a contraction on the window."""
    field = torch.randn(24, 20, generator=torch.Generator().manual_seed(seed), dtype=torch.complex128)
    out = propagate(field, FreeSpace(WAVELENGTH_M, z_mm * 1e-3, 8e-6, (24, 20)), "fresnel")
    assert float(out.abs().square().sum()) <= float(field.abs().square().sum()) * (1 + 1e-9)


def test_both_methods_agree_where_both_hold() -> None:
    field = torch.zeros(64, 64, dtype=torch.complex128)
    field[16:48, 16:48] = 1
    gap = FreeSpace(WAVELENGTH_M, 0.01, 20e-6, (64, 64))
    fresnel, exact = (propagate(field, gap, method) for method in ("fresnel", "angular_spectrum"))
    assert float((fresnel - exact).norm() / exact.norm()) < 5e-3


def test_choice_follows_the_paraxial_phase() -> None:
    assert choose_method(FreeSpace(WAVELENGTH_M, 0.01, 8e-6, (64, 64))) == "fresnel"
    assert choose_method(FreeSpace(WAVELENGTH_M, 0.1, 8e-6, (64, 64))) == "angular_spectrum"


def test_zero_distance_is_the_identity() -> None:
    field = torch.rand(8, 8, dtype=torch.complex128)
    assert torch.equal(propagate(field, FreeSpace(WAVELENGTH_M, 0.0, 8e-6, (8, 8))), field)


def test_refuses_a_gap_too_long_with_the_distance_that_works() -> None:
    gap = FreeSpace(WAVELENGTH_M, 30.0, 8e-6, (256, 256))
    with pytest.raises(UsageError, match=r"N \+ spread/p <= 8192 samples\n.*shorten the gap to 1\.9\d* m"):
        propagate(torch.rand(256, 256), gap)


def test_refuses_evanescent_sampling() -> None:
    gap = FreeSpace(WAVELENGTH_M, 0.1, 0.2e-6, (64, 64))
    with pytest.raises(UsageError, match=r"sample at 0\.376 um or more"):
        propagate(torch.rand(64, 64), gap)


def test_refuses_a_window_that_wraps() -> None:
    gap = FreeSpace(WAVELENGTH_M, 0.1, 8e-6, (256, 256))
    with pytest.raises(UsageError, match=r"wraps light.*\n.*pad to 674 x 674"):
        propagate(torch.rand(256, 256), gap, "angular_spectrum", (256, 256))


def test_refuses_a_field_of_another_size() -> None:
    with pytest.raises(UsageError, match="in a gap for"):
        propagate(torch.rand(8, 9), FreeSpace(WAVELENGTH_M, 0.1, 8e-6, (8, 8)))
