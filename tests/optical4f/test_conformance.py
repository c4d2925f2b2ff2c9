"""The backend keeps what every backend keeps, on real parts and on the published preset."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hwsim.backends.conformance import BackendConformance
from hwsim.backends.optical4f import Optical4f
from hwsim.backends.optical4f.spec import Optical4fSpec
from hwsim.backends.synthetic import convnet
from hwsim.cli.output import infeasible_text
from hwsim.core.results import Estimate, Infeasible
from hwsim.graph.ir import WorkloadGraph
from hwsim.spec.arch import Arch, load_arch
from hwsim.spec.overrides import parse_assignment
from hwsim.spec.yaml import Tree

REAL = load_arch("optical4f", {"frame.rate": "1 kHz"})
ARCHS = [
    REAL,
    REAL.with_values({"mapping.dense": "optics", "mapping.attention": "optics"}),
    load_arch("optical4f_paper", {"optics.least_spectrum": 1e-3}),  # small panels clip, which the paper does not ask
]


class TestOptical4f(BackendConformance):
    backend = Optical4f
    never_slower = (
        "link.bandwidth",
        "frame.rate",
        "hosts.orin_nano.flop_rate",
        "hosts.orin_nano.bandwidth",
        "cameras.zyla_5_5.bandwidth",
        "modulators.meadowlark_p1920.frame_rate",
    )

    def archs(self) -> Sequence[Arch]:
        return ARCHS

    def variations(self, arch: Arch) -> st.SearchStrategy[dict[str, Tree]]:
        spec = arch.spec
        assert isinstance(spec, Optical4fSpec)
        panel = st.integers(128, 2400)
        common: dict[str, st.SearchStrategy[Tree]] = {
            "mapping.tiling": st.sampled_from(["auto", "samples", "kernels", "channels"]),
            "mapping.guard": st.sampled_from(["exact", "full"]),
            "mapping.guard_pixels": st.integers(0, 3),
            "mapping.sign": st.sampled_from(["none", "pseudo_negative", "four_term", "interferometric"]),
            "mapping.roi": st.sampled_from(["none", "window", "rows"]),
            "mapping.frames_per_conv": st.integers(1, 4),
            "mapping.conv": st.sampled_from(["auto", "optics", "host"]),
            "precision.activations": st.integers(1, 12),
            "frame.pipelined": st.booleans(),
            "input": st.sampled_from(sorted(spec.modulators)),
            "camera": st.sampled_from(sorted(spec.cameras)),
            "host": st.sampled_from(sorted(spec.hosts)),
            f"modulators.{spec.input}.rows": panel,
            f"cameras.{spec.camera}.cols": panel,
            "exposure.time": st.sampled_from(["0 s", "10 us", "2 ms"]),
        }
        return st.fixed_dictionaries(common)

    def roofline_s(self, graph: WorkloadGraph, arch: Arch) -> float:
        """At most one useful MAC per plane pixel, kernel tap and frame, which lasts no less than its exposure."""
        spec = arch.spec
        assert isinstance(spec, Optical4fSpec)
        panel, sensor = spec.modulators[spec.input], spec.cameras[spec.camera]
        pixels = min(panel.rows, sensor.rows) * min(panel.cols, sensor.cols)
        limits = [spec.frame.rate_hz, sensor.frame_rate_hz, spec.modulators[spec.filter].frame_rate_hz]
        frame_s = max([spec.exposure.time_s, *(1 / rate for rate in limits if rate is not None)])
        host_rate = spec.hosts[spec.host].flop_rate_hz or math.inf
        total = 0.0
        for op in graph.ops:
            taps = op.dims["KH"] * op.dims["KW"] if op.kind == "conv" else 1
            total += min(2 * op.macs / host_rate, op.macs / (pixels * taps) * frame_s)
        return total

    def misfits(self) -> Sequence[tuple[WorkloadGraph, Arch]]:
        arch = load_arch("optical4f", {"mapping.conv": "optics", "input": "dlp9500"})
        short = {"optics.focal_length": "2 mm"}
        return [
            (convnet(size=1100, channels=2), arch),
            (convnet(size=64, channels=2, kernel=7), arch.with_values(short)),
            (convnet(size=900, channels=2), arch.with_values({"input": "dlp7000", "cameras.zyla_5_5.rows": 600})),
        ]


@given(factor=st.floats(1, 1e6))
def test_more_light_never_slows_where_the_signal_sets_the_exposure(factor: float) -> None:
    """With a least exposure it may saturate the camera instead, which is why it is not in `never_slower`."""
    dim = REAL.with_values({"exposure.time": 0, "optics.laser_power": "10 uW"})
    bright = dim.with_values({"optics.laser_power": f"{1e-5 * factor!r} W"})
    before, after = (Optical4f().estimate(convnet(size=16), arch) for arch in (dim, bright))
    assert isinstance(before, Estimate)
    assert isinstance(after, Estimate)
    assert after.latency_s <= before.latency_s * (1 + 1e-9)


def test_infeasible_designs_of_a_sweep_say_why() -> None:
    arch = load_arch("optical4f", {"mapping.conv": "optics", "input": "dlp9500"})
    swept = Optical4f().sweep(convnet(size=300), arch, {"modulators.dlp9500.rows": [200, 1080]})
    assert list(swept.infeasible) == [0]
    assert swept.infeasible[0].resource == "modulators.dlp9500.rows"
    assert np.isnan(swept.latency_s).tolist() == [True, False]


def test_the_levers_shown_can_be_typed_in() -> None:
    arch = load_arch("optical4f", {"optics.focal_length": "1 mm"})
    result = Optical4f().estimate(convnet(size=64, kernel=7), arch)
    assert isinstance(result, Infeasible)
    shown = re.search(r"--set '(.+)'", infeasible_text(result.to_json()))
    assert shown
    path, value = parse_assignment(shown[1])
    assert isinstance(Optical4f().estimate(convnet(size=64, kernel=7), arch.with_values({path: value})), Estimate)
