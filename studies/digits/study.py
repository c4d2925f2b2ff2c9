"""Accuracy of the digits networks in integer arithmetic; minutes on two cores.

On the 360 held-out digits: float and int8 top-1 of each network, the ViT from 2 to 8 bits, and each rounding rule with
real and with power-of-two scales, with the share of all codes that differ from those of half_even; then accuracy
against energy over formats, estimated and executed on one graph. Calibration runs in
float32, whose sums depend on the CPU in their last bit, so a scale may too: hence the tolerances of the figures.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

from hwsim.api import estimate
from hwsim.backends.execution.arithmetic import Arithmetic
from hwsim.backends.execution.result import Execution
from hwsim.backends.execution.run import evaluate
from hwsim.backends.execution.session import Opened, calibrated, open_workload
from hwsim.core.results import Infeasible
from hwsim.numerics.rescale import RULES, Rule
from hwsim.transforms.workload import load_workload

NETWORKS = ("digits_vit", "digits_convsharevit_valid", "digits_convsharevit_same", "digits_hybrid")
BITS = range(2, 9)
SAMPLES, BATCH = 360, 120
Row = dict[str, object]


def executed(opened: Opened, arithmetic: Arithmetic, compared: Rule | None = None) -> Execution:
    """The held-out digits in one arithmetic."""
    return evaluate(calibrated(opened, arithmetic), opened.data, SAMPLES, compared)


def row(result: Execution, **what: object) -> Row:
    """Top-1 of both models in percent, their difference in points, and the noise."""
    top1, reference = 100 * (result.top1 or 0), 100 * (result.top1_float or 0)
    return {
        **what,
        "top1_float_pct": round(reference, 2),
        "top1_pct": round(top1, 2),
        "change_points": round(top1 - reference, 2),
        "sqnr_db": round(result.sqnr_db or 0, 1),
        "overflows": result.overflows,
        "float_ops": len([layer for layer in result.layers if layer.form == "float"]),
    }


def networks(opened: Mapping[str, Opened]) -> list[Row]:
    """Every network in int8 with an int16 residual stream."""
    return [row(executed(work, Arithmetic(residual="int16")), network=name) for name, work in opened.items()]


def bit_curve(vit: Opened) -> list[Row]:
    """The ViT from 2 to 8 bits: both operands, weights alone, activations alone (the other at 8); int16 residual."""
    rows = []
    for bits in BITS:
        for kind, w, a in (("both", bits, bits), ("weights", bits, 8), ("activations", 8, bits)):
            if kind == "both" or bits < 8:
                result = executed(vit, Arithmetic(f"int{w}", f"int{a}", "int16"))
                rows.append(row(result, operands=kind, bits=bits))
    return rows


def rounding(vit: Opened) -> list[Row]:
    """Every rule in int8, with scales of any value and with powers of two."""
    rows = []
    for power_of_two in (False, True):
        for rule in RULES:
            arithmetic = Arithmetic(rounding=rule, power_of_two=power_of_two, residual="int16")
            result = executed(vit, arithmetic, "half_even")
            share = 100 * (result.flipped or 0) / sum(layer.outputs for layer in result.layers)
            scales = "power_of_two" if power_of_two else "real"
            rows.append(row(result, scales=scales, rule=rule, codes_unlike_half_even_pct=round(share, 3)))
    return rows


def trade(arch: str = "systolic_int8") -> list[Row]:
    """Energy of one image on an arch against accuracy, over formats of weights and activations (int16 residual).

    One graph serves both numbers: it is estimated, then executed. `pareto` marks rows that no other row beats.
    """
    rows = []
    for weights, activations in product((8, 6, 5, 4, 3), (8, 6, 5)):
        formats = {"weights": f"int{weights}", "activations": f"int{activations}", "residual": "int16"}
        work = load_workload("digits_vit", {"transforms": [{"quantize": formats}]})
        cost = estimate(arch, work)
        if isinstance(cost, Infeasible):
            continue
        result = executed(open_workload(work, BATCH), Arithmetic())
        rows.append(
            row(result, weight_bits=weights, activation_bits=activations, energy_nj=round(1e9 * cost.energy_j, 2))
        )
    for one in rows:
        one["pareto"] = not any(_beats(other, one) for other in rows)
    return rows


def _beats(a: Row, b: Row) -> bool:
    """Whether a is no worse in energy and accuracy than b, and better in one."""
    (e, t), (f, u) = ((float(str(r["energy_nj"])), float(str(r["top1_pct"]))) for r in (a, b))
    return e <= f and t >= u and (e, t) != (f, u)


def write(path: Path, rows: Sequence[Row]) -> None:
    """Rows as CSV."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def draw(path: Path, curve: Sequence[Row]) -> None:
    """Top-1 against bits."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 3.6), layout="constrained")
    for kind in ("both", "weights", "activations"):
        chosen = [r for r in curve if r["operands"] == kind]
        axes.plot([r["bits"] for r in chosen], [r["top1_pct"] for r in chosen], marker="o", label=kind)
    axes.axhline(float(str(curve[0]["top1_float_pct"])), color="0.5", linestyle="--", label="float")
    axes.set(xlabel="bits", ylabel="top-1 (%)", title="ViT on digits, min-max calibration, per-channel weights")
    axes.legend(title="operands with these bits")
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def run(out: Path) -> Mapping[str, float]:
    """Write the four tables and the curve, and return the top-1 figures in percent."""
    opened = {name: open_workload(load_workload(name), BATCH) for name in NETWORKS}
    tables = {
        "networks": networks(opened),
        "bits": bit_curve(opened["digits_vit"]),
        "rounding": rounding(opened["digits_vit"]),
        "energy": trade(),
    }
    for name, rows in tables.items():
        write(out / f"{name}.csv", rows)
    draw(out / "bits.png", tables["bits"])
    figures = {f"{r['network']}.{key}": r[key] for r in tables["networks"] for key in ("top1_float_pct", "top1_pct")}
    figures |= {f"digits_vit.{r['operands']}.{r['bits']}_bits.top1_pct": r["top1_pct"] for r in tables["bits"]}
    figures |= {f"digits_vit.{r['scales']}.{r['rule']}.top1_pct": r["top1_pct"] for r in tables["rounding"]}
    figures |= {
        f"digits_vit.w{r['weight_bits']}a{r['activation_bits']}.{key}": r[key]
        for r in tables["energy"]
        for key in ("top1_pct", "energy_nj")
    }
    return {name: float(str(value)) for name, value in figures.items()}
