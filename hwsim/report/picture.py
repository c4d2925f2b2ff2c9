"""`pareto.png`: the fronts, drawn by matplotlib from the same numbers as the page."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hwsim.report.figures import AxisInfo, FrontInfo
from hwsim.report.palette import FAINT, INK
from hwsim.report.quantities import shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def front_png(infos: Sequence[FrontInfo], colours: dict[str, str], title: str, subtitle: str) -> bytes:
    """A PNG with a panel per pair of objectives."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    style: Any = {"font.family": "DejaVu Sans", "font.size": 10, "axes.edgecolor": "#9aa5b1", "text.color": INK}
    with mpl.rc_context(style):
        figure = Figure(figsize=(7.6 * len(infos), 5.2), dpi=160, layout="constrained")
        FigureCanvasAgg(figure)
        for number, info in enumerate(infos, start=1):
            _panel(figure.add_subplot(1, len(infos), number), info, colours)
        figure.suptitle(title, x=0.01, ha="left", fontsize=13, fontweight="bold")
        figure.text(0.99, 0.985, subtitle, ha="right", va="top", fontsize=8.5, color="#616e7c")
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": "hwsim"})
    return buffer.getvalue()


def _panel(axes: Axes, info: FrontInfo, colours: dict[str, str]) -> None:
    for dots in info.dots:
        axes.scatter(dots.x, dots.y, s=7, color=colours[dots.workload], alpha=0.25, linewidths=0, rasterized=True)
    for front in info.fronts:
        colour = colours[front.workload]
        if info.stepped:
            axes.step(front.x, front.y, where="post" if info.step_first else "pre", color=colour, linewidth=1.5)
        label = f"{front.workload} ({len(front.x)} on the front)"
        axes.scatter(front.x, front.y, s=34, color=colour, edgecolors="white", linewidths=0.8, zorder=3, label=label)
    for knee in info.knees:
        axes.scatter(
            knee.x, knee.y, s=150, facecolors="none", edgecolors=colours[knee.workload], linewidths=1.6, zorder=4
        )
    _scale(axes, "x", info.x)
    _scale(axes, "y", info.y)
    if info.outside:
        note = f"{info.outside} dominated designs lie outside"
        axes.text(0.99, 0.015, note, transform=axes.transAxes, ha="right", fontsize=8, color="#616e7c")
    axes.grid(color=FAINT, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="upper right", fontsize=9)


def _scale(axes: Axes, which: str, info: AxisInfo) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xlabel if which == "x" else axes.set_ylabel)(info.label)
    if info.log:
        (axes.set_xscale if which == "x" else axes.set_yscale)("log")
        axis.set_major_locator(FixedLocator(info.ticks))
        axis.set_minor_locator(NullLocator())
    if info.window is not None:
        (axes.set_xlim if which == "x" else axes.set_ylim)(*info.window)
    axis.set_major_formatter(FuncFormatter(lambda value, _: shown(float(value), info.unit, 3)))
    axis.set_tick_params(color="#9aa5b1", labelsize=9)
