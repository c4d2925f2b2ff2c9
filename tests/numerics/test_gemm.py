"""Exactness of the carriers, and accumulators against a slow, obviously correct reference."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.core.errors import UsageError
from hwsim.numerics import Accumulator, IntFormat, conv_int, exact_accumulator_bits, matmul_int
from hwsim.numerics.carriers import choose_carrier, exact_matmul
from hwsim.numerics.gemm import accumulate_matmul


def slow_accumulate(products: list[int], bits: int, overflow: str, k_tile: int) -> int:
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    if overflow == "wrap":
        return (sum(products) - low) % 2**bits + low
    if overflow == "saturate":
        return min(max(sum(products), low), high)
    total = 0
    for start in range(0, len(products), k_tile):
        part = 0
        for product in products[start : start + k_tile]:
            part = min(max(part + product, low), high)
        total = min(max(total + part, low), high)
    return total


@settings(deadline=None)
@given(
    m=st.integers(1, 4),
    k=st.integers(1, 300),
    n=st.integers(1, 4),
    bits=st.integers(16, 20),
    overflow=st.sampled_from(["wrap", "saturate", "saturate_each_step"]),
    tile=st.integers(1, 300),
    seed=st.integers(0, 2**32 - 1),
)
def test_accumulators_equal_the_slow_reference(
    m: int, k: int, n: int, bits: int, overflow: str, tile: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.integers(-128, 128, (m, k)), rng.integers(-128, 128, (k, n))
    ours = matmul_int(a, b, bits, overflow, k_tile=tile)
    for i in range(m):
        for j in range(n):
            products = [int(x) * int(y) for x, y in zip(a[i], b[:, j], strict=True)]
            assert int(ours[i, j]) == slow_accumulate(products, bits, overflow, tile)


@settings(deadline=None)
@given(k=st.integers(1, 3000), a_bits=st.integers(1, 24), b_bits=st.integers(1, 24), seed=st.integers(0, 2**32 - 1))
def test_carriers_are_exact_at_extremes(k: int, a_bits: int, b_bits: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a = rng.choice([-(2**a_bits), 2**a_bits - 1], (3, k))
    b = rng.choice([-(2**b_bits), 2**b_bits - 1], (k, 3))
    b[:, 0] = b[0, 0]
    a[0] = a[0, 0]
    assert np.array_equal(exact_matmul(torch.from_numpy(a), torch.from_numpy(b)).long().numpy(), a @ b)


@pytest.mark.parametrize(("k", "exact_in_one"), [(1024, True), (1025, False)])
def test_fp32_bound_of_signed_bytes(k: int, exact_in_one: bool) -> None:
    assert (choose_carrier(k, 128 * 128).chunk >= k) is exact_in_one


def test_odd_total_beyond_24_bits() -> None:
    """24,774,017 is odd and beyond 2^24: a plain fp32 GEMM cannot hold it."""
    a = torch.full((64, 1536), 127, dtype=torch.int8)
    a[:, 7] = 126
    b = torch.full((1536, 64), 127, dtype=torch.int8)
    assert torch.all(matmul_int(a, b) == 1536 * 127 * 127 - 127)
    assert not torch.all((a.float() @ b.float()).long() == 1536 * 127 * 127 - 127)


def test_precision_settings_of_the_user_do_not_matter() -> None:
    rng = torch.Generator().manual_seed(0)
    a, b = (torch.randint(-128, 128, shape, generator=rng) for shape in ((200, 900), (900, 200)))
    expected = a @ b
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(matmul_int(a, b), expected)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)


def test_same_bits_for_threads_batch_splits_and_fold_order() -> None:
    rng = torch.Generator().manual_seed(1)
    a, b = (torch.randint(-128, 128, shape, generator=rng) for shape in ((8, 50, 700), (700, 60)))
    whole = matmul_int(a, b)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        assert torch.equal(matmul_int(a, b), whole)
        torch.set_num_threads(2)
        assert torch.equal(matmul_int(a, b), whole)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(torch.cat([matmul_int(part, b) for part in a.split(3)]), whole)
    folds = sum(matmul_int(a[..., k : k + 128], b[k : k + 128]) for k in reversed(range(0, 700, 128)))
    assert torch.equal(torch.as_tensor(folds), whole)


def test_overflow_count_and_bias() -> None:
    a, b = torch.tensor([[100, 100], [1, 1]]), torch.tensor([[100], [127]])
    summed = accumulate_matmul(a, b, Accumulator(16, "saturate"), bias=torch.tensor([20_000]))
    assert summed.value.tolist() == [[32767], [20227]]
    assert summed.overflows == 1


@pytest.mark.parametrize(("k", "bits"), [(64, 22), (192, 23), (384, 24), (768, 25), (1536, 26), (3072, 27)])
def test_exact_accumulator_width(k: int, bits: int) -> None:
    assert exact_accumulator_bits(k, IntFormat(8), IntFormat(8)) == bits
    extreme = -128 * torch.ones((1, k), dtype=torch.int64)
    assert accumulate_matmul(extreme, extreme.mT, Accumulator(bits)).overflows == 0
    if bits > 22:
        assert accumulate_matmul(extreme, extreme.mT, Accumulator(bits - 1)).overflows == 1


@settings(deadline=None, max_examples=60)
@given(
    axes=st.integers(1, 3),
    groups=st.sampled_from([1, 2, 4]),
    size=st.integers(5, 9),
    kernel=st.integers(1, 3),
    stride=st.integers(1, 3),
    padding=st.integers(0, 2),
    dilation=st.integers(1, 2),
    seed=st.integers(0, 2**32 - 1),
)
def test_conv_equals_float64(
    axes: int, groups: int, size: int, kernel: int, stride: int, padding: int, dilation: int, seed: int
) -> None:
    rng = torch.Generator().manual_seed(seed)
    x = torch.randint(-128, 128, (2, 4, *[size] * axes), generator=rng)
    w = torch.randint(-128, 128, (8, 4 // groups, *[kernel] * axes), generator=rng)
    bias = torch.randint(-1000, 1000, (8,), generator=rng)
    conv = (torch.nn.functional.conv1d, torch.nn.functional.conv2d, torch.nn.functional.conv3d)[axes - 1]
    expected = conv(x.double(), w.double(), bias.double(), stride, padding, dilation, groups)
    assert torch.equal(conv_int(x, w, bias, stride, padding, dilation, groups).value.double(), expected)


def test_refusals() -> None:
    codes = torch.zeros((2, 3), dtype=torch.int8)
    with pytest.raises(UsageError, match="accumulator of 8 bits: 16 to 48"):
        matmul_int(codes, codes.mT, 8)
    with pytest.raises(UsageError, match="overflow = 'clip'"):
        matmul_int(codes, codes.mT, overflow="clip")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"b holds torch\.float32: integer codes"):
        matmul_int(codes, codes.mT.float())
    with pytest.raises(UsageError, match=r"a of shape \(2, 3\) times b of shape \(2, 3\)"):
        matmul_int(codes, codes)
    with pytest.raises(UsageError, match="in 2 groups"):
        conv_int(torch.zeros((1, 3, 4, 4), dtype=torch.int8), torch.zeros((4, 3, 1, 1), dtype=torch.int8), groups=2)
    with pytest.raises(UsageError, match="more than 64 bits"):
        matmul_int(torch.full((1, 4), 2**31), torch.full((4, 1), 2**31))
