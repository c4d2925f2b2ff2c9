"""Zero mismatches against vectors that other libraries produced."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from hwsim.numerics import cast, conv_int, matmul_int, requantize
from hwsim.numerics.casts import MX_ELEMENTS, cast_mx, float_codes

PUBLISHED = Path(__file__).parent / "published"
RULE_KEYS = {
    "onnx": "onnx_rne_f32",
    "gemmlowp": "gemmlowp_double",
    "tflite_single": "tosa_single",
    "tosa": "tosa_double",
    "ruy": "ruy_avx2",
    "half_away": "half_away",
    "floor": "floor_shift",
}
SCALES = {"2.3e-4": 2.3417e-4, "2^-12": 2.0**-12, "2^-6": 2.0**-6, "2^-3": 2.0**-3}
SMALL_FLOATS = {
    "float8_e4m3fn": "fp8_e4m3",
    "float8_e5m2": "fp8_e5m2",
    "float6_e2m3fn": "fp6_e2m3",
    "float6_e3m2fn": "fp6_e3m2",
    "float4_e2m1fn": "fp4_e2m1",
}


def mismatches(ours: object, theirs: np.ndarray) -> int:
    """Elements that differ, the sign of zero included; NaN equals NaN."""
    a, b = np.asarray(ours, dtype=np.float64), theirs.astype(np.float64)
    same = (a == b) & (np.signbit(a) == np.signbit(b)) | (np.isnan(a) & np.isnan(b))
    return int((~same).sum())


@pytest.mark.parametrize("granularity", ["per_tensor", "per_channel"])
@pytest.mark.parametrize("types", ["s8s8", "u8s8", "u8u8"])
def test_gemm(types: str, granularity: str) -> None:
    data = np.load(PUBLISHED / f"gemm_{types}.npz")
    prefix = f"gemm_{types}_{granularity}_"
    case = {key.removeprefix(prefix): data[key] for key in data.files if key.startswith(prefix)}
    acc = matmul_int(case["a"].astype(int) - int(case["za"]), case["b"].astype(int) - int(case["zb"]))
    scale = (case["sa"] * case["sb"]).astype(np.float32) / case["sy"]
    y = requantize(acc, scale, int(case["zy"]), str(case["y"].dtype))
    assert mismatches(acc, case["acc"]) == 0
    assert mismatches(y, case["y"]) == 0


@pytest.mark.parametrize("layer", ["patch16", "conv3x3"])
def test_conv(layer: str) -> None:
    data = np.load(PUBLISHED / "conv_ort.npz")
    prefix = f"conv_{layer}_"
    case = {key.removeprefix(prefix): data[key] for key in data.files if key.startswith(prefix)}
    x = case["x"].astype(int) - int(case["zx"])
    summed = conv_int(x, case["w"], case["bias"], int(case["stride"]), int(case["pad"]))
    scale = ((case["sx"] * case["sw"]).astype(np.float32) / case["sy"]).reshape(-1, 1, 1)
    assert summed.overflows == 0
    assert mismatches(summed.value, case["acc"]) == 0
    assert mismatches(requantize(summed.value, scale, int(case["zy"]), "uint8"), case["y"]) == 0
    assert mismatches(requantize(summed.value, scale, int(case["zy_s8"]), "int8"), case["y_s8"]) == 0


@pytest.mark.parametrize("key", SCALES)
@pytest.mark.parametrize("rule", RULE_KEYS)
def test_requantization_rule(rule: str, key: str) -> None:
    data = np.load(PUBLISHED / "requant_rules_a.npz")
    ours = requantize(data["acc"], SCALES[key], 0, "int32", rule)
    assert mismatches(ours, data[f"{key}/{RULE_KEYS[rule]}"]) == 0


@pytest.mark.parametrize("name", SMALL_FLOATS)
def test_small_floats(name: str) -> None:
    data = np.load(PUBLISHED / "fp8.npz")
    fmt = SMALL_FLOATS[name]
    # Formats without NaN leave its cast undefined.
    keep = slice(None) if fmt.startswith("fp8") else ~np.isnan(data[f"{name}_x"])
    x = data[f"{name}_x"][keep]
    assert mismatches(cast(x, fmt), data[f"{name}_rne_nosat"][keep]) == 0
    assert mismatches(float_codes(cast(x, fmt), fmt), data[f"{name}_codes"][keep]) == 0
    assert mismatches(cast(x, fmt, overflow="saturate"), data[f"{name}_rne_sat"][keep]) == 0
    away = cast(x, fmt, overflow="saturate", rounding="away")
    assert mismatches(away, data[f"{name}_ties_away_sat"][keep]) == 0


@pytest.mark.parametrize("fmt", MX_ELEMENTS)
def test_mx(fmt: str) -> None:
    data = np.load(PUBLISHED / "mx.npz")
    blocks = cast_mx(torch.as_tensor(data["x"]), fmt)
    assert mismatches(blocks.scale_codes[:, 0], data[f"{fmt}_e8m0"]) == 0
    assert mismatches(cast(data["x"], fmt), data[f"{fmt}_rne"]) == 0
    # microxcaling clamps MXINT8 to +-127 where the specification has -128: one element of these blocks.
    known = 1 if fmt == "mxint8" else 0
    assert mismatches(cast(data["x"], fmt, rounding="even"), data[f"{fmt}_microx_even"]) == known
    assert mismatches(cast(data["x"], fmt, rounding="away"), data[f"{fmt}_microx_nearest"]) == known
    assert mismatches(cast(data["x"], fmt, rounding="zero"), data[f"{fmt}_microx_floor"]) == 0
