"""Energy and area constants with their sources, and how they scale with the process.

Everything is anchored at 45 nm and 0.9 V, where Horowitz (ISSCC 2014) and CACTI 7 are given. Functions of memory size
take numbers or arrays.
"""

from __future__ import annotations

from math import exp, log
from typing import TYPE_CHECKING

import numpy as np

from hwsim.core.formats import bits

if TYPE_CHECKING:
    import numpy.typing as npt

    Values = float | npt.NDArray[np.float64]

# E(V) = c0 V^2 + c1 V + c2 in units common to all nodes. Stillmaker & Baas, Integration 58 (2017) 74-81: 65 nm bulk
# and 32 nm from the erratum, 45 nm high-k HP row, 20 nm and below multi-gate HP rows.
_ENERGY_QUADRATIC = {
    130.0: (7.171, -6.709, 2.904),
    90.0: (4.762, -4.781, 2.092),
    65.0: (3.755, -4.398, 1.975),
    45.0: (1.018, -0.3107, 0.1539),
    32.0: (0.8367, -0.4341, 0.1701),
    20.0: (0.373, -0.1582, 0.04104),
    16.0: (0.2958, -0.1241, 0.03024),
    14.0: (0.2363, -0.09675, 0.02239),
    10.0: (0.2068, -0.09311, 0.02375),
    7.0: (0.1776, -0.09097, 0.02447),
}
# Nominal supply, V: 45 to 7 nm are those of Stillmaker & Baas Table 2; 130 to 65 and 20 nm are assumed.
_NOMINAL_V = {
    130.0: 1.3, 90.0: 1.2, 65.0: 1.2, 45.0: 1.1, 32.0: 0.97, 20.0: 0.9, 16.0: 0.86, 14.0: 0.86, 10.0: 0.83, 7.0: 0.8,
}  # fmt: skip
# Area relative to 45 nm: hwcomponents 1.0.114.
_AREA = {
    130.0: 6.4, 90.0: 2.8, 65.0: 1.5, 45.0: 1.0, 32.0: 0.46, 20.0: 0.21, 16.0: 0.19, 14.0: 0.17, 10.0: 0.1, 7.0: 0.059,
}  # fmt: skip
_ANCHOR_NODE, _ANCHOR_V = 45.0, 0.9

# Joules per operation at 45 nm, 0.9 V: Horowitz, ISSCC 2014.
ADD_INT32_J = 0.1e-12
ADD_FP16_J = 0.4e-12
ADD_FP32_J = 0.9e-12
MUL_INT8_J = 0.2e-12
MUL_INT32_J = 3.1e-12
MUL_FP16_J = 1.1e-12
#: Joules per bit into or out of a register: Aladdin, as in hwcomponents-library 1.0.58 (40 nm class).
REGISTER_J_PER_BIT = 0.009e-12

# Significand bits with the hidden one; a floating multiplier's energy goes with their square (A11).
_SIGNIFICAND = {
    "float32": 24, "fp32": 24, "tf32": 11, "float16": 11, "fp16": 11, "bfloat16": 8, "bf16": 8,
    "fp8_e4m3": 4, "fp8_e5m2": 3, "mxfp8_e4m3": 4, "mxfp8_e5m2": 3, "mxfp6_e2m3": 4, "mxfp6_e3m2": 3, "mxfp4": 2,
}  # fmt: skip

# CACTI 7 (bundled with zigzag-dse 3.9.1), 45 nm, one read-write port, one bank: pJ per access and mm2 by KiB.
_SRAM_KIB = (2.0, 8.0, 32.0, 64.0, 128.0, 512.0, 2048.0)
_READ_64_PJ = (2.6714, 6.0479, 16.998, 21.2026, 37.4928, 59.9027, 104.474)
_WRITE_64_PJ = (3.9816, 7.4136, 14.4836, 18.6882, 24.2248, 46.6347, 91.2061)
_AREA_64_MM2 = (0.00843996, 0.0294029, 0.106242, 0.234013, 0.435513, 1.77514, 7.02961)
_WIDE_KIB = (128.0, 512.0, 2048.0)
_READ_256_PJ = (65.6439, 145.156, 322.778)
_WRITE_256_PJ = (77.0935, 135.099, 303.408)

# Area at 45 nm, mm2: assumed (an 8 x 8 bit multiplier, a 32-bit adder, and a flip-flop per pipelined bit).
_MUL_INT8_MM2 = 282e-6
_ADD_INT32_MM2 = 137e-6
_REGISTER_BIT_MM2 = 5e-6
_LANE_MM2 = 8000e-6
#: Leakage per area, W/mm2 at any node: assumed; it is a knob (`leakage`) and a row of the ledger of its own (A13).
LEAKAGE_W_PER_MM2 = 0.01


def _log_interpolated(table: dict[float, float], node_nm: float) -> float:
    """Log-log interpolation over nodes, the end slopes continued."""
    nodes = sorted(table)
    upper = next((i for i, node in enumerate(nodes) if node >= node_nm), len(nodes) - 1)
    low, high = nodes[max(0, upper - 1)], nodes[max(1, upper)]
    slope = log(table[high] / table[low]) / log(high / low)
    return table[low] * exp(slope * log(node_nm / low))


def nominal_voltage(node_nm: float) -> float:
    """Nominal supply of a node in volts."""
    return _log_interpolated(_NOMINAL_V, node_nm)


def energy_scale(node_nm: float, voltage_v: float | None = None) -> float:
    """Energy of logic at a node and supply relative to 45 nm, 0.9 V (Stillmaker & Baas 2017; A11)."""
    volts = nominal_voltage(node_nm) if voltage_v is None else voltage_v
    at = {node: c0 * volts**2 + c1 * volts + c2 for node, (c0, c1, c2) in _ENERGY_QUADRATIC.items()}
    c0, c1, c2 = _ENERGY_QUADRATIC[_ANCHOR_NODE]
    return _log_interpolated(at, node_nm) / (c0 * _ANCHOR_V**2 + c1 * _ANCHOR_V + c2)


def area_scale(node_nm: float) -> float:
    """Area of logic and SRAM at a node relative to 45 nm."""
    return _log_interpolated(_AREA, node_nm)


def mac_energy(weights: str, activations: str, accumulator: str) -> float:
    """Joules of one multiply-accumulate at 45 nm, 0.9 V (A11).

    Integers: Horowitz's 8-bit multiplier with its area of partial products scaled to the operands' widths (0.2 pJ at
    8 x 8 gives 3.2 pJ at 32 x 32; he measured 3.1) and his adders per bit. Floats: his fp16 multiplier with the square
    of the significand, and the adder of the accumulator's format.
    """
    if weights in _SIGNIFICAND or activations in _SIGNIFICAND:
        product = _SIGNIFICAND.get(weights, 8) * _SIGNIFICAND.get(activations, 8)
        adder = ADD_FP16_J if bits(accumulator) <= 16 else ADD_FP32_J
        return MUL_FP16_J * product / _SIGNIFICAND["fp16"] ** 2 + adder
    return MUL_INT8_J * int_bits(weights) * int_bits(activations) / 64 + ADD_INT32_J * bits(accumulator) / 32


def int_bits(name: str) -> float:
    """Multiplier width of an integer format; a shared exponent (mxint8) takes none."""
    return 8.0 if name == "mxint8" else bits(name)


def mac_area(weights: str, activations: str, accumulator: str) -> float:
    """mm2 of one PE at 45 nm: multiplier, adder and pipeline registers (assumed constants)."""
    wide = {
        name: float(_SIGNIFICAND[name]) if name in _SIGNIFICAND else int_bits(name) for name in (weights, activations)
    }
    registers = 2 * bits(weights) + bits(activations) + bits(accumulator)
    multiplier = _MUL_INT8_MM2 * wide[weights] * wide[activations] / 64
    return multiplier + _ADD_INT32_MM2 * bits(accumulator) / 32 + _REGISTER_BIT_MM2 * registers


def lane_area() -> float:
    """mm2 of one lane of the vector unit at 45 nm (assumed)."""
    return _LANE_MM2


def sram_energy(size_bytes: Values, width_bits: Values, write: bool = False) -> Values:
    """Joules per bit of an SRAM at 45 nm, 0.9 V: CACTI 7's table, log-log between its points (A11).

    A port wider than 256 bits is that many 256-bit banks side by side, each with its share of the size.
    """
    wide, narrow = (_WRITE_256_PJ, _WRITE_64_PJ) if write else (_READ_256_PJ, _READ_64_PJ)
    banks = np.maximum(1.0, np.asarray(width_bits, float) / 256)
    width = np.clip(np.asarray(width_bits, float), 8.0, 256.0)
    kib = np.asarray(size_bytes, float) / 1024 / banks
    at_64 = _power_law(kib, _SRAM_KIB, narrow)
    anchors = [_power_law(np.asarray(k), _SRAM_KIB, narrow) for k in _WIDE_KIB]
    exponents = [log(w / float(n)) / log(256 / 64) for w, n in zip(wide, anchors, strict=True)]
    exponent = np.interp(np.log(kib), np.log(_WIDE_KIB), exponents)
    result: Values = at_64 * (width / 64) ** exponent * 1e-12 / width
    return result


def sram_area(size_bytes: Values) -> Values:
    """mm2 of an SRAM at 45 nm: CACTI 7's table, log-log between its points."""
    return _power_law(np.asarray(size_bytes, float) / 1024, _SRAM_KIB, _AREA_64_MM2)


def _power_law(x: npt.NDArray[np.float64], xs: tuple[float, ...], ys: tuple[float, ...]) -> npt.NDArray[np.float64]:
    """Log-log interpolation, the end slopes continued beyond the table."""
    log_x, log_xs, log_ys = np.log(x), np.log(xs), np.log(ys)
    inside = np.interp(log_x, log_xs, log_ys)
    first = (log_ys[1] - log_ys[0]) / (log_xs[1] - log_xs[0])
    last = (log_ys[-1] - log_ys[-2]) / (log_xs[-1] - log_xs[-2])
    below = np.minimum(log_x - log_xs[0], 0.0) * first
    above = np.maximum(log_x - log_xs[-1], 0.0) * last
    result: npt.NDArray[np.float64] = np.exp(inside + below + above)
    return result
