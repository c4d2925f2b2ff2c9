"""Panels: levels, tables, gaps, crosstalk, flicker, bit planes, dither and encodings."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hwsim.backends.optical4f.encodings import blazed_carrier, double_phase, kinoform, mask_efficiency, normalise_mask
from hwsim.backends.optical4f.modulators import AmplitudeModulator, Dmd, PhaseModulator, fill_envelope, interpolate
from hwsim.backends.optical4f.surrogates import gaussian_blur
from hwsim.core.errors import UsageError

TURN = 2 * math.pi


def phases(count: int = 512) -> torch.Tensor:
    return torch.linspace(-TURN, 2 * TURN, count, dtype=torch.float64)[None]


@given(bits=st.integers(1, 10))
def test_levels(bits: int) -> None:
    shown = PhaseModulator(bits=bits).phase(phases())
    step = TURN / 2**bits
    torch.testing.assert_close(shown / step, torch.round(shown / step))
    distance = torch.remainder(shown - phases() + math.pi, TURN) - math.pi
    assert float(distance.abs().max()) <= step / 2 + 1e-9


def test_a_short_range_saturates() -> None:
    shown = PhaseModulator(bits=8, range_rad=math.pi).phase(torch.tensor([[3.0, 5.0]], dtype=torch.float64))
    assert float(shown[0, 1]) == pytest.approx(math.pi * 255 / 256)


def test_table_bends_the_phase_and_calibration_straightens_it() -> None:
    table = tuple((TURN * (k / 64) ** 1.3) for k in range(65))
    wanted = torch.linspace(0.1, 6.1, 300, dtype=torch.float64)[None]
    bent = PhaseModulator(bits=None, lut_rad=table, calibrated=False).phase(wanted)
    straight = PhaseModulator(bits=None, lut_rad=table).phase(wanted)
    torch.testing.assert_close(straight, wanted)
    torch.testing.assert_close(bent, TURN * (wanted / TURN) ** 1.3, rtol=0, atol=2e-3)


def test_gaps_add_an_undiffracted_term() -> None:
    panel = PhaseModulator(bits=None, fill_factor=0.9, efficiency=0.64, gap_amplitude=1.0)
    shown = panel.field(torch.tensor([[math.pi]], dtype=torch.float64))
    torch.testing.assert_close(shown, torch.tensor([[0.8 * (-0.9 + 0.1)]], dtype=torch.complex128))


def test_crosstalk_blurs_the_phase_and_keeps_its_mean() -> None:
    wanted = torch.rand(32, 31, dtype=torch.float64)
    blurred = PhaseModulator(bits=None, crosstalk_px=0.5).phase(wanted)
    assert float(blurred.mean()) == pytest.approx(float(wanted.mean()))
    assert float(blurred.std()) < float(wanted.std())


@pytest.mark.parametrize("sigma", [0.5, 1.5])
def test_blur_has_its_width(sigma: float) -> None:
    point = torch.zeros(64, 64, dtype=torch.float64)
    point[32, 32] = 1
    spread = gaussian_blur(point, sigma)
    offset = torch.arange(64, dtype=torch.float64) - 32
    assert float((spread.sum(0) * offset**2).sum()) == pytest.approx(sigma**2, rel=0.05)


def test_flicker_is_seeded_and_common_to_the_panel() -> None:
    panel = PhaseModulator(bits=None, flicker_rad=0.1)
    wanted = torch.full((200, 4, 4), math.pi, dtype=torch.float64)
    shown = torch.angle(panel.field(wanted, torch.Generator().manual_seed(0)) * -1)
    assert float(shown[:, 0, 0].std()) == pytest.approx(0.05, rel=0.2)
    assert float((shown - shown[:, :1, :1]).abs().max()) < 1e-12
    assert torch.equal(shown, torch.angle(panel.field(wanted, torch.Generator().manual_seed(0)) * -1))


def test_amplitude_panel() -> None:
    panel = AmplitudeModulator(bits=2, contrast=100.0)
    shown = panel.field(torch.tensor([[0.0, 0.4, 2.0]], dtype=torch.float64))
    torch.testing.assert_close(shown, torch.tensor([[0.1, 0.1 + 0.9 / 3, 1.0]], dtype=torch.float64))
    gamma = AmplitudeModulator(bits=None, gamma=2.0)
    wanted = torch.rand(4, 4, dtype=torch.float64)
    torch.testing.assert_close(gamma.field(wanted), wanted)


@given(bits=st.integers(1, 8), seed=st.integers(0, 100))
def test_bit_planes_add_up_to_the_grey(bits: int, seed: int) -> None:
    wanted = torch.rand(8, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    frames, shares = Dmd("pwm", bits).frames(wanted)
    assert set(frames.unique().tolist()) <= {0.0, 1.0}
    assert float(shares.sum()) == pytest.approx(1)
    grey = (frames * shares[:, None, None]).sum(0)
    assert float((grey - wanted).abs().max()) <= 0.5 / (2**bits - 1) + 1e-9


@given(st.floats(0, 1))
def test_dither_keeps_the_mean(grey: float) -> None:
    frames, _ = Dmd("dither", bits=3).frames(torch.full((32, 32), grey, dtype=torch.float64))
    assert abs(float(frames.mean()) - grey) <= 1 / 64 + 1e-9


def test_double_phase_low_passes_to_the_mask() -> None:
    values = torch.full((8, 8), 0.3 * complex(math.cos(1.0), math.sin(1.0)), dtype=torch.complex128)
    panel = PhaseModulator(bits=None).field(double_phase(values))
    torch.testing.assert_close(panel.mean(), values[0, 0])


@pytest.mark.parametrize("amplitude", [0.0, 0.3, 0.9, 1.0])
def test_blazed_carrier_puts_the_amplitude_into_the_first_order(amplitude: float) -> None:
    mask = torch.full((1, 4096), amplitude * complex(math.cos(0.7), math.sin(0.7)), dtype=torch.complex128)
    panel = PhaseModulator(bits=None).field(blazed_carrier(mask, 256))
    column = torch.arange(4096, dtype=torch.float64)
    carrier = torch.polar(torch.ones_like(column), -TURN * column / 256)
    order = (panel[0] * carrier).mean()
    assert abs(complex(order) - complex(mask[0, 0])) < 0.02


def test_kinoform_keeps_the_phase() -> None:
    mask = torch.randn(4, 4, dtype=torch.complex128)
    torch.testing.assert_close(kinoform(mask), torch.angle(mask))


def test_normalised_mask_is_passive() -> None:
    mask = 3 * torch.randn(2, 4, 4, dtype=torch.complex128)
    scaled, scale = normalise_mask(mask)
    assert float(scaled.abs().max()) <= 1 + 1e-12
    torch.testing.assert_close(scaled * scale, mask)
    assert float(mask_efficiency(scaled)[0]) == pytest.approx(float(mask_efficiency(mask)[0]))


def test_envelope_falls_to_sinc_at_the_edge() -> None:
    envelope = fill_envelope(64, 0.81)
    assert float(envelope[32]) == 1.0
    assert float(envelope[0]) == pytest.approx(math.sin(0.45 * math.pi) / (0.45 * math.pi))


def test_refuses_a_table_that_falls() -> None:
    falling = torch.tensor([0.0, 1.0, 0.5])
    with pytest.raises(UsageError, match="look-up table does not rise"):
        interpolate(torch.tensor([0.2]), falling, torch.linspace(0, 1, 3))
