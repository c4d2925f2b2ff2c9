"""What a GPU or CPU is described by: its data sheet, how it is run, and which calibration it uses."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from hwsim.spec.arch import ArchSpec
from hwsim.spec.fields import Bytes, BytesPerSecond, Count, Hertz, Kelvin, PositiveSeconds, Quantity, Spec, Volts, Watts

FlopPerSecond = Annotated[float, Quantity("FLOP/s"), Field(gt=0)]

#: A release as major.minor; YAML reads an unquoted one as a number.
Release = Annotated[
    str, BeforeValidator(lambda value: str(value) if isinstance(value, float) else value), Field(pattern=r"^\d+\.\d+$")
]

#: `amp_*`: fp32 weights under torch.autocast; `bf16`, `fp16`: the whole model cast; `int8`, `fp8`: matrix products in
#: that format, everything else in fp16.
Precision = Literal["fp32", "tf32", "fp16", "bf16", "amp_fp16", "amp_bf16", "int8", "fp8"]


class Peak(Spec):
    """Dense FLOP/s at `clock.peak`, with the accumulator PyTorch uses (fp32 for fp16 and bf16). 1 MAC = 2 FLOP."""

    fp32: FlopPerSecond
    tf32: FlopPerSecond | None = None
    fp16: FlopPerSecond | None = None
    bf16: FlopPerSecond | None = None
    int8: FlopPerSecond | None = None
    fp8: FlopPerSecond | None = None


class Clock(Spec):
    """`peak` is the clock at which the peaks are stated; `lock` caps it, as `nvidia-smi -lgc` does."""

    peak_hz: Hertz
    lock_hz: Hertz | None = None


class Memory(Spec):
    """Device memory; `type` is the DRAM generation, which sets the energy of a byte."""

    type: Literal[
        "HBM2", "HBM2e", "HBM3", "HBM3e", "GDDR6", "GDDR6X", "GDDR7", "DDR4", "DDR5", "LPDDR4", "LPDDR4x", "LPDDR5"
    ]
    size_bytes: Bytes
    bandwidth_bytes_per_s: BytesPerSecond


class Power(Spec):
    """Board power: the cap that lowers the clock, and the idle power with a context open at the peak clock."""

    limit_w: Watts
    idle_w: Watts | None = Field(
        default=None, description="measured idle at the peak clock; estimated from the cap if absent"
    )


class Voltage(Spec):
    """Core voltage against clock: flat at `floor` up to `knee`, then linear to `top` at `clock.peak`."""

    floor_v: Volts
    knee_hz: Hertz
    top_v: Volts


class Runtime(Spec):
    """The software that runs the model."""

    mode: Literal["eager", "compiled"] = "eager"
    precision: Precision = "amp_fp16"
    attention: Literal["fused", "explicit"] = Field(
        default="fused", description="scaled_dot_product_attention's kernels, or separate products and an fp32 softmax"
    )
    pytorch: Release = Field(default="2.9", description='release whose kernels are meant, such as 2.4 (quote "2.10")')
    dispatch_s: PositiveSeconds | None = Field(
        default=None, description="host time per operator; from the calibration if absent"
    )


class ProcessorSpec(ArchSpec):
    """A GPU or a CPU. `cores` are SMs or CPU cores; `cache` is a GPU's L2 or a CPU's last level."""

    kind: Literal["gpu", "cpu"]
    architecture: str = Field(description="generation, such as Ampere or Zen 4")
    process: str = Field(description="foundry process, such as TSMC 7nm")
    cores: Count
    clock: Clock
    peak: Peak
    memory: Memory
    cache_bytes: Bytes
    power: Power
    voltage: Voltage | None = None
    ambient_k: Kelvin = 298.15
    runtime: Runtime = Runtime()
    calibration: str | None = Field(
        default=None, description="name of a stored calibration; absent: transferred coefficients"
    )

    @model_validator(mode="after")
    def _precision_is_offered(self) -> ProcessorSpec:
        if self.voltage is not None and self.voltage.knee_hz >= self.clock.peak_hz:
            raise ValueError("voltage.knee must lie below clock.peak")
        return self
