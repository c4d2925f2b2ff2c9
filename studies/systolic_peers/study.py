"""ZigZag's and AccelForge's results beside ours, on their hardware as our arch files, every difference term by term.

The peers' runs are tests/systolic/published (see PROVENANCE.md there). Cycles and picojoules of single GEMMs.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from zigzag_price import Gemm
from zigzag_space import cheapest, nest_of, nests, priced

from hwsim.backends.synthetic import GraphBuilder
from hwsim.backends.systolic import Systolic
from hwsim.backends.systolic.solve import Solution, solve
from hwsim.backends.systolic.spec import spec_of
from hwsim.core.results import Infeasible
from hwsim.graph.ir import WorkloadGraph
from hwsim.spec.arch import Arch, load_arch

PUBLISHED = Path(__file__).parents[2] / "tests" / "systolic" / "published"


def gemm(M: int, N: int, K: int) -> WorkloadGraph:
    """One int8 GEMM as a graph."""
    builder = GraphBuilder("gemm", dtype="int8")
    a, b = builder.input((M, K)), builder.tensor("b", (N, K), "parameter")
    builder.op("gemm", "gemm", "linear", (a, b), (M, N), M=M, N=N, K=K)
    return builder.build()


def solved(arch: Arch, M: int, N: int, K: int) -> Solution:
    """The solution of one GEMM, which fits on the peers' hardware."""
    solution = solve(gemm(M, N, K), spec_of(arch))
    if isinstance(solution, Infeasible):
        raise RuntimeError(solution.reason)
    return solution


def zigzag_runs() -> list[dict[str, str]]:
    """ZigZag's fourteen runs; the energy and the latency objective found the same mappings."""
    rows = csv.DictReader((PUBLISHED / "zigzag_tpu_like.csv").open())
    return [row for row in rows if row["lpf_limit"] == "6" and row["objective"] == "latency"]


def shape_of(row: Mapping[str, str]) -> tuple[int, int, int]:
    """M, N and K of a run."""
    return int(row["M"]), int(row["N"]), int(row["K"])


def zigzag_arch(side: int, objective: str) -> Arch:
    """Its hardware in our terms, `side` x `side`."""
    return load_arch("tpu_like_zigzag").with_values(
        {
            "array.rows": side,
            "array.cols": side,
            "memory.weight_buffer.size": f"{side * side * 128} B",
            "mapping.objective": objective,
        }
    )


def zigzag_rows() -> Iterator[dict[str, float | str]]:
    """Energy and cycles per GEMM, ours and ZigZag's, with the terms both are made of."""
    for row in zigzag_runs():
        side = int(row["rows"])
        M, N, K = shape_of(row)
        cost = solved(zigzag_arch(side, "latency"), M, N, K).costs[0]
        energy_pj = 1e12 * (cost.mac_j + cost.register_j + cost.accumulator_j + cost.buffer_j + cost.dram_j)
        pe = ("mac_pj", "w_rf_pj", "o_rf_pj")
        yield {
            "array": f"{side}x{side}",
            "layer": row["layer"],
            "energy_pj": energy_pj,
            "zigzag_energy_pj": float(row["energy_pj"]),
            "energy_difference_pct": 100 * (energy_pj / float(row["energy_pj"]) - 1),
            "dram_pj": 1e12 * cost.dram_j,
            "zigzag_dram_pj": sum(float(row[key]) for key in ("w_dram_pj", "i_dram_pj", "o_dram_pj")),
            "sram_pj": 1e12 * cost.buffer_j,
            "zigzag_sram_pj": sum(float(row[key]) for key in ("i_sram_pj", "o_sram_pj")),
            "pe_pj": 1e12 * (cost.mac_j + cost.register_j + cost.accumulator_j),
            "zigzag_pe_pj": sum(float(row[key]) for key in pe),
            "cycles": cost.cycles,
            "zigzag_cycles": float(row["latency_cycles"]),
            "cycles_difference_pct": 100 * (cost.cycles / float(row["latency_cycles"]) - 1),
            "array_cycles": cost.compute_cycles,
            "zigzag_ideal": float(row["ideal_temporal_cycles"]),
            "first_load": cost.first_load_cycles,
            "zigzag_onload": float(row["onload_cycles"]),
            "last_store": cost.last_store_cycles,
            "zigzag_offload_drain": float(row["offload_and_drain_cycles"]),
            "stalls_between": cost.cycles - cost.compute_cycles - cost.first_load_cycles - cost.last_store_cycles,
            "zigzag_stalls": float(row["stall_cycles"]),
            "dram_port_floor": (M * K + K * N + M * N) / 8,
        }


def price_rows() -> Iterator[dict[str, float | str]]:
    """Our map space and our mapper's own choice at ZigZag's prices, over ZigZag's best mapping (1: as good)."""
    for row in zigzag_runs():
        gemm = Gemm(*shape_of(row), int(row["rows"]))
        energy_pj, cycles = float(row["energy_pj"]), float(row["latency_cycles"])
        best = cheapest(gemm)
        own = priced(*nest_of(solved(zigzag_arch(gemm.side, "energy"), gemm.M, gemm.N, gemm.K).mappings[0], gemm))
        yield {
            "array": f"{gemm.side}x{gemm.side}",
            "layer": row["layer"],
            "nests": float(len(nests(gemm))),
            "zigzag_energy_pj": energy_pj,
            "zigzag_cycles": cycles,
            "space_energy": best.energy_pj / energy_pj,
            "space_cycles": best.cycles / cycles,
            "space_edp": best.edp / (energy_pj * cycles),
            "chosen_energy": own.energy_pj / energy_pj,
            "chosen_cycles": own.cycles / cycles,
        }


def accelforge_rows() -> Iterator[dict[str, float | str]]:
    """Energy and latency of AccelForge's un-fused GEMMs, ours at the latency and at the energy objective."""
    for row in csv.DictReader((PUBLISHED / "accelforge_tpu_v4i.csv").open()):
        if row["workload"] != "gemm" or row["fused"] != "0" or row["objective"] != "energy":
            continue
        M, N, K = (int(row[key]) for key in ("M", "N", "K"))
        for objective in ("energy", "latency"):
            arch = load_arch("tpu_v4i_accelforge").with_values({"mapping.objective": objective})
            solution = solved(arch, M, N, K)
            cost, mapping = solution.costs[0], solution.mappings[0]
            cores = mapping.cores_b * mapping.cores_m * mapping.cores_n
            latency_us = 1e6 * cost.cycles / float(solution.design.clock_hz)
            yield {
                "run": row["run"],
                "our_objective": objective,
                "our_cores": float(cores),
                "energy_uj": 1e6 * (cost.mac_j + cost.buffer_j + cost.stage_j + cost.dram_j),
                "accelforge_energy_uj": float(row["energy_uj"]),
                "dram_uj": 1e6 * cost.dram_j,
                "accelforge_dram_uj": float(row["energy_uj_mainmemory"]),
                "global_uj": 1e6 * cost.stage_j,
                "accelforge_global_uj": float(row["energy_uj_globalbuffer"]),
                "local_uj": 1e6 * cost.buffer_j,
                "accelforge_local_uj": float(row["energy_uj_localbuffer"]),
                "mac_uj": 1e6 * cost.mac_j,
                "accelforge_mac_uj": float(row["energy_uj_mac"]),
                "latency_us": latency_us,
                "accelforge_latency_us": float(row["latency_us"]),
                "array_us": 1e6 * cost.compute_cycles / float(solution.design.clock_hz),
                "first_load_us": 1e6 * cost.first_load_cycles / float(solution.design.clock_hz),
                "last_store_us": 1e6 * cost.last_store_cycles / float(solution.design.clock_hz),
            }


def mlp() -> WorkloadGraph:
    """DeiT-S's two dense layers, without the GELU that AccelForge leaves out."""
    builder = GraphBuilder("mlp", dtype="int8")
    a, b = builder.input((197, 384)), builder.tensor("fc1.weight", (1536, 384), "parameter")
    hidden = builder.op("fc1", "gemm", "linear", (a, b), (197, 1536), M=197, N=1536, K=384)
    b = builder.tensor("fc2.weight", (384, 1536), "parameter")
    builder.op("fc2", "gemm", "linear", (hidden, b), (197, 384), M=197, N=384, K=1536)
    return builder.build()


def attention() -> WorkloadGraph:
    """QK, softmax and AV of DeiT-S's six heads."""
    builder = GraphBuilder("attn", dtype="int8")
    q, k, v = (
        builder.tensor(name, shape, "input")
        for name, shape in (("q", (6, 197, 64)), ("k", (6, 64, 197)), ("v", (6, 197, 64)))
    )
    builder.matmul("av", builder.rowwise("softmax", "softmax", "softmax", builder.matmul("qk", q, k)), v)
    return builder.build()


def fused_rows() -> Iterator[dict[str, float | str]]:
    """What keeping intermediates on chip saves in the MLP and in attention, ours and AccelForge's."""
    rows = csv.DictReader((PUBLISHED / "accelforge_tpu_v4i.csv").open())
    runs = {(row["workload"], row["fused"]): row for row in rows}
    for workload, graph in (("deit_s_mlp", mlp()), ("deit_s_attn", attention())):
        for fused, residency in (("0", 0.0), ("1", 0.5)):
            arch = load_arch("tpu_v4i_accelforge").with_values({"mapping.residency": residency})
            result = Systolic().estimate(graph, arch)
            if isinstance(result, Infeasible):
                raise RuntimeError(result.reason)
            theirs, ledger = runs[workload, fused], result.energy_ledger_j
            yield {
                "workload": workload,
                "fused": fused,
                "energy_uj": 1e6 * result.energy_j,
                "accelforge_energy_uj": float(theirs["energy_uj"]),
                "dram_uj": 1e6 * ledger["dram"],
                "accelforge_dram_uj": float(theirs["energy_uj_mainmemory"]),
                "global_uj": 1e6 * ledger["global_buffer"],
                "accelforge_global_uj": float(theirs["energy_uj_globalbuffer"]),
                "local_uj": 1e6 * ledger["buffer"],
                "accelforge_local_uj": float(theirs["energy_uj_localbuffer"]),
                "mac_uj": 1e6 * ledger["mac"],
                "accelforge_mac_uj": float(theirs["energy_uj_mac"]),
                "latency_us": 1e6 * result.latency_s,
                "accelforge_latency_us": float(theirs["latency_us"]),
            }


def write(rows: list[dict[str, float | str]], file: Path) -> None:
    """A table as CSV, numbers with six digits."""
    with file.open("w", newline="") as out:
        writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({key: f"{v:.6g}" if isinstance(v, float) else v for key, v in row.items()})


def run(out: Path) -> Mapping[str, float]:
    """Write both tables; the figures are the largest differences and the whole of DeiT-S."""
    zigzag, prices, accelforge = list(zigzag_rows()), list(price_rows()), list(accelforge_rows())
    write(zigzag, out / "zigzag.csv")
    write(prices, out / "zigzag_prices.csv")
    write(accelforge, out / "accelforge.csv")
    fused = list(fused_rows())
    write(fused, out / "accelforge_fused.csv")
    figures: dict[str, float] = {}
    for array in ("32x32", "128x128"):
        mine = [row for row in zigzag if row["array"] == array]
        figures[f"zigzag_{array}_energy_worst_pct"] = max(abs(float(row["energy_difference_pct"])) for row in mine)
        figures[f"zigzag_{array}_cycles_worst_pct"] = max(abs(float(row["cycles_difference_pct"])) for row in mine)
        below = [float(row["zigzag_cycles"]) / float(row["dram_port_floor"]) for row in mine]
        figures[f"zigzag_{array}_rows_below_its_port"] = float(sum(part < 1 for part in below))
    for column in ("space_energy", "space_cycles", "space_edp", "chosen_energy", "chosen_cycles"):
        figures[f"at_zigzag_prices_{column}_worst"] = max(float(row[column]) for row in prices)
    for row in accelforge:
        figures[f"accelforge_{row['run']}_{row['our_objective']}_energy_uj"] = float(row["energy_uj"])
        figures[f"accelforge_{row['run']}_{row['our_objective']}_latency_us"] = float(row["latency_us"])
    for row in fused:
        kind = "fused" if row["fused"] == "1" else "unfused"
        figures[f"accelforge_{row['workload']}_{kind}_energy_uj"] = float(row["energy_uj"])
        figures[f"accelforge_{row['workload']}_{kind}_dram_uj"] = float(row["dram_uj"])
    return figures
