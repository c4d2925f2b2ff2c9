"""Requests on clusters: the two engines agree; faults, batches, heat and batteries do what they say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.backends.edge.network import Link, Route
from hwsim.backends.edge.program import Cluster, Compute, Device, Level, Radio, Task, Thermal, Transfer, fork_join
from hwsim.backends.edge.simulation import Change, Faults, Recovery, simulate
from hwsim.core.errors import UsageError

from .clusters import reference

ONE_DEVICE = (Compute("c", 0, 1.0),)


def alone(device: Device) -> Cluster:
    return Cluster((device,), (), ())


@st.composite
def private_clusters(draw: st.DrawFn) -> tuple[Cluster, tuple[Task, ...], np.ndarray]:
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    count = draw(st.integers(1, 6))
    links = tuple(Link(f"l{i}", 10 ** rng.uniform(4, 7), rng.uniform(0, 0.01)) for i in range(2 * count))
    tasks = fork_join(
        [Transfer(f"i{i}", i, 10 ** rng.uniform(3, 5)) for i in range(count)],
        [Compute(f"c{i}", i, rng.uniform(0, 0.3)) for i in range(count)],
        [Transfer(f"o{i}", count + i, 10 ** rng.uniform(2, 4)) for i in range(count)],
        Compute("fusion", count, rng.uniform(0, 0.05)),
    )
    cluster = Cluster(
        (*(Device(f"d{i}") for i in range(count)), Device("f")), links, tuple(Route((i,)) for i in range(2 * count))
    )
    return cluster, tasks, np.cumsum(rng.exponential(draw(st.sampled_from([0.05, 0.2, 1.0])), 60))


@given(private_clusters())
@settings(max_examples=60, deadline=None)
def test_fast_path_equals_event_loop(case: tuple[Cluster, tuple[Task, ...], np.ndarray]) -> None:
    cluster, tasks, arrivals = case
    fast, slow = simulate(cluster, tasks, arrivals), simulate(cluster, tasks, arrivals, force_events=True)
    assert fast.done_s == pytest.approx(slow.done_s, rel=1e-10)
    assert fast.busy_s == pytest.approx(slow.busy_s, rel=1e-9, abs=1e-12)
    assert fast.horizon_s == pytest.approx(slow.horizon_s, rel=1e-10)


@pytest.mark.parametrize(("kind", "expected"), [("dedicated", 1.026240), ("switched", 1.136400)])
def test_unloaded_request_is_the_closed_form(kind: str, expected: float) -> None:
    for force in (False, True):
        assert simulate(*reference(kind), np.zeros(1), force_events=force).latency_s[0] == pytest.approx(
            expected, abs=1e-12
        )


def test_ten_thousand_devices() -> None:
    log = simulate(*reference("switched", 10_000), np.zeros(1))
    # the source's link carries 10,000 inputs, the fusion's as many results
    assert log.latency_s[0] == pytest.approx(120.0 + 0.002 + 1.0 + 2.4 + 0.002 + 0.010, rel=1e-9)


def test_more_requests_in_flight_than_places() -> None:
    log = simulate(alone(Device("d")), ONE_DEVICE, np.zeros(1000), force_events=True)
    assert log.done_s == pytest.approx(np.arange(1, 1001))


def test_batching_shares_the_fixed_cost() -> None:
    """The first is served alone, the three that queued meanwhile together: 1 + 0.1, then 1 + 3 x 0.1."""
    tasks = (Compute("c", 0, 0.1, fixed_s=1.0),)
    log = simulate(alone(Device("d", batch=4)), tasks, np.array([0.0, 0.1, 0.2, 0.3]))
    assert log.done_s == pytest.approx([1.1, 2.4, 2.4, 2.4])


def test_waiting_restarts_the_work_when_the_device_is_back() -> None:
    faults = Faults((Change(0.5, 0.0, device=0), Change(2.0, 1.0, device=0)), Recovery.WAIT)
    log = simulate(alone(Device("d")), ONE_DEVICE, np.zeros(2), faults=faults)
    assert log.done_s == pytest.approx([3.0, 4.0])


def test_a_straggler_stretches_what_is_left() -> None:
    faults = Faults((Change(0.5, 0.25, device=0),))
    assert simulate(alone(Device("d")), ONE_DEVICE, np.zeros(1), faults=faults).done_s == pytest.approx([2.5])


def test_dropping_fuses_without_the_lost_branch() -> None:
    cluster, tasks = reference("dedicated", 3)
    faults = Faults((Change(0.2, 0.0, device=1),), Recovery.DROP, detect_s=0.1)
    log = simulate(cluster, tasks, np.zeros(2), faults=faults)
    assert log.missing.tolist() == [1, 1]
    assert log.missing_mask.tolist() == [0b10, 0b10]
    assert np.isfinite(log.done_s).all()


def test_without_a_join_a_lost_task_fails_its_request() -> None:
    faults = Faults((Change(0.5, 0.0, device=0),), Recovery.DROP)
    assert math.isnan(simulate(alone(Device("d")), ONE_DEVICE, np.zeros(1), faults=faults).done_s[0])


def test_reassigning_sends_the_work_to_a_spare() -> None:
    """Device 0 dies at 0.5 s; found out at 0.7 s; device 1 gets the input (0.1 s) and computes for 2 s; then fusion."""
    cluster = Cluster((Device("a"), Device("b"), Device("f")), (Link("L", 1e6, 0.0),), (Route((0,)),))
    tasks: tuple[Task, ...] = (
        Compute("work", 0, 1.0, spare=1, join=3, branch=0),
        Transfer("again", 0, 1e5, standby=True, branch=0),
        Compute("work again", 1, 2.0, after=(1,), join=3, branch=0),
        Compute("fusion", 2, 0.01, after=(0, 2)),
    )
    faults = Faults((Change(0.5, 0.0, device=0),), Recovery.REASSIGN, detect_s=0.2)
    log = simulate(cluster, tasks, np.zeros(1), faults=faults)
    assert log.done_s == pytest.approx([0.7 + 0.1 + 2.0 + 0.01])
    assert log.missing.tolist() == [0]
    assert simulate(cluster, tasks, np.zeros(1), force_events=True).done_s == pytest.approx([1.01])


def test_a_deadline_fuses_what_has_arrived() -> None:
    cluster, tasks = reference("dedicated", 3)
    faults = Faults((Change(0.0, 0.01, device=2),), deadline_s=2.0)
    log = simulate(cluster, tasks, np.zeros(1), faults=faults)
    assert log.done_s == pytest.approx([2.01])
    assert (log.missing[0], log.missing_mask[0]) == (1, 0b100)


def test_a_lost_link_stalls_its_flows_until_it_is_back() -> None:
    cluster = Cluster((Device("d"),), (Link("L", 1e6, 0.0),), (Route((0,)),))
    tasks = (Transfer("in", 0, 1e6), Compute("c", 0, 0.0, after=(0,)))
    faults = Faults((Change(0.25, 0.0, link=0), Change(3.25, 1.0, link=0)))
    assert simulate(cluster, tasks, np.zeros(1), faults=faults).done_s == pytest.approx([4.0])


def test_energy_is_idle_and_load_power_over_time() -> None:
    device = Device("d", idle_w=2.0, levels=(Level(1.0, 5.0),))
    for force in (False, True):
        log = simulate(alone(device), ONE_DEVICE, np.array([0.0, 3.0]), force_events=force)
        assert log.device_energy_j == pytest.approx([2 * 5.0 + 2 * 2.0])


def test_radio_energy_counts_bytes_and_frames() -> None:
    radio = Radio(send_j_per_byte=1e-6, send_j_per_frame=1e-3, receive_j_per_byte=2e-6, frame_bytes=1000)
    cluster = Cluster((Device("a", radio=radio), Device("b", radio=radio)), (Link("L", 1e6, 0.0),), (Route((0,)),))
    tasks = (Transfer("m", 0, 2500, sender=0, receiver=1), Compute("c", 1, 0.1, after=(0,)))
    for force in (False, True):
        log = simulate(cluster, tasks, np.zeros(4), force_events=force)
        assert log.radio_energy_j == pytest.approx([4 * (2.5e-3 + 3e-3), 4 * 5e-3])


def test_a_battery_that_empties_takes_its_device_down() -> None:
    device = Device("d", idle_w=1.0, levels=(Level(1.0, 4.0),), battery_j=10.0)
    log = simulate(alone(device), ONE_DEVICE, np.array([0.0, 1.0, 2.0]))
    assert log.done_s[:2] == pytest.approx([1.0, 2.0])
    assert math.isnan(log.done_s[2])
    assert log.empty_at_s == pytest.approx([2.5])
    assert log.device_energy_j == pytest.approx([10.0])


def test_a_hot_device_throttles_and_the_time_is_exact() -> None:
    """R C = 10 s, heading for 20 + 10 x 8 = 100 C from 20 C: it passes 60 C after 10 ln 2 s, then at half clock."""
    heat = Thermal(resistance_k_per_w=10.0, capacity_j_per_k=1.0, ambient_c=20.0, hot_c=60.0, cool_c=30.0)
    device = Device("d", idle_w=0.0, levels=(Level(1.0, 8.0), Level(0.5, 3.0)), thermal=heat)
    log = simulate(alone(device), (Compute("c", 0, 10.0),), np.zeros(1))
    full = 10.0 * math.log(2.0)
    assert log.done_s == pytest.approx([full + (10.0 - full) * 2.0])
    assert log.peak_c == pytest.approx([60.0])
    assert log.throttled_s == pytest.approx([(10.0 - full) * 2.0])


def test_a_cooled_device_speeds_up_again() -> None:
    heat = Thermal(10.0, 1.0, 20.0, 60.0, 50.0)
    device = Device("d", levels=(Level(1.0, 8.0), Level(0.5, 2.0)), thermal=heat)
    log = simulate(alone(device), (Compute("c", 0, 60.0),), np.zeros(1))
    assert 60.0 < log.done_s[0] < 120.0
    assert log.peak_c[0] <= 60.0 + 1e-9


def test_more_load_never_shortens_the_mean_latency() -> None:
    rng = np.random.default_rng(5)
    gaps = rng.exponential(1.0, 2000)
    means = [simulate(*reference("switched"), np.cumsum(gaps * s)).latency_s.mean() for s in (4.0, 2.0, 1.2)]
    assert means == sorted(means)


def test_trace_has_every_task_in_order() -> None:
    cluster, tasks = reference("switched", 3)
    trace = simulate(cluster, tasks, np.array([0.0, 0.1]), trace_requests=2).trace
    assert trace.end_s.shape == (2, len(tasks))
    assert (trace.ready_s <= trace.start_s).all()
    assert (trace.start_s <= trace.end_s).all()


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ((Compute("a", 0, 1.0, after=(1,)), Compute("b", 0, 1.0, after=(0,))), "waits, in the end, for itself"),
        ((Compute("a", 0, 1.0), Compute("b", 0, 1.0)), "2 last tasks"),
        ((Compute("a", 7, 1.0),), "device 7"),
        ((Transfer("a", 3, 1.0),), "route 3"),
        ((Compute("a", 0, -1.0),), "work below 0 s"),
    ],
)
def test_says_what_is_wrong(tasks: tuple[Task, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        simulate(alone(Device("d")), tasks, np.zeros(1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (Change(1.0, 0.0, device=5), "device 5"),
        (Change(1.0, 0.0, link=0), "link 0"),
        (Change(1.0, -1.0, device=0), "fraction -1"),
        (Change(1.0, 0.0), "a change names a device or a link"),
    ],
)
def test_a_change_of_nothing_is_refused(change: Change, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        simulate(alone(Device("d")), ONE_DEVICE, np.zeros(1), faults=Faults((change,)))


def test_idle_power_above_load_power_is_refused() -> None:
    """The values that EdgeSimPy holds for a Raspberry Pi 4."""
    with pytest.raises(UsageError, match=r"draws 18.688 W idle and 7.3 W at load"):
        Device("Raspberry Pi 4", idle_w=18.688, levels=(Level(1.0, 7.3),))
