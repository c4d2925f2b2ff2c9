"""Predicted against published: TPU v1 on its six applications, and ViT accelerators that state a throughput.

Nothing is fitted. Each row says what the published figure is: a rate `measured` on hardware for that network, a power
measured with the host's share of the time in it, an `upper end` ("up to"), a `peak` of the chip on no named network, or
measured on a network whose shapes are unknown.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, median

sys.path.insert(0, str(Path(__file__).parent))

from tpu_v1 import APPLICATIONS, graph_of

from hwsim.backends.systolic import Systolic
from hwsim.core.results import Estimate, Infeasible
from hwsim.graph.ir import WorkloadGraph
from hwsim.graph.sources import load_source
from hwsim.spec.arch import load_arch


@dataclass(frozen=True)
class Point:
    """A line of the table."""

    point: str
    quantity: str
    predicted: float
    published: float
    error_pct: float
    compared: str
    source: str


def point(name: str, quantity: str, predicted: float, published: float, compared: str, source: str) -> Point:
    """A line with its error."""
    return Point(name, quantity, predicted, published, 100 * (predicted / published - 1), compared, source)


def estimated(arch_name: str, graph: WorkloadGraph) -> Estimate:
    """The fastest mapping of a graph that fits."""
    result = Systolic().estimate(graph, load_arch(arch_name).with_values({"mapping.objective": "latency"}))
    if isinstance(result, Infeasible):
        raise RuntimeError(result.reason)
    return result


def tpu_points() -> Iterator[Point]:
    """TPU v1: achieved tera-operations per second, a MAC being two; padding is not work."""
    for application in APPLICATIONS:
        tops = 2 * application.macs / estimated("tpu_v1", graph_of(application)).latency_s / 1e12
        compared = "measured" if application.shapes_known else "shapes unknown"
        source = "Jouppi et al., ISCA 2017, tables 1 and 3, section 7"
        yield point(f"TPU v1 {application.name}", "TOPS", tops, application.published_tops, compared, source)


def tpu_power() -> Point:
    """Watts that TPU v1's die takes above idle on CNN0, on which its power was measured: 40 W busy, 28 W idle."""
    (cnn0,) = (item for item in APPLICATIONS if item.name == "CNN0")
    result = estimated("tpu_v1", graph_of(cnn0))
    ledger = result.energy_ledger_j
    watts = (result.energy_j - ledger["leakage"] - ledger["dram"]) / result.latency_s
    source = "Jouppi et al., ISCA 2017, table 2 and figure 10"
    return point("TPU v1 CNN0", "W above idle, die", watts, 40.0 - 28.0, "measured power", source)


def vit_points() -> Iterator[Point]:
    """ViT accelerators."""
    result = estimated("me_vit_u200", load_source("timm:deit_base_patch16_224"))
    source = "arXiv:2402.09709, table III, 300 MHz"
    yield point("ME-ViT U200, DeiT-B", "FPS", 1 / result.latency_s, 23.98, "measured", source)
    result = estimated("efficientvit_zcu102", load_source("timm:efficientvit_b1"))
    rate = 2 * result.macs / result.latency_s / 1e12
    yield point("EfficientViT ZCU102, EfficientViT-B1", "TOPS", rate, 0.7802, "upper end", "arXiv:2403.20230")
    deit = load_source("timm:deit_small_patch16_224")
    result = estimated("hsiung_chang_28nm", deit)
    on_chip_j = result.energy_j - result.energy_ledger_j["dram"]
    source = "arXiv:2510.14393, its own ViT"
    yield point("Hsiung & Chang 28 nm, DeiT-S", "TOPS/W", 2 * result.macs / on_chip_j / 1e12, 2.31, "peak", source)
    rate = 2 * result.macs / result.latency_s / 1e12
    yield point("Hsiung & Chang 28 nm, DeiT-S", "TOPS", rate, 1.024, "peak", "arXiv:2510.14393")
    result = estimated("rowwise_40nm", deit)
    rate = 2 * result.macs / result.latency_s / 1e12
    yield point("Row-wise 40 nm, DeiT-S", "TOPS", rate, 0.4032, "peak", "abstract, secondary")


def errors(points: list[Point], name: str) -> dict[str, float]:
    """Mean, median and worst absolute error of some points."""
    sizes = [abs(item.error_pct) for item in points]
    return {
        f"{name}_mean_pct": mean(sizes),
        f"{name}_median_pct": median(sizes),
        f"{name}_worst_pct": max(sizes),
        f"{name}_points": float(len(sizes)),
    }


def run(out: Path) -> Mapping[str, float]:
    """Write the table; the figures are its errors, all together and by what the published figure is."""
    points = [*tpu_points(), tpu_power(), *vit_points()]
    with (out / "published.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(asdict(points[0])), lineterminator="\n")
        writer.writeheader()
        for item in points:
            writer.writerow({key: f"{v:.5g}" if isinstance(v, float) else v for key, v in asdict(item).items()})
    return {
        **errors(points, "all"),
        **errors([item for item in points if item.compared != "shapes unknown"], "shapes_known"),
        **errors([item for item in points if item.compared == "measured"], "measured"),
    }
