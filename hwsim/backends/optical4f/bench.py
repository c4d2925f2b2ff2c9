"""The chosen parts of a spec as one record: of one design, or of many with an array where a design has a number."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from hwsim.backends.optical4f.spec import (
    Camera,
    Exposure,
    Frame,
    Host,
    Link,
    Mapping4f,
    Modulator,
    Optical4fSpec,
    Optics,
    Precision,
)
from hwsim.spec.fields import Spec

Array = npt.NDArray[np.float64]
PartT = TypeVar("PartT", bound=Spec)

PLANCK_J_S = 6.62607015e-34  # exact, SI 2019
LIGHT_M_PER_S = 299792458.0  # exact, SI 2019
#: Amplitude of a binary hologram's first order for |H| = 1: panels of 0 and 1, and of -1 and 1 (Lee 1979).
BINARY_ORDER = {False: 1 / math.pi, True: 2 / math.pi}
#: Amplitude of an interferometer's reference, relative to a fully open input pixel.
REFERENCE_AMPLITUDE = 1.0


@dataclass(frozen=True)
class Bench:
    """What stands on the bench. Where designs are swept, leaves are arrays of shape (designs, 1)."""

    optics: Optics
    input: Modulator
    filter: Modulator
    camera: Camera
    host: Host
    exposure: Exposure
    frame: Frame
    link: Link
    precision: Precision
    mapping: Mapping4f

    @property
    def plane_rows(self) -> Array:
        """Samples of the plane: what both the input modulator and the camera have, one to one (A1)."""
        return np.asarray(np.minimum(self.input.rows, self.camera.rows), float)

    @property
    def plane_cols(self) -> Array:
        return np.asarray(np.minimum(self.input.cols, self.camera.cols), float)

    @property
    def kernel_extent(self) -> Array:
        """Widest kernel in input pixels: lambda f / (mask pitch x input pitch), the period of the sampled mask."""
        o, pitch_m = self.optics, self.filter.pitch_m * self.filter.superpixel
        # Room for the rounding of a bench designed to land on a whole number.
        reach = o.wavelength_m * o.focal_length_m / (pitch_m * self.input.pitch_m)
        return np.asarray(np.floor(reach * (1 + 1e-12)), float)

    @property
    def filter_pixels(self) -> Array:
        return np.asarray(self.filter.rows * self.filter.cols, float)

    @property
    def input_pixels(self) -> Array:
        return np.asarray(self.input.rows * self.input.cols, float)


def limit(value: float | None) -> Array:
    """A rate that may be left out: null has no limit."""
    return np.asarray(_number(value), float)


def bench_of(spec: Optical4fSpec) -> Bench:
    """The parts that `input`, `filter`, `camera` and `host` name."""
    return Bench(
        optics=spec.optics,
        input=_part(spec.modulators, spec.input),
        filter=_part(spec.modulators, spec.filter),
        camera=_part(spec.cameras, spec.camera),
        host=_part(spec.hosts, spec.host),
        exposure=spec.exposure,
        frame=spec.frame,
        link=spec.link,
        precision=spec.precision,
        mapping=spec.mapping,
    )


def _part(library: Mapping[str, PartT], name: str | npt.NDArray[np.str_]) -> PartT:
    """The part of that name; of an array of names, one part whose every number is an array."""
    if isinstance(name, str):
        return library[name]
    chosen = [key for key in library if np.any(name == key)]
    masks = [name == key for key in chosen]
    columns = {
        field: np.select(
            masks, [_number(getattr(library[key], field)) for key in chosen], default="" if field == "kind" else 0.0
        )
        for field, info in type(library[chosen[0]]).model_fields.items()
        if info.annotation is not str
    }
    return library[chosen[0]].model_copy(update=columns)


def _number(value: float | Array | None) -> float | Array:
    """Null stands for no limit (or no clipping)."""
    return np.inf if value is None else value
