"""The camera's mean and variance against theory, its clipping, and its seeds."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.backends.optical4f.camera import Camera, FixedPattern, draw_pattern, expose, photon_energy_j, saturated_share
from hwsim.backends.optical4f.readout import amplitude_of, demodulate, interferogram_phases
from hwsim.core.errors import UsageError

SHAPE = (200, 200)


def frame(camera: Camera, signal_e: float, pattern: FixedPattern | None = None, seed: int = 1) -> torch.Tensor:
    signal = torch.full(SHAPE, signal_e, dtype=torch.float64)
    chosen = draw_pattern(camera, SHAPE, 5) if pattern is None else pattern
    return expose(signal, camera, chosen, torch.Generator().manual_seed(seed))


@given(
    signal=st.floats(500, 5000),
    read=st.floats(0, 20),
    dark=st.floats(0, 500),
    bits=st.sampled_from([None, 10, 12]),
)
@settings(max_examples=12, deadline=None)
def test_temporal_mean_and_variance(signal: float, read: float, dark: float, bits: int | None) -> None:
    camera = Camera(5e-6, 1e-2, full_well_e=10000, read_noise_e=read, dark_e_per_s=dark, bits=bits, offset_dn=4)
    electrons = (frame(camera, signal) - camera.offset_dn) / camera.gain
    mean = signal + dark * camera.exposure_s
    noise = float(camera.noise_e(torch.tensor(signal, dtype=torch.float64)))
    count = SHAPE[0] * SHAPE[1]
    assert float(electrons.mean()) == pytest.approx(mean, abs=5 * noise / math.sqrt(count))
    # Rounding adds LSB^2 / 12 where the noise spans the steps: here it is twice as wide or more.
    # The variance of a variance estimate is 2 / n relative; Poisson kurtosis adds 1 / (n mean).
    assert float(electrons.var()) == pytest.approx(noise**2, rel=5 * math.sqrt(3 / count))


def test_fixed_pattern_adds_its_spatial_variance() -> None:
    camera = Camera(5e-6, 1e-2, prnu=0.02, dark_e_per_s=5000, dsnu_e_per_s=300)
    image = frame(camera, 1000.0)
    assert float(image.std()) == pytest.approx(float(camera.noise_e(torch.tensor(1000.0))), rel=0.02)


def test_flat_field_takes_the_pattern_out() -> None:
    camera = Camera(5e-6, 1e-2, prnu=0.02)
    pattern = draw_pattern(camera, SHAPE, 5)
    image = frame(camera, 1e5, pattern) / (1 + pattern.gain_error)
    assert float(image.std()) == pytest.approx(math.sqrt(1e5), rel=0.02)


def test_prnu_caps_the_snr() -> None:
    camera = Camera(5e-6, 1e-2, prnu=0.01)
    assert float(camera.snr(torch.tensor(1e9, dtype=torch.float64))) == pytest.approx(100, rel=1e-3)


def test_root_of_a_poisson_count_has_half_an_electron_of_noise() -> None:
    image = frame(Camera(5e-6, 1e-2), 1000.0)
    assert float(image.sqrt().std()) == pytest.approx(0.5, rel=0.01)


@pytest.mark.parametrize("bits", [8, 12, None])
def test_saturates_at_the_full_well_and_not_at_zero(bits: int | None) -> None:
    camera = Camera(5e-6, 1e-2, full_well_e=10000, bits=bits)
    image = frame(camera, 50000.0)
    assert float(image.min()) == pytest.approx(camera.gain * 10000)
    assert saturated_share(image, camera) == 1.0
    assert saturated_share(frame(camera, 5000.0), camera) == 0.0


def test_top_code_binds_before_the_full_well() -> None:
    camera = Camera(5e-6, 1e-2, full_well_e=10000, bits=8, gain_dn_per_e=0.1)
    assert camera.saturation_e == 2550
    assert float(frame(camera, 5000.0).max()) == 255


def test_electrons_from_watts() -> None:
    camera = Camera(5e-6, 1e-3, quantum_efficiency=0.77)
    expected = 0.77 * 2.0 * 25e-12 * 1e-3 / photon_energy_j(525e-9)
    assert 2.0 * camera.electrons_per_intensity(525e-9) == pytest.approx(expected)


def test_seeded() -> None:
    camera = Camera(5e-6, 1e-2, read_noise_e=3, prnu=0.01)
    assert torch.equal(frame(camera, 100.0), frame(camera, 100.0))
    assert not torch.equal(frame(camera, 100.0), frame(camera, 100.0, seed=2))


def test_gradient_stops_where_the_pixel_saturates() -> None:
    camera = Camera(5e-6, 1e-2, full_well_e=1000, read_noise_e=2, bits=10)
    signal = torch.tensor([[500.0, 5000.0]], requires_grad=True)
    expose(signal, camera, draw_pattern(camera, (1, 2), 0), torch.Generator().manual_seed(0)).sum().backward()
    assert signal.grad is not None
    assert signal.grad.tolist() == [[pytest.approx(camera.gain), 0.0]]


def test_gradient_stops_at_the_first_and_the_last_code() -> None:
    """An 8-bit converter of 0.1 DN/e- and an offset of 5 ends at 2500 e-, far below the well, and starts at -50 e-."""
    camera = Camera(5e-6, 1e-2, full_well_e=10000, bits=8, gain_dn_per_e=0.1, offset_dn=5, shot_noise=False)
    signal = torch.tensor([[-100.0, -40.0, 500.0, 2490.0, 2600.0]], requires_grad=True)
    codes = expose(signal, camera, None, torch.Generator())
    codes.sum().backward()
    assert codes.tolist() == [[0, 1, 55, 254, 255]]
    assert signal.grad is not None
    assert signal.grad[0].tolist() == pytest.approx([0, 0.1, 0.1, 0.1, 0])


def test_a_full_well_between_two_codes_reads_as_a_code() -> None:
    camera = Camera(5e-6, 1e-2, full_well_e=1006, bits=8, gain_dn_per_e=0.1, shot_noise=False)
    assert expose(torch.tensor([[5000.0]]), camera, None, torch.Generator()).tolist() == [[101]]


def test_amplitude_of_dark_pixels_is_zero_with_a_slope() -> None:
    signal = torch.tensor([-3.0, 0.0, 4.0], requires_grad=True)
    root = amplitude_of(signal)
    root.sum().backward()
    assert root.tolist() == [0.0, 0.0, 2.0]
    assert signal.grad is not None
    assert signal.grad.tolist() == [0.5, 0.5, 0.25]


@pytest.mark.parametrize("steps", [2, 3, 4, 5])
def test_interferogram(steps: int) -> None:
    field = torch.randn(6, 6, generator=torch.Generator().manual_seed(3), dtype=torch.complex128)
    phases = interferogram_phases(steps)
    frames = (field + 2.5 * torch.polar(torch.ones(steps, dtype=torch.float64), phases)[:, None, None]).abs() ** 2
    found = demodulate(frames, 2.5)
    torch.testing.assert_close(found, field.real if steps == 2 else field)


def test_refuses_one_phase_step() -> None:
    with pytest.raises(UsageError, match="use phase_steps=2"):
        interferogram_phases(1)
