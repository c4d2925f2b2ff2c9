"""Exact integer GEMM on float units: fp32, fp32 split along K, fp64 or int64, chosen by a proven bound.

A float of p significant bits adds integers exactly, in any order, as long as every partial sum stays within 2^p in
magnitude. With |a b| <= P1 per product, no partial sum of a chunk of k products exceeds k P1. Chunks of
k <= 2^24 / P1 are therefore exact in fp32 on every CPU and GPU; their results are added as integers. Nothing here
uses an int8 dot-product instruction, some of which saturate pairs of products at 16 bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from hwsim.core.errors import UsageError
from hwsim.numerics.integer import magnitude

FP32_EXACT = 1 << 24
FP64_EXACT = 1 << 53
INT64_MAX = (1 << 63) - 1
# Below this many products per fp32 chunk one fp64 GEMM is faster than many short fp32 ones (fp64 costs about twice
# the fp32 time on x86: benchmarks/quantized_execution.py prints the ratio).
MIN_CHUNK = 128


@dataclass(frozen=True)
class Carrier:
    """The type that carries the products, and the longest run of K it adds exactly."""

    dtype: torch.dtype
    chunk: int


def choose_carrier(k: int, max_product: int) -> Carrier:
    """The fastest carrier proven exact for sums of `k` products of magnitude at most `max_product`.

    Raises UsageError when the sum could pass 63 bits, where no carrier here is exact.
    """
    bound = max(1, max_product)
    if k * bound > INT64_MAX:
        raise UsageError(
            f"a sum of {k} products of up to {bound} needs more than 64 bits",
            got=k * bound,
            expected=f"at most {INT64_MAX}",
            remedy="use codes of fewer bits or split K",
        )
    single = FP32_EXACT // bound
    if single >= min(k, MIN_CHUNK):
        return Carrier(torch.float32, single)
    double = FP64_EXACT // bound
    return Carrier(torch.float64, double) if double >= min(k, MIN_CHUNK) else Carrier(torch.int64, k)


def exact_matmul(a: Tensor, b: Tensor, max_product: int | None = None) -> Tensor:
    """The exact product a[..., M, K] b[..., K, N] of integer-valued tensors of any dtype.

    `max_product` is a proven bound on |a b|; measured from the operands when absent. The result holds whole numbers:
    float32 when every partial sum is proven to fit it, else int32, else int64.
    """
    k = a.shape[-1]
    if max_product is None:
        max_product = magnitude(a) * magnitude(b)
    carrier = choose_carrier(k, max_product)
    a, b = a.to(carrier.dtype), b.to(carrier.dtype)
    with true_precision(a.device):
        if k <= carrier.chunk:
            product = torch.matmul(a, b)
            return product if carrier.dtype == torch.float32 else product.to(_narrowest(k * max_product))
        chunks = -(-k // carrier.chunk)
        pieces = zip(a.tensor_split(chunks, -1), b.tensor_split(chunks, -2), strict=True)
        parts = (torch.matmul(left, right).to(_narrowest(k * max_product)) for left, right in pieces)
        total = next(parts)
        for part in parts:
            total.add_(part)
    return total


def _narrowest(bound: int) -> torch.dtype:
    """int32 for sums that fit it: half the memory traffic of int64."""
    return torch.int32 if bound < 1 << 31 else torch.int64


@contextmanager
def true_precision(device: torch.device) -> Iterator[None]:
    """No TF32, no bf16 shortcut, no autocast inside: an fp32 product is an fp32 product whatever the user has set."""
    backend = torch.backends.cuda.matmul if device.type == "cuda" else torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = backend.fp32_precision
    backend.fp32_precision = "ieee"
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        backend.fp32_precision = before
