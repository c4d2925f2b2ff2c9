"""The whole chain: exact without errors, unbiased with noise, differentiable, and worse with every imperfection."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.backends.optical4f.camera import Camera
from hwsim.backends.optical4f.chain import Chain, Encoding
from hwsim.backends.optical4f.convolution import convolve_4f, embed_kernel
from hwsim.backends.optical4f.detection import convolve_measured
from hwsim.backends.optical4f.misalignment import Misalignment, resample_camera, rotate
from hwsim.backends.optical4f.modulators import AmplitudeModulator, PhaseModulator
from hwsim.backends.optical4f.pupils import Pupil
from hwsim.backends.optical4f.readout import Readout
from hwsim.core.errors import UsageError
from tests.optical4f_physics.oracles import FOCAL_M, PITCH_M, WAVELENGTH_M

QUIET = Camera(PITCH_M, 1e-2, shot_noise=False)
CHAIN = Chain(WAVELENGTH_M, FOCAL_M, PITCH_M, 1.0, QUIET)


def seed(number: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def case(size: int = 24) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    image = torch.zeros(size, size, dtype=torch.float64)
    image[6:-6, 6:-6] = torch.rand(size - 12, size - 12, generator=seed(1), dtype=torch.float64)
    kernel = torch.randn(3, 3, generator=seed(2), dtype=torch.float64)
    return image, kernel, convolve_4f(image, embed_kernel(kernel, (size, size))).real


def error(chain: Chain, number: int = 0) -> float:
    image, kernel, ideal = case()
    return float((convolve_measured(image, kernel, chain, seed(number)) - ideal).norm() / ideal.norm())


@pytest.mark.parametrize("readout", ["two_frame", "interferometric", "incoherent"])
@pytest.mark.parametrize(("encoding", "limit"), [("complex", 1e-9), ("double_phase", 0.05)])
def test_exact_without_errors(readout: Readout, encoding: Encoding, limit: float) -> None:
    assert error(dataclasses.replace(CHAIN, readout=readout, encoding=encoding)) < limit


def test_amplitude_readout_loses_the_sign() -> None:
    image, kernel, ideal = case()
    measured = convolve_measured(image, kernel, dataclasses.replace(CHAIN, readout="amplitude"), seed())
    torch.testing.assert_close(measured, ideal.abs())


@given(level=st.floats(1e3, 1e6), readout=st.sampled_from(["two_frame", "interferometric"]))
@settings(max_examples=10, deadline=None)
def test_shot_noise_falls_with_the_root_of_light(level: float, readout: Readout) -> None:
    camera = Camera(PITCH_M, 1e-2)
    dim = Chain(WAVELENGTH_M, FOCAL_M, PITCH_M, level / camera.electrons_per_intensity(WAVELENGTH_M), camera)
    dim = dataclasses.replace(dim, readout=readout)
    bright = dataclasses.replace(dim, irradiance_w_m2=100 * dim.irradiance_w_m2)
    assert 5 < error(dim) / error(bright) < 20


def test_shot_noise_of_two_frames_is_0_71_root_electrons() -> None:
    """Each root has a standard deviation of 1/2; their difference 1/sqrt(2) in the units of sqrt(e-)."""
    camera = Camera(PITCH_M, 1e-2)
    chain = Chain(WAVELENGTH_M, FOCAL_M, PITCH_M, 1e4 / camera.electrons_per_intensity(WAVELENGTH_M), camera)
    image = torch.ones(256, 256, dtype=torch.float64)
    kernel = torch.tensor([[0.0, 0.5, 0.0], [0.0, -0.5, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    measured = convolve_measured(image, kernel, chain, seed())
    roots = measured / 0.5 * torch.sqrt(torch.tensor(1e4))
    assert float(roots.std()) == pytest.approx(0.7071, rel=0.02)
    assert abs(float(roots.mean())) < 0.02


IMPERFECTIONS: dict[str, Chain] = {
    "source levels": dataclasses.replace(CHAIN, source=AmplitudeModulator(bits=4)),
    "mask levels": dataclasses.replace(CHAIN, encoding="double_phase", mask=PhaseModulator(bits=4)),
    "crosstalk": dataclasses.replace(CHAIN, encoding="double_phase", mask=PhaseModulator(bits=None, crosstalk_px=0.4)),
    "gaps": dataclasses.replace(
        CHAIN, encoding="double_phase", mask=PhaseModulator(bits=None, fill_factor=0.9, gap_amplitude=0.5)
    ),
    "kinoform": dataclasses.replace(CHAIN, encoding="kinoform"),
    "aberration": dataclasses.replace(CHAIN, pupil=Pupil(9.4e-3, zernike_waves={5: 0.1})),
    "small pupil": dataclasses.replace(CHAIN, pupil=Pupil(4e-3)),
    "mask shift": dataclasses.replace(CHAIN, misalignment=Misalignment(mask_shift_m=(1e-4, 0.0))),
    "mask turn": dataclasses.replace(CHAIN, misalignment=Misalignment(mask_rotation_rad=0.1)),
    "camera shift": dataclasses.replace(CHAIN, misalignment=Misalignment(camera_shift_m=(2e-6, 0.0))),
    "camera turn": dataclasses.replace(CHAIN, misalignment=Misalignment(camera_rotation_rad=0.02)),
    "defocus": dataclasses.replace(CHAIN, misalignment=Misalignment(defocus_m=1e-4)),
    "magnification": dataclasses.replace(CHAIN, misalignment=Misalignment(magnification=1.02)),
    "camera noise": dataclasses.replace(CHAIN, camera=Camera(PITCH_M, 1e-2, read_noise_e=100.0)),
    "saturation": dataclasses.replace(CHAIN, camera=Camera(PITCH_M, 1e-2, full_well_e=1e4, shot_noise=False)),
    "ADC": dataclasses.replace(CHAIN, camera=Camera(PITCH_M, 1e-2, full_well_e=2e7, bits=8, shot_noise=False)),
    "PRNU": dataclasses.replace(CHAIN, camera=Camera(PITCH_M, 1e-2, prnu=0.02, shot_noise=False)),
}


@pytest.mark.parametrize("name", list(IMPERFECTIONS))
def test_each_imperfection_costs_accuracy_and_stays_differentiable(name: str) -> None:
    chain = IMPERFECTIONS[name]
    baseline = error(dataclasses.replace(CHAIN, encoding=chain.encoding)) if chain.encoding == "double_phase" else 0.0
    assert error(chain) > baseline + 1e-4
    image, kernel, _ = case()
    image, kernel = image.requires_grad_(), kernel.requires_grad_()
    convolve_measured(image, kernel, chain, seed()).square().sum().backward()
    for leaf in (image, kernel):
        assert leaf.grad is not None
        assert bool(torch.isfinite(leaf.grad).all())
        assert float(leaf.grad.abs().sum()) > 0


def test_gradient_of_the_kernel_is_the_true_one() -> None:
    image, kernel, _ = case(18)
    chain = dataclasses.replace(CHAIN, readout="interferometric")

    def measured(k: torch.Tensor) -> torch.Tensor:
        return convolve_measured(image, k, chain, seed())

    assert torch.autograd.gradcheck(measured, kernel.requires_grad_(), atol=1e-5)


def test_batches_images_and_kernels() -> None:
    images = torch.rand(3, 1, 16, 16, dtype=torch.float64)
    kernels = torch.randn(2, 3, 3, dtype=torch.float64)
    together = convolve_measured(images, kernels, CHAIN, seed())
    assert together.shape == (3, 2, 16, 16)
    torch.testing.assert_close(together[2, 1], convolve_measured(images[2, 0], kernels[1], CHAIN, seed()))


def test_turn_there_and_back() -> None:
    image = case(48)[0].to(torch.complex128)
    torch.testing.assert_close(rotate(rotate(image, 0.05), -0.05), image)


def test_quarter_turn_of_a_smooth_spot_moves_it() -> None:
    n = torch.arange(64, dtype=torch.float64) - 32
    spot = torch.exp(-((n[:, None] - 8) ** 2 + n**2) / 18).to(torch.complex128)
    turned = resample_camera(spot, Misalignment(camera_rotation_rad=torch.pi / 2)).abs()
    row, column = divmod(int(turned.argmax()), 64)
    assert (row, abs(column - 32)) == (32, 8)


def test_refuses_negative_light() -> None:
    with pytest.raises(UsageError, match=r"amplitude of -1.*\n.*split a signed input"):
        convolve_measured(-torch.ones(8, 8), torch.ones(3, 3), CHAIN, seed())
