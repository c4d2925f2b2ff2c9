"""Compiled CPU loops over rows: one pass where a chain of tensor operations would make many.

Each repeats, value for value, a definition given elsewhere in this package (the tests hold them equal). Reassociated
sums are allowed because every sum here is of whole numbers below 2^53, exact in any order. The loops release the
interpreter lock; `over_rows` runs them on torch's number of threads.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import pairwise
from typing import ParamSpec

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.generic]
# Fewer elements than this are done sooner than a thread is woken.
_WORTH_A_THREAD = 1 << 16


Arguments = ParamSpec("Arguments")


def _compiled(loop: Callable[Arguments, None]) -> Callable[Arguments, None]:
    """`loop` as machine code, compiled on its first call and kept on disk."""
    compiled: Callable[Arguments, None] = numba.njit(nogil=True, fastmath={"reassoc"}, error_model="numpy", cache=True)(
        loop
    )
    return compiled


def over_rows(loop: Callable[..., None], x: Tensor, *constants: object) -> Tensor:
    """loop(x_rows, out_rows, *constants) over the rows of the last axis of a CPU tensor; float32, shape of x."""
    rows = x.reshape(-1, x.shape[-1]).contiguous().numpy()
    out = np.empty(rows.shape, np.float32)
    threads = min(torch.get_num_threads(), max(1, rows.size // _WORTH_A_THREAD))
    if threads == 1:
        loop(rows, out, *constants)
    else:
        cuts = np.linspace(0, len(rows), threads + 1).astype(int)
        jobs = [_pool(threads).submit(loop, rows[i:j], out[i:j], *constants) for i, j in pairwise(cuts)]
        for job in jobs:
            job.result()
    return torch.from_numpy(out).reshape(x.shape)


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="hwsim-kernel")


@_compiled
def softmax_rows(x: Array, out: Array, table: Array, numerator: float, largest_sum: float, unit: float) -> None:
    """out = floor(e floor(numerator / min(sum e, largest_sum)) unit), e = table[row maximum - x] (softmax.softmax)."""
    last = np.int32(table.size - 1)
    n = x.shape[1]
    e = np.empty(n, np.float64)
    for row in range(x.shape[0]):
        peak = np.int32(x[row, 0])
        for i in range(n):
            peak = max(peak, np.int32(x[row, i]))
        total = 0.0
        for i in range(n):
            value = table[np.uint32(min(peak - np.int32(x[row, i]), last))]
            e[i] = value
            total += value
        factor = np.floor(numerator / min(total, largest_sum)) * unit
        for i in range(n):
            out[row, i] = np.floor(e[i] * factor)


@_compiled
def requantize_rows(x: Array, out: Array, scale: Array, zero: float, low: float, high: float) -> None:
    """out = clamp(rne(f32(x) scale[column]) + zero): the rule `onnx` of rescale.requantize, scale per column."""
    for row in range(x.shape[0]):
        for i in range(x.shape[1]):
            rounded = np.rint(np.float32(x[row, i]) * scale[i]) + np.float32(zero)
            out[row, i] = min(max(rounded, np.float32(low)), np.float32(high))


@_compiled
def layer_norm_rows(
    x: Array,
    out: Array,
    offset: Array,
    scale: Array,
    shift: float,
    numerator: float,
    multiple: float,
    extra: float,
    zero: float,
    low: float,
    high: float,
) -> None:
    """layernorm.IntegerLayerNorm followed by requantize_rows, whole numbers x.

    numerator / (multiple sigma + extra) is the factor of each variant. floor(sqrt) in float64 is the integer root for
    sums below 2^52: the true root of n^2 - 1 lies 1 / (2 n) below n, more than one float64 step.
    """
    n = x.shape[1]
    y = np.empty(n, np.float64)
    for row in range(x.shape[0]):
        total = 0.0
        for i in range(n):
            total += np.float64(x[row, i])
        mean = np.rint(total / n)
        variance = 0.0
        for i in range(n):
            y[i] = np.float64(x[row, i]) - mean
            step = np.floor(y[i] * shift)
            variance += step * step
        sigma = np.floor(np.sqrt(variance)) / shift
        factor = np.floor(numerator / max(multiple * sigma + extra, 1.0)) * 0.5
        for i in range(n):
            value = np.float32(np.floor(y[i] * factor) + offset[i])
            rounded = np.rint(value * scale[i]) + np.float32(zero)
            out[row, i] = min(max(rounded, np.float32(low)), np.float32(high))
