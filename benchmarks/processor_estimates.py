"""Processor estimates per second on one core against the goal of 1,000, with kernel tables at hand.

Prints one line per batch of work: (model, GPU, batch) estimates of latency, clock, power and energy. Run:
    python benchmarks/processor_estimates.py
"""

from __future__ import annotations

import sys
import time
from itertools import product
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "studies" / "gpu_power"))

from timm_rows import read_rows

from hwsim.backends.processor.device import device_of
from hwsim.backends.processor.estimate import predict
from hwsim.measure.compare import processor_spec
from hwsim.spec.arch import load_arch

GOAL_PER_S = 1000.0
DEVICES = ("a100_sxm4_80gb", "h100_sxm5", "l4", "rtx4090")
BATCHES = (1.0, 8.0, 64.0)


def main() -> None:
    tables = [row.table for row in read_rows("4090_compiled")][:100]
    devices = [device_of(processor_spec(load_arch(name))) for name in DEVICES]
    for table in tables:
        predict(table, 1.0, devices[0])  # columns are built once per table
    start = time.process_time()
    capped = sum(predict(t, b, d).operating.capped for t, d, b in product(tables, devices, BATCHES))
    seconds = time.process_time() - start
    count = len(tables) * len(devices) * len(BATCHES)
    rate = count / seconds
    print(f"{count} estimates ({capped} under a power cap) in {seconds:.2f} s of CPU: {rate:.0f} per second per core")
    print(f"ratio to the goal of {GOAL_PER_S:.0f} per second: {rate / GOAL_PER_S:.2f}")


if __name__ == "__main__":
    main()
