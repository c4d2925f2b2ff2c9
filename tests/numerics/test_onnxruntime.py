"""Equality with onnxruntime, one operator at a time, on fresh shapes (s8 x s8: its u8 x s8 depends on the CPU)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.numerics import conv_int, matmul_int, requantize

pytest.importorskip("onnxruntime")
from .onnx_model import run_operator

SEED = st.integers(0, 2**32 - 1)


def codes(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Signed bytes, half of the draws at the extremes."""
    if rng.random() < 0.5:
        return rng.choice(np.array([-128, -127, 126, 127], np.int8), shape)
    return rng.integers(-128, 128, shape, dtype=np.int8)


@settings(deadline=None, max_examples=40)
@given(m=st.integers(1, 40), k=st.integers(1, 900), n=st.integers(1, 40), seed=SEED)
def test_matmul_integer(m: int, k: int, n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = codes(rng, (m, k)), codes(rng, (k, n))
    theirs = run_operator("MatMulInteger", {"a": a, "b": b}, "int32")
    assert np.array_equal(matmul_int(a, b).numpy(), theirs)


def test_matmul_integer_wraps_at_32_bits() -> None:
    a = np.full((1, 140_000), -128, np.int8)
    theirs = run_operator("MatMulInteger", {"a": a, "b": a.T.copy()}, "int32")
    assert theirs[0, 0] == -2_001_207_296
    assert matmul_int(a, a.T)[0, 0] == theirs[0, 0]


@settings(deadline=None, max_examples=40)
@given(m=st.integers(1, 30), k=st.integers(1, 500), n=st.integers(1, 30), per_channel=st.booleans(), seed=SEED)
def test_qlinear_matmul(m: int, k: int, n: int, per_channel: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = codes(rng, (m, k)), codes(rng, (k, n))
    za, zy = (np.array(z, np.int8) for z in rng.integers(-20, 20, 2))
    sa = np.float32(rng.uniform(0.001, 0.1))
    sb = rng.uniform(0.001, 0.1, n if per_channel else ()).astype(np.float32)
    # Half of the scales are powers of two, where ties are frequent.
    if rng.random() < 0.5:
        sa, sb = np.exp2(np.rint(np.log2(sa))), np.exp2(np.rint(np.log2(sb)))
    sy = np.float32(2.0 ** np.rint(np.log2(sa * np.mean(sb) * 40 * np.sqrt(k))))
    zb = np.zeros(sb.shape, np.int8)
    inputs = {"a": a, "sa": sa, "za": za, "b": b, "sb": sb, "zb": zb, "sy": sy, "zy": zy}
    theirs = run_operator("QLinearMatMul", {key: np.asarray(value) for key, value in inputs.items()}, "int8")
    acc = matmul_int(a.astype(int) - int(za), b)
    assert np.array_equal(requantize(acc, (sa * sb).astype(np.float32) / sy, int(zy)).numpy(), theirs)


@settings(deadline=None, max_examples=30)
@given(
    size=st.integers(3, 14),
    kernel=st.integers(1, 3),
    stride=st.integers(1, 2),
    padding=st.integers(0, 1),
    groups=st.sampled_from([1, 2, 4]),
    seed=SEED,
)
def test_qlinear_conv(size: int, kernel: int, stride: int, padding: int, groups: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, w = codes(rng, (2, 4, size, size)), codes(rng, (8, 4 // groups, kernel, kernel))
    bias = rng.integers(-5000, 5000, 8, dtype=np.int32)
    sx, sy = np.float32(0.02), np.float32(0.9)
    sw = rng.uniform(0.01, 0.1, 8).astype(np.float32)
    zx, zy = np.array(rng.integers(-5, 5), np.int8), np.array(3, np.int8)
    inputs = {
        "x": x, "sx": np.asarray(sx), "zx": zx, "w": w, "sw": sw, "zw": np.zeros(8, np.int8), "sy": np.asarray(sy),
        "zy": zy, "bias": bias,
    }  # fmt: skip
    attributes = {"strides": [stride] * 2, "pads": [padding] * 4, "group": groups}
    theirs = run_operator("QLinearConv", inputs, "int8", **attributes)
    acc = conv_int(x.astype(int) - int(zx), w, bias, stride, padding, groups=groups).value
    scale = ((sx * sw).astype(np.float32) / sy).reshape(-1, 1, 1)
    assert np.array_equal(requantize(acc, scale, int(zy)).numpy(), theirs)
