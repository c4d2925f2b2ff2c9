"""The measuring protocol on a replayed board: what a window must give, and what it must refuse."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwsim.core.errors import CapabilityError, UsageError
from hwsim.measure.device import Identity, ReplayDevice, open_device
from hwsim.measure.window import Protocol, measure_idle, measure_window, measure_work

BOARD = Identity("Replay", "1.0", 250.0, "replay")


def board(work_s: float = 0.01, trace: tuple[tuple[float, float, float, float], ...] = ()) -> ReplayDevice:
    return ReplayDevice(BOARD, trace or ((0.0, 100.0, 1e9, 50.0),), work_s)


@given(work_s=st.floats(1e-4, 2.0), seconds=st.floats(5.0, 20.0))
def test_constant_power_gives_the_works_own_time_and_energy(work_s: float, seconds: float) -> None:
    device = board(work_s)
    window = measure_window(device, device.work, seconds, work_s)
    assert window.seconds >= seconds
    assert window.latency_s == pytest.approx(work_s)
    assert window.energy_j == pytest.approx(100.0 * work_s)
    assert window.power_w == pytest.approx(100.0)


def test_a_window_integrates_a_trace_that_steps() -> None:
    device = board(0.5, ((0.0, 50.0, 1e9, 40.0), (5.0, 150.0, 2e9, 60.0)))
    window = measure_window(device, device.work, 10.0, 0.5)
    assert window.power_w == pytest.approx(100.0)
    assert 1e9 < window.clock_hz < 2e9
    assert 40 < window.temperature_c < 60


def test_idle_is_measured_before_any_work() -> None:
    trace = ((0.0, 42.0, 3e8, 30.0), (5.0, 120.0, 1e9, 60.0))
    device = board(0.01, trace)
    measured = measure_work(device, device.work, Protocol(window_s=6.0, repeats=3, pause_s=1.0))
    assert measured.idle_w == pytest.approx(42.0)
    assert measured.power_w == pytest.approx(120.0)
    assert len(measured.windows) == 3
    assert measured.latency_sd_s == pytest.approx(0.0, abs=1e-12)


def test_warm_up_comes_before_the_first_window() -> None:
    device = board(0.1)
    measure_work(device, device.work, Protocol(warmup_calls=25))
    assert device.calls > 25 + 3 * 50


def test_spread_is_that_of_the_windows() -> None:
    device = board(0.1, ((0.0, 100.0, 1e9, 50.0), (12.0, 110.0, 1e9, 55.0), (24.0, 120.0, 1e9, 55.0)))
    measured = measure_work(device, device.work, Protocol(repeats=3))
    assert measured.energy_sd_j > 0
    assert measured.energy_j == pytest.approx(sum(w.energy_j for w in measured.windows) / 3)


@pytest.mark.parametrize(
    ("values", "text"),
    [({"window_s": 2.0}, "a window of 2 s is too short"), ({"repeats": 1}, "a spread needs repeats")],
)
def test_a_protocol_that_reads_low_or_has_no_spread_is_refused(values: dict[str, float], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        Protocol(**values)  # type: ignore[arg-type]


def test_a_trace_must_rise() -> None:
    with pytest.raises(UsageError, match="starts at 0 s and its times rise"):
        ReplayDevice(BOARD, [(0.0, 1.0, 1.0, 1.0), (0.0, 2.0, 1.0, 1.0)], 0.1)


def test_idle_of_a_steady_board_is_its_power() -> None:
    assert measure_idle(board(), 5.0) == pytest.approx(100.0)


@pytest.mark.parametrize("name", ["cpu", "cuda:x", "tpu:0"])
def test_a_device_that_cannot_be_measured_is_named(name: str) -> None:
    with pytest.raises(UsageError, match=f"device '{name}' cannot be measured"):
        open_device(name)


def test_without_a_gpu_the_exit_code_is_four() -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(CapabilityError, match=r"measuring needs the package|no CUDA GPU") as caught:
        open_device("cuda:0")
    assert caught.value.exit_code == 4
