"""Power of a processor: idle by clock and voltage, energy of activity, leakage by temperature, and the cap.

P = base + tree (V/Vt)^2 f/ft + leak (V/Vt)^3 exp(kT dT) + E(V)/t, where E is the energy of the work: products and
core traffic with V^2, memory with none (A10-A13). Above the cap the clock falls until the mean power meets it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import exp

import numpy as np
import numpy.typing as npt

from hwsim.backends.processor.kernels import FORMATS, Kind
from hwsim.backends.processor.timing import Demand, Work

Column = npt.NDArray[np.float64]

#: Below this share of the peak clock a board does not go while it works (A13).
MIN_CLOCK = 0.15
_FP32 = FORMATS.index("fp32")


@dataclass(frozen=True)
class PowerCoefficients:
    """Energies at the voltage of the peak clock, and how idle power splits there (fractions of the idle at peak)."""

    matrix_j_per_flop: float = 1.0e-12
    fp32_j_per_flop: float = 1.5e-11  # of products in fp32, whose operands pass the registers at every step
    simd_j_per_flop: float = 4.0e-12
    core_j_per_byte: float = 120e-12
    memory_j_per_byte: float = 50e-12
    active: float = 0.0  # of the idle power at peak, added while a kernel runs
    idle_base: float = 0.48
    idle_tree: float = 0.17
    leakage_per_k: float = 0.012

    def scaled(self, process: float, fp32: float, memory: float) -> PowerCoefficients:
        """The same on another process (its matrix units and traffic, its fp32 products) and another memory."""
        return replace(
            self,
            matrix_j_per_flop=self.matrix_j_per_flop * process,
            fp32_j_per_flop=self.fp32_j_per_flop * fp32,
            simd_j_per_flop=self.simd_j_per_flop * process,
            core_j_per_byte=self.core_j_per_byte * process,
            memory_j_per_byte=self.memory_j_per_byte * memory,
        )


@dataclass(frozen=True)
class Electrics:
    """What the power of a board depends on besides its work; clocks in Hz, voltages relative to the one at peak."""

    peak_clock_hz: float
    floor_voltage: float
    knee_hz: float
    idle_w: float
    limit_w: float
    kelvin_per_w: float

    def voltage(self, clock_hz: float) -> float:
        """Voltage against that of the peak clock: flat up to the knee, then linear (A11)."""
        rise = (clock_hz - self.knee_hz) / (self.peak_clock_hz - self.knee_hz)
        return self.floor_voltage + (1 - self.floor_voltage) * max(0.0, rise)


@dataclass(frozen=True)
class Activity:
    """Energy of each kernel at the peak clock's voltage: what scales with its square, and what does not."""

    matrix_j: Column
    fp32_j: Column
    simd_j: Column
    core_j: Column
    memory_j: Column

    def total_j(self, voltage: float) -> Column:
        return (self.matrix_j + self.fp32_j + self.simd_j + self.core_j) * voltage**2 + self.memory_j


@dataclass(frozen=True)
class Operating:
    """The point a run settles at."""

    clock_hz: float
    voltage: float
    idle_w: float
    power_w: float
    capped: bool


def activity_of(
    work: Work, demand: Demand, machine_bytes_per_s: float, c: PowerCoefficients, format_cost: Column
) -> Activity:
    """Energy of the work. `format_cost` scales a matrix unit's energy by the operand format (one per `FORMATS`)."""
    flop = 2 * work.macs
    tiled = (work.kind <= Kind.SIMD_MATMUL) & (work.kind != Kind.DEPTHWISE)
    wide = tiled & ((work.kind == Kind.SIMD_MATMUL) | (work.format == _FP32))
    moved = work.read + work.write
    from_memory = np.minimum(moved, demand.memory_s * machine_bytes_per_s)
    return Activity(
        matrix_j=np.where(tiled & ~wide, flop * c.matrix_j_per_flop * format_cost[work.format], 0.0),
        fp32_j=np.where(wide, flop * c.fp32_j_per_flop, 0.0),
        simd_j=(np.where(tiled, 0.0, flop) + work.flops) * c.simd_j_per_flop,
        core_j=moved * c.core_j_per_byte,
        memory_j=from_memory * c.memory_j_per_byte,
    )


def idle_w(electrics: Electrics, c: PowerCoefficients, clock_hz: float, warmer_k: float) -> float:
    """Power with a context open and no work, `warmer_k` above the idle temperature."""
    v = electrics.voltage(clock_hz)
    leak = 1 - c.idle_base - c.idle_tree
    tree = c.idle_tree * v**2 * clock_hz / electrics.peak_clock_hz
    return electrics.idle_w * (c.idle_base + tree + leak * v**3 * exp(c.leakage_per_k * warmer_k))


def power_at(
    clock_hz: float, latency_s: float, busy_s: float, activity: Activity, counts: Column, electrics: Electrics,
    c: PowerCoefficients,
) -> tuple[float, float]:  # fmt: skip
    """(mean power, idle part) in watts of a run that takes `latency_s` at `clock_hz`."""
    dynamic = float(activity.total_j(electrics.voltage(clock_hz)) @ counts) / latency_s
    dynamic += c.active * electrics.idle_w * busy_s / latency_s
    warmer = electrics.kelvin_per_w * dynamic
    static = idle_w(electrics, c, clock_hz, warmer)
    return static + dynamic, static
