"""What a cluster file may say: devices, network, where requests come from and end, how the network is split."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from hwsim.core.errors import UsageError
from hwsim.spec.arch import ArchSpec
from hwsim.spec.fields import (
    Bytes,
    BytesPerSecond,
    Count,
    Fraction,
    Joules,
    JoulesPerByte,
    Number,
    PositiveFraction,
    Quantity,
    Seconds,
    Spec,
    Watts,
)

SecondsPerByte = Annotated[float, Quantity("s/B"), Field(ge=0)]
KelvinPerWatt = Annotated[float, Quantity("K/W"), Field(gt=0)]
JoulesPerKelvin = Annotated[float, Quantity("J/K"), Field(gt=0)]
MacsPerSecond = Annotated[float, Quantity("MAC/s"), Field(gt=0)]
PerSecond = Annotated[float, Quantity("1/s"), Field(gt=0)]


class ComputeSpec(Spec):
    """A device as measured with one runtime: `throughput` by number format, memory rate, overhead of each kernel."""

    runtime: str
    throughput: dict[str, MacsPerSecond] = Field(min_length=1, description="MAC/s that a large product reaches")
    memory_bandwidth_bytes_per_s: BytesPerSecond
    op_overhead_s: Seconds = 0.0
    error: Fraction = Field(default=0.0, description="relative error of a predicted latency, one standard deviation")


class StagingSpec(Spec):
    """What the runtime spends on a message beside the wire: once per message, and per byte and peer that is polled."""

    message_s: Seconds = 0.0
    stage: SecondsPerByte = 0.0


class RadioSpec(Spec):
    """Energy of a network interface."""

    send: JoulesPerByte = 0.0
    receive: JoulesPerByte = 0.0
    send_frame_j: Joules = 0.0
    receive_frame_j: Joules = 0.0


class LevelSpec(Spec):
    """A DVFS state below the highest: clock as a fraction of it, and load power there."""

    clock: PositiveFraction
    load_power_w: Watts


class ThermalSpec(Spec):
    """Thermal resistance to ambient, heat capacity, and the temperatures in Celsius at which the clock changes."""

    resistance: KelvinPerWatt
    capacity: JoulesPerKelvin
    ambient: Number
    hot: Number
    cool: Number

    @model_validator(mode="after")
    def _ordered(self) -> ThermalSpec:
        if not self.ambient <= self.cool < self.hot:
            raise ValueError(f"needs ambient <= cool < hot, not {self.ambient:g}, {self.cool:g}, {self.hot:g} C")
        return self


class DeviceSpec(Spec):
    """`count` equal devices. Their speed comes from `arch` (an arch file of another backend) or from `compute`."""

    name: str = Field(min_length=1)
    count: Count = 1
    arch: str | None = Field(default=None, description="an arch file or its bare name")
    compute: ComputeSpec | None = None
    memory_bytes: Bytes
    runtime_memory_bytes: Bytes = Field(default=1, description="what system and runtime keep for themselves")
    storage_bytes: Bytes | None = None
    idle_power_w: Watts
    load_power_w: Watts
    levels: list[LevelSpec] = []
    thermal: ThermalSpec | None = None
    battery_j: Joules | None = None
    radio: RadioSpec = RadioSpec()
    staging: StagingSpec = StagingSpec()
    batch: Count = Field(default=1, description="queued requests that it serves together")
    phy_rate_bytes_per_s: BytesPerSecond | None = Field(default=None, description="of a station on shared Wi-Fi")
    worker: bool = Field(default=True, description="false for a node that only is source or fusion")

    @model_validator(mode="after")
    def _consistent(self) -> DeviceSpec:
        if (self.arch is None) == (self.compute is None):
            raise ValueError("needs either `arch` (a file) or `compute` (measured numbers)")
        for load_w in (self.load_power_w, *(level.load_power_w for level in self.levels)):
            if load_w < self.idle_power_w:
                raise ValueError(f"idle_power {self.idle_power_w:g} W is above load_power {load_w:g} W")
        return self


class NetworkSpec(Spec):
    """Links of equal bandwidth and latency, one per device and direction (star), neighbours (chain) or pair (mesh).

    With `sharing` of `wifi` or `wifi_airtime` one channel carries everything; a message between two stations of a
    star crosses it twice.
    """

    topology: Literal["star", "chain", "mesh"] = "star"
    bandwidth_bytes_per_s: BytesPerSecond
    latency_s: Seconds = Field(default=0.0, description="of one link")
    sharing: Literal["shared", "wifi", "wifi_airtime"] = "shared"
    loss: Annotated[float, Quantity(""), Field(ge=0, lt=1)] = 0.0
    model: Literal["cm02", "lv08"] = "cm02"
    weighting: Literal["rtt", "equal"] = "rtt"


class SplitSpec(Spec):
    """How one request is spread: `branches` of a class-split graph, or the ops of one graph."""

    method: Literal["single", "branches", "pipeline", "tensor", "sequence"] = "branches"
    devices: Count | None = Field(default=None, description="workers to use; all by default")
    assignment: Literal["greedy", "exact"] = "greedy"
    collective: Literal["relay", "ring"] = Field(
        default="relay", description="tensor and sequence: the first worker relays, or each sends to the next"
    )
    spares: bool = Field(default=False, description="each sub-model is also on the next worker, which may take over")


class LoadSpec(Spec):
    """Requests to simulate beside the unloaded one."""

    arrivals: Literal["poisson", "periodic", "trace"] = "poisson"
    rate: PerSecond = 1.0
    requests: Count = 10_000
    seed: int = 0
    file: str | None = Field(default=None, description="CSV with a column arrival_s, for `trace`")

    @model_validator(mode="after")
    def _has_file(self) -> LoadSpec:
        if (self.arrivals == "trace") != (self.file is not None):
            raise ValueError("`file` goes with `arrivals: trace`, and only with it")
        return self


class ClusterSpec(ArchSpec):
    """A cluster of edge devices."""

    devices: list[DeviceSpec] = Field(min_length=1)
    network: NetworkSpec
    source: str | None = Field(default=None, description="device where inputs are; the first by default")
    fusion: str | None = Field(default=None, description="device where results go; the first by default")
    split: SplitSpec = SplitSpec()
    load: LoadSpec | None = None
    energy_budget_j: Annotated[float, Quantity("J"), Field(gt=0)] | None = Field(
        default=None, description="most energy that a request may cost one device"
    )

    def instances(self) -> list[tuple[str, DeviceSpec]]:
        """Every device by name: `name`, or `name.0`, `name.1`, ... where there are several."""
        return [
            (spec.name if spec.count == 1 else f"{spec.name}.{i}", spec)
            for spec in self.devices
            for i in range(spec.count)
        ]

    def index_of(self, name: str | None) -> int:
        """Index of a device by name; 0 for None. Raises UsageError for an unknown name."""
        names = [each for each, _ in self.instances()]
        if name is None:
            return 0
        if name not in names:
            raise UsageError(f"device {name!r} does not exist", got=name, expected="one of " + ", ".join(names[:12]))
        return names.index(name)

    @model_validator(mode="after")
    def _named(self) -> ClusterSpec:
        names = [each for each, _ in self.instances()]
        if len(set(names)) < len(names):
            raise ValueError("two devices have the same name")
        for role, name in (("source", self.source), ("fusion", self.fusion)):
            if name is not None and name not in names:
                raise ValueError(f"{role} {name!r} is not a device: one of {', '.join(names[:12])}")
        if not any(spec.worker for spec in self.devices):
            raise ValueError("no device is a worker")
        return self
