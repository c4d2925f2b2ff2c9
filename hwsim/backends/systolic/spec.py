"""What a systolic arch file can say. Keys are the field names without their unit; every number may carry a source."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from hwsim.core.errors import SpecError, UsageError
from hwsim.spec.arch import Arch, ArchSpec
from hwsim.spec.fields import (
    Bytes,
    BytesPerSecond,
    Count,
    Fraction,
    Hertz,
    Joules,
    JoulesPerBit,
    Positive,
    Quantity,
    Seconds,
    Spec,
    Volts,
    Watts,
)
from hwsim.spec.precision import Format, Precision

SquareMillimetres = Annotated[float, Quantity("mm^2"), Field(ge=0)]
#: Primitive operations of the vector unit; every operator that is no matrix product is a count of these.
PRIMITIVES = ("add", "mul", "max", "exp", "div", "rsqrt", "gelu", "requantize")


class ArraySpec(Spec):
    """The grid of processing elements: one MAC per PE and cycle."""

    rows: Count
    cols: Count
    cores: Count = Field(default=1, description="arrays that work on one op together")
    dataflow: Literal["ws", "os", "is"] = Field(description="the operand that stays in the PEs")
    clock_hz: Hertz
    timing: Literal["exact", "scalesim"] = "exact"
    double_buffered: bool = Field(default=True, description="PEs take the next stationary operand while they compute")
    multiplier: Format = Field(default="int8", description="widest operand of one multiplier; wider ones take passes")
    transposer: bool = Field(default=True, description="operands are transposed on their way into the array")
    mac_energy_j: Joules | None = Field(default=None, description="per MAC at the arch's precision")
    mac_area_mm2: SquareMillimetres | None = Field(default=None, description="of one PE")


class DramSpec(Spec):
    """Main memory."""

    size_bytes: Bytes
    bandwidth_bytes_per_s: BytesPerSecond
    energy_j_per_bit: JoulesPerBit
    write_energy_j_per_bit: JoulesPerBit | None = Field(default=None, description="the same as reading, if not given")
    burst_bytes: Bytes = 64
    latency_s: Seconds = Field(default=0.0, description="from a request to its first data, paid once per op")


class BufferSpec(Spec):
    """A scratchpad beside the arrays; one per core unless shared."""

    size_bytes: Bytes
    double_buffered: bool = True
    shared: bool = Field(default=False, description="one buffer for all cores, which broadcasts what they share")
    read_bandwidth_bytes_per_s: BytesPerSecond | None = Field(default=None, description="unlimited if not given")
    write_bandwidth_bytes_per_s: BytesPerSecond | None = Field(default=None, description="unlimited if not given")
    energy_j_per_bit: JoulesPerBit | None = Field(default=None, description="reading; from CACTI's table if not given")
    write_energy_j_per_bit: JoulesPerBit | None = None


class StoreSpec(Spec):
    """A memory of one kind of operand: weights or accumulators."""

    size_bytes: Bytes
    energy_j_per_bit: JoulesPerBit | None = Field(default=None, description="reading; from CACTI's table if not given")
    write_energy_j_per_bit: JoulesPerBit | None = None


class GlobalBufferSpec(StoreSpec):
    """A memory between DRAM and the buffers of the cores."""

    bandwidth_bytes_per_s: BytesPerSecond


class MemorySpec(Spec):
    """The memories, from far to near."""

    dram: DramSpec
    global_buffer: GlobalBufferSpec | None = None
    buffer: BufferSpec
    weight_buffer: StoreSpec | None = Field(default=None, description="weights live in the buffer if not given")
    accumulator: StoreSpec | None = Field(default=None, description="partial sums live in the buffer if not given")
    register_energy_j_per_bit: JoulesPerBit | None = None
    link_energy_j_per_bit: JoulesPerBit = Field(default=0.0, description="from memory to a core, with several cores")


class CyclesSpec(Spec):
    """Cycles of one lane for each primitive (pipelined units: the interval between two results)."""

    add: Positive = 1.0
    mul: Positive = 1.0
    max: Positive = 1.0
    exp: Positive = 1.0
    div: Positive = 1.0
    rsqrt: Positive = 1.0
    gelu: Positive = 1.0
    requantize: Positive = 1.0


class VectorEnergySpec(Spec):
    """Joules of each primitive; what is not given follows from the adders and multipliers it takes (A12)."""

    add_j: Joules | None = None
    mul_j: Joules | None = None
    max_j: Joules | None = None
    exp_j: Joules | None = None
    div_j: Joules | None = None
    rsqrt_j: Joules | None = None
    gelu_j: Joules | None = None
    requantize_j: Joules | None = None


class VectorSpec(Spec):
    """The vector unit of each core: whatever is no matrix product runs here."""

    lanes: Count
    cycles: CyclesSpec = CyclesSpec()
    energy: VectorEnergySpec = VectorEnergySpec()
    inline: bool = Field(default=True, description="sits behind the accumulators: unary ops stream with the product")
    depthwise: bool = Field(default=False, description="depthwise convolutions run here, not on the array")


class TechnologySpec(Spec):
    """Process node, for constants that the file does not give."""

    node: Annotated[float, Field(ge=5, le=180)] = Field(default=45.0, description="nm")
    voltage_v: Volts | None = Field(default=None, description="the node's nominal supply if not given")


class MappingSpec(Spec):
    """How ops are put on the hardware."""

    objective: Literal["latency", "energy", "edp"] = "latency"
    search: Literal["exact", "rule"] = "exact"
    residency: Fraction | None = Field(
        default=None,
        description="share of the on-chip memory that activations may keep; the best of several if not given",
    )
    row_blocks: bool | None = Field(
        default=None, description="MLPs may run in blocks of rows; whichever is better if not given (A18)"
    )


class SystolicSpec(ArchSpec):
    """A systolic array with its memories and its vector unit."""

    backend: Literal["systolic"]
    technology: TechnologySpec = TechnologySpec()
    array: ArraySpec
    precision: Precision = Precision()
    memory: MemorySpec
    vector: VectorSpec
    mapping: MappingSpec = MappingSpec()
    leakage_w: Watts | None = Field(default=None, description="static power; from the area if not given (A13)")
    area_mm2: SquareMillimetres | None = Field(default=None, description="die area if published; else from its parts")

    @model_validator(mode="after")
    def _consistent(self) -> SystolicSpec:
        if self.array.cores == 1 and self.memory.buffer.shared:
            return self
        if self.memory.global_buffer and self.memory.buffer.shared:
            raise SpecError(
                "memory.buffer.shared with a global buffer", expected="buffers of their own below a global buffer"
            )
        return self


def spec_of(arch: Arch) -> SystolicSpec:
    """The arch's spec as this backend's; UsageError if it is another's."""
    if not isinstance(arch.spec, SystolicSpec):
        raise UsageError(f"arch {arch.name!r} is of backend {arch.backend!r}, not systolic")
    return arch.spec
