"""Array timing: SCALE-Sim's published runs, and what any array must obey."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwsim.backends.systolic.machine import DATAFLOWS
from hwsim.backends.systolic.timing import (
    exact_cycles,
    scalesim_cycles,
    spatial_cols,
    spatial_rows,
    stream_cycles,
    temporal,
)

GOLDEN = list(csv.DictReader((Path(__file__).parent / "published" / "scalesim_cycles.csv").open()))
size = st.one_of(st.integers(1, 40), st.integers(1, 20_000), st.sampled_from([1, 2, 197, 257, 19_997]))
side = st.integers(1, 256)
dataflow = st.integers(0, 2)


@pytest.mark.parametrize("row", GOLDEN, ids=lambda r: f"{r['layer']}-{r['rows']}x{r['cols']}-{r['dataflow']}")
def test_scalesim_convention_equals_its_runs(row: dict[str, str]) -> None:
    shape = [int(row[key]) for key in ("M", "N", "K")]
    cycles = scalesim_cycles(int(row["rows"]), int(row["cols"]), DATAFLOWS.index(row["dataflow"]), *shape)
    # SCALE-Sim reports the index of the last cycle, counted from 0 (its issue 125).
    assert cycles - 1 == int(row["cycles"])


@given(side, side, dataflow, size, size, size)
def test_exact_never_exceeds_what_pays_every_fold_in_full(R: int, C: int, flow: int, M: int, N: int, K: int) -> None:
    # os drains its results in R - 1 further cycles, which SCALE-Sim leaves out.
    drain = R if DATAFLOWS[flow] == "os" else 0
    single = exact_cycles(R, C, flow, 0, M, N, K, 1, 1)
    folds = -(-spatial_rows(flow, M, N, K) // R) * -(-spatial_cols(flow, M, N, K) // C)
    assert single <= scalesim_cycles(R, C, flow, M, N, K) + folds * drain
    assert exact_cycles(R, C, flow, 1, M, N, K, 1, 1) <= single


@given(side, side, dataflow, st.integers(0, 1), size, size, size)
def test_no_array_beats_one_mac_per_pe_and_cycle(
    R: int, C: int, flow: int, overlap: int, M: int, N: int, K: int
) -> None:
    cycles = exact_cycles(R, C, flow, overlap, M, N, K, 1, 1)
    assert isinstance(cycles, int)
    assert cycles * R * C >= M * N * K


@given(side, side, dataflow, st.integers(0, 1), size, size, size, st.data())
def test_more_chunks_of_time_and_more_products_never_take_less(
    R: int, C: int, flow: int, overlap: int, M: int, N: int, K: int, data: st.DataObject
) -> None:
    sr, sc, t = spatial_rows(flow, M, N, K), spatial_cols(flow, M, N, K), temporal(flow, M, N, K)
    few = data.draw(st.integers(1, t))
    many = data.draw(st.integers(few, t))
    assert stream_cycles(R, C, overlap, sr, sc, t, few) <= stream_cycles(R, C, overlap, sr, sc, t, many)
    assert exact_cycles(R, C, flow, overlap, M, N, K, few, 2) > exact_cycles(R, C, flow, overlap, M, N, K, few, 1)


def test_a_prime_token_count_costs_its_padding_only() -> None:
    prime, even = (exact_cycles(128, 128, 0, 1, tokens, tokens, 64, 1, 1) for tokens in (197, 256))
    assert prime < even
