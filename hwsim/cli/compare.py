"""`hwsim compare`: predicted against measured."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hwsim.cli.options import Format, Sets, overrides
from hwsim.cli.output import console, note, print_csv, print_json, table

if TYPE_CHECKING:
    from hwsim.measure.compare import ComparedRow, Comparison


def run(arch: str, measured: Path, /, *, set: Sets = (), out: Path | None = None, format: Format = "table") -> int:
    """Compare predictions with a measured file: MAPE, bias, rank correlation, worst rows.

    Parameters
    ----------
    arch
        A processor arch file or the bare name of a bundled one.
    measured
        A file of `hwsim measure`, a timm benchmark-infer-*.csv or an EnergAIzer nvml_*.csv.
    out
        Write a page with the scatter plot here (HTML, one offline file).
    """
    from hwsim.measure.compare import compare
    from hwsim.spec.arch import load_arch

    result = compare(load_arch(arch, overrides(set)), measured, _progress)
    if out is not None:
        from hwsim.report.comparison import write_page

        write_page(result, out)
        note(f"wrote {out}")
    note(f"coefficients fitted on: {result.fitted_on}; rows among those are no test")
    if result.skipped:
        first = next(iter(result.skipped.items()))
        note(f"{len(result.skipped)} workloads skipped, such as {first[0]}: {first[1]}")
    if format == "json":
        print_json(result.to_json())
    elif format == "csv":
        print_csv([_row(row) for row in result.rows])
    else:
        _print_tables(result)
    return 0


def _progress(index: int, count: int) -> None:
    if index and index % 100 == 0:
        note(f"{index} of {count} rows")


def _row(row: ComparedRow) -> dict[str, object]:
    measured = row.measured
    return {
        "workload": measured.workload, "input_size": measured.input_size, "batch": measured.batch,
        "measured_s": measured.latency_s, "predicted_s": row.latency_s, "error_pct": 100 * row.latency_error,
        "measured_w": measured.power_w,
        "predicted_w": row.power_w, "measured_j": measured.energy_j, "predicted_j": row.energy_j,
        "dominant": row.dominant,
    }  # fmt: skip


def _print_tables(result: Comparison) -> None:
    from hwsim.core.units import show

    columns = ["quantity", "rows", "MAPE", "95 % interval", "median", "max", "bias", "Spearman"]
    cells = []
    for quantity in ("latency", "power", "energy"):
        s = result.summary(quantity)
        if s is not None:
            low, high = s.interval_pct
            cells.append(
                [quantity, s.rows, f"{s.mape_pct:.1f} %", f"{low:.1f}-{high:.1f} %", f"{s.median_pct:.1f} %",
                 f"{s.max_pct:.1f} %", f"{s.bias_pct:+.1f} %", f"{s.spearman:.4f}"]
            )  # fmt: skip
    out = console()
    out.print(table(f"{result.arch}: predicted against measured", columns, cells, right=columns[1:]))
    worst = [
        [row.name, row.measured.batch, show(row.measured.latency_s, "s"), show(row.latency_s, "s"),
         f"{100 * row.latency_error:+.1f} %", f"{row.dominant} {100 * row.dominant_share:.0f} %"]
        for row in result.worst()
    ]  # fmt: skip
    names = ["workload", "batch", "measured", "predicted", "error", "largest part"]
    out.print(table("Worst rows by latency", names, worst, right=names[1:5]))
