"""<A x, y> = <x, A^H y> for every linear element, the adjoint being what autograd runs backwards."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from hwsim.backends.optical4f.camera import Camera
from hwsim.backends.optical4f.chain import Chain, camera_amplitude, prepare_mask
from hwsim.backends.optical4f.convolution import convolve_4f
from hwsim.backends.optical4f.finite import camera_field
from hwsim.backends.optical4f.masks import PixelMask, SmoothMask
from hwsim.backends.optical4f.misalignment import Misalignment, resample_camera, rotate
from hwsim.backends.optical4f.propagation import FreeSpace, propagate
from hwsim.backends.optical4f.relay import Relay
from hwsim.backends.optical4f.transforms import scaled_dft
from tests.optical4f_physics.oracles import FOCAL_M, PITCH_M, WAVELENGTH_M

SHAPE = (24, 18)


def draw(seed: int, shape: tuple[int, ...] = SHAPE) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.complex128)


RELAY = Relay(WAVELENGTH_M, FOCAL_M, PITCH_M, SHAPE)
LENSED = Relay(WAVELENGTH_M, FOCAL_M, PITCH_M, SHAPE, lens_side_m=3e-3, defocus_m=1e-4)
GAP = FreeSpace(WAVELENGTH_M, 0.03, PITCH_M, SHAPE)
MOVED = Misalignment((5e-6, 2e-6), 0.02, (1e-6, -3e-6), 0.01, 4e-5, 1.01)
CHAIN = Chain(WAVELENGTH_M, FOCAL_M, PITCH_M, 1.0, Camera(PITCH_M, 1e-3), misalignment=MOVED, encoding="double_phase")
KERNEL = draw(9, (3, 3)).real
MAPS: dict[str, Callable[[Tensor], Tensor]] = {
    "convolution": lambda x: convolve_4f(x, draw(3)),
    "convolution, awkward size": lambda x: convolve_4f(x[:23, :17], draw(3)[:23, :17]),
    "kernel of the convolution": lambda x: convolve_4f(draw(3), x),
    "matrix DFT": lambda x: scaled_dft(x, 0.02, 31, -1),
    "chirp-z": lambda x: scaled_dft(x, 0.001, 1031, -2),
    "fresnel": lambda x: propagate(x, GAP, "fresnel"),
    "angular spectrum": lambda x: propagate(x, GAP, "angular_spectrum"),
    "ideal lenses": lambda x: camera_field(x, SmoothMask(KERNEL, 4e-3), RELAY),
    "finite lenses": lambda x: camera_field(x, SmoothMask(KERNEL, 4e-3), LENSED),
    "pixels of the mask": lambda x: camera_field(draw(4), PixelMask(x, 30e-6, 0.9), RELAY),
    "rotation": lambda x: rotate(x, 0.1),
    "magnification": lambda x: resample_camera(x, Misalignment(magnification=1.05)),
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
