"""The mapping and cost of one op in words: each formula with its numbers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hwsim.backends.optical4f.bench import Bench
from hwsim.backends.optical4f.estimate import frame_times
from hwsim.backends.optical4f.mapper import CHOICES, HOST, Plan, reason
from hwsim.backends.optical4f.tiling import Layout, grid, input_slices, sign_terms
from hwsim.backends.optical4f.work import Work, at
from hwsim.core.units import show

_FORM = {"conv": "convolution", "dense": "shared valid convolution", "attention": "convolution with computed kernels"}
_FRAMES = {
    "samples": "C_in x signed kernels C_out/G x ceil(batch / tiles)",
    "kernels": "C_in x ceil(signed kernels / abreast) x ceil(batch / tiles for samples)",
    "channels": "batch x signed kernels C_out x ceil(C_in/G / channels together)",
}

#: Shares above this are whole but for the digits of a data sheet.
_WHOLE = 0.9995


def form(work: Work, p: Plan, op: int) -> str:
    """The form an op takes where it runs, short enough for a table."""
    choice = int(p.choice[0, op])
    if choice == HOST:
        return {"view": "view", "electronic": "electronic"}.get(str(work.role[op]), "matrix product")
    frames = at(p.layouts[choice].frames, op)
    return f"{_FORM[str(work.role[op])]}, {CHOICES[choice]} tiled: {frames:.0f} frames"


def explained(bench: Bench, work: Work, p: Plan, op: int) -> str:
    """Frames, frame time, latency and energy of an op, formula by formula."""
    choice = int(p.choice[0, op])
    cost = p.costs[choice]
    where = "host" if choice == HOST else "optics"
    lines = [f"{work.names[op]} on {where}: {form(work, p, op)}", f"  why       {reason(bench, work, p, op)}"]
    if choice == HOST:
        lines += _host_lines(bench, work, op)
    else:
        lines += _frame_lines(bench, work, p.layouts[choice], CHOICES[choice], op)
    lines.append(f"  latency   {show(at(cost.latency_s, op), 's')}")
    lines.append(f"  energy    {show(at(cost.total_j, op), 'J')}")
    lines += [f"    {name:16s} {show(at(joules, op), 'J')}" for name, joules in cost.energy_j.items() if at(joules, op)]
    return "\n".join(lines)


def _host_lines(bench: Bench, work: Work, op: int) -> Iterator[str]:
    h = bench.host
    rate = "no limit" if h.flop_rate_hz is None else show(h.flop_rate_hz, "FLOP/s")
    bandwidth = "no limit" if h.bandwidth_bytes_per_s is None else show(h.bandwidth_bytes_per_s, "B/s")
    yield f"  t         max({work.flops[op]:.6g} FLOP / {rate}, {work.host_bytes[op]:.6g} B / {bandwidth})"


def _frame_lines(bench: Bench, work: Work, layout: Layout, tiling: str, op: int) -> Iterator[str]:
    m, g, f = work.maps, grid(bench, work), frame_times(bench, work, layout)
    inputs, signs, phases = (int(at(term, 0)) for term in sign_terms(bench))
    yield (
        f"  op        batch {m.batch[op]:.0f}, C_in {m.c_in[op]:.0f}, C_out {m.c_out[op]:.0f}, groups"
        f" {m.groups[op]:.0f}, map {m.rows[op]:.0f} x {m.cols[op]:.0f},"
        f" kernel {m.kernel_rows[op]:.0f} x {m.kernel_cols[op]:.0f}"
    )
    yield (
        f"  tiles     {g.rows[op]:.0f} x {g.cols[op]:.0f} at a pitch of {at(g.pitch_rows, op):.0f} x"
        f" {at(g.pitch_cols, op):.0f} px on {float(bench.plane_rows):.0f} x {float(bench.plane_cols):.0f} px;"
        f" {at(layout.used, op):.4g} in use"
    )
    yield (
        f"  frames    {_FRAMES[tiling]}, with {signs} signed kernels per kernel, x {inputs * phases} for signed inputs"
        f" and phases x {at(input_slices(bench, work), op):.0f} slices x"
        f" frames_per_conv {bench.mapping.frames_per_conv} = {at(layout.frames, op):.0f}"
    )
    stages = ", ".join(f"{name} {show(at(value, op), 's')}" for name, value in f.stages_s.items())
    how = "max" if bench.frame.pipelined else "sum of load, exposure, readout, link, host;"
    yield f"  t_frame   {how}({stages}) = {show(at(f.period_s, op), 's')}"
    yield (
        f"  t         {at(layout.frames - layout.input_patterns, op):.0f} x {show(at(f.period_s, op), 's')} +"
        f" {at(layout.input_patterns, op):.0f} with a new input x {show(at(f.period_input_s, op), 's')} + the last"
        f" frame's way out {show(at(np.maximum(f.through_input_s - f.period_input_s, 0), op), 's')}"
    )


def notes(bench: Bench, work: Work, p: Plan) -> tuple[str, ...]:
    """What a reader should know of this bench: the share of work the optics does, and what the mask cuts off."""
    on_optics = p.choice[0] != HOST
    macs = float(work.macs.sum())
    share = float(work.macs[on_optics].sum()) / macs if macs else 0.0
    found = [f"{int(on_optics.sum())} of {len(work.names)} ops and {share:.1%} of the MACs run on the optics"]
    host = p.costs[HOST]
    alone_j = host.energy_j["host"] + host.energy_j["host idle"]
    found.append(
        f"the host alone, with no bench beside it, would take {show(float(np.sum(host.latency_s)), 's')}"
        f" and {show(float(np.sum(alone_j)), 'J')}"
    )
    found += _spectrum_notes(bench) if on_optics.any() else ()
    found += _rate_notes(bench, work, p)
    if bench.host.flop_rate_hz is None:
        found.append("the host's time is left out: hosts.*.flop_rate is null")
    return tuple(found)


def _spectrum_notes(bench: Bench) -> Iterator[str]:
    """What of the spectrum the mask cuts off, and whether the orders of its pixels fall on the image (A14)."""
    o = bench.optics
    extent_m = o.wavelength_m * o.focal_length_m / bench.input.pitch_m
    order_m = o.wavelength_m * o.focal_length_m / bench.filter.pitch_m
    for axis in ("rows", "cols"):
        cover = getattr(bench.filter, axis) * bench.filter.pitch_m / extent_m
        if cover < _WHOLE:
            yield f"the mask covers {cover:.1%} of the spectrum along its {axis}: finer detail is lost"
        plane_m = float(getattr(bench, f"plane_{axis}")) * bench.input.pitch_m
        if order_m < plane_m * _WHOLE:
            yield (
                f"diffraction orders of the mask's pixels overlap on the camera along its {axis}: lambda f / p_mask >= "
                f"N p is broken, {show(order_m, 'm')} against {show(plane_m, 'm')}; an ideal mask is assumed"
            )


def _rate_notes(bench: Bench, work: Work, p: Plan) -> Iterator[str]:
    """Whether the frame rate asked for is kept; where it is not, every frame takes as long as its slowest part."""
    if bench.frame.rate_hz is None or bench.frame.required:
        return
    for op in np.flatnonzero(p.choice[0] != HOST):
        f = frame_times(bench, work, p.layouts[int(p.choice[0, op])])
        period_s = at(f.period_s, int(op))
        if period_s * bench.frame.rate_hz > 1 / _WHOLE:
            stages = {name: at(stage, int(op)) for name, stage in f.stages_s.items()}
            slowest = max(stages, key=lambda name: stages[name])
            yield (
                f"{work.names[op]} runs at {show(1 / period_s, 'Hz')}, not at frame.rate: its slowest part ({slowest})"
                f" takes {show(stages[slowest], 's')} against {show(1 / bench.frame.rate_hz, 's')}"
            )
            return
