"""From a spec to the numbers a prediction needs: capacities per core and cycle, electrics, coefficients."""

from __future__ import annotations

import numpy as np

from hwsim.backends.processor.calibration import Calibration, load_calibration
from hwsim.backends.processor.estimate import Device
from hwsim.backends.processor.kernels import FORMATS
from hwsim.backends.processor.power import Electrics
from hwsim.backends.processor.runtime import Runtime
from hwsim.backends.processor.spec import ProcessorSpec
from hwsim.backends.processor.timing import CPU_STEP_BYTES, CPU_TILES, GPU_STEP_BYTES, GPU_TILES, Machine

#: Idle power at the peak clock against the cap, where it was not measured: a power law through A100-PCIe (67.3 W at
#: 250 W) and H100-SXM5 (118.2 W at 700 W), EnergAIzer artifact (A10). It gives 34 W for a T4, read at 33-38 W, and
#: 74 W for a V100-SXM2, read at 53 W; modules with shared memory are far below it and state their own.
_IDLE_SCALE_W, _IDLE_EXPONENT = 3.30, 0.546
#: Voltage of an unmeasured board: floor against top, and knee against peak clock, of A100-PCIe (EnergAIzer) (A11).
_FLOOR_VOLTAGE, _KNEE = 0.776, 0.72
#: Kelvin per watt times the cap: the cooler is made for the cap. A100-PCIe: 0.085 K/W at 250 W (EnergAIzer) (A12).
_COOLING_K = 0.085 * 250
#: Energy of a matrix unit's product against fp16's, by operand format: width of the multiplier array (A10).
_FORMAT_COST = {"fp32": 0.0, "tf32": 2.0, "fp16": 1.0, "bf16": 1.0, "int8": 0.5, "fp8": 0.5}
#: Core energy against 7 nm, by process (A10): relative energy per operation of the node at nominal voltage.
_PROCESS = {
    "TSMC 7nm": 1.0, "TSMC 4N": 0.72, "Samsung 8nm": 1.15, "TSMC 12nm": 1.55, "TSMC 16nm": 1.6, "Intel 7": 1.0,
    "TSMC 28nm": 2.4,
}  # fmt: skip
#: The same for fp32 products on the SIMD lanes, where it differs (A10): AccelWattch's sgemm draws 217 W on a V100,
#: about what the A100 needs per FLOP; later boards state two to three times the lanes under caps that would not feed
#: them at the A100's energy (assumed).
_FP32_PROCESS = {"TSMC 4N": 0.42, "Samsung 8nm": 0.65, "TSMC 12nm": 1.05}
#: Interface and array energy of a byte against HBM2, by memory (A10).
_MEMORY = {
    "HBM2": 1.0, "HBM2e": 1.0, "HBM3": 0.9, "HBM3e": 0.9, "GDDR6": 1.6, "GDDR6X": 1.7, "GDDR7": 1.4,
    "DDR4": 3.0, "DDR5": 2.5, "LPDDR4": 1.3, "LPDDR4x": 1.2, "LPDDR5": 1.1,
}  # fmt: skip


def runtime_of(spec: ProcessorSpec) -> Runtime:
    """The part of the spec that decides the kernels."""
    major, _, minor = spec.runtime.pytorch.partition(".")
    return Runtime(
        mode=spec.runtime.mode,
        precision=spec.runtime.precision,
        fused_attention=spec.runtime.attention == "fused",
        processor=spec.kind,
        pytorch=(int(major), int(minor or 0)),
    )


def calibration_of(spec: ProcessorSpec) -> Calibration:
    return load_calibration(spec.calibration, spec.kind, spec.runtime.mode)


def device_of(spec: ProcessorSpec) -> Device:
    """Capacities, electrics and coefficients of the described processor."""
    calibration = calibration_of(spec)
    power = calibration.power
    if "power" in calibration.transferred:
        process = _PROCESS.get(spec.process, 1.0)
        power = power.scaled(process, _FP32_PROCESS.get(spec.process, process), _MEMORY[spec.memory.type])
    timing = calibration.timing
    if spec.runtime.dispatch_s is not None:
        timing = timing.with_dispatch(spec.runtime.dispatch_s)
    return Device(_machine(spec), _electrics(spec), timing, power, np.array([_FORMAT_COST[f] for f in FORMATS]))


def _machine(spec: ProcessorSpec) -> Machine:
    peak, cycles = spec.peak, spec.cores * spec.clock.peak_hz
    rates = {
        "fp32": peak.fp32,
        "tf32": peak.tf32,
        "fp16": peak.fp16,
        "bf16": peak.bf16,
        "int8": peak.int8,
        "fp8": peak.fp8,
    }
    # A format without units of its own is computed in fp32 (bf16 on Volta), int8 and fp8 in fp16 where that is faster.
    fallback = {"tf32": peak.fp32, "fp16": peak.fp32, "bf16": peak.fp32, "int8": peak.fp16, "fp8": peak.fp16}
    flop = [rates[name] or fallback[name] or peak.fp32 for name in FORMATS]
    clock = min(spec.clock.peak_hz, spec.clock.lock_hz or spec.clock.peak_hz)
    return Machine(
        cores=float(spec.cores),
        clock_hz=clock,
        matrix_flop_per_cycle=np.array(flop) / cycles,
        simd_flop_per_cycle=peak.fp32 / cycles,
        memory_bytes_per_s=spec.memory.bandwidth_bytes_per_s,
        cache_bytes=float(spec.cache_bytes),
        tiles=GPU_TILES if spec.kind == "gpu" else CPU_TILES,
        step_bytes=GPU_STEP_BYTES if spec.kind == "gpu" else CPU_STEP_BYTES,
    )


def _electrics(spec: ProcessorSpec) -> Electrics:
    limit, voltage, peak = spec.power.limit_w, spec.voltage, spec.clock.peak_hz
    return Electrics(
        peak_clock_hz=peak,
        floor_voltage=voltage.floor_v / voltage.top_v if voltage else _FLOOR_VOLTAGE,
        knee_hz=voltage.knee_hz if voltage else _KNEE * peak,
        idle_w=min(spec.power.idle_w or _IDLE_SCALE_W * limit**_IDLE_EXPONENT, limit),
        limit_w=limit,
        kelvin_per_w=_COOLING_K / limit,
    )
