"""A vision transformer on one to ten Raspberry Pis: four ways to split it, what accuracy is left, what fails.

Tables and pictures go to `out`; the figures returned are committed and checked. Shapes give latency, energy and
size; accuracy comes from training on two small image sets (edvit.py), as no published table is available.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from hwsim.backends.base import backend_of
from hwsim.backends.edge.arrivals import poisson
from hwsim.backends.edge.backend import Edge
from hwsim.backends.edge.datasets import digits, drawn_shapes
from hwsim.backends.edge.drawing import draw
from hwsim.backends.edge.edvit import ClassSplitModel, Data, Recipe, Shape, accuracy, hardened, split_model, trained
from hwsim.backends.edge.mapper import memory_of
from hwsim.backends.edge.plan import Plan
from hwsim.backends.edge.queueing import percentiles
from hwsim.backends.edge.relay import Measured, RootStaging, fit, llama_sharded
from hwsim.backends.edge.runtimefit import Latency, fit_runtime
from hwsim.backends.edge.simulation import Change, Faults, Recovery, simulate
from hwsim.backends.synthetic import transformer
from hwsim.core.errors import UsageError
from hwsim.core.results import Estimate
from hwsim.graph.ir import WorkloadGraph
from hwsim.spec.arch import Arch, load_arch
from hwsim.transforms.class_split import ClassSplit

CLUSTER = "edge/raspberry_pi_4_cluster"
DEVICES = (1, 2, 3, 5, 10)
# Width in heads of 64, and depth: ViT-Small, -Base and -Large (Dosovitskiy et al., ICLR 2021; Touvron et al., 2021).
SIZES = {"ViT-Small": (6, 12), "ViT-Base": (12, 12), "ViT-Large": (16, 24)}
CLASSES = 10
PUBLISHED_LATENCY, PUBLISHED_SIZE = 28.9, 34.1  # arXiv 2410.11650, abstract: "up to 28.9 times and 34.1 times"
GIGABIT_TCP = 117.6e6
HERE = Path(__file__).parent
LLAMA = {
    "7B": llama_sharded(4096, 11008, 32, 4096, 32000),
    "13B": llama_sharded(5120, 13824, 40, 5120, 32000),
    "70B": llama_sharded(8192, 28672, 80, 1024, 32000),
}
RELAYS = ("relay", "ring")
Row = dict[str, object]


def run(out: Path) -> Mapping[str, float]:
    """All tables; returns the figures."""
    torch.set_num_threads(1)
    figures: dict[str, float] = {}
    figures |= raspberry_pi_curve(out)
    figures |= runtime_overhead(out)
    figures |= class_split_sizes(out)
    figures |= published_ratios(out)
    figures |= four_splits(out)
    models = accuracies(out, figures)
    figures |= missing_sub_models(out, models)
    figures |= failures(out)
    return figures


def write(path: Path, rows: Sequence[Row]) -> None:
    """A CSV table."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def vit(size: str) -> WorkloadGraph:
    """A ViT with patches of 16 on 224 x 224."""
    heads, depth = SIZES[size]
    return transformer(grid=14, patch=16, heads=heads, head_dim=64, mlp_ratio=4, depth=depth, classes=CLASSES)


def cluster(devices: int, method: str = "branches", **changes: object) -> Arch:
    """The cluster of the arch file, that many boards of it."""
    values = {"devices.0.count": max(devices, 1), "split.method": method}
    return load_arch(CLUSTER, {**values, **changes})  # type: ignore[dict-item]


def estimated(graph: WorkloadGraph, arch: Arch) -> Estimate:
    """The estimate; the study has no place for what does not fit."""
    result = backend_of(arch).estimate(graph, arch)
    if not isinstance(result, Estimate):
        raise UsageError(f"{graph.name} does not fit: {result.reason}")
    return result


def planned(graph: WorkloadGraph, arch: Arch) -> Plan:
    """The plan of one request."""
    result = Edge().plan(graph, arch)
    if not isinstance(result, Plan):
        raise UsageError(f"{graph.name} does not fit: {result.reason}")
    return result


def split(graph: WorkloadGraph, parts: int, keep: float) -> WorkloadGraph:
    """The class-split graph."""
    return ClassSplit.from_options({"parts": parts, "keep": keep}).apply(graph)


def largest_part(graph: WorkloadGraph) -> int:
    """Parameters of the largest sub-model."""
    by_part: dict[object, set[str]] = {}
    for op in graph.ops:
        if "branch" in op.attrs:
            by_part.setdefault(op.attrs["branch"], set()).update(op.inputs)
    sizes = [
        sum(graph.tensors[n].elements for n in s if graph.tensors[n].role == "parameter") for s in by_part.values()
    ]
    return max(sizes)


def raspberry_pi_curve(out: Path) -> dict[str, float]:
    """Token times of distributed-llama on Raspberry Pis: fitted, with the error of leaving each point out."""
    with (HERE / "measured_token_times.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    points = [
        Measured(LLAMA[r["model"]], int(r["devices"]), float(r["total_ms"]) / 1e3, float(r["root_ms"]) / 1e3)
        for r in rows
    ]
    staging = fit(points, GIGABIT_TCP)
    table: list[Row] = []
    for i, (row, point) in enumerate(zip(rows, points, strict=True)):
        left_out = fit([*points[:i], *points[i + 1 :]], GIGABIT_TCP)
        predicted = staging.step_s(point.model, point.devices, GIGABIT_TCP)
        unseen = left_out.step_s(point.model, point.devices, GIGABIT_TCP)
        table.append(
            {
                "model": row["model"],
                "devices": point.devices,
                "measured_s": point.total_s,
                "predicted_s": predicted,
                "error_bar_s": predicted * staging.relative_error,
                "error": predicted / point.total_s - 1.0,
                "error_left_out": unseen / point.total_s - 1.0,
            }
        )
    write(out / "raspberry_pi_token_times.csv", table)
    plot_curve(out, table, staging)
    small = {int(str(r["devices"])): r for r in table if r["model"] == "7B"}
    return {
        "pi4_weights_gb_per_s": staging.weights_bytes_per_s / 1e9,
        "pi4_stage_ns_per_byte_per_peer": staging.stage_s_per_byte_per_peer * 1e9,
        "pi4_error_bar": staging.relative_error,
        "pi4_7b_worst_error": max(abs(float(str(r["error"]))) for r in small.values()),
        "pi4_7b_8_over_4": float(str(small[8]["predicted_s"])) / float(str(small[4]["predicted_s"])),
    }


def runtime_overhead(out: Path) -> dict[str, float]:
    """Overhead per kernel of ExecuTorch XNNPACK int8 on a Raspberry Pi 5, from two transformers, with error bars."""
    tiny = transformer(grid=14, patch=16, heads=3, head_dim=64, mlp_ratio=4, depth=12, classes=1000, dtype="int8")
    image = transformer(grid=7, patch=32, heads=12, head_dim=64, mlp_ratio=4, depth=12, classes=512, dtype="int8")
    # CLIP's text tower: 77 tokens, width 512, 12 blocks of 12 width^2 weights (Radford et al., 2021, section 2.4).
    text_macs = 12 * (12 * 512**2 * 77 + 2 * 77**2 * 512)
    points = [
        Latency(
            "DeiT-Tiny", tiny.macs, kernels(tiny), 26.40e-3
        ),  # huggingface.co/Arm/deit-tiny-int8-xnnpack-executorch
        # huggingface.co/Arm/clip-vit-base-patch32-int8-xnnpack-executorch: both towers in one run
        Latency("CLIP ViT-B/32", image.macs + text_macs, 2 * kernels(image), 95.50e-3),
    ]
    found = fit_runtime(points)
    rows: list[Row] = [
        {"network": p.name, "macs": p.macs, "kernels": p.kernels, "measured_s": p.seconds,
         "arithmetic_s": p.macs / found.macs_per_s, "overhead_s": p.kernels * found.overhead_s}
        for p in points
    ]  # fmt: skip
    write(out / "runtime_overhead.csv", rows)
    return {
        "pi5_int8_gmac_per_s": found.macs_per_s / 1e9,
        "pi5_int8_gmac_per_s_error": found.macs_per_s_error / 1e9,
        "pi5_overhead_us": found.overhead_s * 1e6,
        "pi5_overhead_us_error": found.overhead_s_error * 1e6,
    }


def kernels(graph: WorkloadGraph) -> int:
    """Ops that a runtime launches."""
    return sum(1 for op in graph.ops if op.kind != "view")


def class_split_sizes(out: Path) -> dict[str, float]:
    """Latency, energy and size for three ViTs on 1 to 10 devices; each sub-model keeps 1/devices of its channels."""
    table: list[Row] = []
    figures = {}
    for size in SIZES:
        graph = vit(size)
        whole = estimated(graph, cluster(1, "single"))
        for count in DEVICES:
            keep = max(1, round(SIZES[size][0] / count)) / SIZES[size][0]
            cut = split(graph, count, keep)
            for network, rate in (("gigabit", GIGABIT_TCP), ("2 Mbit/s", 0.25e6)):
                result = estimated(cut, cluster(count, **{"network.bandwidth": f"{rate} B/s"}))
                table.append(
                    {
                        "model": size,
                        "devices": count,
                        "keep": keep,
                        "network": network,
                        "latency_s": result.latency_s,
                        "speedup": whole.latency_s / result.latency_s,
                        "energy_j": result.energy_j,
                        "largest_part_params": largest_part(cut),
                        "size_ratio": graph.params / largest_part(cut),
                    }
                )
                if count == 10:
                    figures[f"{size}_10_devices_{network}_speedup"] = whole.latency_s / result.latency_s
    write(out / "class_split.csv", table)
    drawn = planned(split(vit("ViT-Base"), 10, 1 / 6), cluster(10))
    draw(drawn, "star", out / "cluster.png", "ViT-Base in ten sub-models on ten Raspberry Pi 4B")
    return figures


def published_ratios(out: Path) -> dict[str, float]:
    """Where "28.9 times and 34.1 times" can be met: which share of heads on how many devices reaches each ratio.

    The abstract leaves open which ratio is latency and which is size; the table has both readings.
    """
    table: list[Row] = []
    for size, (heads, _) in SIZES.items():
        graph = vit(size)
        whole = estimated(graph, cluster(1, "single"))
        for kept in range(1, heads + 1):
            for count in DEVICES:
                cut = split(graph, count, kept / heads)
                speedup = whole.latency_s / estimated(cut, cluster(count)).latency_s
                ratio = graph.params / largest_part(cut)
                macs_ratio = graph.macs / sum(op.macs for op in cut.ops if op.attrs.get("branch") == 0)
                table.append(
                    {
                        "model": size,
                        "heads_kept": kept,
                        "devices": count,
                        "speedup": speedup,
                        "macs_ratio": macs_ratio,
                        "size_ratio": ratio,
                        "latency_28.9_size_34.1": speedup >= PUBLISHED_LATENCY and ratio >= PUBLISHED_SIZE,
                        "latency_34.1_size_28.9": speedup >= PUBLISHED_SIZE and ratio >= PUBLISHED_LATENCY,
                    }
                )
    write(out / "published_ratios.csv", table)
    met = [row for row in table if row["latency_28.9_size_34.1"]]
    other = [row for row in table if row["latency_34.1_size_28.9"]]
    best_speedup = max(float(str(row["speedup"])) for row in table)
    sixth = next(row for row in table if (row["model"], row["heads_kept"], row["devices"]) == ("ViT-Base", 2, 10))
    return {
        "reading_1_met_by": len(met),
        "reading_2_met_by": len(other),
        "best_speedup": best_speedup,
        "base_2_of_12_heads_macs_ratio": float(str(sixth["macs_ratio"])),
        "base_2_of_12_heads_size_ratio": float(str(sixth["size_ratio"])),
        "base_2_of_12_heads_10_devices_speedup": float(str(sixth["speedup"])),
    }


def four_splits(out: Path) -> dict[str, float]:
    """ViT-Base by class, tensor, pipeline and sequence on the same boards.

    Staging was fitted on messages of some kB; here they have hundreds. So latencies stand beside those without it:
    the truth of a better runtime lies between.
    """
    graph, table, figures = vit("ViT-Base"), [], {}
    ways = (("branches", "relay"), ("pipeline", "relay"), *((m, c) for m in ("tensor", "sequence") for c in RELAYS))
    for method, collective in ways:
        for count in (1, 2, 4, 8, 10):
            used = split(graph, count, max(1, round(12 / count)) / 12) if method == "branches" and count > 1 else graph
            arch = cluster(count, method, **{"split.collective": collective})
            result = estimated(used, arch)
            bare = estimated(used, arch.with_values({"devices.0.staging.stage": "0 s/B"}))
            plan = planned(used, arch)
            table.append(
                {
                    "split": method,
                    "collective": collective,
                    "devices": count,
                    "latency_s": result.latency_s,
                    "latency_without_staging_s": bare.latency_s,
                    "energy_j": result.energy_j,
                    "throughput_per_s": result.throughput_per_s,
                    "most_memory_mib": max(plan.memory_bytes.values()) / 2**20,
                    "same_outputs": method != "branches" or count == 1,
                }
            )
            if count == 8:
                figures[f"{method}_{collective}_8_latency_s"] = result.latency_s
    write(out / "four_splits.csv", table)
    plot_splits(out, table)
    figures["vit_base_memory_mib"] = memory_of(graph, graph.ops) / 2**20
    return figures


def accuracies(out: Path, figures: dict[str, float]) -> dict[str, tuple[Data, dict[int, ClassSplitModel]]]:
    """Train, prune, fuse on both image sets; every count of devices."""
    sets = {
        "digits": (digits(), Shape(8, 1, 2, 6, 96, 2, 10, 48)),
        "drawn shapes": (drawn_shapes(), Shape(16, 1, 4, 6, 96, 2, 10, 48)),
    }
    table: list[Row] = []
    made: dict[str, tuple[Data, dict[int, ClassSplitModel]]] = {}
    recipe = Recipe()
    for name, (data, shape) in sets.items():
        whole = trained(shape, data, recipe)
        base = accuracy(whole, data.test_x, data.test_y)
        params = sum(p.numel() for p in whole.parameters())
        models = {}
        for count in DEVICES:
            keep = max(1, round(shape.heads / count)) / shape.heads
            models[count] = split_model(whole, data, count, keep, recipe)
            got = models[count].accuracy(data.test_x, data.test_y)
            largest = max(models[count].parameters_per_part)
            table.append(
                {
                    "data": name,
                    "devices": count,
                    "keep": keep,
                    "accuracy": got,
                    "whole_network": base,
                    "largest_part_params": largest,
                    "size_ratio": params / largest,
                }
            )
            figures[f"accuracy_{name}_{count}"] = got
        figures[f"accuracy_{name}_whole"] = base
        made[name] = (data, models)
    write(out / "accuracy.csv", table)
    return made


def missing_sub_models(out: Path, models: Mapping[str, tuple[Data, Mapping[int, ClassSplitModel]]]) -> dict[str, float]:
    """Accuracy that remains when sub-models do not answer, with a fusion that has never missed one and one that has."""
    table: list[Row] = []
    figures = {}
    for name, (data, by_count) in models.items():
        for count, model in by_count.items():
            if count == 1:
                continue
            for fusion, used in (("plain", model), ("hardened", hardened(model, data, Recipe()))):
                one = [used.accuracy(data.test_x, data.test_y, [i]) for i in range(count)]
                two = [used.accuracy(data.test_x, data.test_y, [i, (i + 1) % count]) for i in range(count)]
                table.append(
                    {
                        "data": name,
                        "devices": count,
                        "fusion": fusion,
                        "none_missing": used.accuracy(data.test_x, data.test_y),
                        "one_missing_mean": mean(one),
                        "one_missing_worst": min(one),
                        "two_missing_mean": mean(two) if count > 2 else math.nan,
                    }
                )
                if count == 10:
                    figures[f"one_of_10_missing_{name}_{fusion}"] = mean(one)
    write(out / "missing_sub_models.csv", table)
    return figures


def failures(out: Path) -> dict[str, float]:
    """ViT-Base in ten parts under load while devices crash: latency and what is fused without, by recovery policy."""
    graph = split(vit("ViT-Base"), 10, 1 / 6)
    plan = planned(graph, cluster(10, **{"split.spares": True, "fusion": "pi.0", "source": "pi.0"}))
    arrivals = poisson(2.0, 2000, 7)
    rng = np.random.default_rng(11)
    table: list[Row] = []
    figures = {}
    for crashes in (0, 1, 5, 20):
        changes: list[Change] = []
        for at in rng.uniform(0.0, float(arrivals[-1]), crashes):
            device = int(rng.integers(1, 10))
            changes += [Change(float(at), 0.0, device=device), Change(float(at) + 20.0, 1.0, device=device)]
        policies = {
            "wait": Faults(tuple(changes), Recovery.WAIT),
            "drop": Faults(tuple(changes), Recovery.DROP, detect_s=0.2),
            "reassign": Faults(tuple(changes), Recovery.REASSIGN, detect_s=0.2),
            "deadline": Faults(tuple(changes), Recovery.WAIT, deadline_s=1.0),
        }
        for policy, faults in policies.items():
            log = simulate(plan.cluster, plan.tasks, arrivals, faults=faults)
            p = percentiles(log.latency_s[np.isfinite(log.done_s)])
            table.append(
                {
                    "crashes_of_20_s": crashes,
                    "policy": policy,
                    "mean_s": p.mean,
                    "p99_s": p.p99,
                    "worst_s": p.maximum,
                    "fused_without_a_part": float((log.missing > 0).mean()),
                    "never_ended": int(np.isnan(log.done_s).sum()),
                }
            )
            figures[f"p99_s_{crashes}_crashes_{policy}"] = p.p99
    write(out / "failures.csv", table)
    return figures


def mean(values: Iterable[float]) -> float:
    """Arithmetic mean."""
    return float(np.mean(list(values)))


def plot_curve(out: Path, table: Sequence[Row], staging: RootStaging) -> None:
    """Measured token times and the fitted curve with its error bars."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    counts = np.array([1, 2, 3, 4, 5, 6, 7, 8])
    for colour, model in (("C0", "7B"), ("C1", "13B")):
        curve = np.array([staging.step_s(LLAMA[model], int(n), GIGABIT_TCP) for n in counts])
        axes.plot(counts, curve, color=colour, label=f"Llama2-{model}, model")
        low, high = curve * (1 - staging.relative_error), curve * (1 + staging.relative_error)
        axes.fill_between(counts, low, high, color=colour, alpha=0.15)
        rows = [r for r in table if r["model"] == model]
        axes.plot([r["devices"] for r in rows], [r["measured_s"] for r in rows], "o", color=colour,
                  label=f"Llama2-{model}, measured")  # fmt: skip
    axes.set(xlabel="Raspberry Pi 4B boards", ylabel="time per token (s)", ylim=(0, None))
    axes.legend(frameon=False)
    figure.savefig(out / "raspberry_pi_token_times.png", dpi=150)


def plot_splits(out: Path, table: Sequence[Row]) -> None:
    """Latency of the four splits over the number of boards."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.6, 4.6), layout="constrained")
    axes = figure.subplots()
    labels = {
        ("branches", "relay"): "class (pruned)",
        ("pipeline", "relay"): "pipeline",
        ("tensor", "relay"): "tensor, through a root",
        ("tensor", "ring"): "tensor, ring",
        ("sequence", "relay"): "sequence, through a root",
        ("sequence", "ring"): "sequence, ring",
    }
    for (method, collective), label in labels.items():
        rows = [r for r in table if r["split"] == method and r["collective"] == collective]
        (line,) = axes.plot([r["devices"] for r in rows], [r["latency_s"] for r in rows], "o-", label=label)
        bare = [r["latency_without_staging_s"] for r in rows]
        axes.plot([r["devices"] for r in rows], bare, ":", color=line.get_color())
    axes.plot([], [], ":", color="grey", label="without staging at the root")
    axes.set(xlabel="Raspberry Pi 4B boards", ylabel="latency of one image, ViT-Base (s)", yscale="log")
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.savefig(out / "four_splits.png", dpi=150)
