"""Designs per second of an exploration, against estimating the same designs one by one, and what the search adds.

Prints, for the bundled optical arch on DeiT-S: the vectorised sweep against `estimate` design by design (the ratio a
vectorised backend earns), and the whole `explore` (sampling, journal, fronts) against the sweep alone.
"""

from __future__ import annotations

import random
import tempfile
import time
from pathlib import Path

from hwsim.backends.base import Backend, backend_of
from hwsim.explore.run import explore
from hwsim.explore.space import build_space
from hwsim.spec.arch import load_arch
from hwsim.transforms.workload import load_workload

DESIGNS = 512


def main() -> None:
    arch, workload = load_arch("optical4f"), load_workload("deit_small")
    graph, backend = workload.graph, backend_of(arch)
    space = build_space(arch, [workload])
    draw = random.Random(0)
    designs = [space.at([draw.random() for _ in space.axes]) for _ in range(DESIGNS)]
    columns = {axis.path: list(values) for axis, *values in zip(space.axes, *designs, strict=True)}

    few = {path: values[: DESIGNS // 16] for path, values in columns.items()}
    backend.sweep(graph, arch, few)
    begin = time.perf_counter()
    Backend.sweep(backend, graph, arch, few)
    single_s = (time.perf_counter() - begin) / (DESIGNS // 16)
    begin = time.perf_counter()
    backend.sweep(graph, arch, columns)
    swept_s = (time.perf_counter() - begin) / DESIGNS

    rows = [("estimate, one by one", single_s), ("sweep, vectorised", swept_s)]
    for strategy in ("random", "nsga2"):
        with tempfile.TemporaryDirectory() as folder:
            begin = time.perf_counter()
            explore(arch, [workload], strategy=strategy, budget=DESIGNS, jobs=1, out=Path(folder) / "run")
            rows.append((f"explore, {strategy}, all files", (time.perf_counter() - begin) / DESIGNS))
    for name, seconds in rows:
        print(f"{name:32s} {1 / seconds:10.0f} designs/s   {single_s / seconds:7.2f} x one by one")


if __name__ == "__main__":
    main()
