"""Cycles of the array itself: folds, fill, drain and what of them overlaps (A1, A2).

A product is laid on the array by a permutation of (M, N, K): `sr` of it lie along the rows, `sc` along the columns and
`t` pass by in time. os is (M, N, K), ws (K, N, M), is (K, M, N). Each fold puts r <= R by c <= C of it on the array.

A fold streams t steps. Its stationary operand is shifted in row by row before (ws, is), or its results are shifted
out row by row after (os): r cycles either way, beside the stream of a neighbouring fold where registers are doubled.
An element crosses one PE per cycle, so the last result reaches the lower edge R - 1 + c - 1 cycles after its turn.
"""

from __future__ import annotations

from hwsim.backends.systolic.machine import OS, WS


def ceil_div(a: int, b: int) -> int:
    """Whole division, rounded up; exact for any integers."""
    return -(-a // b)


def spatial_rows(dataflow: int, M: int, N: int, K: int) -> int:
    """The dimension laid along the rows of the array."""
    return M if dataflow == OS else K


def spatial_cols(dataflow: int, M: int, N: int, K: int) -> int:
    """The dimension laid along the columns of the array."""
    return N if dataflow in (OS, WS) else M


def temporal(dataflow: int, M: int, N: int, K: int) -> int:
    """The dimension that passes by in time."""
    if dataflow == OS:
        return K
    return M if dataflow == WS else N


def scalesim_cycles(rows: int, cols: int, dataflow: int, M: int, N: int, K: int) -> int:
    """Compute cycles of one product as SCALE-Sim 3.0.0 counts them, plus the one that its report leaves out.

    Every fold pays the whole array and none overlap: R + C + T - 2 (os), 2R + C + T - 2 (ws, is).
    """
    folds = ceil_div(spatial_rows(dataflow, M, N, K), rows) * ceil_div(spatial_cols(dataflow, M, N, K), cols)
    shift = 0 if dataflow == OS else rows
    return folds * (shift + rows + cols + temporal(dataflow, M, N, K) - 2)


def stream_cycles(rows: int, cols: int, overlap: int, sr: int, sc: int, t: int, chunks: int) -> int:
    """Cycles that the folds of one product occupy the array when they follow each other without a gap.

    `t` is split into `chunks` as equal as whole steps allow, and every chunk visits every fold. A fold of r rows
    holds the array max(t, r) cycles where its shift overlaps a neighbour's stream, else t + r - 1 (a register takes
    its next value in the cycle that uses the old one for the last time).
    """
    short, long_chunks = t // chunks, t % chunks
    short_chunks = chunks - long_chunks
    full, rest = sr // rows, sr % rows
    per_column = 0
    for steps, count in ((short + 1, long_chunks), (short, short_chunks)):
        if overlap:
            one_column = full * max(steps, rows) + (max(steps, rest) if rest > 0 else 0)
        else:
            one_column = full * (steps + rows - 1) + (steps + rest - 1 if rest > 0 else 0)
        per_column += count * one_column
    return per_column * ceil_div(sc, cols)


def edge_cycles(rows: int, cols: int, dataflow: int, overlap: int, sr: int, sc: int, t: int, chunks: int) -> int:
    """Cycles before the first and after the last fold that `stream_cycles` does not hold: fill, skew and drain.

    The exposed shift is that of the first fold (ws, is) or of the last (os). Where the last columns are few and pass
    quickly, an earlier, wider fold is the last to leave.
    """
    last_rows = (sr - 1) % rows + 1
    last_cols = (sc - 1) % cols + 1
    last_chunk = t // chunks
    exposed = min(ceil_div(t, chunks), last_rows) if dataflow == OS else min(last_chunk, min(sr, rows))
    if overlap == 0:
        exposed = 1
    wider = 0
    if sc > cols:
        behind = stream_cycles(rows, cols, overlap, sr, last_cols, last_chunk, 1)
        wider = max(0, cols - last_cols - behind)
    # Results of os are in the PEs when the stream ends, so that one shift fewer brings the first row to the edge.
    return exposed + rows + last_cols - 2 - (1 if dataflow == OS else 0) + wider


def least_edge(rows: int, cols: int, sc: int) -> int:
    """The fewest cycles of `edge_cycles` for any chunks of time: one of shift, and the way through the array."""
    return rows + (sc - 1) % cols - 1


def exact_cycles(
    rows: int, cols: int, dataflow: int, overlap: int, M: int, N: int, K: int, chunks: int, batch: int
) -> int:
    """Cycles from the first element in to the last result out for `batch` products that follow without a gap (A2).

    Equal to a register-level simulation of the array and to arrays in Verilog (tests/systolic/test_array_rtl.py and
    test_rtl.py).
    """
    sr = spatial_rows(dataflow, M, N, K)
    sc = spatial_cols(dataflow, M, N, K)
    t = temporal(dataflow, M, N, K)
    stream = batch * stream_cycles(rows, cols, overlap, sr, sc, t, chunks)
    return stream + edge_cycles(rows, cols, dataflow, overlap, sr, sc, t, chunks)
