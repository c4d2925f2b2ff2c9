"""Layers through the optics: torch's own results where the bench is perfect, and the photon budget where it is not."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from hwsim.backends.optical4f.camera import Camera
from hwsim.backends.optical4f.chain import Chain, Encoding
from hwsim.backends.optical4f.layers import InputCoding, LayerOptics, Signs, optical_conv2d, optical_linear
from hwsim.backends.optical4f.misalignment import Misalignment
from hwsim.backends.optical4f.modulators import AmplitudeModulator
from hwsim.backends.optical4f.operators import Operator, ThroughOptics
from hwsim.backends.optical4f.pupils import Pupil
from hwsim.backends.optical4f.readout import Readout
from hwsim.core.errors import UsageError
from tests.optical4f_physics.oracles import FOCAL_M, PITCH_M, WAVELENGTH_M

CHAIN = Chain(WAVELENGTH_M, FOCAL_M, PITCH_M, 1e-3, Camera(PITCH_M, 1e-2, shot_noise=False))


def seed(number: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def draw(*shape: int, number: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=seed(number), dtype=torch.float64)


def optics(x: torch.Tensor, chain: Chain = CHAIN, signs: Signs = "offset") -> LayerOptics:
    return LayerOptics(chain, InputCoding.fitted(x, signs))


def error(y: torch.Tensor, expected: torch.Tensor) -> float:
    assert y.shape == expected.shape
    return float((y.detach() - expected).norm() / expected.norm())


@given(
    batch=st.integers(1, 5),
    features=st.integers(1, 40),
    outputs=st.integers(1, 9),
    signs=st.sampled_from(["offset", "split"]),
    readout=st.sampled_from(["two_frame", "interferometric", "incoherent"]),
    number=st.integers(0, 999),
)
@settings(max_examples=40, deadline=None)
def test_valid_and_shared_is_dense(
    batch: int, features: int, outputs: int, signs: Signs, readout: Readout, number: int
) -> None:
    x, w = draw(batch, 2, features, number=number), draw(outputs, features, number=number + 1)
    chain = dataclasses.replace(CHAIN, readout=readout)
    y = optical_linear(x, w, optics(x, chain, signs), seed())
    assert float((y - x @ w.T).abs().max()) < 1e-10 * features * 20


@given(
    size=st.tuples(st.integers(3, 9), st.integers(3, 9)),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    dilation=st.integers(1, 2),
    groups=st.sampled_from([1, 2, 4]),
    signs=st.sampled_from(["offset", "split"]),
)
@settings(max_examples=60, deadline=None)
def test_convolution_is_torchs(
    size: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: int,
    groups: int,
    signs: Signs,
) -> None:
    reach = [dilation * (k - 1) + 1 for k in kernel]
    if any(r > s + 2 * p or r > s + p or p >= r for r, s, p in zip(reach, size, padding, strict=True)):
        return
    x, w = draw(2, 4, *size), draw(8, 4 // groups, *kernel, number=1)
    expected = functional.conv2d(x, w, None, stride, padding, dilation, groups)
    y = optical_conv2d(x, w, optics(x, signs=signs), seed(), stride, padding, (dilation, dilation), groups)
    assert float((y - expected).abs().max()) < 1e-10


@pytest.mark.parametrize(
    ("encoding", "window", "limit"),
    [("double_phase", 8, 2e-3), ("double_phase", 2, 0.3), ("binary_amplitude", 16, 0.5), ("binary_phase", 16, 0.5)],
)
def test_mask_encodings(encoding: Encoding, window: int, limit: float) -> None:
    x, w = draw(6, 25), draw(7, 25, number=1)
    chain = dataclasses.replace(CHAIN, encoding=encoding, window=window, readout="interferometric")
    measured = error(optical_linear(x, w, optics(x, chain), seed()), x @ w.T)
    assert measured < limit


def test_room_for_the_encoding_makes_it_exact() -> None:
    x, w = draw(6, 25), draw(7, 25, number=1)
    chains = [dataclasses.replace(CHAIN, encoding="double_phase", window=periods) for periods in (2, 4, 8)]
    errors = [error(optical_linear(x, w, optics(x, chain), seed()), x @ w.T) for chain in chains]
    assert errors[0] > errors[1] > errors[2]


@pytest.mark.parametrize("slice_bits", [1, 2, 4])
def test_bit_slices_add_up_to_the_levels(slice_bits: int) -> None:
    x = torch.rand(50, generator=seed(), dtype=torch.float64)
    coding = InputCoding(0.0, 1.0, bits=8, slice_bits=slice_bits)
    terms = coding.terms(x)
    assert len(terms) == 8 // slice_bits
    total = sum(weight * shown for shown, weight in terms)
    torch.testing.assert_close(total, torch.round(x * 255) / 255)


def test_large_masks_go_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    x, w = draw(3, 16), draw(10, 16, number=1)
    monkeypatch.setattr("hwsim.backends.optical4f.layers.MAX_MASK_SAMPLES", 48)
    assert error(optical_linear(x, w, optics(x), seed()), x @ w.T) < 1e-12


def test_shot_noise_follows_the_budget() -> None:
    """Two frames of roots: the error of an output is 0.71 of what one electron is worth, whatever the layer."""
    camera = Camera(PITCH_M, 1e-2)
    chain = dataclasses.replace(
        CHAIN, camera=camera, irradiance_w_m2=1e5 / camera.electrons_per_intensity(WAVELENGTH_M)
    )
    x = torch.rand(200, 16, generator=seed(), dtype=torch.float64)
    w = draw(1, 16, number=1)
    operator = Operator(chain, seed())
    noise = operator.linear(x, w) - x @ w.T
    # Full scale of each part is its kernel's sum, over 1e5 electrons and the range of x.
    plus, minus = (float(part.clamp_min(0).sum()) for part in (w, -w))
    expected = 0.5 / 1e5**0.5 * (plus**2 + minus**2) ** 0.5 * float(x.max())
    assert float(noise.std()) == pytest.approx(expected, rel=0.15)
    assert operator.budget.macs == 200 * 16
    assert operator.budget.photons_per_output == pytest.approx(16 * operator.budget.photons_per_mac)


def test_calibration_finds_the_gain_that_aberration_takes() -> None:
    pupil = Pupil(9.4e-3, zernike_waves={11: 0.08})
    chain = dataclasses.replace(CHAIN, pupil=pupil, readout="interferometric")
    raw = Operator(chain, seed())
    x, w = draw(20, 16).float(), draw(8, 16, number=1).float()
    before, after = (error(op.linear(x, w), x @ w.T) for op in (raw, raw.calibrated()))
    assert raw.calibrated().gain > 1
    assert after < before


def test_flat_field_takes_the_fixed_pattern_out() -> None:
    camera = Camera(PITCH_M, 1e-2, prnu=0.05, shot_noise=False)
    x, w = draw(20, 16), draw(8, 16, number=1)
    base = Operator(dataclasses.replace(CHAIN, camera=camera), seed(), tiles=7, flat_field=False)
    mapped = dataclasses.replace(base, flat_field=True)
    measured = dataclasses.replace(mapped, flat_field_error=0.01)
    errors = [error(op.linear(x, w), x @ w.T) for op in (mapped, measured, base)]
    assert errors[0] < 1e-12 < errors[1] < errors[2]


def test_saturation_is_counted() -> None:
    camera = Camera(PITCH_M, 1e-2, full_well_e=10.0, shot_noise=False)
    operator = Operator(dataclasses.replace(CHAIN, camera=camera), seed())
    operator.linear(draw(20, 16), draw(8, 16, number=1))
    assert operator.budget.saturated_share > 0.5


@pytest.mark.parametrize("padding", ["same", "valid", 1])
def test_operator_pads_as_torch(padding: str | int) -> None:
    x, w, b = draw(2, 3, 6, 7), draw(5, 3, 2, 3, number=1), draw(5, number=2)
    y = Operator(CHAIN, seed()).conv2d(x, w, b, padding=padding)
    assert error(y, functional.conv2d(x, w, b, padding=padding)) < 1e-12


def test_operator_convolves_rows_and_multiplies_batches() -> None:
    x, w = draw(2, 3, 9), draw(4, 3, 3, number=1)
    operator = Operator(CHAIN, seed())
    assert error(operator.conv1d(x, w, None, 2, 1), functional.conv1d(x, w, None, 2, 1)) < 1e-12
    a, b = draw(2, 1, 5, 6), draw(3, 6, 4, number=1)
    assert error(operator.matmul(a, b), a @ b) < 1e-12
    assert error(operator.matmul(a, b[0]), a @ b[0]) < 1e-12


def test_a_module_runs_and_learns_through_the_optics() -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, 2, 3, padding=1), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(32, 4)
    )
    camera = Camera(PITCH_M, 1e-2, read_noise_e=2.0, full_well_e=3e4, bits=12)
    bright = 2e4 / camera.electrons_per_intensity(WAVELENGTH_M)
    chain = dataclasses.replace(CHAIN, camera=camera, irradiance_w_m2=bright, source=AmplitudeModulator(8))
    operator = Operator(chain, seed(), bits=8)
    x = torch.rand(16, 1, 4, 4)
    with ThroughOptics(lambda weight: operator):
        noisy = net(x)
    assert 0 < error(noisy, net(x).detach()) < 0.2
    noisy.square().sum().backward()
    for parameter in net.parameters():
        assert parameter.grad is not None
        assert bool(torch.isfinite(parameter.grad).all())
    kept = ThroughOptics(lambda weight: None)
    with kept:
        torch.testing.assert_close(net(x), noisy, atol=1.0, rtol=1.0)


def test_refuses_what_differs_from_tile_to_tile() -> None:
    chain = dataclasses.replace(CHAIN, misalignment=Misalignment(camera_rotation_rad=0.01))
    with pytest.raises(UsageError, match="treats every tile differently"):
        optical_linear(draw(2, 4), draw(2, 4), optics(draw(2, 4), chain), seed())
