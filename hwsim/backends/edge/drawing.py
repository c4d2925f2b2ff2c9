"""A picture of a cluster: who works how long, holds how much, and what flows between them."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hwsim.backends.edge.plan import Plan
from hwsim.backends.edge.program import Compute, Transfer

MOST_LABELS = 24


def positions(count: int, topology: str) -> NDArray[np.float64]:
    """(device, 2) places: along a line for a chain, else around a circle."""
    if topology == "chain":
        return np.stack([np.linspace(-1.0, 1.0, count), np.zeros(count)], axis=1)
    angle = np.pi / 2 - 2.0 * np.pi * np.arange(count) / count
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def traffic(plan: Plan) -> dict[tuple[int, int], float]:
    """Bytes of one request from device to device, in either direction."""
    carried: dict[tuple[int, int], float] = {}
    for task in plan.tasks:
        if isinstance(task, Transfer) and not task.standby and task.sender is not None and task.receiver is not None:
            pair = (min(task.sender, task.receiver), max(task.sender, task.receiver))
            carried[pair] = carried.get(pair, 0.0) + task.size_bytes
    return carried


def draw(plan: Plan, topology: str, to: Path | BinaryIO, title: str = "") -> None:
    """Write a PNG: devices coloured by the seconds they work for one request, lines as wide as what they carry."""
    count = len(plan.cluster.devices)
    place = positions(count, topology)
    work = np.zeros(count)
    for task in plan.tasks:
        if isinstance(task, Compute):
            work[task.device] += task.work_s
    figure = Figure(figsize=(7.0, 6.0), layout="constrained")
    axes = figure.subplots()
    carried = traffic(plan)
    most = max(carried.values(), default=1.0)
    for (a, b), size in carried.items():
        width = 0.5 + 5.0 * size / most
        axes.plot(*place[[a, b]].T, color="#9aa5b1", linewidth=width, zorder=1, solid_capstyle="round")
    dots = axes.scatter(place[:, 0], place[:, 1], s=320, c=work, cmap="viridis", vmin=0.0, zorder=2, edgecolors="black")
    figure.colorbar(dots, ax=axes, label="work for one request (s)", shrink=0.7)
    for d in range(min(count, MOST_LABELS)):
        held = plan.memory_bytes.get(d, 0) / 2**20
        text = f"{plan.cluster.devices[d].name}\n{held:.3g} MiB"
        axes.annotate(text, place[d] * 1.28 if topology != "chain" else place[d] + [0, 0.12], ha="center", va="center")
    axes.set(title=f"{title}\nwidest line: {most / 1e6:.3g} MB per request", xlim=(-1.6, 1.6), ylim=(-1.5, 1.5))
    axes.set_aspect("equal")
    axes.axis("off")
    figure.savefig(to, dpi=150, format="png")
