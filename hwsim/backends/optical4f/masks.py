"""What stands in the Fourier plane: an ideal smooth mask behind a stop, or a panel of pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from hwsim.backends.optical4f.pupils import Pupil
from hwsim.backends.optical4f.quadrature import Nodes, gauss_nodes, panel_nodes
from hwsim.backends.optical4f.relay import Relay
from hwsim.backends.optical4f.transforms import dft_matrix, separable


class MaskPlane(Protocol):
    """A mask that can place quadrature nodes on itself and say what it transmits there."""

    def half_side_m(self, axis: int, relay: Relay) -> float:
        """Half of the open width along an axis."""
        ...

    def kernel_reach_m(self, pitch_m: float) -> float:
        """How far the mask moves light on the camera, in metres: it adds to the phase to be integrated."""
        ...

    def nodes(self, axis: int, relay: Relay, limit_m: float, phase_per_m: float, tolerance: float) -> Nodes:
        """Nodes within +-`limit_m` for an integrand of at most `phase_per_m` radians per metre."""
        ...

    def transmission(self, rows: Nodes, cols: Nodes, relay: Relay) -> Tensor:
        """Complex amplitude transmission (..., R, C) at the nodes."""
        ...


def kernel_response(kernel: Tensor, nu_rows: Tensor, nu_cols: Tensor, pitch_m: float) -> Tensor:
    """H(nu) = sum_ab K[a, b] exp(-i 2 pi p (nu_y (a - c_y) + nu_x (b - c_x))), c = k // 2: (..., k, k) -> (..., R, C).

    nu_rows (R,), nu_cols (C,): frequencies in 1/m.
    """
    rows, cols = kernel.shape[-2:]
    y = (torch.arange(rows, dtype=torch.float64) - rows // 2) * pitch_m
    x = (torch.arange(cols, dtype=torch.float64) - cols // 2) * pitch_m
    return separable(dft_matrix(y, nu_rows), kernel.to(torch.complex128), dft_matrix(x, nu_cols))


@dataclass(frozen=True)
class SmoothMask:
    """The exact spectrum of a small centred kernel (..., k_r, k_c) inside a square hole, and a pupil if given."""

    kernel: Tensor
    side_m: float | None = None
    pupil: Pupil | None = None

    def half_side_m(self, axis: int, relay: Relay) -> float:
        side = relay.spectral_extent_m if self.side_m is None else self.side_m
        if self.pupil is not None:
            side = min(side, self.pupil.diameter_m)
        return side / 2

    def kernel_reach_m(self, pitch_m: float) -> float:
        return max(self.kernel.shape[-2:]) / 2 * pitch_m

    def nodes(self, axis: int, relay: Relay, limit_m: float, phase_per_m: float, tolerance: float) -> Nodes:
        half = min(self.half_side_m(axis, relay), limit_m)
        return gauss_nodes(-half, half, phase_per_m * half, tolerance)

    def transmission(self, rows: Nodes, cols: Nodes, relay: Relay) -> Tensor:
        scale = relay.wavelength_m * relay.focal_m
        response = kernel_response(self.kernel, rows.points / scale, cols.points / scale, relay.pitch_m)
        if self.pupil is None:
            return response
        return response * self.pupil.transmission(rows.points, cols.points, (rows.weights, cols.weights))


@dataclass(frozen=True)
class PixelMask:
    """A modulator's panel: values (..., M_r, M_c) held over each pixel, centres at (j - M/2) pitch, dark outside.

    `fill_factor` is the area fraction of a pixel that modulates; the gaps transmit `gap_amplitude` (0: dark).
    `shift_m` (row, column) is where the panel really stands.
    """

    values: Tensor
    pitch_m: float
    fill_factor: float = 1.0
    gap_amplitude: float = 0.0
    shift_m: tuple[float, float] = (0.0, 0.0)

    def half_side_m(self, axis: int, relay: Relay) -> float:
        return (self.values.shape[axis - 2] / 2 + 0.5) * self.pitch_m + abs(self.shift_m[axis])

    def kernel_reach_m(self, pitch_m: float) -> float:
        return 0.0

    def nodes(self, axis: int, relay: Relay, limit_m: float, phase_per_m: float, tolerance: float) -> Nodes:
        low, high = self._intervals(axis)
        low, high = np.clip(low, -limit_m, limit_m), np.clip(high, -limit_m, limit_m)
        return panel_nodes(low, high, phase_per_m * self.pitch_m / 2, tolerance)

    def transmission(self, rows: Nodes, cols: Nodes, relay: Relay) -> Tensor:
        values = self.values
        if self.gap_amplitude:
            values = self._with_gaps(values)
        per_row, per_col = len(rows) // values.shape[-2], len(cols) // values.shape[-1]
        return values.repeat_interleave(per_row, dim=-2).repeat_interleave(per_col, dim=-1)

    def _intervals(self, axis: int) -> tuple[np.ndarray[tuple[int], np.dtype[np.float64]], ...]:
        count = self.values.shape[axis - 2]
        centres = (np.arange(count) - count / 2) * self.pitch_m + self.shift_m[axis]
        half = self.pitch_m / 2 * self.fill_factor**0.5
        if not self.gap_amplitude:
            return centres - half, centres + half
        edge = self.pitch_m / 2
        low = np.stack([centres - edge, centres - half, centres + half], axis=-1)
        high = np.stack([centres - half, centres + half, centres + edge], axis=-1)
        return low.ravel(), high.ravel()

    def _with_gaps(self, values: Tensor) -> Tensor:
        """Each pixel as 3 x 3 areas, the middle one modulating and the frame around it a gap."""
        middle = torch.tensor([0.0, 1.0, 0.0], dtype=values.real.dtype)
        active = torch.outer(middle, middle)
        return torch.kron(values, active.to(values.dtype)) + self.gap_amplitude * (
            1 - active.repeat(values.shape[-2], values.shape[-1])
        )
