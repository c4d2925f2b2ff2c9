"""Views of one tile of the plane: what a layer needs of the optics, without simulating the whole panel.

The linear optics between a tile's pixels and the camera pixels kept of it is one complex matrix per kernel, computed
from the point response behind the mask, whose light beyond the tile's own period is dropped (A30).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from hwsim.backends.optical4f.chain import Chain, PreparedMask, prepare_mask, shown_image
from hwsim.backends.optical4f.convolution import signed_index
from hwsim.backends.optical4f.encodings import power_of
from hwsim.backends.optical4f.library import kept
from hwsim.core.errors import UsageError

Pair: TypeAlias = tuple[int, int]


@dataclass(frozen=True)
class Kept:
    """Camera pixels kept along one axis of a tile: `count` of them from `first`, `step` apart, on a period `window`."""

    first: int
    step: int
    count: int
    window: int

    def offsets(self) -> Tensor:
        """Their distances from the tile's first pixel, int64 (count,); negative ones stand before it."""
        return self.first + self.step * torch.arange(self.count)

    def pixels(self) -> Tensor:
        """Their indices in the periodic tile, int64 (count,)."""
        return self.offsets() % self.window


def kept_outputs(size: int, kernel: int, stride: int, padding: int, outputs: int, guard: int) -> Kept:
    """Pixels of the outputs of a correlation with a kernel flipped onto the mask, in a tile of size + padding + guard.

    Output i of F.conv2d is sum_j w[j] x[i stride + j - padding]; a flipped kernel centred at k // 2 puts it on camera
    pixel i stride + k - 1 - k // 2 - padding.
    """
    return Kept(kernel - 1 - kernel // 2 - padding, stride, outputs, size + padding + guard)


@dataclass(frozen=True)
class DotView:
    """One camera pixel per tile: the dot product of the tile with each kernel, as a matrix product.

    values: (..., s_r s_c) panel amplitudes of the tiles. Kernels are (N, s_r, s_c); pixels come as (..., N).
    """

    values: Tensor
    sides: tuple[int, int]
    guard: int
    chain: Chain
    generator: torch.Generator

    def prepare(self, kernel: Tensor) -> PreparedMask:
        """The response from each pixel of a tile to its kept camera pixel, (N, s_r s_c), and the scale (N,)."""
        return kept(kernel, (self.sides, self.guard), self.chain, self._prepared)

    def _prepared(self, kernel: Tensor) -> PreparedMask:
        _require_shift_invariant(self.chain)
        window = (self.sides[0] + self.guard, self.sides[1] + self.guard)
        mask = prepare_mask(kernel, window, self.chain, self.generator)
        point = torch.fft.ifft2(mask.response)
        rows, cols = (side - 1 - side // 2 - torch.arange(side) for side in self.sides)
        near: Tensor = point[..., rows[:, None], cols].flatten(-2)
        return PreparedMask(near.real.clone() if self.chain.real_response else near, mask.scale[..., 0, 0])

    def amplitude(self, mask: PreparedMask) -> Tensor:
        real, imaginary = self._parts(mask.response)
        if imaginary is None:
            return real.to(torch.promote_types(real.dtype, torch.complex64))
        return torch.complex(real, imaginary)

    def powers(self, masks: Sequence[PreparedMask]) -> Tensor:
        # One product for all of them; in the order in which noise is drawn, since mixed strides slow every sum with it.
        real, imaginary = self._parts(torch.cat([mask.response for mask in masks]))
        power = real.square() if imaginary is None else real.square() + imaginary.square()
        return power.reshape(*real.shape[:-1], len(masks), -1).movedim(-2, 0).contiguous()

    def intensity(self, mask: PreparedMask) -> Tensor:
        response = mask.response
        return self._shown() @ (power_of(response) if response.is_complex() else response.square()).mT

    def _parts(self, response: Tensor) -> tuple[Tensor, Tensor | None]:
        """Real and imaginary part of the field; None for one that is zero."""
        shown = self._shown()
        if not response.is_complex():
            return shown @ response.mT, None
        return shown @ response.real.mT, shown @ response.imag.mT

    def _shown(self) -> Tensor:
        # Crosstalk and flicker act on tiles as they stand on the panel.
        tiles = self.values.reshape(*self.values.shape[:-1], *self.sides)
        return shown_image(tiles, self.chain, self.generator).flatten(-2)


@dataclass(frozen=True)
class MapView:
    """Several camera pixels per tile: output maps of a convolution, through FFTs of one tile.

    maps: (B, G, 1, C, H, W) panel amplitudes; kernels are (G, O, C, k, k); pixels come as (B, G, O, C, rows, cols).
    """

    maps: Tensor
    kept: tuple[Kept, Kept]
    chain: Chain
    generator: torch.Generator

    def prepare(self, kernel: Tensor) -> PreparedMask:
        return kept(kernel, self._window, self.chain, self._prepared)

    @property
    def _window(self) -> Pair:
        return self.kept[0].window, self.kept[1].window

    def _prepared(self, kernel: Tensor) -> PreparedMask:
        _require_shift_invariant(self.chain)
        mask = prepare_mask(kernel, self._window, self.chain, self.generator)
        return PreparedMask(torch.fft.fft2(near_response(mask.response, self._window)), mask.scale)

    def amplitude(self, mask: PreparedMask) -> Tensor:
        return self._picked(torch.fft.ifft2(self._spectrum() * mask.response))

    def powers(self, masks: Sequence[PreparedMask]) -> Tensor:
        return torch.stack([power_of(self.amplitude(mask)) for mask in masks])

    def intensity(self, mask: PreparedMask) -> Tensor:
        spread = torch.fft.fft2(power_of(torch.fft.ifft2(mask.response)))
        plane: Tensor = torch.fft.ifft2(self._spectrum() * spread)
        return self._picked(plane.real)

    def _spectrum(self) -> Tensor:
        shown = shown_image(self.maps, self.chain, self.generator)
        spectrum: Tensor = torch.fft.fft2(shown, s=self._window)
        return spectrum

    def _picked(self, plane: Tensor) -> Tensor:
        rows, cols = (kept.pixels() for kept in self.kept)
        return plane[..., rows[:, None], cols]


def near_response(spectrum: Tensor, window: Pair) -> Tensor:
    """Point response (..., *window) about index [0, 0], from a spectrum (..., w H, w W) that resolves further lags."""
    point: Tensor = torch.fft.ifft2(spectrum)
    rows, cols = (signed_index(count).long() for count in window)
    return point[..., rows[:, None], cols]


def _require_shift_invariant(chain: Chain) -> None:
    moved = chain.misalignment
    if moved.camera_rotation_rad or moved.magnification != 1.0:
        raise UsageError(
            "a turned camera or a magnified image treats every tile differently",
            where="optical tiles",
            got=(moved.camera_rotation_rad, moved.magnification),
            expected="camera_rotation_rad = 0 and magnification = 1",
            remedy="convolve whole planes with detection.convolve_measured, or give the tile's own shift",
        )
