"""Airy, MTF, Strehl, sampling limits, phase levels, shot noise, displacement: each against the published value."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from hwsim.backends.optical4f import sampling
from hwsim.backends.optical4f.camera import Camera, photon_energy_j
from hwsim.backends.optical4f.chain import Chain, camera_amplitude, prepare_mask
from hwsim.backends.optical4f.convolution import convolve_4f, embed_kernel
from hwsim.backends.optical4f.encodings import mask_efficiency
from hwsim.backends.optical4f.finite import camera_field
from hwsim.backends.optical4f.losses import relative_error
from hwsim.backends.optical4f.masks import SmoothMask
from hwsim.backends.optical4f.misalignment import Misalignment
from hwsim.backends.optical4f.modulators import PhaseModulator
from hwsim.backends.optical4f.propagation import FreeSpace
from hwsim.backends.optical4f.pupils import Pupil, circular_mtf, optical_transfer, point_spread, strehl
from hwsim.backends.optical4f.readout import split_signs
from hwsim.backends.optical4f.relay import Relay
from hwsim.backends.optical4f.transforms import lens_transform
from tests.optical4f_physics.oracles import FOCAL_M, PITCH_M, WAVELENGTH_M, Golden

Forms = dict[str, tuple[float, float]]
SYSTEM = (WAVELENGTH_M, FOCAL_M, PITCH_M)


@pytest.mark.parametrize("samples", [512, 1024, 2048])
def test_sampling_limits(samples: int, closed_forms: Forms) -> None:
    lens = sampling.unvignetted_lens_m(*SYSTEM, samples)
    computed = {
        "fourier_bin": sampling.fourier_bin_m(*SYSTEM, samples),
        "lens_diameter": lens,
        "lens_pitch": sampling.lens_pitch_limit_m(WAVELENGTH_M, FOCAL_M, lens),
        "transfer_function_limit": sampling.transfer_function_limit_m(WAVELENGTH_M, PITCH_M, samples),
    }
    for name, value in computed.items():
        expected, tolerance = closed_forms[f"{name}_{samples}"]
        assert value == pytest.approx(expected, rel=max(tolerance, 1e-12))


def test_geometry_of_the_published_system(closed_forms: Forms) -> None:
    relay = Relay(*SYSTEM, (512, 512))
    gap = FreeSpace(WAVELENGTH_M, FOCAL_M, PITCH_M, (512, 512))
    diameter = closed_forms["lens_diameter_512"][0]
    computed = {
        "extent": relay.spectral_extent_m,
        "equal_pitch_samples": sampling.equal_pitch_samples(*SYSTEM),
        "slm_coverage": sampling.mask_coverage(512 * PITCH_M, *SYSTEM),
        "coherent_cutoff": sampling.coherent_cutoff_per_m(diameter, WAVELENGTH_M, FOCAL_M),
        "incoherent_cutoff": 2 * sampling.coherent_cutoff_per_m(diameter, WAVELENGTH_M, FOCAL_M),
        "paraxial_phase_axis": gap.paraxial_phase_rad / 4,
        "paraxial_phase_corner": gap.paraxial_phase_rad,
        "photon_energy": photon_energy_j(WAVELENGTH_M),
        "sql_photons": 50e-21 / photon_energy_j(WAVELENGTH_M),
    }
    for name, value in computed.items():
        expected, tolerance = closed_forms[name]
        assert value == pytest.approx(expected, rel=max(tolerance, 1e-9)), name


def test_airy_radius(closed_forms: Forms) -> None:
    """First zero of the focal spot of a round lens, from the scaled transform of its aperture."""
    diameter, radius = 10.746e-3, closed_forms["airy_radius"][0]
    pitch, out = 20e-6, 2e-7
    x = (torch.arange(640, dtype=torch.float64) - 320) * pitch
    cells = torch.full_like(x, pitch)
    disc = Pupil(diameter).transmission(x, x, (cells, cells))
    spot = lens_transform(
        disc, wavelength_m=WAVELENGTH_M, focal_m=FOCAL_M, pitch_m=pitch, out_pitch_m=out, out_samples=(1, 128)
    )[0].abs()
    dark = int(torch.argmin(spot[64 : 64 + 45])) * out
    # The amplitude passes through zero linearly: its two sides give the crossing within the grid's step.
    left, right = spot[64 + round(dark / out) - 1], spot[64 + round(dark / out) + 1]
    zero = dark + out * float((left - right) / (left + right))
    assert zero == pytest.approx(radius, rel=closed_forms["airy_radius"][1])


@pytest.mark.parametrize("r", [0.25, 0.5, 0.75])
def test_mtf_of_a_round_pupil(r: float, closed_forms: Forms) -> None:
    x = torch.arange(1024, dtype=torch.float64) - 512
    cells = torch.ones_like(x)
    otf = optical_transfer(Pupil(400.0).transmission(x, x, (cells, cells))).abs()
    expected, tolerance = closed_forms[f"mtf_circular_{r}"]
    assert float(otf[512, 512 + round(400 * r)]) == pytest.approx(expected, rel=tolerance)
    assert float(circular_mtf(torch.tensor(r, dtype=torch.float64))) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("rms", [0.03, 0.05, 0.07, 0.1])
@pytest.mark.parametrize("term", [4, 5, 7, 11])
def test_strehl(rms: float, term: int, closed_forms: Forms) -> None:
    x = torch.arange(600, dtype=torch.float64) - 299.5
    cells = torch.ones_like(x)
    flat = Pupil(596.0).transmission(x, x, (cells, cells))
    bent = Pupil(596.0, zernike_waves={term: rms}).transmission(x, x, (cells, cells))
    ratio = float(strehl(bent))
    peak = point_spread(bent)[300, 300].abs() / point_spread(flat)[300, 300].abs()
    assert ratio == pytest.approx(float(peak.square()), rel=1e-9)
    marechal, tolerance = closed_forms[f"strehl_{rms}"]
    assert ratio == pytest.approx(marechal, rel=tolerance)
    if term == 4:
        exact, _ = closed_forms[f"strehl_defocus_{rms}"]
        assert ratio == pytest.approx(exact, rel=2e-3)


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 5, 6, 8])
def test_phase_levels(bits: int, closed_forms: Forms) -> None:
    """First-order efficiency of a blazed ramp shown with 2^b levels, many samples per level."""
    ramp = (torch.arange(4096, dtype=torch.float64) + 0.5) / 4096 * 2 * math.pi
    shown = PhaseModulator(bits=bits).field(ramp[None])
    order = (shown[0] * torch.polar(torch.ones_like(ramp), -ramp)).mean().abs().square()
    expected, tolerance = closed_forms[f"phase_levels_{bits}bit"]
    assert float(order) == pytest.approx(expected, rel=tolerance)


@pytest.mark.parametrize("well", [10700, 32691])
def test_shot_limited_bits(well: int, closed_forms: Forms) -> None:
    camera = Camera(pitch_m=3.45e-6, exposure_s=1e-3, full_well_e=well)
    bits = math.log2(float(camera.snr(torch.tensor(float(well), dtype=torch.float64))))
    assert bits == pytest.approx(closed_forms[f"shot_bits_{well}"][0], rel=1e-6)


@pytest.mark.parametrize("oversampled", [1, 2])
def test_parseval_across_a_lens(oversampled: int) -> None:
    """sum |U|^2 p^2 = sum |U_f|^2 du^2 over the whole band, at the DFT's own bins and at finer ones."""
    field = torch.randn(96, 96, generator=torch.Generator().manual_seed(0), dtype=torch.complex128)
    step = sampling.fourier_bin_m(*SYSTEM, 96) / oversampled
    samples = (96 * oversampled, 96 * oversampled)
    far = lens_transform(
        field, wavelength_m=WAVELENGTH_M, focal_m=FOCAL_M, pitch_m=PITCH_M, out_pitch_m=step, out_samples=samples
    )
    power_in = float(field.abs().square().sum()) * PITCH_M**2
    assert float(far.abs().square().sum()) * step**2 == pytest.approx(power_in, rel=1e-12)


def _displaced(golden: Golden, name: str, moved: Misalignment) -> float:
    chain = Chain(*SYSTEM, 1.0, Camera(PITCH_M, 1e-3), misalignment=moved)
    field = camera_amplitude(golden.image, prepare_mask(golden.kernels[name], (512, 512), chain), chain)
    return relative_error(field, golden.fields[name])


DISPLACEMENTS: dict[str, Callable[[], Misalignment]] = {
    f"mask_shift_{word}": (lambda bins=bins: Misalignment(mask_shift_m=(0.0, bins * 12.98828125e-6)))
    for word, bins in (("quarter_bin", 0.25), ("one_bin", 1.0), ("five_bins", 5.0))
}
DISPLACEMENTS |= {
    f"camera_shift_{px}px": (lambda px=px: Misalignment(camera_shift_m=(0.0, px * PITCH_M))) for px in (0.05, 0.1)
}
DISPLACEMENTS |= {f"defocus_{um}um": (lambda um=um: Misalignment(defocus_m=um * 1e-6)) for um in (10, 50, 100)}


@pytest.mark.parametrize("kernel", ["k3", "k7"])
@pytest.mark.parametrize("case", list(DISPLACEMENTS))
def test_displacement(case: str, kernel: str, golden: Golden, closed_forms: Forms) -> None:
    expected, tolerance = closed_forms[f"{case}_{kernel}"]
    assert _displaced(golden, kernel, DISPLACEMENTS[case]()) == pytest.approx(expected, rel=tolerance)


@pytest.mark.parametrize("kernel", ["k3", "k7"])
def test_intensity_difference_without_roots(kernel: str, golden: Golden, closed_forms: Forms) -> None:
    parts = [embed_kernel(part, (512, 512)) for part in split_signs(golden.kernels[kernel])]
    plus, minus = (convolve_4f(golden.image, part).abs().square() for part in parts)
    expected, tolerance = closed_forms[f"pseudo_negative_intensity_{kernel}"]
    assert relative_error(plus - minus, golden.fields[kernel]) == pytest.approx(expected, rel=tolerance)


@pytest.mark.parametrize("kernel", ["k3", "k7"])
def test_mask_efficiency(kernel: str, golden: Golden, closed_forms: Forms) -> None:
    mask = torch.fft.fft2(embed_kernel(golden.kernels[kernel], (512, 512)))
    expected, tolerance = closed_forms[f"mask_efficiency_{kernel}"]
    assert float(mask_efficiency(mask)) == pytest.approx(expected, rel=tolerance)


@pytest.mark.parametrize("kernel", ["k3", "k7"])
def test_truncated_band(kernel: str, golden: Golden, closed_forms: Forms) -> None:
    field = camera_field(golden.image, SmoothMask(golden.kernels[kernel], 4.096e-3), Relay(*SYSTEM, (512, 512)))
    expected, tolerance = closed_forms[f"truncated_{kernel}"]
    assert relative_error(field, golden.fields[kernel]) == pytest.approx(expected, rel=tolerance)
