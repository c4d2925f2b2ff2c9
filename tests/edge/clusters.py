"""The reference cluster of the published request times: a source, N devices, a fusion node."""

from __future__ import annotations

from pathlib import Path

from hwsim.backends.edge.network import Link, Route
from hwsim.backends.edge.program import Cluster, Compute, Device, Task, Transfer, fork_join

PUBLISHED = Path(__file__).parent / "published"
BANDWIDTH = 12.5e6


def reference(kind: str, devices: int = 10, work_s: float = 1.0) -> tuple[Cluster, tuple[Task, ...]]:
    """`dedicated`: a link per device and direction. `switched`: the source's and the fusion's links are shared."""
    nodes = (*(Device(f"d{i}") for i in range(devices)), Device("fusion"))
    if kind == "dedicated":
        links = [Link(f"{way}{i}", BANDWIDTH, 0.002) for i in range(devices) for way in ("in", "out")]
        routes = [Route((2 * i,)) for i in range(devices)] + [Route((2 * i + 1,)) for i in range(devices)]
    else:
        links = [Link("S", BANDWIDTH, 0.001), Link("F", BANDWIDTH, 0.001)]
        links += [Link(f"{way}{i}", BANDWIDTH, 0.001) for i in range(devices) for way in ("D", "U")]
        routes = [Route((0, 2 + 2 * i)) for i in range(devices)] + [Route((3 + 2 * i, 1)) for i in range(devices)]
    tasks = fork_join(
        [Transfer(f"in{i}", i, 150_000) for i in range(devices)],
        [Compute(f"sub-model{i}", i, work_s) for i in range(devices)],
        [Transfer(f"out{i}", devices + i, 3_000) for i in range(devices)],
        Compute("fusion", devices, 0.010),
    )
    return Cluster(nodes, tuple(links), tuple(routes)), tasks
