"""Start-up: `hwsim --help` and a cached `hwsim estimate` as whole processes, against their limits.

Prints the median of several runs, its ratio to the limit, and bare Python beside it as the floor of this machine.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

RUNS = 9
HWSIM = [sys.executable, "-m", "hwsim"]
CASES = [
    ("bare python", [sys.executable, "-c", "pass"], None),
    ("hwsim --help", [*HWSIM, "--help"], 0.4),
    ("hwsim list archs", [*HWSIM, "list", "archs"], 0.5),
    ("hwsim estimate (cached DeiT-S)", [*HWSIM, "estimate", "optical4f", "deit_small"], 1.0),
]


def median_s(command: list[str]) -> float:
    """Median wall time of a process over RUNS runs, after one that warms the caches."""
    times = []
    for _ in range(RUNS + 1):
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def main() -> None:
    for name, command, limit_s in CASES:
        took = median_s(command)
        against = "" if limit_s is None else f"   {took / limit_s:.2f} x its limit of {limit_s} s"
        print(f"{name:34s} {took:6.3f} s{against}")


if __name__ == "__main__":
    main()
