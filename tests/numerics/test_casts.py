"""Casts against ml_dtypes on fresh values, and what the golden vectors leave open."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hwsim.core.errors import UsageError
from hwsim.numerics import cast
from hwsim.numerics.casts import block_floating_point, cast_mx

ml_dtypes = pytest.importorskip("ml_dtypes")
THEIRS = {
    "fp8_e4m3": ml_dtypes.float8_e4m3fn,
    "fp8_e5m2": ml_dtypes.float8_e5m2,
    "bf16": ml_dtypes.bfloat16,
    "fp16": np.float16,
    "fp6_e2m3": ml_dtypes.float6_e2m3fn,
    "fp6_e3m2": ml_dtypes.float6_e3m2fn,
    "fp4_e2m1": ml_dtypes.float4_e2m1fn,
}


@pytest.mark.parametrize("fmt", THEIRS)
@given(values=st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=50), magnitude=st.integers(-20, 20))
def test_equal_to_ml_dtypes(fmt: str, values: list[float], magnitude: int) -> None:
    with np.errstate(over="ignore", under="ignore"):
        x = np.array([*values, *np.ldexp(np.sin(np.arange(50)), magnitude)], dtype=np.float32)
        theirs = x.astype(THEIRS[fmt]).astype(np.float32)
    ours = cast(x, fmt).numpy()
    assert ours.dtype == np.float32
    np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(np.signbit(ours), np.signbit(theirs))


@pytest.mark.parametrize("fmt", THEIRS)
def test_cast_is_idempotent_and_monotonic(fmt: str) -> None:
    x = torch.linspace(-600, 600, 20_001, dtype=torch.float64)
    once = cast(x, fmt, overflow="saturate")
    assert torch.equal(cast(once, fmt, overflow="saturate"), once)
    assert bool((once.diff() >= 0).all())


def test_overflow_is_an_option() -> None:
    assert torch.isnan(cast(torch.tensor([500.0]), "fp8_e4m3")).all()
    assert cast(torch.tensor([500.0, float("-inf")]), "fp8_e4m3", overflow="saturate").tolist() == [448.0, -448.0]
    assert cast(torch.tensor([61440.0]), "fp8_e5m2").tolist() == [float("inf")]


def test_mx_partial_block_and_non_finite_blocks() -> None:
    x = torch.randn(3, 70, generator=torch.Generator().manual_seed(0))
    whole = cast(torch.nn.functional.pad(x, (0, 26)), "mxfp4")[:, :70]
    assert torch.equal(cast(x, "mxfp4"), whole)
    x[0, 3] = float("inf")
    blocks = cast_mx(x, "mxfp8_e4m3")
    assert torch.isnan(blocks.values[0, :32]).all()
    assert torch.isfinite(blocks.values[0, 32:]).all()
    assert blocks.scale_codes[0, 0] == 255


@given(st.integers(2, 12), st.integers(1, 40))
def test_block_floating_point_error_is_within_half_a_step(mantissa_bits: int, block: int) -> None:
    x = torch.randn(5, 37, dtype=torch.float64, generator=torch.Generator().manual_seed(block)) * 100
    y = block_floating_point(x, mantissa_bits, block)
    for start in range(0, 37, block):
        part, kept = x[:, start : start + block], y[:, start : start + block]
        step = torch.exp2(torch.floor(torch.log2(part.abs().amax(-1, keepdim=True))) + 1 - mantissa_bits)
        # The top of the binade may round up to a mantissa that does not fit: it is held at the largest one.
        largest = (2**mantissa_bits - 1) * step
        allowed = torch.maximum(part.abs() - largest, step / 2)
        assert bool(((part - kept).abs() <= allowed).all())


def test_unknown_format() -> None:
    with pytest.raises(UsageError, match="number format 'fp7'"):
        cast(torch.zeros(1), "fp7")
