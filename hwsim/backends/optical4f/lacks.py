"""What an op without a place lacks, in words, and the smallest changes of the arch that give it one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import ceil, floor, log10
from typing import cast

import numpy as np

from hwsim.backends.optical4f.bench import Bench, bench_of
from hwsim.backends.optical4f.bounds import Bound, brightest_per_signal
from hwsim.backends.optical4f.estimate import electrons_per_s, exposure_s, frame_times
from hwsim.backends.optical4f.mapper import broken, homeless, plan
from hwsim.backends.optical4f.spec import Optical4fSpec
from hwsim.backends.optical4f.tiling import Layout
from hwsim.backends.optical4f.work import Work, at
from hwsim.core.results import Infeasible, Lever
from hwsim.core.units import show
from hwsim.spec.overrides import with_columns

#: What breaking a bound does, by its resource.
_CONSEQUENCE: Mapping[str, str] = {
    "input": "one tile does not stand on the plane",
    "camera": "one tile does not stand on the plane",
    "kernel extent": "the sampled mask repeats its kernel before it ends",
    "lens diameter": "the lenses cut the high frequencies of the panel's rim",
    "mask rows": "the mask cuts the high frequencies along the rows",
    "mask cols": "the mask cuts the high frequencies along the columns",
    "full well": "the camera saturates: its brightest pixels read the same",
    "frame": "a frame ends before its slowest part",
}


def lack(spec: Optical4fSpec, work: Work) -> Infeasible | None:
    """The first inequality that keeps an op without a place, at the op that breaks it most; None if all have one.

    The levers are those changes that alone give every op its place, or if none does, all that help with this one.
    """
    bench = bench_of(spec)
    p = plan(bench, work)
    lost = {op: found[1] for op in np.flatnonzero(p.homeless[0]).tolist() if (found := broken(bench, work, p, op))}
    if not lost:
        return None
    resource = next(iter(lost.values())).resource
    op = max((op for op in lost if lost[op].resource == resource), key=lambda op: _excess(lost[op], op))
    return _explained(spec, work, op)


def _excess(bound: Bound, op: int) -> float:
    return at(bound.demand, op) / at(bound.bound, op)


def _explained(spec: Optical4fSpec, work: Work, op: int) -> Infeasible | None:
    one, bench = work.only([op]), bench_of(spec)
    found = broken(bench, one, plan(bench, one), 0)
    if found is None:
        return None
    layout, lost = found
    demand, bound = at(lost.demand, 0), at(lost.bound, 0)
    known = tuple(_levers(spec, bench, one, layout, lost))
    levers = tuple(lever for lever in known if _mends(spec, work, lever)) or known
    part = lost.resource.partition(".")[0]
    text = (
        f"{work.names[op]}: {lost.inequality} is broken, {show(demand, lost.unit)} against {show(bound, lost.unit)}: "
        f"{_CONSEQUENCE[part]}"
    )
    return Infeasible(_path(spec, lost.resource), demand, bound, lost.unit, text, work.names[op], levers)


def _mends(spec: Optical4fSpec, work: Work, lever: Lever) -> bool:
    """Whether the change alone gives every op its place."""
    bench = bench_of(cast(Optical4fSpec, with_columns(spec, {lever.path: lever.value})))
    return homeless(plan(bench, work)) is None


def _path(spec: Optical4fSpec, resource: str) -> str:
    """The field of the arch that `input.rows` and its like stand for; other resources have names of their own."""
    place, dot, axis = resource.partition(".")
    if not dot:
        return resource
    return f"modulators.{spec.input}.{axis}" if place == "input" else f"cameras.{spec.camera}.{axis}"


def _levers(spec: Optical4fSpec, bench: Bench, work: Work, layout: Layout, lost: Bound) -> Iterator[Lever]:
    demand, bound = at(lost.demand, 0), at(lost.bound, 0)
    if lost.resource.startswith(("input.", "camera.")):
        path = _path(spec, lost.resource)
        yield Lever(path, demand, "px", f"a panel with {demand:.0f} {path.rpartition('.')[2]}")
        return
    found: Mapping[str, Callable[[], Iterator[Lever]]] = {
        "kernel extent": lambda: _longer(bench, demand),
        "lens diameter": lambda: _wider_lens(bench, demand, bound),
        "mask rows": lambda: _wider_mask(spec, bench, demand, bound, "rows"),
        "mask cols": lambda: _wider_mask(spec, bench, demand, bound, "cols"),
        "full well": lambda: _dimmer(spec, bench, layout, demand, bound),
        "frame": lambda: _slower(bench, work, layout, bound),
    }
    yield from found[lost.resource]()


def _longer(bench: Bench, kernel: float) -> Iterator[Lever]:
    """A longer focal length widens the period of the sampled mask in proportion; so do fewer pixels per value."""
    o, pitch_m = bench.optics, bench.filter.pitch_m * bench.filter.superpixel
    focal_m = rounded_up(kernel * pitch_m * bench.input.pitch_m / o.wavelength_m)
    yield Lever("optics.focal_length", focal_m, "m", f"lenses of {focal_m * 1e3:.4g} mm")


def _wider_lens(bench: Bench, demand_m: float, bound_m: float) -> Iterator[Lever]:
    o = bench.optics
    side_m = rounded_up(demand_m)
    yield Lever("optics.lens_diameter", side_m, "m", f"lenses of {side_m * 1e3:.4g} mm clear aperture")
    left_m = bound_m - max(float(bench.plane_rows), float(bench.plane_cols)) * bench.input.pitch_m
    if left_m > 0:
        focal_m = rounded_down(left_m * bench.input.pitch_m / (o.least_spectrum * o.wavelength_m))
        yield Lever("optics.focal_length", focal_m, "m", f"lenses of {focal_m * 1e3:.4g} mm focal length")
    yield from _less_spectrum(bench, (left_m / (demand_m - bound_m + left_m)) if left_m > 0 else 0.0)


def _wider_mask(spec: Optical4fSpec, bench: Bench, demand_m: float, bound_m: float, axis: str) -> Iterator[Lever]:
    focal_m = rounded_down(bench.optics.focal_length_m * bound_m / demand_m)
    yield Lever("optics.focal_length", focal_m, "m", f"lenses of {focal_m * 1e3:.4g} mm focal length")
    pixels = float(ceil(demand_m / bench.filter.pitch_m * (1 - 1e-12)))
    yield Lever(f"modulators.{spec.filter}.{axis}", pixels, "px", f"a mask with {pixels:.0f} {axis}")
    yield from _less_spectrum(bench, bound_m / demand_m)


def _less_spectrum(bench: Bench, share: float) -> Iterator[Lever]:
    if share > 0:
        least = rounded_down(bench.optics.least_spectrum * share)
        yield Lever("optics.least_spectrum", least, "", "to accept what is lost: `execute` shows what that costs")


def _dimmer(spec: Optical4fSpec, bench: Bench, layout: Layout, demand_e: float, bound_e: float) -> Iterator[Lever]:
    """Less light: a smaller signal where that sets the exposure, else a shorter exposure or a weaker laser."""
    signal_e = rounded_down(bound_e / float(brightest_per_signal(bench)))
    if bench.exposure.signal_e > signal_e:
        yield Lever("exposure.signal", signal_e, "e", f"a full-scale sample of {show(signal_e, 'e')}")
    least_s = bench.exposure.time_s
    if least_s > 0:
        time_s = rounded_down(signal_e / at(electrons_per_s(bench, layout), 0))
        yield Lever("exposure.time", time_s, "s", f"an exposure of {show(time_s, 's')}")
        power_w = rounded_down(bench.optics.laser_power_w * bound_e / demand_e)
        yield Lever("optics.laser_power", power_w, "W", f"a laser of {show(power_w, 'W')}")
    holds = rounded_up(demand_e)
    yield Lever(f"cameras.{spec.camera}.full_well", holds, "e", f"a camera whose pixels hold {show(holds, 'e')}")


def _slower(bench: Bench, work: Work, layout: Layout, period_s: float) -> Iterator[Lever]:
    """A rate that the slowest part keeps; where that is the exposure, also the laser that makes it short enough."""
    f = frame_times(bench, work, layout)
    slowest_s, exposed_s = at(f.period_input_s, 0), at(exposure_s(bench, layout), 0)
    rate_hz = rounded_down(1 / slowest_s)
    yield Lever("frame.rate", rate_hz, "Hz", f"a rate of {show(rate_hz, 'Hz')}")
    left_s = period_s - (slowest_s - exposed_s)
    if 0 < left_s < exposed_s:
        power_w = rounded_up(bench.optics.laser_power_w * exposed_s / left_s)
        yield Lever("optics.laser_power", power_w, "W", f"a laser of {show(power_w, 'W')}")
        yield Lever("exposure.time", rounded_down(left_s), "s", f"an exposure of {show(rounded_down(left_s), 's')}")


def rounded_up(value: float) -> float:
    """The next number of four significant digits: one that can be ordered, and that survives being printed."""
    scale = 10.0 ** (3 - floor(log10(value)))
    return ceil(value * scale * (1 - 1e-12)) / scale


def rounded_down(value: float) -> float:
    """The last number of four significant digits that is no larger."""
    scale = 10.0 ** (3 - floor(log10(value)))
    return floor(value * scale * (1 + 1e-12)) / scale
