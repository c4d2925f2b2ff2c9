"""What "up to 3.04x faster than GPU" depends on: frame rate, plane size, camera, signs, and the GPU it is set against.

Three parts: FatNet's latency model as published and with every layer tiled for itself; the most multiply-accumulates
that valid, shared kernels can do per frame; and ConvShareViT on the paper's plane and on real parts, beside the
processor backend's prediction for a named GPU and batch, over a map of frame rate and plane size.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt

from hwsim.api import estimate, load_arch, load_workload
from hwsim.backends.base import backend_of
from hwsim.backends.optical4f.spec import Optical4fSpec
from hwsim.backends.optical4f.work import work_of
from hwsim.core.results import Estimate
from hwsim.graph.ir import WorkloadGraph
from hwsim.spec.arch import Arch

Array = npt.NDArray[np.float64]

#: ConvShareViT's abstract: "theoretically up to 3.04x faster inference than GPU-based systems" (arXiv 2504.11517).
CLAIM = 3.04
WORKLOAD, GPU = "convsharevit_imagenet", "a100_pcie_40gb"
BATCHES = (1, 64, 1024)
#: (name, rows, columns, frames per second) of devices: the paper's plane; DMDs by TI's load and settling times (E2E
#: threads 594673 and 1075252; 1 / (43.2 us + 12.5 us) for the larger); a streaming sCMOS camera at that many rows, by
#: the line time in arch_specs/optical4f.yaml; a display LCoS (recalled).
DEVICES = (
    ("paper plane", 3840, 3840, 2.0e6),
    ("DLP7000, binary", 768, 1024, 23137.0),
    ("DLP9500, binary", 1080, 1920, 17953.0),
    ("Zyla 5.5 streaming", 1080, 1920, 199.0),
    ("4K LCoS", 2160, 3840, 60.0),
)
SIDES = np.array([256, 512, 1024, 2048, 3840, 8192])
RATES_HZ = np.logspace(1, 9, 41)


def run(out: Path) -> Mapping[str, float]:
    """Write fatnet.csv, ceilings.csv, convsharevit.csv and map.png into `out`; return the figures."""
    return {**_fatnet(out), **_ceilings(out), **_convsharevit(out)}


def _latency_s(arch: str, workload: str, batch: int, changes: Mapping[str, object] | None = None) -> float:
    result = estimate(load_arch(arch, dict(changes or {})), workload, batch)
    if not isinstance(result, Estimate):
        raise SystemExit(result.reason)
    return result.latency_s


def _fatnet(out: Path) -> dict[str, float]:
    """Seconds per sample of both networks at both batches, and what happens to their ratio layer by layer."""
    cells: dict[str, float] = {}
    for network in ("resnet18_cifar", "fatnet"):
        for batch in (64, 3136):
            # The paper holds 3136 samples in a plane for every layer, whatever its map: a run takes what 64 take.
            cells[f"{network}_{batch}_s"] = _latency_s("optical4f_paper", network, 64) / batch
    per_layer = {name: _per_layer_s(load_workload(name).graph) for name in ("resnet18_cifar", "fatnet")}
    cells["fatnet_advantage_published"] = cells["resnet18_cifar_64_s"] / cells["fatnet_64_s"]
    cells["fatnet_advantage_per_layer"] = per_layer["resnet18_cifar"] / per_layer["fatnet"]
    cells["resnet18_cifar_per_layer_s"] = per_layer["resnet18_cifar"]
    cells["fatnet_per_layer_s"] = per_layer["fatnet"]
    cells["square_over_real_panel_tiles"] = (3840 // 68) ** 2 / ((3840 // 68) * (2160 // 68))
    _write(out / "fatnet.csv", ("figure", "value"), cells.items())
    return cells


def _per_layer_s(graph: WorkloadGraph) -> float:
    """Seconds per sample when every layer fills the plane with tiles of its own size (eq. 6), batch unlimited."""
    arch = load_arch("optical4f_paper")
    spec, work = cast(Optical4fSpec, arch.spec), work_of(graph)
    conv = (work.role == "conv") & ~work.matching(spec.mapping.host_ops)
    maps = work.maps
    pitch = maps.rows + maps.kernel_rows - 1
    tiles = np.floor(3840 / pitch) ** 2
    slot_s = spec.mapping.frames_per_conv / cast(float, spec.frame.rate_hz)
    return float(np.sum((maps.c_in * maps.c_out / maps.groups * slot_s / tiles)[conv]))


def _ceilings(out: Path) -> dict[str, float]:
    """Most MACs per second of valid, shared kernels: one per input pixel and frame, over two frames for the signs."""
    rows = [
        (name, rows, cols, rate, rows * cols * rate / 1, rows * cols * rate / 2) for name, rows, cols, rate in DEVICES
    ]
    heads = ("device", "rows", "cols", "frames_per_s", "macs_per_s_unsigned", "macs_per_s_pseudo_negative")
    _write(out / "ceilings.csv", heads, rows)
    return {f"ceiling_macs_per_s[{name}]": value for name, *_, value, _ in rows}


def _convsharevit(out: Path) -> dict[str, float]:
    """Optics beside the GPU: presets at each batch, and the frame rate that parity and the claim would need."""
    figures: dict[str, float] = {}
    table = []
    for batch in BATCHES:
        gpu = _latency_s(GPU, WORKLOAD, batch)
        cases = {
            "paper, 4 slots per convolution": _latency_s("optical4f_paper", WORKLOAD, batch),
            "paper, 1 slot, tiles as tight as exactness allows": _latency_s("optical4f_paper", WORKLOAD, batch, TIGHT),
            "the same, pseudo-negative": _latency_s("optical4f_paper", WORKLOAD, batch, SIGNED),
            "real parts, products on the optics": _latency_s("optical4f", WORKLOAD, batch, ON_OPTICS),
        }
        for case, optics in cases.items():
            table.append((batch, case, optics, gpu, gpu / optics, gpu / optics / CLAIM))
            figures[f"speedup[{case}, batch {batch}]"] = gpu / optics
        figures[f"gpu_s[{GPU}, batch {batch}]"] = gpu
    _write(out / "convsharevit.csv", ("batch", "case", "optics_s", "gpu_s", "speedup", "of_claim"), table)
    figures |= _map(out)
    return figures


TIGHT: Mapping[str, object] = {"mapping.frames_per_conv": 1, "mapping.guard": "exact", "mapping.tiling": "auto"}
SIGNED: Mapping[str, object] = {**TIGHT, "mapping.sign": "pseudo_negative"}
ON_OPTICS: Mapping[str, object] = {"mapping.dense": "optics", "mapping.attention": "host"}


def _map(out: Path) -> dict[str, float]:
    """Speed-up over the GPU on a grid of plane side and frame rate; where it crosses 1 and the claim."""
    arch = load_arch("optical4f_paper", dict(SIGNED))
    maps, figures, rows = {}, {}, []
    for batch in BATCHES[:2]:
        graph = load_workload(WORKLOAD).with_values({"input.batch": batch}).graph
        maps[batch] = _latency_s(GPU, WORKLOAD, batch) / _swept(arch, graph)
        rows += [(batch, int(SIDES[i]), RATES_HZ[j], value) for (i, j), value in np.ndenumerate(maps[batch])]
        for word, level in (("parity", 1.0), ("claim", CLAIM)):
            at_paper_plane = maps[batch][list(SIDES).index(3840)]
            figures[f"rate_hz[{word}, 3840 plane, batch {batch}]"] = _crossing(at_paper_plane, level)
    _write(out / "map.csv", ("batch", "side", "frames_per_s", "speedup"), rows)
    _draw(out / "map.png", maps)
    return figures


def _swept(arch: Arch, graph: WorkloadGraph) -> Array:
    """Latency (sides, rates) of the optics, its panels square; kernels as far as the mask's period reaches."""
    sides, rates = np.meshgrid(SIDES, RATES_HZ, indexing="ij")
    part = "plane_4k"
    columns: dict[str, Sequence[object]] = {
        f"{library}.{part}.{axis}": [int(side) for side in sides.ravel()]
        for library in ("modulators", "cameras")
        for axis in ("rows", "cols")
    }
    columns["frame.rate"] = [float(rate) for rate in rates.ravel()]
    return np.asarray(backend_of(arch).sweep(graph, arch, columns).latency_s).reshape(sides.shape)


def _crossing(speedup: Array, level: float) -> float:
    """Frame rate at which the speed-up reaches `level`; latency is inverse to the rate in this preset."""
    return float(RATES_HZ[-1] * level / speedup[-1])


def _draw(file: Path, maps: Mapping[int, Array]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.colors import TwoSlopeNorm

    figure, panels = plt.subplots(1, len(maps), figsize=(11, 4.4), sharey=True, constrained_layout=True)
    for axes, (batch, speedup) in zip(panels, maps.items(), strict=True):
        mesh = axes.contourf(
            RATES_HZ, SIDES, np.log10(speedup), levels=np.arange(-8, 4.1, 1), cmap="RdBu", norm=TwoSlopeNorm(0, -8, 4)
        )
        lines = axes.contour(RATES_HZ, SIDES, speedup, levels=[1.0, CLAIM], colors="black", linestyles=["-", "--"])
        axes.clabel(lines, fmt={1.0: "1x", CLAIM: "3.04x"}, fontsize=8)
        for name, rows, cols, rate in DEVICES:
            side = (rows * cols) ** 0.5
            axes.plot(rate, side, "o", color="black", markersize=4)
            axes.annotate(name, (rate, side), textcoords="offset points", xytext=(4, -11), fontsize=8)
        axes.set(xscale="log", yscale="log", xlabel="frames per second, slower of modulators and camera")
        axes.set_yticks(SIDES, [str(side) for side in SIDES])
        axes.minorticks_off()
        axes.set_title(f"batch {batch}", fontsize=10)
    panels[0].set_ylabel("side of the plane, samples")
    figure.suptitle(f"ConvShareViT at DeiT-S sizes, pseudo-negative, host free, against {GPU}", fontsize=11)
    figure.colorbar(mesh, ax=panels, label="log10 of the speed-up over the GPU")
    figure.savefig(file, dpi=120)
    plt.close(figure)


def _write(file: Path, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with file.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(heads)
        writer.writerows(rows)


if __name__ == "__main__":
    for name, value in run(Path(sys.argv[1] if len(sys.argv) > 1 else ".")).items():
        print(f"{name:75s} {value:.6g}")
