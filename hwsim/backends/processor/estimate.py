"""One run of a kernel table on one processor: queue, clock, power. Closed-form but for the clock under a cap."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hwsim.backends.processor.kernels import KernelTable
from hwsim.backends.processor.power import (
    MIN_CLOCK,
    Activity,
    Electrics,
    Operating,
    PowerCoefficients,
    activity_of,
    power_at,
)
from hwsim.backends.processor.timing import Demand, Machine, TimingCoefficients, Work, demand_of, work_of

Column = npt.NDArray[np.float64]

#: Halvings of the clock's interval: to a billionth of its width.
_BISECTIONS = 30


@dataclass(frozen=True)
class Device:
    """Everything a prediction needs of a processor."""

    machine: Machine
    electrics: Electrics
    timing: TimingCoefficients
    power: PowerCoefficients
    format_cost: Column


@dataclass(frozen=True)
class Prediction:
    """A run: per-launch times on the device in order, and totals."""

    latency_s: float
    start_s: Column
    kernel_s: Column
    work: Work
    demand: Demand
    activity: Activity
    operating: Operating

    @property
    def energy_j(self) -> float:
        return self.operating.power_w * self.latency_s


def queue(kernel_s: Column, issued_s: Column) -> Column:
    """End of each kernel when launches are issued at `issued_s` and run in order.

    end[i] = max(end[i-1], issued[i]) + kernel[i], unrolled: cumulative times plus the running maximum of the waits.
    """
    ends = np.cumsum(kernel_s)
    waits = np.maximum.accumulate(issued_s - (ends - kernel_s))
    result: Column = ends + np.maximum(waits, 0.0)
    return result


def predict(table: KernelTable, batch: float, device: Device) -> Prediction:
    """Latency, clock and power of `table` at `batch` samples."""
    work = work_of(table.distinct, batch)
    demand = demand_of(work, device.machine, device.timing)
    activity = activity_of(work, demand, device.machine.memory_bytes_per_s, device.power, device.format_cost)
    issued = np.cumsum(work.calls[table.index]) * device.timing.dispatch_s
    counts = table.distinct.count

    def run(clock_hz: float) -> tuple[Column, Column, float]:
        kernel_s = demand.seconds(clock_hz)[table.index]
        ends = queue(kernel_s, issued)
        return kernel_s, ends, float(ends[-1]) if len(ends) else 0.0

    def watts(clock_hz: float) -> float:
        kernel_s, _, latency_s = run(clock_hz)
        return power_at(clock_hz, latency_s, float(kernel_s.sum()), activity, counts, device.electrics, device.power)[0]

    clock = _clock_under_cap(device, watts)
    kernel_s, ends, latency_s = run(clock)
    power, static = power_at(clock, latency_s, float(kernel_s.sum()), activity, counts, device.electrics, device.power)
    operating = Operating(clock, device.electrics.voltage(clock), static, power, clock < device.machine.clock_hz)
    return Prediction(latency_s, ends - kernel_s, kernel_s, work, demand, activity, operating)


def _clock_under_cap(device: Device, watts: Callable[[float], float]) -> float:
    """The highest clock at which the mean power stays within the cap (power rises with the clock)."""
    high = device.machine.clock_hz
    if watts(high) <= device.electrics.limit_w:
        return high
    low = min(MIN_CLOCK * device.electrics.peak_clock_hz, high)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if watts(middle) <= device.electrics.limit_w else (low, middle)
    return low
