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
from typing import Any, ParamSpec

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[Any]
# Fewer elements than this are done sooner than a thread is woken.
_WORTH_A_THREAD = 1 << 16
Arguments = ParamSpec("Arguments")
#: Rules of `rescale.requantize` by the number that `fixed_point_rows` knows them by.
RULE_CODES = {"gemmlowp": 0, "tosa": 0, "ruy": 1, "tflite_single": 2, "half_away": 3, "half_even": 4, "floor": 5}
_GEMMLOWP, _RUY, _SINGLE, _AWAY, _EVEN = range(5)


def _compiled(loop: Callable[Arguments, None]) -> Callable[Arguments, None]:
    """`loop` as machine code, compiled on its first call and kept on disk."""
    compiled: Callable[Arguments, None] = numba.njit(nogil=True, fastmath={"reassoc"}, error_model="numpy", cache=True)(
        loop
    )
    return compiled


def over_rows(loop: Callable[..., None], x: Tensor, *constants: object) -> tuple[Tensor, int]:
    """loop(first_row, x_rows, out_rows, clamped, *constants) over the rows of the last axis of a CPU tensor.

    Returns float32 of the shape of x, and the sum of what the loop counted in `clamped`, one entry per row.
    """
    rows = x.reshape(-1, x.shape[-1]).contiguous().numpy()
    out = np.empty(rows.shape, np.float32)
    clamped = np.zeros(len(rows), np.int64)
    threads = min(torch.get_num_threads(), max(1, rows.size // _WORTH_A_THREAD))
    if threads == 1:
        loop(0, rows, out, clamped, *constants)
    else:
        cuts = np.linspace(0, len(rows), threads + 1).astype(int).tolist()
        jobs = [
            _pool(threads).submit(loop, i, rows[i:j], out[i:j], clamped[i:j], *constants) for i, j in pairwise(cuts)
        ]
        for job in jobs:
            job.result()
    return torch.from_numpy(out).reshape(x.shape), int(clamped.sum())


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="hwsim-kernel")


@_compiled
def softmax_rows(
    first: int, x: Array, out: Array, clamped: Array, table: Array, numerator: float, largest_sum: float, unit: float
) -> None:
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
def requantize_rows(
    first: int, x: Array, out: Array, clamped: Array, bias: Array, scale: Array, low: float, high: float
) -> None:
    """out = clamp(rne(f32(x + bias[column]) scale[column])): the rule `onnx`, a scale per column."""
    for row in range(x.shape[0]):
        count = 0
        for i in range(x.shape[1]):
            value = np.rint(np.float32(np.float64(x[row, i]) + bias[i]) * scale[i])
            count += (value < low) | (value > high)
            out[row, i] = min(max(value, np.float32(low)), np.float32(high))
        clamped[row] = count


@_compiled
def requantize_planes(
    first: int, x: Array, out: Array, clamped: Array, bias: Array, scale: Array, low: float, high: float
) -> None:
    """`requantize_rows` with a scale per row: rows are the planes of (batch, channel, place)."""
    for row in range(x.shape[0]):
        channel = (first + row) % scale.size
        start, factor = bias[channel], scale[channel]
        count = 0
        for i in range(x.shape[1]):
            value = np.rint(np.float32(np.float64(x[row, i]) + start) * factor)
            count += (value < low) | (value > high)
            out[row, i] = min(max(value, np.float32(low)), np.float32(high))
        clamped[row] = count


@numba.njit(inline="always")
def _fixed(acc: int, multiplier: int, exponent: int, rule: int) -> int:
    """One value of a fixed-point rule (rescale's table), |acc| < 2^31, scale < 1 or, without high multiply, 2^14."""
    product = acc * multiplier
    shift = min(31 - exponent, 63)
    half = 1 << (shift - 1)
    if rule in (_GEMMLOWP, _RUY):
        high = (product + (1 << 30)) >> 31
        right = min(-exponent, 62)
        unit = 1 << right
        if rule == _RUY:
            return (high + (unit >> 1)) >> right
        # Ties away from zero: half up on the magnitude.
        return (high + (unit >> 1)) >> right if high >= 0 else -((-high + (unit >> 1)) >> right)
    if rule == _SINGLE:
        return (product + half) >> shift
    if rule == _AWAY:
        return (product + half) >> shift if product >= 0 else -((-product + half) >> shift)
    if rule == _EVEN:
        raised = product + half
        up = raised >> shift
        # A tie left no remainder; it was rounded up, so an odd result goes down by one.
        return up - (up & 1) if raised == up << shift else up
    return product >> shift


@_compiled
def fixed_point_rows(
    first: int, x: Array, out: Array, clamped: Array, bias: Array, multiplier: Array, exponent: Array, rule: int,
    low: int, high: int,
) -> None:  # fmt: skip
    """out = clamp((x + bias[column]) multiplier 2^(exponent - 31)) by a fixed-point rule, a scale per column."""
    for row in range(x.shape[0]):
        count = 0
        for i in range(x.shape[1]):
            acc = int(np.int32(x[row, i])) + bias[i]
            value = _fixed(acc, multiplier[i], exponent[i], rule)
            count += (value < low) | (value > high)
            out[row, i] = min(max(value, low), high)
        clamped[row] = count


@_compiled
def fixed_point_planes(
    first: int, x: Array, out: Array, clamped: Array, bias: Array, multiplier: Array, exponent: Array, rule: int,
    low: int, high: int,
) -> None:  # fmt: skip
    """`fixed_point_rows` with a scale per row, as `requantize_planes`."""
    for row in range(x.shape[0]):
        channel = (first + row) % multiplier.size
        count = 0
        for i in range(x.shape[1]):
            acc = int(np.int32(x[row, i])) + bias[channel]
            value = _fixed(acc, multiplier[channel], exponent[channel], rule)
            count += (value < low) | (value > high)
            out[row, i] = min(max(value, low), high)
        clamped[row] = count


@_compiled
def added_rows(
    first: int, x: Array, out: Array, clamped: Array, y: Array, x_scale: float, y_scale: float, low: float, high: float
) -> None:
    """out = clamp(rne(x x_scale) + rne(y y_scale)): two operands of one shape, each scaled by the rule `onnx`."""
    a, b = np.float32(x_scale), np.float32(y_scale)
    for row in range(x.shape[0]):
        count = 0
        for i in range(x.shape[1]):
            value = np.rint(np.float32(x[row, i]) * a) + np.rint(np.float32(y[first + row, i]) * b)
            count += (value < low) | (value > high)
            out[row, i] = min(max(value, np.float32(low)), np.float32(high))
        clamped[row] = count


@_compiled
def fixed_point_added_rows(
    first: int, x: Array, out: Array, clamped: Array, y: Array, x_multiplier: int, x_exponent: int, y_multiplier: int,
    y_exponent: int, rule: int, low: int, high: int,
) -> None:  # fmt: skip
    """`added_rows` with each operand scaled by a fixed-point rule."""
    for row in range(x.shape[0]):
        count = 0
        for i in range(x.shape[1]):
            left = _fixed(int(np.int32(x[row, i])), x_multiplier, x_exponent, rule)
            value = left + _fixed(int(np.int32(y[first + row, i])), y_multiplier, y_exponent, rule)
            count += (value < low) | (value > high)
            out[row, i] = min(max(value, low), high)
        clamped[row] = count


@_compiled
def table_rows(first: int, x: Array, out: Array, clamped: Array, table: Array, low: int) -> None:
    """out = table[x - low]: any function of one code."""
    for row in range(x.shape[0]):
        for i in range(x.shape[1]):
            out[row, i] = table[np.int64(x[row, i]) - low]


@_compiled
def peak_table_rows(first: int, x: Array, out: Array, clamped: Array, table: Array, low: int) -> None:
    """out = table[row maximum - low, x - low]: a function of a code and the largest code of its row."""
    for row in range(x.shape[0]):
        peak = np.int64(x[row, 0])
        for i in range(x.shape[1]):
            peak = max(peak, np.int64(x[row, i]))
        for i in range(x.shape[1]):
            out[row, i] = table[peak - low, np.int64(x[row, i]) - low]


@_compiled
def layer_norm_rows(
    first: int, x: Array, out: Array, clamped: Array, offset: Array, scale: Array, shift: float, numerator: float,
    multiple: float, extra: float, low: float, high: float,
) -> None:  # fmt: skip
    """layernorm.IntegerLayerNorm followed by the rule `onnx`, whole numbers x.

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
        count = 0
        for i in range(n):
            value = np.rint(np.float32(np.floor(y[i] * factor) + offset[i]) * scale[i])
            count += (value < low) | (value > high)
            out[row, i] = min(max(value, np.float32(low)), np.float32(high))
        clamped[row] = count
