"""Capture against its limits: seconds for DeiT-S, peak memory for ViT-Huge, milliseconds for a cached graph.

Run: python benchmarks/capture.py. Each figure is measured in a process of its own and printed as a share of its
limit; less than 1 meets it. The peers: the bytes that ViT-Huge's parameters alone would take, and timm's own
construction of DeiT-S with real parameters.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

CAPTURE = """
import resource, time
import torch
from hwsim.graph.builders import build_without_weights
from hwsim.graph.capture import capture
from hwsim.graph.torch_env import import_timm
import_timm()
torch.export.export(torch.nn.Linear(1, 1), (torch.empty(1, 1),))  # torch.export imports much on its first call
start, used = time.perf_counter(), time.process_time()
built = build_without_weights("timm", {name!r}, {{}}, None)
graph = capture(built.module, input_shape=(1, *built.input_shape))
print(time.perf_counter() - start, time.process_time() - used,
      resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, graph.params * 4 / 2**30)
"""
CACHED = """
import sys, time
from hwsim.graph.sources import load_source
start = time.perf_counter()
graph = load_source({source!r})
print(time.perf_counter() - start, int("torch" in sys.modules))
"""


def measured(script: str) -> list[float]:
    """The numbers a script prints, run in a fresh interpreter."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    run = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    return [float(word) for word in run.stdout.split()]


def line(what: str, value: float, limit: float, unit: str) -> None:
    print(f"{what:58s} {value:8.3f} {unit:3s} limit {limit:g} {unit:3s} ratio {value / limit:.2f}")


def main() -> None:
    wall_s, cpu_s, _, _ = measured(CAPTURE.format(name="deit_small_patch16_224"))
    line("DeiT-S captured, imports done (wall)", wall_s, 4, "s")
    line("DeiT-S captured, imports done (processor time)", cpu_s, 4, "s")
    wall_s, _, peak_gib, weights_gib = measured(CAPTURE.format(name="vit_huge_patch14_224"))
    line("ViT-Huge captured: peak memory, torch and timm included", peak_gib, 2e9 / 2**30, "GiB")
    line("ViT-Huge captured: peak memory against its float32 weights", peak_gib, weights_gib, "GiB")
    with tempfile.TemporaryDirectory() as directory:
        os.environ["HWSIM_CACHE_DIR"] = directory
        script = CACHED.format(source="timm:deit_small_patch16_224")
        cold_s, _ = measured(script)
        warm = [measured(script) for _ in range(3)]
    line("DeiT-S from the cache, best of three", min(seconds for seconds, _ in warm), 0.1, "s")
    print(f"cached against captured (imports included): {cold_s / min(s for s, _ in warm):.0f} times faster")
    print(f"torch imported on a hit: {'yes' if any(flag for _, flag in warm) else 'no'}")


if __name__ == "__main__":
    main()
