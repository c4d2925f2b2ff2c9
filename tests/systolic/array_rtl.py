"""A systolic array register by register, clock by clock: the slow oracle of `timing.exact_cycles`.

Every register is an entry of an array that changes at the end of a cycle from the values before it, as non-blocking
assignments do. The control is wavefronts: each PE acts `row + column` cycles after the upper left one. Operand values
move, are multiplied and summed, so a fold that starts too early destroys a result that the test compares with a @ b.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Fold:
    """Rows, columns and steps of one fold, and the cycle in which the upper left PE gets its first element."""

    rows: slice
    cols: slice
    steps: slice
    start: int

    @property
    def size(self) -> tuple[int, int, int]:
        return tuple(part.stop - part.start for part in (self.rows, self.cols, self.steps))  # type: ignore[return-value]


def chunks(total: int, parts: int) -> list[slice]:
    """`total` steps in `parts`, the longer ones first."""
    sizes = [total // parts + (1 if i < total % parts else 0) for i in range(parts)]
    ends = np.cumsum(sizes)
    return [slice(int(e - s), int(e)) for s, e in zip(sizes, ends, strict=True)]


def folds(R: int, C: int, sr: int, sc: int, t: int, parts: int) -> list[tuple[slice, slice, slice]]:
    """Folds in the order they run: chunks of time, then columns, then rows."""
    return [
        (slice(i, min(i + R, sr)), slice(j, min(j + C, sc)), step)
        for step in chunks(t, parts)
        for j in range(0, sc, C)
        for i in range(0, sr, R)
    ]


def weight_stationary(
    a: Ints, b: Ints, R: int, C: int, overlap: bool, parts: int = 1, hurry: int = 0
) -> tuple[Ints, int]:
    """a @ b on an R x C array that holds b; returns the product and the cycles taken. Integer a [M,K], b [K,N].

    `hurry` starts every fold but the first that many cycles too early, to see that the result then breaks.
    """
    M, K = a.shape
    N = b.shape[1]
    plan, load_at = [], []
    free, start, streamed = 0, 0, 0
    for index, (rows, cols, steps) in enumerate(folds(R, C, K, N, M, parts)):
        r = rows.stop - rows.start
        load = free
        start = load + r if index == 0 else max(load + r, start + streamed) - hurry
        plan.append(Fold(rows, cols, steps, start))
        load_at.append(load)
        streamed = steps.stop - steps.start
        # The chain of next weights is free once the first element has taken its weight; with one register only, once
        # the last has. The old value is used in the very cycle whose end replaces it.
        free = start if overlap else start + streamed - 1
    horizon = plan[-1].start + M + 2 * (R + C) + K + N
    held = np.zeros((R, C), np.int64)
    chain = np.zeros((R, C), np.int64)
    right = np.zeros((R, C), np.int64)
    down = np.zeros((R, C), np.int64)
    out = np.zeros((M, N), np.int64)
    last = 0
    i_index, j_index = np.indices((R, C))
    for cycle in range(horizon):
        left_in = np.zeros((R, 1), np.int64)
        swap = np.zeros((R, C), bool)
        for fold in plan:
            r, _, t = fold.size
            for i in range(r):
                m = cycle - fold.start - i
                if 0 <= m < t:
                    left_in[i, 0] = a[fold.steps.start + m, fold.rows.start + i]
            # Rows below a partial fold hold zero weights, so the sums of the fold cross them unchanged.
            swap |= cycle - fold.start - i_index - j_index == 0
        a_in = np.hstack([left_in, right[:, :-1]])
        sum_in = np.vstack([np.zeros((1, C), np.int64), down[:-1]])
        weight = np.where(swap, chain, held) if overlap else held
        next_down = sum_in + weight * a_in
        next_chain = chain.copy() if overlap else held.copy()
        store = chain if overlap else held
        for fold, load in zip(plan, load_at, strict=True):
            r, c, _ = fold.size
            for i in range(R):
                for j in range(C):
                    # Row i takes part from the cycle the wave reaches it until the chain is filled.
                    if load + j + i <= cycle <= load + j + max(r, i + 1) - 1:
                        pushed = cycle - load - j
                        source = fold.rows.start + r - 1 - pushed
                        if i >= r or j >= c:
                            next_chain[i, j] = 0
                        else:
                            next_chain[i, j] = b[source, fold.cols.start + j] if i == 0 else store[i - 1, j]
        if overlap:
            held, chain = weight, next_chain
        else:
            held = next_chain
        right, down = a_in, next_down
        for fold in plan:
            _, c, t = fold.size
            for j in range(c):
                m = cycle - fold.start - (R - 1) - j
                if 0 <= m < t:
                    out[fold.steps.start + m, fold.cols.start + j] += down[R - 1, j]
                    last = max(last, cycle)
    return out, last + 1


def output_stationary(
    a: Ints, b: Ints, R: int, C: int, overlap: bool, parts: int = 1, hurry: int = 0
) -> tuple[Ints, int]:
    """a @ b on an R x C array whose PEs hold the sums; as `weight_stationary`."""
    M, K = a.shape
    N = b.shape[1]
    plan: list[Fold] = []
    for rows, cols, steps in folds(R, C, M, N, K, parts):
        start = 0
        if plan:
            r, _, t = plan[-1].size
            start = plan[-1].start + (max(t, r) if overlap else t + r - 1) - hurry
        if plan and overlap:
            # This fold's results reach the drain chain t cycles from now: the last fold's must have left it.
            r, _, t = plan[-1].size
            start = max(plan[-1].start + t - hurry, plan[-1].start + t + r - (steps.stop - steps.start) - hurry)
        plan.append(Fold(rows, cols, steps, start))
    horizon = plan[-1].start + K + 3 * (R + C)
    right, below = np.zeros((R, C), np.int64), np.zeros((R, C), np.int64)
    acc, drain = np.zeros((R, C), np.int64), np.zeros((R, C), np.int64)
    out = np.zeros((M, N), np.int64)
    last = 0
    i_index, j_index = np.indices((R, C))
    for cycle in range(horizon):
        left_in, top_in = np.zeros((R, 1), np.int64), np.zeros((1, C), np.int64)
        first, done = np.zeros((R, C), bool), np.zeros((R, C), bool)
        busy = np.zeros((R, C), bool)
        for fold in plan:
            r, c, t = fold.size
            for i in range(r):
                if 0 <= (k := cycle - fold.start - i) < t:
                    left_in[i, 0] = a[fold.rows.start + i, fold.steps.start + k]
            for j in range(c):
                if 0 <= (k := cycle - fold.start - j) < t:
                    top_in[0, j] = b[fold.steps.start + k, fold.cols.start + j]
            turn = cycle - fold.start - i_index - j_index
            inside = (i_index < r) & (j_index < c)
            first |= inside & (turn == 0)
            done |= inside & (turn == t - 1)
            busy |= inside & (turn >= 0) & (turn < t)
        a_in = np.hstack([left_in, right[:, :-1]])
        b_in = np.vstack([top_in, below[:-1]])
        summed = np.where(first, 0, acc) + a_in * b_in
        chain = drain if overlap else acc
        next_chain = chain.copy()
        for fold in plan:
            r, c, t = fold.size
            for j in range(c):
                begin = fold.start + t + r - 1 + j
                for i in range(1, R):
                    # Row i passes on what comes from above: r - 1 - ... values, ending with row 0's.
                    passes = i if i < r else r
                    offset = 0 if i < r else i - r
                    if begin + offset <= cycle < begin + offset + passes and (i < r or cycle >= begin + i - r):
                        next_chain[i, j] = chain[i - 1, j]
        if overlap:
            acc = np.where(busy, summed, acc)
            drain = np.where(done, summed, next_chain)
        else:
            acc = np.where(busy, summed, next_chain)
        right, below = a_in, b_in
        bottom = drain if overlap else acc
        for fold in plan:
            r, c, t = fold.size
            for j in range(c):
                for i in range(r):
                    if cycle == fold.start + t - 1 + (r - 1) + j + (R - 1 - i):
                        out[fold.rows.start + i, fold.cols.start + j] += bottom[R - 1, j]
                        last = max(last, cycle)
    return out, last + 1


def input_stationary(
    a: Ints, b: Ints, R: int, C: int, overlap: bool, parts: int = 1, hurry: int = 0
) -> tuple[Ints, int]:
    """a @ b on an array that holds a: the weight-stationary array given the transposed product."""
    out, cycles = weight_stationary(b.T, a.T, R, C, overlap, parts, hurry)
    return out.T, cycles
