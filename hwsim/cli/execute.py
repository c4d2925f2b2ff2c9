"""`hwsim execute`: a workload in the hardware's own arithmetic, and what that costs in accuracy."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from hwsim.cli.options import Format, Sets, overrides
from hwsim.cli.output import console, count, note, print_csv, print_infeasible, print_json, table
from hwsim.core.errors import EXIT_INFEASIBLE
from hwsim.core.results import Infeasible

if TYPE_CHECKING:
    from rich.table import Table

    from hwsim.backends.execution.result import Execution

Rule = Literal["half_even", "onnx", "gemmlowp", "tflite_single", "tosa", "ruy", "half_away", "floor"]


def run(
    arch: str,
    workload: str,
    /,
    *,
    weights: str | None = None,
    data: str | None = None,
    samples: int = 256,
    batch: Annotated[int, Parameter(name="--batch")] = 16,
    input: str | None = None,
    set: Sets = (),
    calibration: Literal["minmax", "percentile", "mse"] = "minmax",
    smoothing: float | None = None,
    twin_gelu: bool = False,
    bridges: bool = False,
    compare_rounding: Rule | None = None,
    seed: int = 0,
    device: str | None = None,
    top: int = 12,
    format: Format = "table",
) -> int:
    """Run a workload in an arch's own arithmetic and report its accuracy.

    Parameters
    ----------
    arch
        An arch file or the bare name of a bundled one.
    workload
        A workload file, its bare name, or a source such as timm:deit_small_patch16_224.
    weights
        A safetensors or checkpoint file, a bundled name, or pretrained (timm's); random if the workload has none.
    data
        digits, random, a .npz file, a CIFAR folder, or a folder with a folder of images per class.
    samples
        How many samples to run.
    batch
        Samples that run together; it changes speed, not results.
    input
        Shape of one sample, such as 3x384x384.
    calibration
        How the range of each tensor is chosen.
    smoothing
        Exponent of SmoothQuant with bias, such as 0.5: LayerNorm outputs are centred and scaled into the next weights.
    twin_gelu
        Outputs of GELU get two regions of codes, fine below zero and coarse above.
    bridges
        Codes between convolutions and transformer blocks are chosen by reconstruction of what reads them (Q-HyViT).
    compare_rounding
        Count the codes that this rounding rule would change, layer by layer.
    seed
        Seed of random weights and inputs.
    device
        Where torch computes: cpu or cuda:0; a GPU if there is one.
    top
        How many of the noisiest layers the table shows.
    """
    from rich.progress import Progress

    from hwsim import api
    from hwsim.cli.show import load_work
    from hwsim.spec.overrides import split_overrides

    of_arch, of_workload = split_overrides(overrides(set))
    described = api.load_arch(arch, of_arch)
    work = load_work(workload, of_workload, input)
    with Progress(console=console(err=True), transient=True) as bar:
        task = bar.add_task("samples", total=samples)
        result = api.execute(
            described,
            work,
            weights=weights,
            data=data,
            samples=samples,
            batch=batch,
            calibration=calibration,
            smoothing=smoothing,
            twin_gelu=twin_gelu,
            bridges=bridges,
            compare_rounding=compare_rounding,
            seed=seed,
            device=device or _device(),
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    if isinstance(result, Infeasible):
        print_infeasible(result, format)
        return EXIT_INFEASIBLE
    if format == "json":
        print_json(result.to_json())
    elif format == "csv":
        print_csv([layer.to_json() for layer in result.layers])
    else:
        _print_tables(result, top)
    return 0


def _device() -> str:
    import torch

    return "cuda:0" if torch.cuda.is_available() else "cpu"


def _print_tables(result: Execution, top: int) -> None:
    out = console()
    out.print(f"[bold]{result.workload}[/] on [bold]{result.arch}[/]: {result.samples} samples of {result.data}")
    if result.top1 is not None and result.top1_float is not None:
        change = 100 * (result.top1 - result.top1_float)
        out.print(f"top-1 {_percent(result.top1)}   float {_percent(result.top1_float)}   change {change:+.2f} points")
    out.print(f"same class as float {_percent(result.agreement)}   output SQNR {_db(result.sqnr_db)}")
    flips = "" if result.flipped is None else f"   codes that the other rule changes {count(result.flipped)}"
    out.print(f"accumulator overflows {count(result.overflows)}   clamped codes {count(result.clamped)}{flips}")
    out.print("   ".join(f"{form} {number} ops" for form, number in sorted(result.forms.items())) + "\n")
    noisy = sorted(
        (layer for layer in result.layers if layer.sqnr_db is not None), key=lambda layer: layer.sqnr_db or 0
    )
    rows = (
        (
            layer.name, layer.kind, layer.form, _db(layer.sqnr_db), count(layer.overflows), count(layer.clamped),
            "" if layer.flipped is None else f"{100 * layer.flipped / max(layer.outputs, 1):.3f} %",
        )
        for layer in noisy[:top]
    )  # fmt: skip
    columns = ["op", "kind", "form", "SQNR", "overflows", "clamped", "flipped"]
    out.print(table(f"Noisiest {min(top, len(noisy))} of {len(result.layers)} ops", columns, rows, right=columns[3:]))
    if any(layer.measured for layer in result.layers):
        out.print(_counted(result, top))
    for text in [] if result.estimate is None else result.estimate.notes:
        note(f"note: {text}")
    if result.is_proxy:
        note("note: SQNR is a proxy for accuracy here: no labels, or weights that nobody trained")


def _counted(result: Execution, top: int) -> Table:
    """What the hardware's own operators counted, in the order of the network; the noisiest of more than `top`."""
    own = [layer for layer in result.layers if layer.measured]
    noisiest = {id(layer) for layer in sorted(own, key=lambda layer: layer.sqnr_db or math.inf)[:top]}
    kept = [layer for layer in own if id(layer) in noisiest]
    names = list(dict.fromkeys(name for layer in kept for name in layer.measured))
    columns = [name.removesuffix("_db").replace("_", " ") for name in names]
    rows = (
        (layer.name, *(_measured(name, layer.measured.get(name)) for name in names), _db(layer.sqnr_db))
        for layer in kept
    )
    title = f"Counted by the hardware: {len(kept)} of {len(own)} ops"
    return table(title, ["op", *columns, "SQNR"], rows, right=[*columns, "SQNR"])


def _measured(name: str, value: float | None) -> str:
    if value is None:
        return ""
    if name.endswith("_share"):
        return _percent(value)
    return _db(value) if name.endswith("_db") else f"{value:.4g}"


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _db(value: float | None) -> str:
    return "exact" if value is None else f"{value:.1f} dB"
