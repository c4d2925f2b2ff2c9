"""Boards that can be measured: what is read from one, behind a seam that a recording can replay."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, Self

from hwsim.core.errors import CapabilityError, UsageError


@dataclass(frozen=True)
class Reading:
    """State of a board at one instant; `energy_j` counts up from an arbitrary start."""

    energy_j: float
    clock_hz: float
    temperature_c: float


@dataclass(frozen=True)
class Identity:
    """What a reader of the figures must know of the board: NVML's names for driver, cap and energy source."""

    name: str
    driver: str
    power_limit_w: float
    energy_source: str


class Device(Protocol):
    """A board under test. Time comes from the device, so that a replay needs no waiting."""

    def identity(self) -> Identity: ...
    def place(self) -> str: ...
    def reading(self) -> Reading: ...
    def synchronize(self) -> None: ...
    def now_s(self) -> float: ...
    def sleep(self, seconds: float) -> None: ...
    def sampling(self) -> AbstractContextManager[object]: ...


class NvmlDevice:
    """An NVIDIA board through NVML: the energy counter where there is one (Volta on), else sampled power.

    Power is asked for as NVML_FI_DEV_POWER_INSTANT by name: `power.draw` is a one-second average on some boards.
    Refuses a MIG slice, whose power NVML does not separate. Raises CapabilityError without driver, board or package.
    """

    def __init__(self, index: int) -> None:
        try:
            import pynvml
            import torch
        except ImportError as error:
            raise CapabilityError(
                f"measuring needs the package {error.name}", remedy="pip install 'hwsim[gpu]' on a machine with a GPU"
            ) from error
        if not torch.cuda.is_available():
            raise CapabilityError("this machine has no CUDA GPU to measure", remedy="run it on a machine that has one")
        self._nvml, self._torch, self._index = pynvml, torch, index
        try:
            pynvml.nvmlInit()
            properties = torch.cuda.get_device_properties(index)
            # CUDA_VISIBLE_DEVICES renumbers CUDA's devices but not NVML's: the UUID is the same in both.
            self._handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{properties.uuid}")
            self._refuse_mig()
            self._counter = self._has_counter()
        except (pynvml.NVMLError, AssertionError) as error:  # torch asserts on an invalid index
            raise CapabilityError(f"NVML cannot read cuda:{index}: {error}") from error
        self._sampler: PowerSampler | None = None

    def identity(self) -> Identity:
        nvml, handle = self._nvml, self._handle
        return Identity(
            name=str(nvml.nvmlDeviceGetName(handle)),
            driver=str(nvml.nvmlSystemGetDriverVersion()),
            power_limit_w=nvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1e3,
            energy_source="nvmlDeviceGetTotalEnergyConsumption" if self._counter else "NVML_FI_DEV_POWER_INSTANT",
        )

    def place(self) -> str:
        """Where torch puts the tensors of the work."""
        return f"cuda:{self._index}"

    def reading(self) -> Reading:
        nvml, handle = self._nvml, self._handle
        if self._counter:
            energy_j = nvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3
        elif self._sampler is not None:
            energy_j = self._sampler.energy_j()
        else:
            raise UsageError("a board without an energy counter is read only inside `sampling()`")
        return Reading(
            energy_j=energy_j,
            clock_hz=nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM) * 1e6,
            temperature_c=float(nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)),
        )

    def synchronize(self) -> None:
        self._torch.cuda.synchronize(self._index)

    def now_s(self) -> float:
        return time.perf_counter()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def sampling(self) -> AbstractContextManager[object]:
        """Integrates instantaneous power in a thread while open; needed only without an energy counter."""
        self._sampler = PowerSampler(self._instant_power_w)
        return self._sampler

    def _instant_power_w(self) -> float:
        field = self._nvml.nvmlDeviceGetFieldValues(self._handle, [self._nvml.NVML_FI_DEV_POWER_INSTANT])[0]
        return float(field.value.uiVal) / 1e3

    def _has_counter(self) -> bool:
        try:
            self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)
        except self._nvml.NVMLError_NotSupported:
            return False
        return True

    def _refuse_mig(self) -> None:
        try:
            current, _ = self._nvml.nvmlDeviceGetMigMode(self._handle)
        except self._nvml.NVMLError_NotSupported:
            return
        if current == self._nvml.NVML_DEVICE_MIG_ENABLE:
            raise CapabilityError("this GPU is split by MIG: NVML reports the power of the whole board only")


class PowerSampler:
    """Integrates a power reading over time in a background thread, by trapezoids."""

    def __init__(self, power_w: Callable[[], float], period_s: float = 0.01) -> None:
        import threading

        self._power_w, self._period_s = power_w, period_s
        self._energy_j = 0.0
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stop.set()
        self._thread.join()

    def energy_j(self) -> float:
        with self._lock:
            return self._energy_j

    def _run(self) -> None:
        before_s, before_w = time.perf_counter(), self._power_w()
        while not self._stop.wait(self._period_s):
            now_s, now_w = time.perf_counter(), self._power_w()
            with self._lock:
                self._energy_j += (now_s - before_s) * (now_w + before_w) / 2
            before_s, before_w = now_s, now_w


class ReplayDevice:
    """A recorded board: virtual time that work and sleep advance, energy as the integral of a power trace.

    `trace` is (time_s, power_w, clock_hz, temperature_c) rows, each holding until the next; `work_s` is the time one
    call of the workload takes. The last row holds for ever.
    """

    def __init__(self, identity: Identity, trace: Sequence[tuple[float, float, float, float]], work_s: float) -> None:
        if not trace or trace[0][0] != 0 or any(a[0] >= b[0] for a, b in itertools.pairwise(trace)):
            raise UsageError("a replay trace starts at 0 s and its times rise")
        self._identity, self._trace, self._work_s = identity, tuple(trace), work_s
        self._now_s = 0.0
        self.calls = 0

    def work(self) -> None:
        """One call of the workload."""
        self.calls += 1
        self._now_s += self._work_s

    def identity(self) -> Identity:
        return self._identity

    def place(self) -> str:
        return "cpu"

    def reading(self) -> Reading:
        energy_j = 0.0
        row = self._trace[0]
        for index, row in enumerate(self._trace):
            last = index + 1 == len(self._trace)
            end_s = self._now_s if last else min(self._trace[index + 1][0], self._now_s)
            energy_j += row[1] * (end_s - row[0])
            if last or self._trace[index + 1][0] > self._now_s:
                break
        return Reading(energy_j, row[2], row[3])

    def synchronize(self) -> None:
        """Work is synchronous here."""

    def now_s(self) -> float:
        return self._now_s

    def sleep(self, seconds: float) -> None:
        self._now_s += seconds

    def sampling(self) -> AbstractContextManager[object]:
        from contextlib import nullcontext

        return nullcontext()


def open_device(name: str) -> NvmlDevice:
    """The board `cuda:N` (or `cuda`); UsageError for another name, CapabilityError (exit 4) without one."""
    kind, _, index = name.partition(":")
    if kind != "cuda" or not (index or "0").isdigit():
        raise UsageError(f"device {name!r} cannot be measured", got=name, expected="`cuda` or `cuda:N`")
    return NvmlDevice(int(index or "0"))
