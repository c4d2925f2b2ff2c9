"""Where accuracy is lost: a digits ConvShareViT on a bench with one kind of fault at a time, and with all of them.

The bench is arch_specs/optical4f.yaml, off its best in ways an experimenter would call small: a tenth of a wave of
astigmatism, 30 um of mask shift, a twentieth of a pixel of camera shift, 50 um of defocus, and fringing over a tenth of
a mask pixel.
"""

from __future__ import annotations

import csv
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from hwsim.api import load_arch, load_workload
from hwsim.backends.base import backend_of
from hwsim.backends.execution.result import Execution
from hwsim.backends.execution.session import run_workload
from hwsim.backends.optical4f.execute import optical_ops
from hwsim.backends.optical4f.faults import effective_bits
from hwsim.backends.optical4f.setup import FAULTS, Fault
from hwsim.backends.optical4f.spec import Optical4fSpec

WORKLOAD, SAMPLES = "digits_convsharevit_valid", 180
BENCH: Mapping[str, object] = {
    "mapping.attention": "host",
    "exposure.signal": "1 ke",
    "imperfections.zernike_waves": {5: 0.1},
    "imperfections.mask_shift": "30 um",
    "imperfections.camera_shift": "0.4 um",
    "imperfections.defocus": "50 um",
    "imperfections.crosstalk_px": 0.1,
}


def run(out: Path) -> Mapping[str, float]:
    """Write faults.csv, layers.csv and faults.png into `out`; return accuracy and output SNR by fault."""
    results = {fault: _executed(fault) for fault in FAULTS}
    _write(out, results)
    _draw(out / "faults.png", results)
    accuracy = {f"top1[{fault}]": cast(float, result.top1) for fault, result in results.items()}
    noise = {f"sqnr_db[{fault}]": result.sqnr_db or math.inf for fault, result in results.items() if fault != "ideal"}
    return {"top1_float": cast(float, results["ideal"].top1_float), **accuracy, **noise}


def _executed(fault: Fault) -> Execution:
    arch = load_arch("optical4f", dict(BENCH))
    spec, backend = cast(Optical4fSpec, arch.spec), backend_of(arch)
    return run_workload(
        load_workload(WORKLOAD),
        backend.arithmetic(arch),
        samples=SAMPLES,
        batch=SAMPLES,
        operators=lambda graph: optical_ops(graph, spec, fault=fault),
    )


def _write(out: Path, results: Mapping[Fault, Execution]) -> None:
    with (out / "faults.csv").open("w", newline="") as handle:
        rows = csv.writer(handle)
        rows.writerow(("fault", "top1", "top1_float", "agreement", "output_sqnr_db", "output_effective_bits"))
        for fault, r in results.items():
            rows.writerow((fault, r.top1, r.top1_float, r.agreement, r.sqnr_db, effective_bits(r.sqnr_db)))
    with (out / "layers.csv").open("w", newline="") as handle:
        rows = csv.writer(handle)
        own = [layer for layer in results["together"].layers if layer.form == "own"]
        rows.writerow(("layer", *own[0].measured, "output_effective_bits"))
        rows.writerows((layer.name, *layer.measured.values(), effective_bits(layer.sqnr_db)) for layer in own)


def _draw(file: Path, results: Mapping[Fault, Execution]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), constrained_layout=True)
    names = [fault for fault in results if fault != "ideal"]
    left.barh(names, [100 * cast(float, results[name].top1) for name in names], color="#4477AA")
    left.axvline(100 * cast(float, results["ideal"].top1_float), color="#1f2933", linestyle="--", linewidth=1)
    left.set(xlabel="top-1 on digits, % (dashed: float)", xlim=(0, 100))
    left.invert_yaxis()
    for name, colour in zip(
        names, ("#CCBB44", "#228833", "#EE6677", "#66CCEE", "#AA3377", "#999933", "#1f2933"), strict=True
    ):
        layers = [layer for layer in results[name].layers if layer.form == "own"]
        bits = [16.0 if (b := effective_bits(layer.sqnr_db)) is None else min(16.0, b) for layer in layers]
        right.plot(range(1, len(bits) + 1), bits, "o-", markersize=3, linewidth=1, color=colour, label=name)
    right.set(xlabel="product of the network, first to last", ylabel="effective bits of its output", ylim=(0, 16))
    right.legend(fontsize=7, frameon=False, ncols=2)
    figure.savefig(file, dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    for name, value in run(Path(sys.argv[1] if len(sys.argv) > 1 else ".")).items():
        print(f"{name:40s} {value:.6g}")
