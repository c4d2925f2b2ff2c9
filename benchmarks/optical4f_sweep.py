"""How many optical designs a second the vectorised sweep costs, against one `estimate` after another.

Prints both rates and their ratio for DeiT-S's layer shapes, on one core.
"""

from __future__ import annotations

from time import perf_counter

import numpy as np

from hwsim.backends.optical4f import Optical4f
from hwsim.backends.synthetic import transformer
from hwsim.spec.arch import load_arch

DESIGNS = 2000
SINGLES = 50


def main() -> None:
    graph = transformer(grid=14, patch=16, heads=6, head_dim=64, mlp_ratio=4, depth=12, classes=1000)
    arch, backend, rng = load_arch("optical4f"), Optical4f(), np.random.default_rng(0)
    columns: dict[str, list[object]] = {
        "optics.laser_power": list(rng.uniform(1e-3, 1, DESIGNS)),
        "link.bandwidth": list(rng.uniform(1e9, 16e9, DESIGNS)),
        "mapping.tiling": rng.choice(["auto", "samples", "kernels"], DESIGNS).tolist(),
        "camera": rng.choice(["zyla_5_5", "genie_nano_m2450"], DESIGNS).tolist(),
    }
    backend.sweep(graph, arch, {path: column[:1] for path, column in columns.items()})
    start = perf_counter()
    backend.sweep(graph, arch, columns)
    swept = DESIGNS / (perf_counter() - start)
    start = perf_counter()
    for _ in range(SINGLES):
        backend.estimate(graph, arch)
    single = SINGLES / (perf_counter() - start)
    print(f"sweep    {swept:10.0f} designs/s")
    print(f"estimate {single:10.0f} designs/s, with a row per op")
    print(f"ratio    {swept / single:10.0f}")


if __name__ == "__main__":
    main()
