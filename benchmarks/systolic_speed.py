"""Designs per second on whole DeiT-S, one process and one core, and the ratio to SCALE-Sim and ZigZag beside it.

    python benchmarks/systolic_speed.py [--corners] [--million] [--scalesim PYTHON] [--zigzag PYTHON]

PYTHON is the interpreter of an environment that has the peer: scalesim 3.0.0 (with numpy 1.26.4, pandas 2.3.3,
numba 0.61.2) or zigzag-dse 3.9.1 (with six). Without one the line says so. Times are CPU seconds, so that a busy
machine counts less. `--corners` adds the rates of each array size and dataflow; `--million` sweeps a million designs
by the mapping rule into a parquet file and prints the peak memory.
"""

from __future__ import annotations

import argparse
import csv
import json
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from hwsim.backends.systolic import Systolic
from hwsim.graph.sources import load_source
from hwsim.spec.arch import load_arch

GEMMS = Path(__file__).parents[1] / "tests" / "systolic" / "published" / "deit_s_gemms.csv"
SCALESIM_CONFIG = """[general]
run_name = run
[architecture_presets]
ArrayHeight : 128
ArrayWidth : 128
IfmapSramSzkB : 1024
FilterSramSzkB : 1024
OfmapSramSzkB : 512
IfmapOffset : 0
FilterOffset : 10000000
OfmapOffset : 20000000
Dataflow : ws
Bandwidth : 128
ReadRequestBuffer : 512
WriteRequestBuffer : 512
[layout]
IfmapCustomLayout : False
IfmapSRAMBankBandwidth : 128
IfmapSRAMBankNum : 1
IfmapSRAMBankPort : 2
FilterCustomLayout : False
FilterSRAMBankBandwidth : 128
FilterSRAMBankNum : 1
FilterSRAMBankPort : 2
[sparsity]
SparsitySupport : false
SparseRep : ellpack_block
OptimizedMapping : false
BlockSize : 8
RandomNumberGeneratorSeed : 40
[run_presets]
InterfaceBandwidth: CALC
UseRamulatorTrace: False
"""
SCALESIM_RUN = """
import sys
from scalesim.scale_sim import scalesim
folder = sys.argv[1]
s = scalesim(save_disk_space=True, verbose=False, config=folder + "/run.cfg", topology=folder + "/gemms.csv",
             layout=folder + "/layout.csv", input_type_gemm=True)
s.run_scale(top_path=folder)
"""
ZIGZAG_RUN = """
import json, logging, os, sys, zigzag
from zigzag.api import get_hardware_performance_zigzag
folder = sys.argv[1]
logging.disable(logging.CRITICAL)
inputs = os.path.join(os.path.dirname(zigzag.__file__), "inputs")
layers = [
    {"id": i, "operator_type": "Gemm", "equation": "O[b][k]+=W[k][c]*I[b][c]", "dimension_relations": [],
     "loop_dims": ["B", "K", "C"], "loop_sizes": [g["M"], g["N"], g["K"]],
     "operand_precision": {"W": 8, "I": 8, "O": 16, "O_final": 8}, "operand_source": {"I": i, "W": i}}
    for i, g in enumerate(json.load(open(folder + "/gemms.json")))
]
get_hardware_performance_zigzag(layers, inputs + "/hardware/tpu_like.yaml", inputs + "/mapping/tpu_like.yaml",
                                opt="latency", dump_folder=folder, loma_show_progress_bar=False)
"""


def designs(count: int) -> dict[str, np.ndarray]:
    """Random designs: array, buffer and bandwidth."""
    rng = np.random.default_rng(0)
    sides = np.array([8, 16, 32, 64, 128])
    return {
        "array.rows": rng.choice(sides, count),
        "array.cols": rng.choice(sides, count),
        "memory.buffer.size": np.exp(rng.uniform(np.log(2**16), np.log(2**23), count)).astype(np.int64),
        "memory.dram.bandwidth": np.exp(rng.uniform(np.log(3.2e9), np.log(102.4e9), count)),
    }


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU time of this process for a piece of work."""
    start = time.process_time()
    work()
    return time.process_time() - start


def own_rates(count: int) -> dict[str, float]:
    """Designs per second: search at each objective, and the mapping rule."""
    graph, backend = load_source("timm:deit_small_patch16_224"), Systolic()
    rates = {}
    for label, settings, number in (
        ("search for latency", {"mapping.objective": "latency"}, count),
        ("search for EDP", {"mapping.objective": "edp"}, count),
        ("search for energy", {"mapping.objective": "energy"}, count),
        ("mapping rule", {"mapping.search": "rule"}, 100 * count),
    ):
        arch = load_arch("systolic_int8").with_values(settings)
        backend.sweep(graph, arch, designs(2))  # compile first
        columns = designs(number)
        rates[label] = number / cpu_seconds(lambda a=arch, c=columns: backend.sweep(graph, a, c))  # type: ignore[misc]
        print(f"{label:20s} {rates[label]:12,.0f} designs/s")
    return rates


def corner_rates(count: int) -> None:
    """Designs per second by search for square arrays of one size: the mean hides that small arrays have most tiles."""
    graph, backend = load_source("timm:deit_small_patch16_224"), Systolic()
    for dataflow in ("ws", "os", "is"):
        for side in (8, 16, 32, 64, 128):
            columns = {**designs(count), "array.rows": np.full(count, side), "array.cols": np.full(count, side)}
            rates = []
            for objective in ("latency", "edp", "energy"):
                changes = {"mapping.objective": objective, "array.dataflow": dataflow}
                arch = load_arch("systolic_int8").with_values(changes)
                seconds = cpu_seconds(lambda a=arch, c=columns: backend.sweep(graph, a, c))  # type: ignore[misc]
                rates.append(f"{objective} {count / seconds:8,.0f}/s")
            print(f"{dataflow} {side:3d} x {side:<3d}   {'   '.join(rates)}")


def million(folder: Path) -> None:
    """A million designs by the rule, written to parquet; prints time and peak memory."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    graph, columns = load_source("timm:deit_small_patch16_224"), designs(1_000_000)
    arch = load_arch("systolic_int8").with_values({"mapping.search": "rule"})
    start = time.perf_counter()
    result = Systolic().sweep(graph, arch, columns)
    outputs = {"latency_s": result.latency_s, "energy_j": result.energy_j, "area_mm2": result.area_mm2}
    file = folder / "points.parquet"
    pq.write_table(pa.table({**columns, **outputs}), file)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    size = file.stat().st_size / 1e6
    seconds = time.perf_counter() - start
    print(f"a million designs     {seconds:8.1f} s to {size:.0f} MB of parquet, peak {peak:.0f} MiB")


def peer_seconds(name: str, python: str | None, script: str, folder: Path) -> float | None:
    """CPU seconds of a peer on one DeiT-S design (each distinct GEMM once), or None with a word why."""
    if python is None:
        print(f"{name:20s} not run: give --{name.lower()} the interpreter of an environment that has it")
        return None
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([python, "-c", script, str(folder)], capture_output=True, text=True, check=False, cwd=folder)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        print(f"{name:20s} not run: {done.stderr.strip().splitlines()[-1]}")
        return None
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--corners", action="store_true")
    parser.add_argument("--million", action="store_true")
    parser.add_argument("--scalesim")
    parser.add_argument("--zigzag")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.million:
            million(folder)
        rates = own_rates(options.count)
        if options.corners:
            corner_rates(max(1, options.count // 4))
        gemms = [{key: int(row[key]) for key in "MNK"} for row in csv.DictReader(GEMMS.open())]
        (folder / "gemms.json").write_text(json.dumps(gemms))
        lines = ["Layer,M,N,K,"] + [f"g{i},{g['M']},{g['N']},{g['K']}," for i, g in enumerate(gemms)]
        (folder / "gemms.csv").write_text("\n".join(lines) + "\n")
        (folder / "run.cfg").write_text(SCALESIM_CONFIG)
        layout = ["Layer"] + [f"g{i}," + "1," * 19 for i in range(len(gemms))]
        (folder / "layout.csv").write_text("\n".join(layout) + "\n")
        for peer, python, script in (
            ("SCALESim", options.scalesim, SCALESIM_RUN),
            ("ZigZag", options.zigzag, ZIGZAG_RUN),
        ):
            seconds = peer_seconds(peer, python, script, folder)
            if peer == "SCALESim" and seconds is not None:
                reports = list(folder.rglob("COMPUTE_REPORT.csv"))
                finished = len(reports[0].read_text().splitlines()) - 1 if reports else 0
                print(f"{peer:20s} finished {finished} of {len(gemms)} GEMMs (its errors exit with status 0)")
            if seconds is not None:
                search, rule = rates["search for latency"] * seconds, rates["mapping rule"] * seconds
                print(f"{peer:20s} {seconds:8.1f} s per design: {search:,.0f}x by search, {rule:,.0f}x by rule")


if __name__ == "__main__":
    main()
