"""The closed forms, and the simulation against them."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.backends.edge.arrivals import periodic, poisson
from hwsim.backends.edge.estimate import fork_join_note
from hwsim.backends.edge.program import Cluster, Compute, Device
from hwsim.backends.edge.queueing import MD1, fork_join_bounds, percentiles
from hwsim.backends.edge.simulation import simulate
from hwsim.core.errors import UsageError

# Student's t, two-sided 99 %, 29 degrees of freedom.
T_99_29 = 2.756


@given(st.floats(0.01, 0.98), st.floats(0.0, 30.0), st.floats(0.1, 10.0))
@settings(max_examples=60, deadline=None)
def test_md1_is_a_distribution(rho: float, at: float, service_s: float) -> None:
    queue = MD1(rho / service_s, service_s)
    low, high = queue.wait_cdf([at * service_s, (at + 0.3) * service_s])
    assert 1.0 - rho - 1e-12 <= low <= high + 1e-12 <= 1.0 + 2e-12


@pytest.mark.parametrize("rho", [0.2, 0.5, 0.9, 0.97])
def test_md1_mean_from_its_distribution(rho: float) -> None:
    queue = MD1(rho, 1.0)
    far = queue.wait_percentile(1.0 - 1e-9)
    t = np.linspace(0.0, far, 20_001)
    tail = 1.0 - queue.wait_cdf(t)
    mean = float(((tail[1:] + tail[:-1]) / 2 * np.diff(t)).sum())
    assert mean == pytest.approx(queue.mean_s, rel=2e-3)


@pytest.mark.parametrize("rho", [0.5, 0.8])
def test_simulated_percentiles_lie_in_the_99_percent_interval(rho: float) -> None:
    """Thirty independent runs; the interval is of the mean over the runs."""
    exact = MD1(rho, 1.0)
    cluster = Cluster((Device("d"),), (), ())
    runs = []
    for seed in range(30):
        log = simulate(cluster, (Compute("c", 0, 1.0),), poisson(rho, 60_000, seed), force_events=seed == 0)
        waits = log.latency_s[5_000:] - 1.0
        runs.append([waits.mean(), *np.percentile(waits, [90, 95, 99])])
    mean, error = np.mean(runs, axis=0), np.std(runs, axis=0, ddof=1) / np.sqrt(30)
    expected = [exact.mean_s, *(exact.wait_percentile(p) for p in (0.9, 0.95, 0.99))]
    assert (np.abs(mean - expected) < T_99_29 * error).all()


def test_fork_join_lies_between_its_bounds() -> None:
    services = (0.9, 0.8, 0.7)
    cluster = Cluster((*(Device(f"d{i}") for i in range(3)), Device("join")), (), ())
    tasks = (*(Compute(f"c{i}", i, s) for i, s in enumerate(services)), Compute("join", 3, 0.0, after=(0, 1, 2)))
    latency = simulate(cluster, tasks, poisson(0.9, 400_000, 3)).latency_s
    times = np.array([1.0, 2.0, 4.0, 8.0])
    low, high = fork_join_bounds([MD1(0.9, s) for s in services], services, times)
    got = (latency[:, None] <= times).mean(axis=0)
    assert (low - 0.01 < got).all()
    assert (got < high + 0.01).all()
    assert (high - low > 0.0).all()


def test_unstable_queue_is_refused() -> None:
    with pytest.raises(UsageError, match=r"load the device 1\.2 times"):
        MD1(1.2, 1.0)


def test_periodic_arrivals_slower_than_service_never_wait() -> None:
    cluster = Cluster((Device("d"),), (), ())
    log = simulate(cluster, (Compute("c", 0, 1.0),), periodic(0.9, 100), force_events=True)
    assert log.latency_s == pytest.approx(np.ones(100), rel=1e-12)
    assert percentiles(log.latency_s).p99 == pytest.approx(1.0)


def test_the_fork_join_note_brackets_a_simulation_of_queues_alone() -> None:
    """Without transfers the last of the devices is done between the two bounds."""
    services = [0.5, 0.4, 0.3]
    rng = np.random.default_rng(0)
    arrivals = np.cumsum(rng.exponential(1.0, 200_000))
    done = np.zeros_like(arrivals)
    for service in services:
        free = np.maximum.accumulate(arrivals - service * np.arange(arrivals.size)) + service * np.arange(arrivals.size)
        done = np.maximum(done, free + service)
    measured = float(np.quantile(done - arrivals, 0.95))
    low, high = map(float, re.findall(r"p95 ([\d.]+) to ([\d.]+) s", fork_join_note(1.0, services))[0])
    assert low * 0.99 <= measured <= high * 1.01
    assert low < high
