"""Predicted against measured GPUs: time, power and energy, with everything that was fitted kept away from its test.

Families of models (timm) or whole models (EnergAIzer) are left out of the fit that predicts them. See README.md.
`capture.py` derives the kernels again; this file reads them.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER))

import baselines  # noqa: E402
import claims  # noqa: E402
from timm_rows import FILES, Row, read_rows  # noqa: E402

from hwsim.backends.processor.device import device_of  # noqa: E402
from hwsim.backends.processor.estimate import Device, predict  # noqa: E402
from hwsim.backends.processor.power import PowerCoefficients  # noqa: E402
from hwsim.backends.processor.timing import TimingCoefficients  # noqa: E402
from hwsim.measure import calibrate  # noqa: E402
from hwsim.measure.compare import compare, kernels_of_row, processor_spec, spec_of_row  # noqa: E402
from hwsim.measure.kernel_lists import read_kernel_lists  # noqa: E402
from hwsim.measure.rows import MeasuredRow, read_measured  # noqa: E402
from hwsim.measure.statistics import ErrorSummary, summarize  # noqa: E402
from hwsim.report.comparison import write_page  # noqa: E402
from hwsim.spec.arch import load_arch  # noqa: E402

Array = npt.NDArray[np.float64]
MEASURED = FOLDER / "measured"
#: Files whose families are left out one by one; the 4090's PyTorch 2.4 files serve the fits to an unseen GPU.
SCORED = ("4090_compiled", "4090_eager", "3090_eager_2.4", "i7_compiled")
#: Fitted for a GPU; a CPU has no fp32 fall-backs.
GPU_TERMS = tuple(calibrate.BOUNDS)
CPU_TERMS = tuple(name for name in calibrate.BOUNDS if name != "simd_matmul")
#: EnergAIzer's rows run no compiled code, grouped convolution, gather, or fused attention.
A100_TERMS = (
    "matrix", "conv", "memory", "copy", "cache_bytes_per_cycle", "resident", "tile_cycles", "start_s", "dispatch_s",
    "overlap", "simd", "conv_memory", "depthwise",
)  # fmt: skip
POWER_TERMS = ("matrix_j_per_flop", "fp32_j_per_flop", "simd_j_per_flop", "core_j_per_byte", "memory_j_per_byte")
#: What the host of the A100 needs per operator, as a starting point: 26 us (launch-bound rows of the file).
A100_PRIOR = TimingCoefficients(dispatch_s=26e-6)


def run(out: Path) -> Mapping[str, float]:
    """Write tables and pictures to `out`; return the figures the study stands for."""
    figures: dict[str, float] = {}
    tables: list[dict[str, object]] = []
    for name in SCORED:
        figures |= _timm(name, out, tables)
    figures |= _unseen_gpu(tables)
    figures |= _unseen_generation(tables)
    figures |= _energaizer(out, tables)
    figures |= _claims(out)
    figures |= _own_measurements(out, tables)
    _write(out / "summary.csv", tables)
    return figures


# --- timm -----------------------------------------------------------------------------------------------------------


def observations(name: str, rows: Sequence[Row]) -> calibrate.Observations:
    """A file's rows as kernels on its arch at the peak clock."""
    spec = processor_spec(load_arch(FILES[name].arch))
    return calibrate.stack(
        [(row.table, float(row.measured.batch)) for row in rows],
        device_of(spec).machine,
        np.array([row.measured.latency_s for row in rows]),
        [row.family for row in rows],
    )


def _timm(name: str, out: Path, tables: list[dict[str, object]]) -> dict[str, float]:
    """Leave-one-family-out on one file, beside the baselines on the same rows."""
    rows = read_rows(name)
    seen = observations(name, rows)
    terms = CPU_TERMS if name.startswith("i7") else GPU_TERMS
    fit = calibrate.fit_timing(seen, TimingCoefficients(), terms)
    predicted, _ = calibrate.cross_validate(seen, fit, terms, TimingCoefficients())
    families, keys = [row.family for row in rows], [row.key for row in rows]
    plain = np.array([row.plain for row in rows])
    tables.append(_line(name, "hwsim, leave one family out", predicted, seen.latency_s, families, len(terms)))
    tables.append(
        _line(f"{name}, plain ViT", "hwsim, leave one family out", predicted[plain], seen.latency_s[plain],
              [f for f, p in zip(families, plain, strict=True) if p], len(terms))
    )  # fmt: skip
    for label, guess, count in _timm_baselines(name, rows, seen.latency_s):
        tables.append(_line(name, label, guess, seen.latency_s, families, count))
    _write(out / f"rows_{name}.csv", [
        {"model": key, "family": family, "batch": row.measured.batch, "measured_s": m, "predicted_s": p,
         "error_pct": 100 * (p / m - 1)}
        for key, family, row, m, p in zip(keys, families, rows, seen.latency_s, predicted, strict=True)
    ])  # fmt: skip
    _write(out / f"families_{name}.csv", _by_group(predicted, seen.latency_s, families))
    _scatter(out / f"scatter_{name}.png", name, "latency, s", predicted, seen.latency_s, families)
    whole, simple = summarize(predicted, seen.latency_s, families), summarize(predicted[plain], seen.latency_s[plain])
    return {
        f"{name}.rows": whole.rows, f"{name}.mape_pct": whole.mape_pct, f"{name}.spearman": whole.spearman,
        f"{name}.plain_mape_pct": simple.mape_pct,
    }  # fmt: skip


def _timm_baselines(name: str, rows: Sequence[Row], measured: Array) -> list[tuple[str, Array, int]]:
    spec = processor_spec(load_arch(FILES[name].arch))
    gmacs, macts = np.array([row.gmacs for row in rows]), np.array([row.macts for row in rows])
    batch = np.array([row.measured.batch for row in rows], dtype=np.float64)
    families = [row.family for row in rows]
    peak = (spec.peak.fp32 if FILES[name].runtime.precision == "fp32" else spec.peak.fp16) or spec.peak.fp32
    width = 4.0 if FILES[name].runtime.precision == "fp32" else 2.0
    raw = baselines.roofline(gmacs, macts, batch, peak, spec.memory.bandwidth_bytes_per_s, width)
    return [
        ("roofline", raw, 0),
        ("roofline x one scalar, leave one family out", baselines.one_scalar(raw, measured, families), 1),
        ("a MACs + b Macts + c, leave one family out",
         baselines.three_terms(gmacs, macts, batch, measured, families), 3),
    ]  # fmt: skip


def _unseen_gpu(tables: list[dict[str, object]]) -> dict[str, float]:
    """The 3090 from the 4090's coefficients and its own data sheet alone, and the other way round."""
    names = ("4090_eager_2.4", "3090_eager_2.4")
    read = {name: read_rows(name) for name in names}
    seen = {name: observations(name, rows) for name, rows in read.items()}
    figures = {}
    for source, target in (names, names[::-1]):
        fit = calibrate.fit_timing(seen[source], TimingCoefficients(), GPU_TERMS)
        predicted, _, _ = calibrate.latency_of(seen[target], fit.coefficients)
        families = [row.family for row in read[target]]
        measured = seen[target].latency_s
        tables.append(_line(f"{target} from {source}", "hwsim, unseen GPU", predicted, measured, families, 0))
        figures[f"{target}.unseen_mape_pct"] = summarize(predicted, measured).mape_pct
    return figures


def _unseen_generation(tables: list[dict[str, object]]) -> dict[str, float]:
    """A V100 in fp32 from the shipped coefficients of other boards and its data sheet, the clock under its cap too."""
    name = "v100_eager_fp32"
    rows = read_rows(name)
    arch = load_arch(FILES[name].arch, {"runtime.mode": "eager", "runtime.precision": "fp32"})
    device = device_of(processor_spec(arch))
    predicted = np.array([predict(row.table, float(row.measured.batch), device).latency_s for row in rows])
    measured = np.array([row.measured.latency_s for row in rows])
    families = [row.family for row in rows]
    tables.append(_line(name, "hwsim, unseen GPU", predicted, measured, families, 0))
    return {f"{name}.unseen_mape_pct": summarize(predicted, measured).mape_pct}


# --- EnergAIzer -----------------------------------------------------------------------------------------------------


def _energaizer_rows(file: str) -> tuple[list[MeasuredRow], calibrate.Observations]:
    """Rows with kernels, each at its measured mean clock; vision models by their own graphs."""
    arch = load_arch("a100_pcie_40gb")
    listed = read_kernel_lists(MEASURED / "energaizer")
    kept = [
        row for row in read_measured(MEASURED / "energaizer" / file) if row.source is not None or row.workload in listed
    ]
    kernels = [kernels_of_row(row, spec_of_row(row, arch), listed) for row in kept]
    machine = device_of(processor_spec(arch)).machine
    values = {
        name: np.array([getattr(row, name) for row in kept], dtype=np.float64)
        for name in ("latency_s", "clock_hz", "power_w")
    }
    models = [row.workload.split("_")[0] for row in kept]
    return kept, calibrate.stack(kernels, machine, values["latency_s"], models, values["clock_hz"], values["power_w"])


def _energaizer(out: Path, tables: list[dict[str, object]]) -> dict[str, float]:
    """Leave-one-model-out at 900 MHz, then the same fits on the clock sweep, in which none of their rows lie."""
    device = device_of(processor_spec(load_arch("a100_pcie_40gb")))
    rows, seen = _energaizer_rows("nvml_a100.csv")
    fit = calibrate.fit_timing(seen, A100_PRIOR, A100_TERMS)
    latency, fits = calibrate.cross_validate(seen, fit, A100_TERMS, A100_PRIOR)
    sweep_rows, sweep = _energaizer_rows("nvml_dvfs.csv")
    power, sweep_latency, sweep_power = np.zeros_like(latency), sweep.latency_s * 0, sweep.latency_s * 0
    own_latency, own_power = sweep.latency_s * 0, sweep.latency_s * 0
    for model, timing in fits.items():
        energies = calibrate.fit_power(
            seen, timing, device.electrics, PowerCoefficients(), device.format_cost, seen.groups != model, POWER_TERMS
        )
        for target, time, watts in ((seen, latency, power), (sweep, sweep_latency, sweep_power)):
            mine = target.groups == model
            time[mine] = calibrate.latency_of(target, timing)[0][mine]
            watts[mine] = calibrate.power_of(target, timing, device.electrics, energies, device.format_cost)[mine]
        _at_the_lock(sweep_rows, sweep, model, replace(device, timing=timing, power=energies), own_latency, own_power)
    sweep_power = np.minimum(sweep_power, device.electrics.limit_w)
    low, vision = _is(rows, lambda row: row.precision == "bf16"), _is(rows, lambda row: row.source is not None)
    sweep_low = _is(sweep_rows, lambda row: row.precision == "bf16")
    held = _is(sweep_rows, lambda row: (row.lock_hz or 0) - (row.clock_hz or 0) > 5e6)
    figures: dict[str, float] = {}
    for label, target, time, watts, keep in (
        ("a100", seen, latency, power, low),
        ("a100 vision", seen, latency, power, low & vision),
        ("a100 fp32", seen, latency, power, ~low),
        ("a100 fp32 vision", seen, latency, power, ~low & vision),
        ("a100 clock sweep", sweep, sweep_latency, sweep_power, sweep_low),
        ("a100 clock sweep fp32", sweep, sweep_latency, sweep_power, ~sweep_low),
        ("a100 clock sweep, own clock", sweep, own_latency, own_power, sweep_low),
        ("a100 clock sweep, capped rows, own clock", sweep, own_latency, own_power, sweep_low & held),
    ):
        if keep.any():
            figures |= _score(label, tables, _subset(target, keep), time[keep], watts[keep])
    _five_numbers(tables, seen, low, vision)
    for label, target, time, watts, named in (
        ("a100", seen, latency, power, rows), ("a100_clock_sweep", sweep, sweep_latency, sweep_power, sweep_rows)
    ):  # fmt: skip
        _write(out / f"rows_{label}.csv", [
            {"workload": row.workload, "clock_mhz": (row.clock_hz or 0) / 1e6, "measured_s": m, "predicted_s": p,
             "measured_w": mw, "predicted_w": pw}
            for row, m, p, mw, pw in zip(named, target.latency_s, time, _watts(target), watts, strict=True)
        ])  # fmt: skip
        _scatter(
            out / f"scatter_{label}_power.png",
            f"{label}: power",
            "power, W",
            watts,
            _watts(target),
            list(target.groups),
        )
    return figures


def _at_the_lock(
    rows: Sequence[MeasuredRow], seen: calibrate.Observations, model: str, device: Device, latency: Array, power: Array
) -> None:
    """One model's rows of the sweep from the clock that was set alone: what the cap leaves of it is predicted too."""
    arch = load_arch("a100_pcie_40gb")
    listed = read_kernel_lists(MEASURED / "energaizer")
    for index in np.flatnonzero(seen.groups == model):
        row = rows[index]
        table, batch = kernels_of_row(row, spec_of_row(row, arch), listed)
        machine = replace(device.machine, clock_hz=row.lock_hz or device.machine.clock_hz)
        run = predict(table, batch, replace(device, machine=machine))
        latency[index], power[index] = run.latency_s, run.operating.power_w


def _is(rows: Sequence[MeasuredRow], holds: Callable[[MeasuredRow], bool]) -> npt.NDArray[np.bool_]:
    return np.array([holds(row) for row in rows])


def _watts(seen: calibrate.Observations) -> Array:
    assert seen.power_w is not None
    return seen.power_w


def _subset(seen: calibrate.Observations, keep: npt.NDArray[np.bool_]) -> calibrate.Observations:
    """The measured columns of some rows, for scoring only."""
    return replace(
        seen, latency_s=seen.latency_s[keep], power_w=_watts(seen)[keep], groups=seen.groups[keep],
        clock_hz=seen.clock_hz[keep],
    )  # fmt: skip


def _score(
    label: str, tables: list[dict[str, object]], seen: calibrate.Observations, latency: Array, power: Array
) -> dict[str, float]:
    groups = list(seen.groups)
    measured = {"latency": seen.latency_s, "power": _watts(seen), "energy": seen.latency_s * _watts(seen)}
    predicted = {"latency": latency, "power": power, "energy": latency * power}
    times, energies = len(A100_TERMS), len(POWER_TERMS)
    counts = {"latency": times, "power": energies, "energy": times + energies}
    figures = {}
    for quantity, values in predicted.items():
        name = "hwsim, leave one model out"
        tables.append(_line(f"{label}: {quantity}", name, values, measured[quantity], groups, counts[quantity]))
        figures[f"{label}.{quantity}_mape_pct"] = summarize(values, measured[quantity]).mape_pct
    return figures


def _five_numbers(
    tables: list[dict[str, object]], seen: calibrate.Observations, low: npt.NDArray[np.bool_],
    vision: npt.NDArray[np.bool_],
) -> None:  # fmt: skip
    """Roofline / efficiency with a floor, and P0 + a FLOP/s + b B/s at that time: five numbers, same folds.

    On the bf16 rows (`low`) alone: one energy per FLOP cannot serve two precisions.
    """
    from scipy.optimize import least_squares, nnls

    work, machine = seen.work, seen.machine
    rate = machine.cores * machine.matrix_flop_per_cycle[work.format] * seen.clock_hz[seen.row]
    kernel_s = np.maximum(2 * work.macs / rate, (work.read + work.write) / machine.memory_bytes_per_s)
    flop, moved = seen.totals(2 * work.macs), seen.totals(work.read + work.write)
    watts, groups = _watts(seen), list(seen.groups)

    def time(x: Array) -> Array:
        return seen.totals(np.maximum(kernel_s / np.exp(x[0]), np.exp(x[1])))

    def fit_time(keep: npt.NDArray[np.bool_]) -> Array:
        start, fitted = np.log([0.6, 3e-5]), keep & low
        found = least_squares(lambda x: np.log(time(x) / seen.latency_s)[fitted], start, loss="soft_l1", f_scale=0.1)
        return time(found.x)

    latency = baselines.held_out(groups, fit_time)
    columns = np.stack([np.ones_like(latency), flop / latency, moved / latency], axis=1)

    def fit_power(keep: npt.NDArray[np.bool_]) -> Array:
        fitted = keep & low
        weights, _ = nnls(columns[fitted] / watts[fitted, None], np.ones(int(fitted.sum())))
        return columns @ weights

    power = baselines.held_out(groups, fit_power)
    for part, keep in (("a100", low), ("a100 vision", low & vision)):
        names = [g for g, k in zip(groups, keep, strict=True) if k]
        label = "five numbers, leave one model out"
        tables.append(_line(f"{part}: latency", label, latency[keep], seen.latency_s[keep], names, 2))
        tables.append(_line(f"{part}: power", label, power[keep], watts[keep], names, 5))
        energy = (latency * power)[keep], (seen.latency_s * watts)[keep]
        tables.append(_line(f"{part}: energy", label, *energy, names, 5))


# --- claims and own measurements ------------------------------------------------------------------------------------


def _claims(out: Path) -> dict[str, float]:
    """LPViT's and ShiftAddViT's savings by their authors' rules and under equal traffic."""
    found = claims.figures()
    _write(out / "claims.csv", [{"claim": name, "value": value} for name, value in found.items()])
    return found


def _own_measurements(out: Path, tables: list[dict[str, object]]) -> dict[str, float]:
    """Files of `hwsim measure` in measured/own, each named after its arch: ARCH.csv. None until a GPU was at hand."""
    figures = {}
    for path in sorted((MEASURED / "own").glob("*.csv")):
        result = compare(load_arch(path.stem), path)
        write_page(result, out / f"own_{path.stem}.html")
        for quantity in ("latency", "power", "energy"):
            pairs = np.array([pair for row in result.rows if (pair := row.pair(quantity)) is not None])
            groups = [row.measured.workload for row in result.rows]
            tables.append(_line(f"{path.stem}: {quantity}", "hwsim, shipped", pairs[:, 0], pairs[:, 1], groups, 0))
            figures[f"own.{path.stem}.{quantity}_mape_pct"] = summarize(pairs[:, 0], pairs[:, 1]).mape_pct
    return figures


# --- tables and pictures --------------------------------------------------------------------------------------------


def _line(
    data: str, predictor: str, predicted: Array, measured: Array, groups: Sequence[str], parameters: int
) -> dict[str, object]:
    s: ErrorSummary = summarize(predicted, measured, groups)
    return {
        "data": data, "predictor": predictor, "rows": s.rows, "groups": len(set(groups)), "fitted": parameters,
        "mape_pct": round(s.mape_pct, 2), "interval_pct": f"{s.interval_pct[0]:.1f}-{s.interval_pct[1]:.1f}",
        "median_pct": round(s.median_pct, 2), "max_pct": round(s.max_pct, 1), "bias_pct": round(s.bias_pct, 2),
        "spearman": round(s.spearman, 4),
    }  # fmt: skip


def _by_group(predicted: Array, measured: Array, groups: Sequence[str]) -> list[dict[str, object]]:
    names = np.asarray(groups)
    lines = []
    for name in np.unique(names):
        s = summarize(predicted[names == name], measured[names == name])
        lines.append({"family": str(name), "rows": s.rows, "mape_pct": round(s.mape_pct, 2),
                      "bias_pct": round(s.bias_pct, 2), "max_pct": round(s.max_pct, 1)})  # fmt: skip
    return sorted(lines, key=lambda line: -float(str(line["mape_pct"])))


def _write(path: Path, lines: Sequence[Mapping[str, object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(lines[0]), lineterminator="\n")
        writer.writeheader()
        for line in lines:
            writer.writerow({key: f"{v:.6g}" if isinstance(v, float) else v for key, v in line.items()})


def _scatter(path: Path, title: str, quantity: str, predicted: Array, measured: Array, groups: Sequence[str]) -> None:
    """Predicted over measured, the four worst groups named."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained", dpi=110)
    axes = figure.subplots()
    ratio, names = predicted / measured, np.asarray(groups)
    worst = [str(line["family"]) for line in _by_group(predicted, measured, groups)[:4]]
    rest = ~np.isin(names, worst)
    axes.scatter(measured[rest], ratio[rest], s=10, color="#888888", edgecolors="none", label="others")
    for name, colour in zip(worst, ("#0072B2", "#D55E00", "#009E73", "#CC79A7"), strict=False):
        mine = names == name
        axes.scatter(measured[mine], ratio[mine], s=14, color=colour, edgecolors="none", label=name)
    axes.axhline(1.0, color="black", linewidth=0.8)
    axes.axhspan(0.9, 1.1, color="#e4e7eb", zorder=0)
    axes.set(xscale="log", xlabel=f"measured {quantity}", ylabel="predicted / measured", ylim=(0.4, 1.8))
    axes.set_title(f"{title}: {len(names)} rows, MAPE {100 * np.abs(ratio - 1).mean():.1f} %")
    axes.legend(fontsize=8, frameon=False)
    figure.savefig(path)
