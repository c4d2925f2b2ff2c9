"""The page of a comparison: one offline HTML file with tables and the scatter of predicted against measured."""

from __future__ import annotations

from html import escape
from importlib import resources
from io import StringIO
from pathlib import Path

from hwsim.core.files import write_atomic
from hwsim.core.units import show
from hwsim.measure.compare import Comparison
from hwsim.report.palette import FAINT, INK, WORKLOADS

_AXES = {"latency": "s", "power": "W", "energy": "J"}


def write_page(comparison: Comparison, path: Path) -> None:
    """Write the page, whole or not at all; it loads nothing from anywhere."""
    style = resources.files("hwsim.report").joinpath("report.css").read_text(encoding="utf-8")
    title = f"{comparison.arch}: predicted against measured"
    parts = [f"<h1>{escape(title)}</h1>", _summary_table(comparison), _remarks(comparison)]
    parts += [scatter_svg(comparison, quantity) for quantity in _AXES if comparison.summary(quantity)]
    parts += ["<h2>Worst rows by latency</h2>", _worst_table(comparison)]
    body = "\n".join(parts)
    write_atomic(
        path,
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        f"<style>\n{style}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n",
    )


def _summary_table(comparison: Comparison) -> str:
    rows = []
    for quantity in _AXES:
        s = comparison.summary(quantity)
        if s is not None:
            low, high = s.interval_pct
            rows.append(
                [quantity, str(s.rows), f"{s.mape_pct:.1f} % ({low:.1f}-{high:.1f})", f"{s.median_pct:.1f} %",
                 f"{s.max_pct:.1f} %", f"{s.bias_pct:+.1f} %", f"{s.spearman:.4f}"]
            )  # fmt: skip
    return _table(["quantity", "rows", "MAPE (95 % interval)", "median", "max", "bias", "Spearman"], rows)


def _remarks(comparison: Comparison) -> str:
    """What the figures stand on, and what they leave out."""
    text = f"<p>Coefficients fitted on: {escape(comparison.fitted_on)}. Rows among those are no test.</p>"
    if comparison.skipped:
        name, reason = next(iter(comparison.skipped.items()))
        text += f"\n<p>{len(comparison.skipped)} workloads skipped, such as {escape(name)}: {escape(reason)}</p>"
    return text


def _worst_table(comparison: Comparison) -> str:
    rows = [
        [row.name, str(row.measured.batch), show(row.measured.latency_s, "s"), show(row.latency_s, "s"),
         f"{100 * row.latency_error:+.1f} %", f"{row.dominant} ({100 * row.dominant_share:.0f} % of the time)"]
        for row in comparison.worst()
    ]  # fmt: skip
    return _table(["workload", "batch", "measured", "predicted", "error", "largest part"], rows)


def _table(head: list[str], rows: list[list[str]]) -> str:
    cells = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = "\n".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table>\n<thead><tr>{cells}</tr></thead>\n<tbody>\n{lines}\n</tbody>\n</table>"


def scatter_svg(comparison: Comparison, quantity: str) -> str:
    """Predicted against measured on logarithmic axes, with the line of equality and the 10 % band."""
    from matplotlib.figure import Figure

    pairs = [pair for row in comparison.rows if (pair := row.pair(quantity)) is not None]
    predicted, measured = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    figure = Figure(figsize=(6, 5.4), layout="constrained")
    axes = figure.subplots()
    low, high = min(*predicted, *measured) * 0.9, max(*predicted, *measured) * 1.1
    line = [low, high]
    axes.fill_between(line, [0.9 * v for v in line], [1.1 * v for v in line], color=FAINT, label="10 % either way")
    axes.plot(line, line, color=INK, linewidth=0.8)
    axes.scatter(measured, predicted, s=9, alpha=0.6, color=WORKLOADS[0], edgecolors="none")
    unit = _AXES[quantity]
    axes.set(xscale="log", yscale="log", xlim=line, ylim=line)
    axes.set(xlabel=f"measured {quantity} ({unit})", ylabel=f"predicted {quantity} ({unit})")
    summary = comparison.summary(quantity)
    if summary is not None:
        axes.set_title(f"{comparison.arch}: {quantity}, {summary.rows} rows, MAPE {summary.mape_pct:.1f} %")
    axes.legend(loc="upper left", frameon=False)
    text = StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    svg = text.getvalue()
    return svg[svg.index("<svg") :]
