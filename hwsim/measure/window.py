"""One measurement: warm up, then windows of fixed length with energy, clock and temperature at both ends.

Practice of facts known about the sensors: windows of 5 s or more (shorter read low), a pause between repeats, the
window opened after warm-up in the same process, synchronised at both ends (arXiv:2312.02741; Zeus).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from statistics import fmean, stdev

from hwsim.core.errors import UsageError
from hwsim.measure.device import Device, Reading

MIN_WINDOW_S = 5.0
#: Readings of clock and temperature per window; each costs one synchronisation.
SAMPLES = 10


@dataclass(frozen=True)
class Protocol:
    """How a workload is measured."""

    window_s: float = MIN_WINDOW_S
    warmup_calls: int = 10
    repeats: int = 3
    pause_s: float = 5.0
    idle_s: float = MIN_WINDOW_S

    def __post_init__(self) -> None:
        if self.window_s < MIN_WINDOW_S or self.idle_s < MIN_WINDOW_S:
            raise UsageError(
                f"a window of {min(self.window_s, self.idle_s):g} s is too short",
                expected=f"{MIN_WINDOW_S:g} s or more: power sensors read low before they settle",
            )
        if self.repeats < 2:
            raise UsageError("a spread needs repeats", got=self.repeats, expected="2 repeats or more")


@dataclass(frozen=True)
class Window:
    """What one window gave, per call of the workload."""

    latency_s: float
    energy_j: float
    clock_hz: float
    temperature_c: float
    calls: int
    seconds: float

    @property
    def power_w(self) -> float:
        return self.energy_j / self.latency_s


@dataclass(frozen=True)
class Measured:
    """Means over repeats with their standard deviations; `idle_w` is the power with the context open and no work."""

    latency_s: float
    latency_sd_s: float
    energy_j: float
    energy_sd_j: float
    idle_w: float
    clock_hz: float
    temperature_c: float
    windows: tuple[Window, ...]

    @property
    def power_w(self) -> float:
        return self.energy_j / self.latency_s


def measure_idle(device: Device, seconds: float) -> float:
    """Mean power in watts with no work queued."""
    with device.sampling():
        device.synchronize()
        before, start_s = device.reading(), device.now_s()
        device.sleep(seconds)
        after, end_s = device.reading(), device.now_s()
    return (after.energy_j - before.energy_j) / (end_s - start_s)


def measure_window(device: Device, work: Callable[[], object], seconds: float, expected_s: float) -> Window:
    """Run `work` back to back for at least `seconds`; `expected_s` is its approximate latency."""
    chunk = max(1, ceil(seconds / SAMPLES / expected_s))
    samples: list[Reading] = []
    calls = 0
    with device.sampling():
        device.synchronize()
        first, start_s = device.reading(), device.now_s()
        while device.now_s() - start_s < seconds:
            for _ in range(chunk):
                work()
            calls += chunk
            device.synchronize()
            samples.append(device.reading())
        end_s = device.now_s()
    elapsed_s = end_s - start_s
    return Window(
        latency_s=elapsed_s / calls,
        energy_j=(samples[-1].energy_j - first.energy_j) / calls,
        clock_hz=fmean(sample.clock_hz for sample in samples),
        temperature_c=fmean(sample.temperature_c for sample in samples),
        calls=calls,
        seconds=elapsed_s,
    )


def measure_work(device: Device, work: Callable[[], object], protocol: Protocol) -> Measured:
    """Idle, warm-up, then `protocol.repeats` windows with pauses: one row of a measurement file."""
    idle_w = measure_idle(device, protocol.idle_s)
    for _ in range(protocol.warmup_calls):
        work()
    device.synchronize()
    start_s = device.now_s()
    work()
    device.synchronize()
    expected_s = max(device.now_s() - start_s, 1e-6)
    windows = []
    for index in range(protocol.repeats):
        if index:
            device.sleep(protocol.pause_s)
            work()  # the pause let the clock fall: one call outside the window brings it back
            device.synchronize()
        windows.append(measure_window(device, work, protocol.window_s, expected_s))
    return Measured(
        latency_s=fmean(w.latency_s for w in windows),
        latency_sd_s=stdev(w.latency_s for w in windows),
        energy_j=fmean(w.energy_j for w in windows),
        energy_sd_j=stdev(w.energy_j for w in windows),
        idle_w=idle_w,
        clock_hz=fmean(w.clock_hz for w in windows),
        temperature_c=fmean(w.temperature_c for w in windows),
        windows=tuple(windows),
    )
