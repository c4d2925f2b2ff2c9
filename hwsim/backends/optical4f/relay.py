"""The geometry of a 4f relay: wavelength, focal lengths, panel and apertures, and what follows from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

#: One length, or one per design.
Lengths = TypeVar("Lengths", float, npt.NDArray[np.float64])


def unvignetted_lens_m(wavelength_m: Lengths, focal_m: Lengths, pitch_m: Lengths, samples: Lengths) -> Lengths:
    """Clear aperture that passes the whole band of the whole panel, N p + lambda f / p, in metres."""
    return samples * pitch_m + wavelength_m * focal_m / pitch_m


@dataclass(frozen=True)
class Relay:
    """A coherent 4f relay: input panel, lens 1, mask, lens 2, camera, with gaps of one focal length (A17, A18).

    `lens_side_m` is the side of the square clear aperture of both lenses, None for lenses that clip nothing. The
    camera has the input's pitch and samples; `camera_shift_m` (row, column) and `defocus_m` (along the axis, away
    from lens 2) move it, `second_focal_m` different from `focal_m` magnifies by their ratio.
    """

    wavelength_m: float
    focal_m: float
    pitch_m: float
    shape: tuple[int, int]
    lens_side_m: float | None = None
    second_focal_m: float | None = None
    camera_shift_m: tuple[float, float] = (0.0, 0.0)
    defocus_m: float = 0.0

    @property
    def spectral_extent_m(self) -> float:
        """Width lambda f / p of the band-limited input's spectrum in the mask plane."""
        return self.wavelength_m * self.focal_m / self.pitch_m

    @property
    def camera_focal_m(self) -> float:
        return self.focal_m if self.second_focal_m is None else self.second_focal_m
