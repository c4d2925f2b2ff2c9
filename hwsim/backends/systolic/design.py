"""A spec in the kernels' units. Any numeric leaf of the spec may be an array: one entry per design of a sweep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, get_type_hints

from hwsim.backends.systolic import technology
from hwsim.backends.systolic.machine import DATAFLOWS, IS, OS, WS, Machine, Unit
from hwsim.backends.systolic.spec import PRIMITIVES, BufferSpec, StoreSpec, SystolicSpec
from hwsim.core.formats import bits

if TYPE_CHECKING:
    from hwsim.backends.systolic.technology import Values

#: Bandwidth of what is not a bottleneck, bytes per cycle.
UNLIMITED = 1e30

#: Fields of `Machine` that are whole numbers.
WHOLE = frozenset(name for name, kind in get_type_hints(Machine).items() if kind is int)

# Adders and multipliers that a primitive takes where the file gives no energy (A12): a second-order polynomial for
# exp and gelu (as I-BERT, arXiv:2101.01321), 32 steps of add for a division, two Newton steps for rsqrt, one 32-bit
# product and a rounding add to requantize.
_ADDS_AND_MULS = {
    "add": (1, 0), "mul": (0, 1), "max": (1, 0), "exp": (3, 2), "div": (32, 0), "rsqrt": (4, 6), "gelu": (4, 3),
    "requantize": (1, 1),
}  # fmt: skip


@dataclass(frozen=True)
class Design:
    """What the kernels read, as columns: `machine` and `unit` by field name; clock, static power and area beside."""

    machine: dict[str, Values]
    lanes: Values
    cycles: tuple[Values, ...]
    energy_j: tuple[Values, ...]
    clock_hz: Values
    leakage_w: Values
    area_mm2: Values
    dram_bytes: Values

    def one(self) -> tuple[Machine, Unit]:
        """The kernels' tuples of a design without arrays."""
        fields = {name: int(value) if name in WHOLE else float(value) for name, value in self.machine.items()}
        unit = Unit(float(self.lanes), tuple(map(float, self.cycles)), tuple(map(float, self.energy_j)))
        return Machine(**fields), unit  # type: ignore[arg-type]


def design_of(spec: SystolicSpec) -> Design:
    """The columns of a spec."""
    scale = technology.energy_scale(spec.technology.node, spec.technology.voltage_v)
    area = _area(spec)
    leakage = area * technology.LEAKAGE_W_PER_MM2 if spec.leakage_w is None else spec.leakage_w
    energies = spec.vector.energy
    given = [getattr(energies, f"{name}_j") for name in PRIMITIVES]
    derived = [_primitive_energy(name) * scale for name in PRIMITIVES]
    return Design(
        _machine(spec, scale),
        spec.vector.lanes,
        tuple(getattr(spec.vector.cycles, name) for name in PRIMITIVES),
        tuple(d if g is None else g for g, d in zip(given, derived, strict=True)),
        spec.array.clock_hz,
        leakage,
        area,
        spec.memory.dram.size_bytes,
    )


def _primitive_energy(name: str) -> float:
    adds, muls = _ADDS_AND_MULS[name]
    return adds * technology.ADD_INT32_J + muls * technology.MUL_INT32_J


def _port_bits(spec: SystolicSpec) -> dict[str, Values]:
    """Width of each memory's port: what the array takes or gives in a cycle (A7)."""
    array, precision = spec.array, spec.precision
    activations, weights = bits(precision.activations), bits(precision.weights)
    inputs = {WS: array.rows * activations, OS: array.rows * activations, IS: array.cols * activations}
    stationary = {WS: array.cols * weights, OS: array.cols * weights, IS: array.rows * weights}
    dataflow = DATAFLOWS.index(array.dataflow)
    return {
        "buffer": inputs[dataflow],
        "weight": stationary[dataflow],
        "accumulator": array.cols * bits(precision.accumulator),
    }


def _store(store: BufferSpec | StoreSpec | None, width_bits: Values, scale: float) -> tuple[Values, Values, Values]:
    """Size in bytes and joules per byte read and written; zeros for a memory that is not there."""
    if store is None:
        return 0, 0.0, 0.0
    read: Values
    write: Values
    if store.energy_j_per_bit is None:
        read = technology.sram_energy(store.size_bytes, width_bits) * scale
        write = technology.sram_energy(store.size_bytes, width_bits, write=True) * scale
    else:
        read = write = store.energy_j_per_bit
    if store.write_energy_j_per_bit is not None:
        write = store.write_energy_j_per_bit
    return store.size_bytes, read * 8, write * 8


def _machine(spec: SystolicSpec, scale: float) -> dict[str, Values]:
    array, memory, dram = spec.array, spec.memory, spec.memory.dram
    clock, width = array.clock_hz, _port_bits(spec)
    buffer, buffer_read, buffer_write = _store(memory.buffer, width["buffer"], scale)
    weight, weight_read, weight_write = _store(memory.weight_buffer, width["weight"], scale)
    sums, sums_read, sums_write = _store(memory.accumulator, width["accumulator"], scale)
    if memory.accumulator is None:
        sums_read, sums_write = buffer_read, buffer_write
    stage_spec = memory.global_buffer
    stage_rate = UNLIMITED if stage_spec is None else stage_spec.bandwidth_bytes_per_s / clock
    stage, stage_read, stage_write = _store(stage_spec, 256, scale)
    read_rate, write_rate = memory.buffer.read_bandwidth_bytes_per_s, memory.buffer.write_bandwidth_bytes_per_s
    register = memory.register_energy_j_per_bit
    dram_write = dram.energy_j_per_bit if dram.write_energy_j_per_bit is None else dram.write_energy_j_per_bit
    return {
        "rows": array.rows,
        "cols": array.cols,
        "dataflow": DATAFLOWS.index(array.dataflow),
        "exact": int(array.timing == "exact"),
        "overlap": int(array.double_buffered),
        "cores": array.cores,
        "shared": int(memory.buffer.shared),
        "double": 2 if memory.buffer.double_buffered else 1,
        "buffer_bytes": buffer,
        "weight_bytes": weight,
        "accumulator_bytes": sums,
        "stage_bytes": stage,
        "dram_bytes_per_cycle": dram.bandwidth_bytes_per_s / clock,
        "stage_bytes_per_cycle": stage_rate,
        "read_bytes_per_cycle": UNLIMITED if read_rate is None else read_rate / clock,
        "write_bytes_per_cycle": UNLIMITED if write_rate is None else write_rate / clock,
        "latency_cycles": dram.latency_s * clock,
        "burst_bytes": dram.burst_bytes,
        "dram_read_j": dram.energy_j_per_bit * 8,
        "dram_write_j": dram_write * 8,
        "stage_read_j": stage_read,
        "stage_write_j": stage_write,
        "buffer_read_j": buffer_read,
        "buffer_write_j": buffer_write,
        "weight_read_j": weight_read,
        "weight_write_j": weight_write,
        "accumulator_read_j": sums_read,
        "accumulator_write_j": sums_write,
        "register_j": 8 * (technology.REGISTER_J_PER_BIT * scale if register is None else register),
        "link_j": 8 * memory.link_energy_j_per_bit,
        "mac_scale": scale if array.mac_energy_j is None else 1.0,
    }


def _area(spec: SystolicSpec) -> Values:
    """mm2 of arrays, memories and vector units, scaled from 45 nm; the published area where the file has one."""
    if spec.area_mm2 is not None:
        return spec.area_mm2
    array, memory, precision = spec.array, spec.memory, spec.precision
    pe = array.mac_area_mm2
    scale = technology.area_scale(spec.technology.node)
    if pe is None:
        pe = scale * technology.mac_area(precision.weights, precision.activations, precision.accumulator)
    private = 1 if memory.buffer.shared else array.cores
    area: Values = array.rows * array.cols * array.cores * pe
    area = area + array.cores * spec.vector.lanes * technology.lane_area() * scale
    area = area + private * technology.sram_area(memory.buffer.size_bytes) * scale
    for store in (memory.weight_buffer, memory.accumulator):
        if store is not None:
            area = area + array.cores * technology.sram_area(store.size_bytes) * scale
    if memory.global_buffer is not None:
        area = area + technology.sram_area(memory.global_buffer.size_bytes) * scale
    return area
