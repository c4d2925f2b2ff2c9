"""What a bench must keep to work at all, as inequalities: room, light, what a pixel holds, and a required frame rate.

Like the formulas of cost, each serves one design and many: values broadcast to (designs, ops).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwsim.backends.optical4f.bench import BINARY_ORDER, REFERENCE_AMPLITUDE, Array, Bench, limit
from hwsim.backends.optical4f.estimate import electrons_per_s, exposure_s, frame_times
from hwsim.backends.optical4f.relay import unvignetted_lens_m
from hwsim.backends.optical4f.tiling import Layout, Mask, grid
from hwsim.backends.optical4f.work import Work

# One part in 1e9 forgives the rounding of a bench designed to land on its bound.
_ROUNDING = 1 + 1e-9


@dataclass(frozen=True)
class Bound:
    """One inequality, `demand` <= `bound` in `unit`: of what `resource`, written as `inequality`."""

    resource: str
    inequality: str
    unit: str
    demand: Array
    bound: Array

    @property
    def kept(self) -> Mask:
        return np.asarray(self.demand <= self.bound * _ROUNDING)


def bounds(bench: Bench, work: Work, layout: Layout) -> tuple[Bound, ...]:
    """Everything that an op in this layout asks of the bench, in the order in which to mend it."""
    return (*room(bench, work), *apertures(bench), well(bench, layout), *cycle(bench, work, layout))


def room(bench: Bench, work: Work) -> tuple[Bound, ...]:
    """A tile within both panels, and a kernel within the period of the sampled mask (A3)."""
    g, maps = grid(bench, work), work.maps
    sides = [
        Bound(f"{place}.{axis}", f"tile pitch <= {axis} of the {place}", "px", pitch, np.asarray(getattr(part, axis)))
        for place, part in (("input", bench.input), ("camera", bench.camera))
        for axis, pitch in (("rows", g.pitch_rows), ("cols", g.pitch_cols))
    ]
    kernel = np.maximum(maps.kernel_rows, maps.kernel_cols)
    reach = Bound("kernel extent", "kernel <= lambda f / (mask pitch x input pitch)", "px", kernel, bench.kernel_extent)
    return (*sides, reach)


def apertures(bench: Bench) -> tuple[Bound, ...]:
    """Lenses and mask pass the least share c of the input's spectrum, whose width is lambda f / p.

    A pixel at the panel's rim reaches it symmetrically through a lens of N p + c lambda f / p.
    """
    o, pitch_m = bench.optics, np.asarray(bench.input.pitch_m)
    samples = np.maximum(bench.plane_rows, bench.plane_cols)
    focal_m, wavelength_m = np.asarray(o.focal_length_m), np.asarray(o.wavelength_m)
    lens_m = unvignetted_lens_m(wavelength_m, focal_m * o.least_spectrum, pitch_m, samples)
    mask_m = np.asarray(o.least_spectrum * wavelength_m * focal_m / pitch_m)
    lens = Bound("lens diameter", "D >= N p + c lambda f / p", "m", lens_m, limit(o.lens_diameter_m))
    sides = (
        Bound(
            f"mask {axis}",
            f"mask {axis} x pitch >= c lambda f / p",
            "m",
            mask_m,
            np.asarray(getattr(bench.filter, axis) * bench.filter.pitch_m, float),
        )
        for axis in ("rows", "cols")
    )
    return (lens, *sides)


def well(bench: Bench, layout: Layout) -> Bound:
    """The brightest pixel, a fully open tile under a fully open mask, within the full well (none: it never fills)."""
    full_well = np.asarray(bench.camera.full_well_e, float)
    holds = np.where(full_well > 0, full_well, np.inf)
    collected = electrons_per_s(bench, layout) * exposure_s(bench, layout)
    return Bound("full well", "E (|U| + R)^2 <= full well", "e", collected * brightest_per_signal(bench), holds)


def brightest_per_signal(bench: Bench) -> Array:
    """Electrons of the brightest pixel per electron of `exposure.signal`.

    The signal is what a plane of full-scale samples leaves on an average pixel: of a flat spectrum, the mask passes
    its mean |H|^2. A uniform tile passes where |H| = 1; coherent light of a fill factor F keeps F^2 in the image. A
    binary hologram has less in its order, and an interferometer adds its reference to the amplitude.
    """
    kind, one_bit = np.asarray(bench.filter.kind), np.asarray(bench.filter.bits) == 1
    order = np.select(
        [kind == "binary", (kind == "phase") & one_bit], [BINARY_ORDER[False], BINARY_ORDER[True]], default=1.0
    )
    reference = np.where(np.asarray(bench.mapping.sign) == "interferometric", REFERENCE_AMPLITUDE, 0.0)
    uniform = bench.input.fill_factor * bench.filter.fill_factor / bench.optics.mask_efficiency
    return np.asarray(uniform * (order + reference) ** 2)


def cycle(bench: Bench, work: Work, layout: Layout) -> tuple[Bound, ...]:
    """Where a frame rate is required, every part within it; elsewhere the slowest part sets the rate."""
    required = np.asarray(bench.frame.required)
    if not required.any():
        return ()
    period_s = np.where(required, 1 / limit(bench.frame.rate_hz), np.inf)
    period_s = np.where(period_s > 0, period_s, np.inf)
    frame_s = frame_times(bench, work, layout).period_input_s
    return (Bound("frame", "slowest part <= 1 / frame rate", "s", frame_s, period_s),)
