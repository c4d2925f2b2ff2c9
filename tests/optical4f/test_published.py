"""The optical times of FatNet's table 3, to every printed digit, and eq. 6."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from hwsim.backends.optical4f import Optical4f
from hwsim.backends.optical4f.bench import bench_of
from hwsim.backends.optical4f.spec import Optical4fSpec
from hwsim.backends.optical4f.tiling import grid
from hwsim.backends.optical4f.work import work_of
from hwsim.backends.synthetic import GraphBuilder
from hwsim.core.results import Estimate
from hwsim.graph.capture import capture
from hwsim.graph.ir import WorkloadGraph
from hwsim.spec.arch import load_arch
from hwsim.zoo.fatnet import fatnet, resnet18_cifar

PUBLISHED = Path(__file__).parent / "published"


@cache
def _network(name: str) -> WorkloadGraph:
    with torch.device("meta"):
        model = {"resnet18": resnet18_cifar, "fatnet": fatnet}[name]().eval()
    return capture(model, input_shape=(1, 3, 32, 32), name=name)


def _times() -> list[dict[str, str]]:
    with (PUBLISHED / "fatnet_times.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("row", _times(), ids=lambda row: f"{row['network']}-{row['batch']}")
def test_time_per_sample_equals_table_3_to_the_printed_digits(row: dict[str, str]) -> None:
    batch = int(row["batch"])
    result = Optical4f().estimate(_network(row["network"]).with_batch(batch), load_arch("optical4f_paper"))
    assert isinstance(result, Estimate)
    assert f"{result.latency_s / batch:.3e}" == f"{float(row['time_s']):.3e}"


def test_frames_and_rate_are_set_apart() -> None:
    graph = _network("fatnet").with_batch(64)

    def time_s(changes: dict[str, object]) -> float:
        result = Optical4f().estimate(graph, load_arch("optical4f_paper", changes))  # type: ignore[arg-type]
        assert isinstance(result, Estimate)
        return result.latency_s

    base = time_s({})
    assert time_s({"mapping.frames_per_conv": 2, "frame.rate": "1 MHz"}) == pytest.approx(base, rel=1e-12)
    assert time_s({"frame.rate": "4 MHz"}) == pytest.approx(base / 2, rel=1e-12)


@pytest.mark.parametrize(
    ("size", "kernel", "rows", "cols", "tiles"),
    [(32, 3, 3840, 3840, 12_544), (59, 10, 3840, 3840, 3_136), (59, 10, 2160, 3840, 1_736)],
)
def test_eq_6_counts_tiles(size: int, kernel: int, rows: int, cols: int, tiles: int) -> None:
    g = GraphBuilder("one")
    g.conv("conv", g.input((1, 1, size, size)), 1, kernel)
    sizes = {"modulators.plane_4k.rows": rows, "modulators.plane_4k.cols": cols}
    spec = load_arch("optical4f_paper", sizes).spec  # type: ignore[arg-type]
    assert isinstance(spec, Optical4fSpec)
    assert np.asarray(grid(bench_of(spec), work_of(g.build())).tiles) == [tiles]


def test_with_tiles_per_layer_the_advantage_vanishes() -> None:
    """Facts derived from eq. 6 per layer: an unlimited batch costs ResNet-18 5.54 us and FatNet 6.69 us per sample."""
    arch = load_arch("optical4f_paper")
    spec = arch.spec
    assert isinstance(spec, Optical4fSpec)
    for name, expected in (("resnet18", 5.54e-6), ("fatnet", 6.69e-6)):
        work = work_of(_network(name))
        conv = (work.role == "conv") & ~work.matching(spec.mapping.host_ops)
        tiles = grid(bench_of(spec), work).tiles
        per_sample = (2e-6 * work.maps.c_in * work.maps.c_out / tiles)[conv].sum()
        assert per_sample == pytest.approx(expected, rel=1e-3)
