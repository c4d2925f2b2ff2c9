"""Where a finite relay departs from the ideal convolution: clipping, lens aberration and sampling, told apart."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hwsim.backends.optical4f.convolution import convolve_4f, embed_kernel
from hwsim.backends.optical4f.finite import camera_field
from hwsim.backends.optical4f.grid import angular_spectrum_field
from hwsim.backends.optical4f.masks import SmoothMask
from hwsim.backends.optical4f.quadrature import DEFAULT_TOLERANCE
from hwsim.backends.optical4f.relay import Relay


@dataclass(frozen=True)
class RelayLosses:
    """Relative L2 errors of one image through one relay, each after the best complex scalar.

    clipping: paraxial finite apertures against the ideal linear convolution. aberration: exact gaps with quadratic
    lenses against paraxial ones, same apertures. sampling: the paraxial field against itself with finer quadrature.
    total: exact gaps against the ideal convolution.
    """

    clipping: float
    aberration: float
    sampling: float
    total: float


def relay_losses(image: Tensor, mask: SmoothMask, relay: Relay) -> RelayLosses:
    """Tell the losses of a relay apart for one image (H, W); each field is computed once."""
    ideal = isolated_convolution(image, mask.kernel)
    paraxial = camera_field(image, mask, relay)
    finer = camera_field(image, mask, relay, tolerance=DEFAULT_TOLERANCE * 1e-6)
    exact = angular_spectrum_field(image, mask, relay)
    return RelayLosses(
        clipping=relative_error(paraxial, ideal),
        aberration=relative_error(exact, paraxial),
        sampling=relative_error(paraxial, finer),
        total=relative_error(exact, ideal),
    )


def isolated_convolution(image: Tensor, kernel: Tensor) -> Tensor:
    """Ideal camera field (..., H, W) of an image alone in an empty plane: linear convolution, cropped to the camera."""
    rows, cols = image.shape[-2:]
    shape = (rows + kernel.shape[-2], cols + kernel.shape[-1])
    padded = torch.nn.functional.pad(image, (0, kernel.shape[-1], 0, kernel.shape[-2]))
    return convolve_4f(padded, embed_kernel(kernel, shape))[..., :rows, :cols]


def relative_error(field: Tensor, reference: Tensor) -> float:
    """||a field - reference|| / ||reference|| over the best complex scalar a (a lens' phase and gain are free)."""
    field, reference = field.to(torch.complex128), reference.to(torch.complex128)
    scalar = (field.conj() * reference).sum() / field.abs().square().sum()
    return float(torch.linalg.vector_norm(scalar * field - reference) / torch.linalg.vector_norm(reference))
