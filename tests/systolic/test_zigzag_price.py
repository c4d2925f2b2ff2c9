"""ZigZag's cost written out (studies/systolic_peers) against its own runs, and our map space at that cost."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "studies" / "systolic_peers"))

from zigzag_price import Gemm, Loop, allocate, latency, price
from zigzag_space import cheapest, mappings, nest_of, priced

PUBLISHED = Path(__file__).parent / "published"
MAPPINGS: dict[tuple[str, str], list[dict[str, str]]] = {}
for line in csv.DictReader((PUBLISHED / "zigzag_mappings.csv").open()):
    MAPPINGS.setdefault((line["rows"], line["layer"]), []).append(line)
RUNS = {
    (row["rows"], row["layer"]): row
    for row in csv.DictReader((PUBLISHED / "zigzag_tpu_like.csv").open())
    if row["lpf_limit"] == "6" and row["objective"] == "energy"
}
COMPONENTS = ("mac_pj", "w_rf_pj", "w_dram_pj", "i_sram_pj", "i_dram_pj", "o_rf_pj", "o_sram_pj", "o_dram_pj")


def gemm_of(row: dict[str, str]) -> Gemm:
    return Gemm(int(row["M"]), int(row["N"]), int(row["K"]), int(row["rows"]))


def nest_of_text(text: str) -> tuple[Loop, ...]:
    return tuple(Loop(part[0], int(part[1:])) for part in text.split())  # type: ignore[arg-type]


@pytest.mark.parametrize("run", MAPPINGS, ids="-".join)
def test_price_and_latency_of_nests_are_zigzags(run: tuple[str, str]) -> None:
    for row in MAPPINGS[run]:
        gemm, nest = gemm_of(row), nest_of_text(row["nest"])
        cuts = allocate(gemm, nest)
        assert sum(price(gemm, nest, cuts).values()) == pytest.approx(float(row["energy_pj"]), rel=1e-9), row["nest"]
        assert latency(gemm, nest, cuts) == {
            "ideal": int(row["ideal_temporal_cycles"]),
            "stall": int(row["stall_cycles"]),
            "onload": pytest.approx(float(row["onload_cycles"])),
            "offload_and_drain": pytest.approx(float(row["offload_and_drain_cycles"])),
        }, row["nest"]


@pytest.mark.parametrize("run", MAPPINGS, ids="-".join)
def test_every_component_of_the_best_mapping_is_zigzags(run: tuple[str, str]) -> None:
    (row,) = (row for row in MAPPINGS[run] if row["is_best"] == "1")
    gemm, nest = gemm_of(row), nest_of_text(row["nest"])
    energy = price(gemm, nest, allocate(gemm, nest))
    for component in COMPONENTS:
        assert energy[component] == pytest.approx(float(RUNS[run][component]), rel=1e-9), component
    assert sum(latency(gemm, nest, allocate(gemm, nest)).values()) == float(RUNS[run]["latency_cycles"])


@pytest.mark.parametrize("run", RUNS.values(), ids=lambda run: f"{run['rows']}-{run['layer']}")
def test_our_map_space_is_never_worse_than_zigzags_best(run: dict[str, str]) -> None:
    ours = cheapest(gemm_of(run))
    energy_pj, cycles = float(run["energy_pj"]), float(run["latency_cycles"])
    # Sums of doubles in another order: a last digit apart.
    assert ours.energy_pj <= energy_pj * (1 + 1e-12)
    assert ours.cycles <= cycles
    assert ours.edp <= energy_pj * cycles * (1 + 1e-12)


def test_a_nest_covers_every_mac_once() -> None:
    gemm = Gemm(196, 96, 64, 32)
    for mapping in mappings(gemm):
        nest, covered = nest_of(mapping, gemm)
        steps = dict.fromkeys("MNK", 1)
        for loop in nest:
            steps[loop.dim] *= loop.size
        assert (steps["M"], steps["N"] * 32, steps["K"] * 32) == (covered.M, covered.N, covered.K)
        assert priced(nest, covered).cycles >= 196 * 3 * 2
