"""Times, energies and limits of the closed forms, against data sheets and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hwsim.backends.optical4f import Optical4f
from hwsim.backends.optical4f.bench import bench_of
from hwsim.backends.optical4f.estimate import exposure_s, frame_times, mask_flops, pattern_s
from hwsim.backends.optical4f.spec import Optical4fSpec
from hwsim.backends.optical4f.tiling import grid, samples
from hwsim.backends.optical4f.work import at, work_of
from hwsim.backends.synthetic import GraphBuilder, convnet, transformer
from hwsim.core.errors import SpecError
from hwsim.core.results import Estimate
from hwsim.graph.ir import WorkloadGraph
from hwsim.spec.arch import Arch, load_arch

REAL = load_arch("optical4f")


def _spec(arch: Arch = REAL) -> Optical4fSpec:
    assert isinstance(arch.spec, Optical4fSpec)
    return arch.spec


def _estimate(graph: WorkloadGraph, arch: Arch) -> Estimate:
    result = Optical4f().estimate(graph, arch)
    assert isinstance(result, Estimate)
    return result


def _dense(rows: int, k: int, n: int) -> WorkloadGraph:
    g = GraphBuilder("dense")
    g.linear("fc", g.input((rows, k)), n)
    return g.build()


def test_dmd_rates_equal_those_quoted() -> None:
    """TI E2E threads 594673 (23,137 Hz with reset) and 1075252 (43.2 us to load 1080 rows)."""
    parts = _spec().modulators
    assert 1 / pattern_s(parts["dlp7000"]) == pytest.approx(23_137, rel=1e-4)
    assert pattern_s(parts["dlp9500"]) - parts["dlp9500"].settle_s == pytest.approx(43.2e-6, rel=1e-12)


@pytest.mark.parametrize(
    ("camera", "rows", "rate_hz", "tolerance"),
    [
        ("zyla_5_5", 2160, 100, 5e-3),
        ("zyla_5_5", 512, 419, 5e-3),
        ("genie_nano_m2450", 2056, 57, 2e-2),
        ("bluefox3_imx255", 2176, 47.5, 5e-3),
    ],
)
def test_camera_rates_equal_those_quoted(camera: str, rows: int, rate_hz: float, tolerance: float) -> None:
    changes = {"camera": camera, f"cameras.{camera}.rows": rows, "mapping.roi": "none", "exposure.signal": 0}
    arch = REAL.with_values(changes)
    bench, work = bench_of(_spec(arch)), work_of(_dense(10, 64, 4))
    f = frame_times(bench, work, samples(bench, work, grid(bench, work)))
    assert 1 / float(f.stages_s["camera"][0]) == pytest.approx(rate_hz, rel=tolerance)


@pytest.mark.parametrize(
    ("rows", "cols", "rate_hz", "macs_per_s"),
    [(2160, 3840, 2e6, 16.6e12), (768, 1024, 23_100, 18.2e9), (2160, 3840, 60, 0.498e9)],
)
def test_at_most_one_useful_mac_per_pixel_and_frame(rows: int, cols: int, rate_hz: float, macs_per_s: float) -> None:
    """W H f / pn: a dense layer that fills the plane reaches it, and no tiling beats it."""
    changes = {"frame.rate": f"{rate_hz} Hz"}
    for library in ("modulators", "cameras"):
        changes |= {f"{library}.plane_4k.rows": str(rows), f"{library}.plane_4k.cols": str(cols)}
    side, sides = 8, (rows // 8) * (cols // 8)
    graph = _dense(100 * sides, side * side, 40)
    for tiling in ("samples", "kernels", "channels"):
        arch = load_arch("optical4f_paper", {**changes, "mapping.frames_per_conv": 1, "mapping.tiling": tiling})
        result = _estimate(graph, arch)
        rate = result.macs / result.latency_s
        assert rate <= macs_per_s * (1 + 5e-3)
        if tiling == "samples":
            assert rate == pytest.approx(macs_per_s, rel=1e-2)
            utilization = result.ops[0].utilization
            assert utilization == pytest.approx(1, rel=1e-9)


def test_exposure_collects_the_signal() -> None:
    """S = QE P t / (h nu pixels): the photon energy at 532 nm is 3.7339e-19 J."""
    bench, work = bench_of(_spec()), work_of(_dense(10, 64, 4))
    layout = samples(bench, work, grid(bench, work))
    o, pixels = bench.optics, 1080 * 1920
    throughput = 0.5 * 0.143 * bench.input.fill_factor * bench.filter.fill_factor
    electrons = 0.6 * o.laser_power_w * throughput * exposure_s(bench, layout) / (3.733920784e-19 * pixels)
    assert electrons == pytest.approx(_spec().exposure.signal_e, rel=1e-9)
    dim = bench_of(_spec(REAL.with_values({"optics.laser_power": "10 mW"})))
    assert exposure_s(dim, layout) == pytest.approx(10 * exposure_s(bench, layout), rel=1e-12)
    floor = bench_of(_spec(REAL.with_values({"exposure.time": "1 ms"})))
    assert exposure_s(floor, layout) == pytest.approx(1e-3, rel=1e-12)


def test_signal_without_light_is_refused() -> None:
    with pytest.raises(SpecError, match="laser_power must be more than 0 W"):
        load_arch("optical4f", {"optics.laser_power": "0 W"})


def test_energy_of_a_frame_by_hand() -> None:
    """E_frame = (P_laser / eta + P_modulators + P_camera + P_host) t_frame + E_adc pixels + E_link bits + host."""
    plain = {"mapping.tiling": "samples", "mapping.sign": "none", "mapping.roi": "none"}
    arch = REAL.with_values({"cameras.zyla_5_5.adc_energy": "10 pJ", **plain})
    row = _estimate(_dense(10, 64, 5), arch).ops[0]
    power_w = 0.1 / 0.1 + (5 + 10) + (5 + 20) + 30 + 7
    pixels, frames = 2160 * 2560, 5
    up, down = frames * pixels * 12, frames * 1152 * 1920 * 8 + 1080 * 1920 * 8
    dynamic = frames * pixels * 10e-12 + (up + down) * 5e-12 + frames * 10 * 2 * 6.25e-12
    assert row.energy_j == pytest.approx(power_w * row.latency_s + dynamic, rel=1e-12)
    assert row.bytes["link"] == (up + down) / 8


def test_a_frame_is_as_long_as_its_slowest_part_and_alone_as_their_sum() -> None:
    graph, arch = _dense(10, 64, 50), REAL.with_values({"mapping.tiling": "samples"})
    piped = _estimate(graph, arch).latency_s
    alone = _estimate(graph, arch.with_values({"frame.pipelined": False})).latency_s
    assert piped < alone
    bench, work = bench_of(_spec()), work_of(graph)
    f = frame_times(bench, work, samples(bench, work, grid(bench, work)))
    assert f.period_s[0] == max(float(np.ravel(stage)[0]) for stage in f.stages_s.values())


@pytest.mark.parametrize("objective", ["latency", "energy"])
def test_auto_is_no_worse_than_any_fixed_choice(objective: str) -> None:
    graph = transformer(grid=6, heads=3, head_dim=16)
    auto = REAL.with_values({"mapping.dense": "auto", "mapping.conv": "auto", "mapping.objective": objective})
    best = _estimate(graph, auto)
    for place in ("optics", "host"):
        for tiling in ("samples", "kernels", "channels"):
            fixed = {f"mapping.{kind}": place for kind in ("conv", "dense", "attention")}
            other = _estimate(graph, auto.with_values({**fixed, "mapping.tiling": tiling}))
            if objective == "latency":
                assert best.latency_s <= other.latency_s * (1 + 1e-12)
            else:
                assert best.energy_j <= other.energy_j * (1 + 1e-12)


def test_the_host_takes_what_it_is_told_to() -> None:
    graph = transformer()
    placements = Optical4f().map(graph, REAL.with_values({"mapping.host_ops": ["head", "blocks.*.fc?"]}))
    assert isinstance(placements, list)
    host = {p.op for p in placements if p.unit == "host"}
    assert {"head", "blocks.0.fc1", "blocks.0.fc2"} <= host
    assert "blocks.0.proj" not in host


def test_computed_masks_cost_the_host_an_fft() -> None:
    graph = transformer(grid=4)
    arch = REAL.with_values({"mapping.attention": "optics", "mapping.dense": "optics"})
    slow = arch.with_values({"hosts.orin_nano.flop_rate": "1 GFLOP/s"})
    rows = {row.name: row for row in _estimate(graph, slow).ops}
    assert rows["blocks.0.qk"].bound_by == "host"
    assert rows["blocks.0.q"].bound_by != "host"


@pytest.mark.parametrize(("rows", "cols"), [(512, 512), (1152, 1920)])
def test_a_computed_mask_takes_5_n_log2_n(rows: int, cols: int) -> None:
    """The radix-2 count of one two-dimensional transform, 5 n log2 n, per frame; a weight's mask takes none."""
    panel = {"modulators.meadowlark_p1920.rows": rows, "modulators.meadowlark_p1920.cols": cols}
    graph = transformer(grid=4)
    flops = mask_flops(bench_of(_spec(REAL.with_values(panel))), work_of(graph))
    by_name = dict(zip((op.name for op in graph.ops), flops.tolist(), strict=True))
    n = rows * cols
    assert by_name["blocks.0.qk"] == pytest.approx(5 * n * math.log2(n), rel=1e-12)
    assert by_name["blocks.0.fc1"] == 0


def test_the_host_pays_for_the_masks_it_computes() -> None:
    arch = REAL.with_values({"mapping.attention": "optics", "mapping.tiling": "samples"})
    graph = transformer(grid=4)
    op = graph.op("blocks.0.qk")
    row = next(row for row in _estimate(graph, arch).ops if row.name == op.name)
    bench, work = bench_of(_spec(arch)), work_of(graph)
    index = work.names.index(op.name)
    frames = at(samples(bench, work, grid(bench, work)).frames, index)
    joules = frames * 5 * 1152 * 1920 * math.log2(1152 * 1920) * 6.25e-12
    assert row.energy_ledger_j["host"] == pytest.approx(joules, rel=1e-3)  # the rest is the reading of the samples


def test_what_the_paper_leaves_out_is_free() -> None:
    result = _estimate(convnet(size=24), load_arch("optical4f_paper"))
    assert {row.latency_s for row in result.ops if row.unit == "host"} == {0.0}
    assert result.energy_j == 0
    assert any("host's time is left out" in note for note in result.notes)


def test_explain_gives_the_frame_formula_with_its_numbers() -> None:
    text = Optical4f().explain(transformer(), REAL, "blocks.0.fc1")
    for part in ("t_frame   max(modulator", "tiles     ", "frames    ", "latency   ", "energy    "):
        assert part in text
