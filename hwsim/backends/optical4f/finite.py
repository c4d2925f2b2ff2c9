"""The paraxial 4f with finite lenses and a finite mask, to the accuracy of its quadrature and not of a grid.

In the paraxial regime free space, square apertures and quadratic lenses factor into rows and columns, so the path
from input samples to mask, and from mask to camera, is one matrix per axis; only the mask is two-dimensional. The
planes carry Gauss nodes, as many as the phase across each aperture asks for: nothing aliases, wraps or is padded.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import torch
from torch import Tensor

from hwsim.backends.optical4f.masks import MaskPlane
from hwsim.backends.optical4f.quadrature import DEFAULT_TOLERANCE, Nodes, gauss_nodes
from hwsim.backends.optical4f.relay import Relay
from hwsim.backends.optical4f.transforms import centred_coordinates, dft_matrix, separable
from hwsim.core.errors import UsageError

Axis: TypeAlias = int


def camera_field(image: Tensor, mask: MaskPlane, relay: Relay, tolerance: float = DEFAULT_TOLERANCE) -> Tensor:
    """Upright camera field (..., H, W), complex, of a relay with finite apertures.

    image: (..., H, W), amplitude samples of a band-limited field alone in an empty plane. mask: what stands in the
    Fourier plane. The lens constants are taken out, so an unbounded relay returns image * kernel. Differentiable in
    image and mask. Raises UsageError when the image is not on the relay's grid or an aperture needs more nodes than
    `quadrature.MAX_NODES` (`grid.paraxial_field` is for those).
    """
    if tuple(image.shape[-2:]) != relay.shape:
        raise UsageError(
            f"image of {tuple(image.shape[-2:])} samples on a relay for {relay.shape}",
            where="camera_field",
            got=tuple(image.shape),
            expected=f"(..., {relay.shape[0]}, {relay.shape[1]})",
            remedy="build the Relay with shape=image.shape[-2:]",
        )
    dtype = torch.promote_types(image.dtype, torch.complex64)
    nodes = [_mask_nodes(mask, relay, axis, tolerance) for axis in (0, 1)]
    # A square relay's axes are one: its matrices, most of the work, are made once.
    axes = (0,) if _axes_alike(relay, nodes[0], nodes[1]) else (0, 1)
    to_mask = [_to_mask(relay, nodes[axis], axis, tolerance).to(image.device) for axis in axes]
    to_camera = [_to_camera(relay, nodes[axis], axis, tolerance).to(image.device) for axis in axes]
    in_mask = separable(to_mask[0], image.to(dtype), to_mask[-1])
    transmitted = in_mask * mask.transmission(nodes[0], nodes[1], relay).to(image.device, dtype)
    return separable(to_camera[0], transmitted, to_camera[-1])


def _axes_alike(relay: Relay, rows: Nodes, cols: Nodes) -> bool:
    square = relay.shape[0] == relay.shape[1] and relay.camera_shift_m[0] == relay.camera_shift_m[1]
    return square and torch.equal(rows.points, cols.points) and torch.equal(rows.weights, cols.weights)


def _mask_nodes(mask: MaskPlane, relay: Relay, axis: Axis, tolerance: float) -> Nodes:
    """Nodes on the mask: its phase is that of every path from an input sample to a camera sample."""
    panel = relay.shape[axis] * relay.pitch_m
    focal = min(relay.focal_m, relay.camera_focal_m)
    reach = panel / 2 + _camera_half(relay, axis) + mask.kernel_reach_m(relay.pitch_m)
    if relay.lens_side_m is None:
        limit = relay.spectral_extent_m / 2
        reach += 2 * abs(relay.defocus_m) / focal * limit
    else:
        limit = math.inf
        reach = relay.lens_side_m + 2 * mask.half_side_m(axis, relay) + mask.kernel_reach_m(relay.pitch_m)
    return mask.nodes(axis, relay, limit, 2 * math.pi * reach / (relay.wavelength_m * focal), tolerance)


def _camera_half(relay: Relay, axis: Axis) -> float:
    return relay.shape[axis] * relay.pitch_m / 2 + abs(relay.camera_shift_m[axis])


def _to_mask(relay: Relay, mask: Nodes, axis: Axis, tolerance: float) -> Tensor:
    """Input samples -> field on the mask nodes, complex128 (nodes, samples), times sqrt(i lambda f)."""
    points = centred_coordinates(relay.shape[axis], relay.pitch_m)
    scale = relay.wavelength_m * relay.focal_m
    if relay.lens_side_m is None:
        return relay.pitch_m * dft_matrix(points, mask.points / scale)
    half = relay.lens_side_m / 2
    slope = min(0.5 / relay.pitch_m, (half + float(points.abs().max())) / scale) + _half_width(mask) / scale
    lens = gauss_nodes(-half, half, 2 * math.pi * half * slope, tolerance)
    at_lens = _sinc_fresnel(points, relay.pitch_m, lens.points, scale, tolerance)
    weighted = lens.weights * _chirp(lens.points, -scale)
    return _root_i() * math.sqrt(scale) * (_fresnel(mask.points, lens.points, scale) * weighted) @ at_lens


def _to_camera(relay: Relay, mask: Nodes, axis: Axis, tolerance: float) -> Tensor:
    """Mask nodes -> upright camera samples, complex128 (samples, nodes), times sqrt(i / (lambda f)).

    The power of the true system is kept: a magnification m = f2 / f1 dims the amplitude by sqrt(m) per axis.
    """
    points = centred_coordinates(relay.shape[axis], relay.pitch_m, relay.camera_shift_m[axis])
    scale = relay.wavelength_m * relay.camera_focal_m
    first = relay.wavelength_m * relay.focal_m
    if relay.lens_side_m is None:
        nu = mask.points / scale
        defocus = _chirp(nu, -1.0 / (relay.wavelength_m * relay.defocus_m)) if relay.defocus_m else torch.ones(())
        return dft_matrix(nu, points, sign=1) * (mask.weights * defocus / math.sqrt(first * scale))
    inverted = -points
    gap = relay.wavelength_m * (relay.camera_focal_m + relay.defocus_m)
    half = relay.lens_side_m / 2
    slope = half * abs(1 / gap) + _half_width(mask) / scale + float(points.abs().max()) / gap
    lens = gauss_nodes(-half, half, 2 * math.pi * half * slope, tolerance)
    weighted = lens.weights * _chirp(lens.points, -scale)
    path = (_fresnel(inverted, lens.points, gap) * weighted) @ _fresnel(lens.points, mask.points, scale)
    return _root_i() / math.sqrt(first) * path * mask.weights


def _sinc_fresnel(points: Tensor, pitch_m: float, targets: Tensor, scale: float, tolerance: float) -> Tensor:
    """Fresnel diffraction over scale = lambda z of a sinc of width `pitch_m` at each point, (targets, points).

    p times the integral over |nu| < 1/(2p) of exp(-i pi scale nu^2 + i 2 pi nu (xi - x)).
    """
    band = 0.5 / pitch_m
    reach = float(targets.abs().max() + points.abs().max()) + scale * band
    nu = gauss_nodes(-band, band, 2 * math.pi * band * reach, tolerance)
    spectrum = dft_matrix(points, nu.points) * (nu.weights * _chirp(nu.points, -1.0 / scale))[:, None]
    return pitch_m * (dft_matrix(nu.points, targets, sign=1) @ spectrum)


def _fresnel(targets: Tensor, sources: Tensor, scale: float) -> Tensor:
    """Fresnel kernel exp(i pi (a - b)^2 / scale) / sqrt(i scale), scale = lambda z (Goodman, eq. 4-17)."""
    phase = math.pi / scale * (targets[:, None] - sources[None, :]).square()
    return torch.polar(torch.full_like(phase, 1 / math.sqrt(scale)), phase - math.pi / 4)


def _root_i() -> complex:
    """The square root of i that each axis of each lens divides by, taken out of the upright field."""
    return complex(math.sqrt(0.5), math.sqrt(0.5))


def _chirp(points: Tensor, scale: float) -> Tensor:
    """Phase factor exp(i pi x^2 / scale), complex128 (n,)."""
    phase = math.pi / scale * points.square()
    return torch.polar(torch.ones_like(phase), phase)


def _half_width(nodes: Nodes) -> float:
    return float(nodes.points.abs().max())
