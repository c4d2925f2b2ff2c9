"""Time of kernels on a processor: closed-form, on arrays of kernels. No state, no graph.

A kernel takes the longer of its arithmetic (in whole tiles and whole waves of tiles over the cores), its traffic to
the shared cache and its traffic to memory, joined smoothly, plus a fixed start. See ASSUMPTIONS.md A1-A8.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from hwsim.backends.processor.kernels import FORMAT_BYTES, Columns, Kind

Column = npt.NDArray[np.float64]

#: Tiles (rows, columns) of a GPU library's matrix kernels; a library picks the one that ends first (A1).
GPU_TILES = np.array(
    [(256, 128), (128, 256), (128, 128), (256, 64), (64, 256), (128, 64), (64, 128), (64, 64), (64, 32), (32, 64)],
    dtype=np.float64,
)
#: Blocks a CPU library deals to its threads: multiples of a micro-kernel of about 6 x 16 (A1).
CPU_TILES = np.array([(192, 64), (96, 64), (48, 64), (24, 64), (12, 64), (96, 16), (24, 16), (6, 16)], dtype=np.float64)
#: Depth of one step of the tile loop, in bytes of an operand row: K is padded to it (A1).
GPU_STEP_BYTES, CPU_STEP_BYTES = 64.0, 4.0
#: Share of a tile's prologue and epilogue that later waves do not hide (A1).
HIDDEN_TILE_COST = 0.3


@dataclass(frozen=True)
class Machine:
    """A processor's capacities in SI. `matrix_flop_per_cycle` (one per `kernels.FORMATS`) and `simd_flop_per_cycle`
    (fp32) are per core; `clock_hz` is the highest clock allowed."""

    cores: float
    clock_hz: float
    matrix_flop_per_cycle: Column
    simd_flop_per_cycle: float
    memory_bytes_per_s: float
    cache_bytes: float
    tiles: Column = field(default_factory=lambda: GPU_TILES)
    step_bytes: float = GPU_STEP_BYTES


@dataclass(frozen=True)
class TimingCoefficients:
    """The fitted physics: fractions of peaks that kernels reach, and fixed costs."""

    matrix: float = 0.85  # fraction of the matrix peak in a full tile loop
    batched: float = 0.7  # of products of activations, many and small
    conv: float = 0.75
    grouped: float = 0.75  # as dense ones: the same tile loop
    depthwise: float = 0.3  # of the SIMD peak
    attention: float = 0.55
    masked_attention: float = 0.4
    simd_matmul: float = 0.7  # of the SIMD peak
    memory: float = 0.85  # fraction of the memory bandwidth of a streaming kernel
    copy: float = 0.7
    gather: float = 0.4
    conv_memory: float = 0.7
    simd: float = 0.5  # of the SIMD peak, in elementwise arithmetic
    cache_bytes_per_cycle: float = 48.0  # per core
    resident: float = 0.5  # fraction of the cache that holds the previous kernel's output
    tile_cycles: float = 1500.0  # prologue and epilogue of a tile
    start_s: float = 3e-6  # per kernel, on the device
    latency_s: float = 2.5e-7  # of one step of a serial chain: a dependent read, or a rolled element's address
    dispatch_s: float = 8e-6  # per operator, on the host
    overlap: float = 4.0  # exponent that joins compute and memory: infinite = perfect overlap

    def with_dispatch(self, seconds: float) -> TimingCoefficients:
        """The same with another host."""
        return replace(self, dispatch_s=seconds)


@dataclass(frozen=True)
class Work:
    """Kernels of one batch as arrays."""

    kind: npt.NDArray[np.int64]
    format: npt.NDArray[np.int64]
    read: Column
    write: Column
    products: Column
    m: Column
    n: Column
    k: Column
    flops: Column
    serial: Column
    calls: Column
    launches: Column

    @property
    def macs(self) -> Column:
        return self.products * self.m * self.n * self.k


def work_of(columns: Columns, batch: Column | float) -> Work:
    """The kernels at `batch` (a number, or one per kernel)."""
    grow = np.where(columns.fixed, 1.0, batch)
    return Work(
        kind=columns.kind,
        format=columns.format,
        read=columns.read_fixed + columns.read_sample * batch,
        write=columns.write_fixed + columns.write_sample * batch,
        products=columns.products * np.where(columns.grows_rows, 1.0, grow),
        m=columns.m * np.where(columns.grows_rows, grow, 1.0),
        n=columns.n,
        k=columns.k,
        flops=columns.flops * grow,
        serial=columns.serial * grow,
        calls=columns.calls,
        launches=columns.launches,
    )


@dataclass(frozen=True)
class Demand:
    """What each kernel asks of the processor, apart from the clock: `seconds(clock)` joins it."""

    cycles: Column
    cache_cycles: Column
    memory_s: Column
    latency_s: Column
    start_s: Column
    overlap: float

    def seconds(self, clock_hz: float | Column) -> Column:
        """Time of each kernel at a clock (one, or one per kernel).

        Arithmetic and traffic overlap as a p-norm, which tends to the longer of the two (A2).
        """
        p = self.overlap
        compute, memory = self.cycles / clock_hz, self.memory_s + self.cache_cycles / clock_hz
        longer = np.maximum(np.maximum(compute, memory), 1e-300)
        joined = longer * ((compute / longer) ** p + (memory / longer) ** p) ** (1 / p)
        return np.maximum(joined, self.latency_s) + self.start_s


def demand_of(work: Work, machine: Machine, c: TimingCoefficients) -> Demand:
    """Cycles, traffic and fixed costs of each kernel."""
    moved = work.read + work.write
    cached = np.minimum(1.0, c.resident * machine.cache_bytes / np.maximum(moved, 1.0)) * moved
    bandwidth = machine.memory_bytes_per_s * _by_kind(work.kind, c.memory, {
        Kind.COPY: c.copy, Kind.GATHER: c.gather, Kind.CONV: c.conv_memory, Kind.GROUPED: c.conv_memory,
        Kind.DEPTHWISE: c.conv_memory,
    })  # fmt: skip
    return Demand(
        cycles=_arithmetic_cycles(work, machine, c),
        cache_cycles=cached / (c.cache_bytes_per_cycle * machine.cores),
        memory_s=(moved - cached) / bandwidth,
        latency_s=work.serial * c.latency_s,
        start_s=c.start_s * work.launches,
        overlap=c.overlap,
    )


def _by_kind(kind: npt.NDArray[np.int64], default: float, values: Mapping[Kind, float]) -> Column:
    table = np.full(len(Kind), default)
    for key, value in values.items():
        table[key] = value
    return table[kind]


def _arithmetic_cycles(work: Work, machine: Machine, c: TimingCoefficients) -> Column:
    """Cycles on the matrix units (tiled), or on the SIMD lanes for depthwise loops and elementwise work."""
    simd = machine.cores * machine.simd_flop_per_cycle
    cycles = work.flops / (simd * c.simd)
    loops = work.kind == Kind.DEPTHWISE
    cycles[loops] = 2 * work.macs[loops] / (simd * c.depthwise)
    tiled = np.flatnonzero((work.kind <= Kind.SIMD_MATMUL) & ~loops)
    fraction = _by_kind(work.kind[tiled], c.matrix, {
        Kind.MATMUL: c.batched, Kind.CONV: c.conv, Kind.GROUPED: c.grouped, Kind.ATTENTION: c.attention,
        Kind.MASKED_ATTENTION: c.masked_attention, Kind.SIMD_MATMUL: c.simd_matmul,
    })  # fmt: skip
    rate = np.where(work.kind[tiled] == Kind.SIMD_MATMUL, machine.simd_flop_per_cycle,
                    machine.matrix_flop_per_cycle[work.format[tiled]])  # fmt: skip
    cycles[tiled] = tile_cycles(work, tiled, rate * fraction, machine, c)
    return cycles


def tile_cycles(
    work: Work, index: npt.NDArray[np.int64], rate: Column, machine: Machine, c: TimingCoefficients
) -> Column:
    """Cycles of tiled products: whole tiles in whole waves over the cores, each fed from the shared cache.

    The library takes the tile that ends first. A tile's prologue and epilogue show once, and in part
    between waves, where the next tile's loads hide behind the last one's products (A1).
    """
    rows, cols = machine.tiles[:, 0], machine.tiles[:, 1]
    width = FORMAT_BYTES[work.format[index]][:, None]
    step = np.maximum(machine.step_bytes / width, 1.0)
    depth = np.ceil(np.maximum(work.k[index], 1.0)[:, None] / step) * step
    tiles = (
        work.products[index][:, None] * np.ceil(work.m[index][:, None] / rows) * np.ceil(work.n[index][:, None] / cols)
    )
    compute = 2 * rows * cols * depth / rate[:, None]
    feed = (rows + cols) * depth * width / c.cache_bytes_per_cycle
    waves = np.ceil(tiles / machine.cores)
    per_wave = np.maximum(compute, feed) + HIDDEN_TILE_COST * c.tile_cycles
    result: Column = (waves * per_wave + (1 - HIDDEN_TILE_COST) * c.tile_cycles).min(axis=1)
    return result
