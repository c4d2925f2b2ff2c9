"""Against published and measured data: SimGrid's finish times, request times, M/D/1, Raspberry Pi token times."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from hwsim.backends.edge import simulate_flows
from hwsim.backends.edge.arrivals import recorded
from hwsim.backends.edge.queueing import MD1, percentiles
from hwsim.backends.edge.relay import Measured, fit, llama_sharded
from hwsim.backends.edge.simulation import simulate

from .clusters import PUBLISHED, reference

FLOWS = sorted(path.name.removesuffix("_flows.csv") for path in (PUBLISHED / "flows").glob("*_flows.csv"))
LLAMA = {
    "Llama2-7B Q40/Q80": llama_sharded(4096, 11008, 32, 4096, 32000),
    "Llama2-13B Q40/Q80": llama_sharded(5120, 13824, 40, 5120, 32000),
    "Llama2-70B Q40/Q80": llama_sharded(8192, 28672, 80, 1024, 32000),
}
GIGABIT_TCP = 117.6e6  # B/s: 941 Mbit/s, measured with iperf3 on a Raspberry Pi 4B


@pytest.mark.parametrize(("model", "suffix"), [("cm02", "CM02pure"), ("lv08", "LV08")])
@pytest.mark.parametrize("name", FLOWS)
def test_flows(name: str, model: str, suffix: str) -> None:
    folder = PUBLISHED / "flows"
    links, flows = pd.read_csv(folder / f"{name}_links.csv"), pd.read_csv(folder / f"{name}_flows.csv")
    expected = pd.read_csv(folder / f"{name}_OUT_{suffix}.csv")["finish_s"].to_numpy()
    finish = simulate_flows(links, flows, "rtt", model=model)
    assert np.abs(finish - expected).max() < 1e-9


@pytest.mark.parametrize(
    ("name", "expected"),
    [("F6_parking_lot", [0.097, 0.095, 0.095, 0.095]), ("F7_unequal_RTT", [0.092, 0.098])],
)
def test_flows_equal_weights_by_hand(name: str, expected: list[float]) -> None:
    folder = PUBLISHED / "flows"
    links, flows = pd.read_csv(folder / f"{name}_links.csv"), pd.read_csv(folder / f"{name}_flows.csv")
    assert simulate_flows(links, flows, weighting="equal") == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("force_events", [False, True])
@pytest.mark.parametrize("kind", ["dedicated", "switched"])
def test_cluster_request_times(kind: str, force_events: bool) -> None:
    arrivals = recorded(PUBLISHED / "arrivals_poisson_0.5_seed12345.csv")
    expected = pd.read_csv(PUBLISHED / f"cluster_{kind}_CM02pure.csv.gz")
    log = simulate(*reference(kind), arrivals, force_events=force_events)
    assert np.abs(log.done_s - expected["done_s"].to_numpy()).max() < 1e-9


@pytest.mark.parametrize(
    ("kind", "row"),
    [
        ("dedicated", (1.026240, 1.549220, 1.070592, 3.139960, 4.444223, 9.103875)),
        ("switched", (1.136400, 1.667228, 1.221187, 3.275619, 4.588978, 9.214035)),
    ],
)
def test_cluster_percentiles(kind: str, row: tuple[float, ...]) -> None:
    arrivals = recorded(PUBLISHED / "arrivals_poisson_0.5_seed12345.csv")
    latency = simulate(*reference(kind), arrivals).latency_s
    p = percentiles(latency)
    assert (latency.min(), p.mean, p.p50, p.p95, p.p99, p.maximum) == pytest.approx(row, abs=1e-6)


def test_md1() -> None:
    for row in pd.read_csv(PUBLISHED / "md1_closed_form.csv").itertuples():
        queue = MD1(row.rho, row.D_s)
        got = [queue.wait_percentile(p) for p in (0.5, 0.9, 0.95, 0.99, 0.999)]
        assert queue.mean_s == pytest.approx(row.mean_wait_s, abs=1e-9)
        assert queue.variance_s2 == pytest.approx(row.var_wait_s2, abs=1e-9)
        assert got == pytest.approx([row.p50, row.p90, row.p95, row.p99, row.p999], abs=1e-9)


def raspberry_pi_4() -> pd.DataFrame:
    published = pd.concat(
        [
            pd.read_csv(PUBLISHED / "tensor_parallel_rpi4_dllama.csv"),
            pd.read_csv(PUBLISHED / "tensor_parallel_rpi4_dllama_more.csv"),
        ]
    )
    return published[published["device"] == "Raspberry Pi 4B 8GB"]


def test_relayed_bytes_follow_from_the_program() -> None:
    rows = raspberry_pi_4().dropna(subset="data_kB_per_token")
    for row in rows.itertuples():
        got = LLAMA[row.model].relayed_bytes(row.n_devices) / 1024
        assert got == pytest.approx(row.data_kB_per_token, rel=0.003, abs=0.5)


def test_raspberry_pi_curve() -> None:
    rows = list(raspberry_pi_4().itertuples())
    points = [Measured(LLAMA[r.model], r.n_devices, r.total_ms / 1e3, r.inference_ms / 1e3) for r in rows]
    staging = fit(points, GIGABIT_TCP)
    small = {p.devices: p for p, r in zip(points, rows, strict=True) if r.model.startswith("Llama2-7B")}
    got = {n: staging.step_s(p.model, n, GIGABIT_TCP) for n, p in small.items()}
    for n, point in small.items():
        assert got[n] == pytest.approx(point.total_s, rel=0.15)
    assert got[8] > got[4]
    thirteen = {p.devices: p for p, r in zip(points, rows, strict=True) if r.model.startswith("Llama2-13B")}
    for n, point in thirteen.items():
        assert staging.step_s(point.model, n, GIGABIT_TCP) == pytest.approx(point.total_s, rel=0.15)
    assert 0.05 < staging.relative_error < 0.25
