"""`exact` timing against a register-level array: cycles equal, operands multiplied, and no slack left."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.backends.systolic.machine import IS, OS, WS
from hwsim.backends.systolic.timing import exact_cycles
from tests.systolic.array_rtl import input_stationary, output_stationary, weight_stationary

ARRAYS = {WS: weight_stationary, OS: output_stationary, IS: input_stationary}
side = st.integers(1, 5)
extent = st.integers(1, 9)


@settings(max_examples=25, deadline=None)
@given(side, side, extent, extent, extent, st.integers(1, 3), st.booleans(), st.integers(0, 2**16))
@pytest.mark.parametrize("dataflow", [WS, OS, IS])
def test_exact_cycles_and_product_equal_the_registers(
    dataflow: int, R: int, C: int, M: int, N: int, K: int, parts: int, overlap: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.integers(-8, 8, (M, K)), rng.integers(-8, 8, (K, N))
    parts = min(parts, {WS: M, OS: K, IS: N}[dataflow])
    product, cycles = ARRAYS[dataflow](a, b, R, C, overlap, parts)
    np.testing.assert_array_equal(product, a @ b)
    assert cycles == exact_cycles(R, C, dataflow, int(overlap), M, N, K, parts, 1)


@pytest.mark.parametrize("overlap", [True, False])
@pytest.mark.parametrize("dataflow", [WS, OS])
def test_folds_cannot_follow_each_other_any_faster(dataflow: int, overlap: bool) -> None:
    rng = np.random.default_rng(1)
    M, N, K = (3, 9, 8) if dataflow == WS else (8, 9, 3)
    a, b = rng.integers(1, 9, (M, K)), rng.integers(1, 9, (K, N))
    product, _ = ARRAYS[dataflow](a, b, 4, 3, overlap, 1, hurry=1)
    assert not np.array_equal(product, a @ b)
