"""<A x, y> = <x, A^H y> for every linear element, the adjoint being what autograd runs backwards."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from hwsim.backends.optical4f.camera import Camera
from hwsim.backends.optical4f.chain import Chain, camera_amplitude, prepare_mask
from hwsim.backends.optical4f.convolution import (
    convolve_4f,
    convolve_prepared,
    embed_kernel,
    kernel_spectrum,
    transfer_function,
)
from hwsim.backends.optical4f.encodings import normalise_mask
from hwsim.backends.optical4f.finite import camera_field
from hwsim.backends.optical4f.grid import angular_spectrum_field, paraxial_field
from hwsim.backends.optical4f.losses import isolated_convolution
from hwsim.backends.optical4f.masks import PixelMask, SmoothMask, kernel_response
from hwsim.backends.optical4f.misalignment import Misalignment, misplaced_response, resample_camera, rotate
from hwsim.backends.optical4f.propagation import FreeSpace, propagate
from hwsim.backends.optical4f.pupils import Pupil, point_spread
from hwsim.backends.optical4f.readout import demodulate
from hwsim.backends.optical4f.relay import Relay
from hwsim.backends.optical4f.surrogates import gaussian_blur
from hwsim.backends.optical4f.tiles import near_response
from hwsim.backends.optical4f.transforms import lens_transform, scaled_dft
from tests.optical4f_physics.oracles import FOCAL_M, PITCH_M, WAVELENGTH_M

SHAPE = (24, 18)


def draw(seed: int, shape: tuple[int, ...] = SHAPE) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.complex128)


RELAY = Relay(WAVELENGTH_M, FOCAL_M, PITCH_M, SHAPE)
LENSED = Relay(WAVELENGTH_M, FOCAL_M, PITCH_M, SHAPE, lens_side_m=3e-3, defocus_m=1e-4)
GAP = FreeSpace(WAVELENGTH_M, 0.03, PITCH_M, SHAPE)
BACK = FreeSpace(WAVELENGTH_M, -0.03, PITCH_M, SHAPE)
MOVED = Misalignment((5e-6, 2e-6), 0.02, (1e-6, -3e-6), 0.01, 4e-5, 1.01)
CHAIN = Chain(WAVELENGTH_M, FOCAL_M, PITCH_M, 1.0, Camera(PITCH_M, 1e-3), misalignment=MOVED, encoding="double_phase")
KERNEL = draw(9, (3, 3)).real
COARSE = Relay(WAVELENGTH_M, FOCAL_M, 40e-6, SHAPE, lens_side_m=2e-3)
NU = torch.linspace(-6e4, 6e4, 21, dtype=torch.float64)
LENS = {"wavelength_m": WAVELENGTH_M, "focal_m": FOCAL_M, "pitch_m": PITCH_M}
SHIFTED = Misalignment(mask_shift_m=(5e-6, 2e-6), mask_rotation_rad=0.02)


def small(x: Tensor) -> Tensor:
    """A 5 x 3 kernel out of the plane that is varied."""
    return x[:5, :3]


def frames_to_field(frames: Tensor) -> Tensor:
    return demodulate(frames.reshape(4, -1, frames.shape[-1]), 0.7)


def through_chain(kernel: Tensor) -> Tensor:
    """Field of a kernel on an ideal mask panel, in the kernel's units."""
    chain = Chain(WAVELENGTH_M, FOCAL_M, PITCH_M, 1.0, Camera(PITCH_M, 1e-3), pupil=Pupil(5e-3, zernike_waves={5: 0.1}))
    mask = prepare_mask(kernel, SHAPE, chain)
    return camera_amplitude(draw(6), mask, chain) * mask.scale


MAPS: dict[str, Callable[[Tensor], Tensor]] = {
    "convolution": lambda x: convolve_4f(x, draw(3)),
    "convolution, awkward size": lambda x: convolve_4f(x[:23, :17], draw(3)[:23, :17]),
    "kernel of the convolution": lambda x: convolve_4f(draw(3), x),
    "prepared real kernel": lambda x: convolve_prepared(x, kernel_spectrum(draw(3).real)),
    "isolated convolution": lambda x: isolated_convolution(x, KERNEL),
    "mask of a kernel": lambda x: transfer_function(embed_kernel(small(x), SHAPE)),
    "mask at free frequencies": lambda x: kernel_response(small(x), NU, NU, PITCH_M),
    "mask scaled to its peak and back": lambda x: torch.mul(*normalise_mask(x)),
    "misplaced mask": lambda x: misplaced_response(small(x), SHAPE, (1e-5, 1.4e-5), SHIFTED),
    "lens": lambda x: lens_transform(x, **LENS, out_pitch_m=5e-6, out_samples=(20, 31)),
    "matrix DFT": lambda x: scaled_dft(x, 0.02, 31, -1),
    "chirp-z": lambda x: scaled_dft(x, 0.001, 1031, -2),
    "fresnel": lambda x: propagate(x, GAP, "fresnel"),
    "angular spectrum": lambda x: propagate(x, GAP, "angular_spectrum"),
    "fresnel, back": lambda x: propagate(x, BACK, "fresnel"),
    "angular spectrum, back": lambda x: propagate(x, BACK, "angular_spectrum"),
    "ideal lenses": lambda x: camera_field(x, SmoothMask(KERNEL, 4e-3), RELAY),
    "finite lenses": lambda x: camera_field(x, SmoothMask(KERNEL, 4e-3), LENSED),
    "pixels of the mask": lambda x: camera_field(draw(4), PixelMask(x, 30e-6, 0.9), RELAY),
    "kernel between finite lenses": lambda x: camera_field(draw(4), SmoothMask(small(x), 4e-3), LENSED),
    "aberrated pupil": lambda x: camera_field(x, SmoothMask(KERNEL, 4e-3, Pupil(4e-3, zernike_waves={7: 0.1})), RELAY),
    "exact gaps": lambda x: angular_spectrum_field(x, SmoothMask(KERNEL, 1e-3), COARSE),
    "kernel between exact gaps": lambda x: angular_spectrum_field(draw(4), SmoothMask(small(x), 1e-3), COARSE),
    "paraxial gaps on a grid": lambda x: paraxial_field(x, SmoothMask(KERNEL, 1e-3), COARSE),
    "point response": point_spread,
    "point response near the axis": lambda x: near_response(x, (10, 8)),
    "crosstalk": lambda x: torch.complex(gaussian_blur(x.real, 0.4), gaussian_blur(x.imag, 0.4)),
    "interferogram": lambda x: frames_to_field(x.real) + 1j * frames_to_field(x.imag),
    "rotation": lambda x: rotate(x, 0.1),
    "magnification": lambda x: resample_camera(x, Misalignment(magnification=1.05)),
    "kernel through the chain": lambda x: through_chain(small(x)),
    "displaced chain": lambda x: camera_amplitude(x, prepare_mask(KERNEL, SHAPE, CHAIN), CHAIN),
}


@pytest.mark.parametrize("name", list(MAPS))
def test_adjoint(name: str) -> None:
    x = draw(1).requires_grad_()
    forward = MAPS[name](x)
    y = draw(2, tuple(forward.shape))
    (back,) = torch.autograd.grad(forward, x, y)
    left = (forward.detach().conj() * y).sum()
    right = (x.detach().conj() * back).sum()
    scale = forward.detach().norm() * y.norm()
    assert float((left - right).abs() / scale) < 1e-10
