"""Predicted against published: TPU v1 on its six applications, and ViT accelerators that state a throughput.

TPU v1's layer shapes are not published. Each application is taken as its number of equal layers with its weights, and
with its MACs per weight byte as M: what can be said from Table 1 of Jouppi et al. (ISCA 2017) alone. Numbers of layers
are recalled from that table, all else is checked; nothing is fitted.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from math import isqrt, sqrt
from pathlib import Path

from hwsim.backends.synthetic import GraphBuilder
from hwsim.backends.systolic import Systolic
from hwsim.core.results import Infeasible
from hwsim.graph.ir import WorkloadGraph
from hwsim.graph.sources import load_source
from hwsim.spec.arch import load_arch


@dataclass(frozen=True)
class Application:
    """One of TPU v1's applications: weights, MACs per weight byte, batch, equal layers, and published TOPS."""

    name: str
    weights: float
    reuse: int
    batch: int
    layers: int
    kernel: int
    published_tops: float


APPLICATIONS = (
    Application("MLP0", 20e6, 200, 200, 5, 1, 12.3),
    Application("MLP1", 5e6, 168, 168, 4, 1, 9.7),
    Application("LSTM0", 52e6, 64, 64, 24, 1, 3.7),
    Application("LSTM1", 34e6, 96, 96, 37, 1, 2.8),
    Application("CNN0", 8e6, 2888, 8, 16, 3, 86.0),
    Application("CNN1", 100e6, 1750, 32, 76, 3, 14.1),
)


def stack(application: Application) -> WorkloadGraph:
    """Equal square layers that hold the weights; a convolution keeps its image, whose positions are reuse / batch."""
    channels = isqrt(round(application.weights / application.layers / application.kernel**2))
    side = isqrt(round(application.reuse / application.batch))
    builder = GraphBuilder(application.name, application.batch, "int8")
    shape = (application.batch, channels, side, side) if application.kernel > 1 else (application.batch, channels)
    x = builder.input(shape)
    for index in range(application.layers):
        if application.kernel > 1:
            y = builder.conv(f"{index}", x, channels, application.kernel, padding=application.kernel // 2)
        else:
            y = builder.linear(f"{index}", x, channels)
        x = builder.pointwise(f"{index}.act", "activation", "relu", y)
    return builder.build()


def row(name: str, quantity: str, predicted: float, published: float, source: str) -> dict[str, str | float]:
    """A line of the table."""
    return {
        "point": name,
        "quantity": quantity,
        "predicted": predicted,
        "published": published,
        "error_pct": 100 * (predicted / published - 1),
        "source": source,
    }


def tops(arch_name: str, graph: WorkloadGraph) -> tuple[float, float]:
    """Achieved tera-operations per second (a MAC is two), and per watt of the chip without its DRAM."""
    arch = load_arch(arch_name).with_values({"mapping.objective": "latency"})
    result = Systolic().estimate(graph, arch)
    if isinstance(result, Infeasible):
        raise RuntimeError(result.reason)
    on_chip_j = result.energy_j - result.energy_ledger_j["dram"]
    return 2 * result.macs / result.latency_s / 1e12, 2 * result.macs / on_chip_j / 1e12


def rows() -> list[dict[str, str | float]]:
    """All points."""
    jouppi = "Jouppi et al., ISCA 2017, table 3"
    table = [
        row(f"TPU v1 {item.name}", "TOPS", tops("tpu_v1", stack(item))[0], item.published_tops, jouppi)
        for item in APPLICATIONS
    ]
    deit = load_source("timm:deit_small_patch16_224")
    rate, efficiency = tops("hsiung_chang_28nm", deit)
    paper = "arXiv:2510.14393 (chip, its own ViT)"
    table.append(row("Hsiung & Chang 28 nm, DeiT-S", "TOPS/W", efficiency, 2.31, paper))
    table.append(row("Hsiung & Chang 28 nm, DeiT-S", "TOPS, against its peak", rate, 1.024, "arXiv:2510.14393"))
    rate, _ = tops("rowwise_40nm", deit)
    table.append(row("Row-wise 40 nm, DeiT-S", "TOPS, against its peak", rate, 0.4032, "abstract, secondary"))
    rate, _ = tops("efficientvit_zcu102", load_source("timm:efficientvit_b1"))
    table.append(row("EfficientViT ZCU102, EfficientViT-B1", "TOPS", rate, 0.7802, "arXiv:2403.20230"))
    return table


def run(out: Path) -> Mapping[str, float]:
    """Write the table; the figures are the errors, the mean and the worst."""
    table = rows()
    with (out / "published.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(table[0]), lineterminator="\n")
        writer.writeheader()
        for line in table:
            writer.writerow({key: f"{v:.5g}" if isinstance(v, float) else v for key, v in line.items()})
    errors = [abs(float(line["error_pct"])) for line in table]
    tpu = errors[: len(APPLICATIONS)]
    return {
        "mean_error_pct": sum(errors) / len(errors),
        "worst_error_pct": max(errors),
        "tpu_v1_mean_error_pct": sum(tpu) / len(tpu),
        "tpu_v1_worst_error_pct": max(tpu),
        "rms_error_pct": sqrt(sum(error**2 for error in errors) / len(errors)),
    }
