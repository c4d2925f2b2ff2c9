"""Closed forms of time and energy: of a frame, of an op on the plane, of an op on the host.

The same formulas serve one design and many: every value broadcasts to (designs, ops).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce

import numpy as np

from hwsim.backends.optical4f.bench import LIGHT_M_PER_S, PLANCK_J_S, Array, Bench, limit
from hwsim.backends.optical4f.spec import Modulator
from hwsim.backends.optical4f.tiling import Layout, grid
from hwsim.backends.optical4f.work import Work

#: Per wanted sample the host takes a square root (amplitude from intensity) and adds it to a sum over channels, signs
#: and slices (A7).
FLOPS_PER_SAMPLE = 2.0


@dataclass(frozen=True)
class FrameTimes:
    """What one frame takes of each part; `period_s` is the cycle when they overlap, `through_s` one frame alone.

    `period_input_s` and `through_input_s` are those of a frame that also loads a new input pattern.
    """

    stages_s: Mapping[str, Array]
    period_s: Array
    period_input_s: Array
    through_input_s: Array
    pixels_read: Array
    up_bytes: Array
    mask_bytes: Array
    input_bytes: Array
    host_flops: Array


@dataclass(frozen=True)
class Cost:
    """Time, energy by component, traffic and what limits it; arrays of (designs, ops)."""

    latency_s: Array
    energy_j: Mapping[str, Array]
    bytes: Mapping[str, Array]
    stages_s: Mapping[str, Array]

    @property
    def total_j(self) -> Array:
        return np.asarray(sum(self.energy_j.values()), float)


def pattern_s(modulator: Modulator) -> Array:
    """Time until a new pattern stands still: load, fixed and by rows, and settle; no less than its frame (A16)."""
    load_s = modulator.load_s + modulator.row_load_s * modulator.rows
    return np.maximum(load_s + modulator.settle_s, 1 / limit(modulator.frame_rate_hz))


def electrons_per_s(bench: Bench, layout: Layout) -> Array:
    """Electrons that a full-scale sample collects in a second, QE P / (h nu pixels) (A6).

    The laser lights the whole plane evenly; `split` kernels abreast share the light of a tile.
    """
    o = bench.optics
    passed = o.transmission * o.mask_efficiency * bench.input.fill_factor * bench.filter.fill_factor
    per_pixel_w = o.laser_power_w * passed / (bench.plane_rows * bench.plane_cols * layout.split)
    return np.asarray(bench.camera.quantum_efficiency * per_pixel_w * o.wavelength_m / (PLANCK_J_S * LIGHT_M_PER_S))


def exposure_s(bench: Bench, layout: Layout) -> Array:
    """Exposure that collects the wanted signal, and no less than the least."""
    signal_e = np.asarray(bench.exposure.signal_e)
    with np.errstate(divide="ignore", invalid="ignore"):
        needed = signal_e / electrons_per_s(bench, layout)
    return np.maximum(bench.exposure.time_s, np.where(signal_e > 0, needed, 0.0))


def region(bench: Bench, work: Work, layout: Layout) -> tuple[Array, Array]:
    """Rows and columns that the camera reads: the sensor, a window over the tiles, or only rows that hold outputs."""
    g = grid(bench, work)
    roi = np.asarray(bench.mapping.roi)
    window = layout.tile_rows * g.pitch_rows
    rows = np.select([roi == "none", roi == "rows"], [bench.camera.rows, layout.tile_rows * work.maps.out_rows], window)
    cols = np.where(roi == "none", bench.camera.cols, layout.tile_cols * g.pitch_cols)
    # An illegal layout is costed too, though never chosen: keep its window on the sensor.
    return np.minimum(rows, bench.camera.rows), np.minimum(cols, bench.camera.cols)


def frame_times(bench: Bench, work: Work, layout: Layout) -> FrameTimes:
    """t_frame = max(load + settle, settle + exposure, exposure + readout, link, host, controller), or their sum.

    The pattern must stand still while the camera exposes; loading overlaps it, as does the readout of the last frame.
    """
    rows, cols = region(bench, work, layout)
    camera, mask, inputs = bench.camera, bench.filter, bench.input
    container = limit(camera.container_bits)
    up_bytes = rows * cols * np.where(np.isinf(container), camera.bits, container) / 8
    mask_bytes = bench.filter_pixels * mask.bits / 8
    input_bytes = bench.input_pixels * inputs.bits / 8
    link = limit(bench.link.bandwidth_bytes_per_s)
    up_s = up_bytes / np.minimum(link, limit(camera.bandwidth_bytes_per_s))
    host_flops = layout.outputs * work.maps.out_rows * work.maps.out_cols * FLOPS_PER_SAMPLE + mask_flops(bench, work)
    expose = exposure_s(bench, layout)
    readout = camera.line_time_s * (rows + camera.overhead_lines)
    mask_s, input_s = pattern_s(mask), pattern_s(inputs)
    stages = {
        "modulator": mask_s,
        "exposure": mask.settle_s + expose,
        "camera": np.maximum(expose + readout, 1 / limit(camera.frame_rate_hz)),
        "link": np.maximum(up_s, mask_bytes / link),
        "host": host_flops / limit(bench.host.flop_rate_hz),
        "controller": 1 / limit(bench.frame.rate_hz),
    }
    modulator_in = np.maximum(mask_s, input_s)
    link_in = np.maximum(up_s, (mask_bytes + input_bytes) / link)
    with_input = stages | {
        "modulator": modulator_in,
        "exposure": np.maximum(mask.settle_s, inputs.settle_s) + expose,
        "link": link_in,
    }
    flight = 4 * bench.optics.focal_length_m / LIGHT_M_PER_S
    alone = mask_s + expose + readout + stages["link"] + stages["host"] + flight
    alone_in = modulator_in + expose + readout + link_in + stages["host"] + flight
    return FrameTimes(
        stages_s={name: np.asarray(value, float) for name, value in stages.items()},
        period_s=_cycle(bench, stages, alone),
        period_input_s=_cycle(bench, with_input, alone_in),
        through_input_s=np.maximum(alone_in, with_input["controller"]),
        pixels_read=rows * cols,
        up_bytes=up_bytes,
        mask_bytes=mask_bytes,
        input_bytes=input_bytes,
        host_flops=host_flops,
    )


def _cycle(bench: Bench, stages: Mapping[str, Array], alone: Array) -> Array:
    overlapped = reduce(np.maximum, stages.values())
    return np.where(bench.frame.pipelined, overlapped, np.maximum(alone, stages["controller"]))


def mask_flops(bench: Bench, work: Work) -> Array:
    """Arithmetic to compute a mask that depends on the data: one 2-D FFT, 5 n log2 n; a weight's mask is ready (A8)."""
    pixels = bench.filter_pixels
    return np.where(work.role == "attention", 5 * pixels * np.log2(np.maximum(pixels, 2)), 0.0)


def on_plane(bench: Bench, work: Work, layout: Layout) -> Cost:
    """Cost of ops on the optics: frames at their period, and once through the pipeline, since the next op waits (A10).

    E = (P_laser / eta_wall + P_modulators + P_camera + P_host) t + E_adc pixels + E_pixel patterns + E_bit link +
    E_flop on the host.
    """
    f = frame_times(bench, work, layout)
    rest = layout.frames - layout.input_patterns
    drain = np.maximum(f.through_input_s - f.period_input_s, 0)
    latency = rest * f.period_s + layout.input_patterns * f.period_input_s + drain
    up = layout.frames * f.up_bytes
    down = layout.frames * f.mask_bytes + layout.input_patterns * f.input_bytes
    patterns = layout.frames * bench.filter_pixels
    inputs = layout.input_patterns * bench.input_pixels
    dynamic = {
        "adc": layout.frames * f.pixels_read * bench.camera.adc_energy_j,
        "dac": patterns * bench.filter.pixel_energy_j + inputs * bench.input.pixel_energy_j,
        "link": 8 * (up + down) * bench.link.bit_energy_j,
        "host": layout.frames * f.host_flops * bench.host.flop_energy_j,
    }
    return Cost(latency, _ledger(bench, latency, 1.0, dynamic), {"link": up + down}, f.stages_s)


def on_host(bench: Bench, work: Work) -> Cost:
    """Cost of ops on the host: its roofline, with the bench on standby."""
    compute = work.flops / limit(bench.host.flop_rate_hz)
    memory = work.host_bytes / limit(bench.host.bandwidth_bytes_per_s)
    latency = np.maximum(compute, memory)
    energy = work.flops * bench.host.flop_energy_j + work.host_bytes * bench.host.byte_energy_j
    ledger = _ledger(bench, latency, bench.optics.standby, {"host": energy})
    stages = {"host compute": compute, "host memory": memory}
    return Cost(latency, ledger, {"host": work.host_bytes}, stages)


def _ledger(bench: Bench, time_s: Array, share: float, dynamic: Mapping[str, Array]) -> Mapping[str, Array]:
    """Standing power over `time_s` (the optical parts at `share` of theirs), plus what the work itself takes."""
    standing = {
        "laser": bench.optics.laser_power_w / bench.optics.wall_plug_efficiency,
        "input modulator": bench.input.power_w + bench.input.driver_power_w,
        "filter modulator": bench.filter.power_w + bench.filter.driver_power_w,
        "camera": bench.camera.power_w,
    }
    ledger = {name: power_w * share * time_s for name, power_w in standing.items()}
    ledger["host idle"] = bench.host.power_w * time_s
    return ledger | {name: np.asarray(value, float) + 0 * time_s for name, value in dynamic.items()}
