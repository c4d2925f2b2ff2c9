"""The figures of the page, drawn by plotly from their numbers."""

from __future__ import annotations

from collections.abc import Sequence
from math import log10
from typing import Any

from hwsim.report.figures import (
    AxisInfo,
    BarsInfo,
    FrontInfo,
    ParallelInfo,
    ProgressInfo,
    StackInfo,
    axis_ticks,
)
from hwsim.report.palette import FAINT, INK, SCALE, WORKLOADS, of_parts
from hwsim.report.quantities import shown, si_prefixed

#: Parallel axes that fit the page's width; more of them scroll sideways.
_FITTING = 9
_COORDINATE_WIDTH = 140
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"


def _figure(height: int, **layout: Any) -> Any:
    import plotly.graph_objects as go

    base = {
        "template": "none",
        "height": height,
        "font": {"family": _FONT, "size": 13, "color": INK},
        "margin": {"l": 70, "r": 20, "t": 30, "b": 55},
        "hoverlabel": {"font": {"family": _FONT, "size": 12}, "bgcolor": "white", "align": "left"},
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
    }
    return go.Figure(layout=base | layout)


def _axis(info: AxisInfo) -> dict[str, Any]:
    """A plotly axis that opens on its window: ticks with SI prefixes, round values on a log scale."""
    axis: dict[str, Any] = {
        "title": {"text": info.label, "standoff": 12},
        "gridcolor": FAINT,
        "linecolor": "#9aa5b1",
        "zeroline": False,
        "ticks": "outside",
        "tickcolor": "#9aa5b1",
    }
    if info.log:
        texts = [shown(tick, info.unit, 3) for tick in info.ticks]
        axis |= {"type": "log", "tickvals": list(info.ticks), "ticktext": texts}
    elif si_prefixed(info.unit):
        axis |= {"exponentformat": "SI", "ticksuffix": info.unit}
    if info.window is not None:
        axis["range"] = [log10(bound) for bound in info.window] if info.log else list(info.window)
    return axis


def front_figure(info: FrontInfo, colours: dict[str, str]) -> Any:
    """Pareto scatter: all feasible designs faint, the front as a step line, the knee ringed; hover shows the design."""
    import plotly.graph_objects as go

    figure = _figure(520, hovermode="closest")
    hover = "%{text}<extra></extra>"
    for dots in info.dots:
        marker = {"size": 5, "color": colours[dots.workload], "opacity": 0.28, "line": {"width": 0}}
        figure.add_trace(
            go.Scatter(
                x=dots.x, y=dots.y, text=dots.text, mode="markers", marker=marker, hovertemplate=hover,
                name=f"{dots.workload}: other designs", legendgroup=dots.workload, showlegend=False,
            )
        )  # fmt: skip
    for front in info.fronts:
        shape = "hv" if info.step_first else "vh"
        figure.add_trace(
            go.Scatter(
                x=front.x, y=front.y, text=front.text, hovertemplate=hover,
                mode="lines+markers" if info.stepped else "markers",
                line={"shape": shape, "width": 1.8, "color": colours[front.workload]},
                marker={"size": 8, "color": colours[front.workload], "line": {"width": 1, "color": "white"}},
                name=f"{front.workload} ({len(front.x)} on the front)", legendgroup=front.workload,
            )
        )  # fmt: skip
    for knee in info.knees:
        ring = {"size": 17, "symbol": "circle-open", "color": colours[knee.workload], "line": {"width": 2}}
        figure.add_trace(
            go.Scatter(
                x=knee.x, y=knee.y, text=knee.text, hovertemplate=hover, mode="markers", marker=ring,
                legendgroup=knee.workload, showlegend=False,
            )
        )  # fmt: skip
    figure.update_xaxes(_axis(info.x))
    figure.update_yaxes(_axis(info.y))
    return figure


def stack_figure(info: StackInfo) -> Any:
    """Stacked horizontal bars: a bar per Pareto design, its parts in one colour throughout."""
    import plotly.graph_objects as go

    colours = of_parts(list(info.parts))
    height = max(90 + 30 * len(info.bars), 70 + 21 * len(info.parts))
    figure = _figure(height, barmode="stack", bargap=0.28, margin={"l": 110, "r": 20, "t": 8, "b": 40})
    for name, values in info.parts.items():
        totals = [sum(part[index] for part in info.parts.values()) or 1.0 for index in range(len(info.bars))]
        texts = [
            f"<b>{name}</b>, design {bar}<br>{shown(value, info.unit)} ({value / total:.1%})"
            for bar, value, total in zip(info.bars, values, totals, strict=True)
        ]
        figure.add_trace(
            go.Bar(
                y=info.bars, x=values, orientation="h", name=name, text=texts, textposition="none",
                hovertemplate="%{text}<extra></extra>", marker={"color": colours[name], "line": {"width": 0}},
            )
        )  # fmt: skip
    figure.update_layout(legend={"orientation": "v", "x": 1.01, "y": 1, "yanchor": "top", "font": {"size": 12}})
    longest = max((sum(part[index] for part in info.parts.values()) for index in range(len(info.bars))), default=1.0)
    ticks = axis_ticks(0.0, longest, log=False)
    texts = [shown(tick, info.unit, 3) for tick in ticks]
    figure.update_xaxes(tickvals=ticks, ticktext=texts, gridcolor=FAINT, zeroline=False)
    figure.update_yaxes(autorange="reversed", ticksuffix=" ", type="category")
    return figure


def bars_figure(info: BarsInfo, title: str, percent: bool) -> Any:
    """Grouped horizontal bars, largest on top."""
    import plotly.graph_objects as go

    height = 110 + len(info.names) * max(26, 15 * len(info.groups))
    longest = max((len(name) for name in info.names), default=10)
    figure = _figure(height, barmode="group", bargap=0.3, margin={"l": 40 + 7 * longest, "r": 20, "t": 34, "b": 48})
    for (name, values), colour in zip(info.groups.items(), WORKLOADS[2:] + WORKLOADS[:2], strict=False):
        texts = [
            f"<b>{name}</b>: {value:.1%}" if percent else f"<b>{name}</b>: {value:+.3f} % per 1 %<br>{note}"
            for value, note in zip(values, info.notes, strict=True)
        ]
        figure.add_trace(
            go.Bar(
                y=info.names, x=values, orientation="h", name=name, text=texts, textposition="none",
                hovertemplate="%{y}<br>%{text}<extra></extra>", marker={"color": colour},
            )
        )  # fmt: skip
    zero = {"zeroline": True, "zerolinecolor": "#9aa5b1", "gridcolor": FAINT, "title": {"text": title}}
    figure.update_xaxes(zero | ({"tickformat": ".0%", "range": [0, 1]} if percent else {}))
    figure.update_yaxes(autorange="reversed", ticksuffix=" ", type="category")
    return figure


def parallel_figure(info: ParallelInfo) -> Any:
    """Parallel coordinates of all feasible designs, dark where they are near the front; brush an axis to filter."""
    import plotly.graph_objects as go

    order = sorted(range(len(info.distance)), key=lambda index: -info.distance[index])
    dimensions = [
        {
            "label": item.title,
            "values": [item.positions[index] for index in order],
            "tickvals": [place for place, _ in item.ticks],
            "ticktext": [text for _, text in item.ticks],
        }
        for item in info.coordinates
    ]
    figure = _figure(460, margin={"l": 90, "r": 60, "t": 90, "b": 30})
    if len(info.coordinates) > _FITTING:
        figure.update_layout(width=_COORDINATE_WIDTH * len(info.coordinates))
    figure.add_trace(
        go.Parcoords(
            dimensions=dimensions,
            labelangle=-18,
            labelside="top",
            labelfont={"size": 12},
            tickfont={"size": 11},
            line={
                "color": [info.distance[index] for index in order],
                "colorscale": [list(stop) for stop in SCALE],
                "cmin": 0,
                "cmax": max((*info.distance, 1e-3)),
                "showscale": True,
                "colorbar": {"title": {"text": "decades<br>off the front"}, "thickness": 12, "len": 0.9},
            },
        )
    )
    return figure


def progress_figure(infos: Sequence[ProgressInfo], colours: dict[str, str]) -> Any:
    """Hypervolume over the number of designs."""
    import plotly.graph_objects as go

    figure = _figure(300, hovermode="x unified")
    for info in infos:
        line = {"shape": "hv", "color": colours[info.workload], "width": 2}
        figure.add_trace(go.Scatter(x=info.designs, y=info.hypervolume, mode="lines", line=line, name=info.workload))
    figure.update_xaxes(title={"text": "designs evaluated"}, gridcolor=FAINT, rangemode="tozero", zeroline=False)
    figure.update_yaxes(
        title={"text": "hypervolume"}, gridcolor=FAINT, tickformat=".0%", range=[0, 1.03], zeroline=False
    )
    return figure
