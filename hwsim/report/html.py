"""`report.html`: one offline file with everything a run found; and `pareto.png` beside it."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from html import escape
from importlib import resources
from typing import Any

from hwsim.backends.base import Picture
from hwsim.explore.analysis import SheetRecord, WorkloadAnalysis
from hwsim.explore.run import Run
from hwsim.explore.store import write_whole
from hwsim.report import interactive
from hwsim.report.figures import (
    elasticity_info,
    front_infos,
    importance_info,
    parallel_info,
    progress_infos,
    stack_infos,
)
from hwsim.report.knee import knee_pictures
from hwsim.report.palette import of_workloads
from hwsim.report.picture import front_png
from hwsim.report.tables import Table, axis_table, infeasible_table, pareto_table, sheet_table

REPORT = "report.html"
PICTURE = "pareto.png"
#: Figures are drawn when the whole page is laid out, or each would take the width its neighbours will need.
_DRAW = "for (const [name, f, options] of figures) Plotly.newPlot(name, f.data, f.layout, options)"


def write_report(run: Run) -> None:
    """Write `report.html` and `pareto.png` into the run's directory, each whole."""
    write_whole(run.path / PICTURE, _picture(run))
    write_whole(run.path / REPORT, page(run))


def _picture(run: Run) -> bytes:
    manifest = run.manifest
    colours = of_workloads([record.name for record in manifest.identity.workloads])
    title = f"{manifest.identity.arch}: {', '.join(objective.label for objective in run.objectives)}"
    subtitle = f"{manifest.designs} designs, {manifest.identity.strategy}, {manifest.feasible} feasible"
    return front_png(front_infos(run), colours, title, subtitle)


def page(run: Run) -> str:
    """The page as text. Everything it needs is inside: it loads nothing from anywhere."""
    from plotly.offline import get_plotlyjs

    style = resources.files("hwsim.report").joinpath("report.css").read_text(encoding="utf-8")
    title = f"{run.manifest.identity.arch}: exploration"
    body = "\n".join((_header(run), *_sections(run)))
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{escape(title)}</title>\n'
        f"<style>\n{style}</style>\n<script>{get_plotlyjs()}</script>\n<script>const figures = []</script>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n<script>{_DRAW}</script>\n</body>\n</html>\n"
    )


def _header(run: Run) -> str:
    manifest = run.manifest
    names = " and ".join(f"<b>{escape(record.name)}</b>" for record in manifest.identity.workloads)
    objectives = ", ".join(escape(objective.label) for objective in run.objectives)
    facts = (
        ("designs", f"{manifest.designs:,}", f"{manifest.identity.strategy}, seed {manifest.identity.seed}"),
        ("feasible", f"{manifest.feasible / max(1, manifest.designs):.0%}", f"{manifest.feasible:,} designs"),
        ("Pareto", f"{int(run.frame()['pareto'].sum())}", "designs on all fronts"),
        ("time", f"{manifest.elapsed_s:.1f} s", manifest.started[:10]),
    )
    cards = "".join(
        f'<div class="card"><span>{label}</span><strong>{value}</strong><em>{escape(detail)}</em></div>'
        for label, value, detail in facts
    )
    return (
        f"<header><h1>{escape(manifest.identity.arch)}</h1><p>{objectives} of {names} on the "
        f'<b>{escape(manifest.backend)}</b> backend</p><div class="cards">{cards}</div></header>'
    )


def _sections(run: Run) -> Iterator[str]:
    colours = of_workloads([record.name for record in run.manifest.identity.workloads])
    fronts = "".join(
        _drawn(interactive.front_figure(info, colours), f"front-{number}", tools=True)
        for number, info in enumerate(front_infos(run))
    )
    first = front_infos(run)[0]
    drawn = "the line is the Pareto front" if first.stepped else "the dark ones are the Pareto front"
    hint = f"Every dot is a feasible design, {drawn}, the ring its knee. Hover to see a design."
    hint += f" The view opens on the fronts: double-click shows the other {first.outside:,}." if first.outside else ""
    hint += f" {first.left_out:,} dominated designs are not drawn." if first.left_out else ""
    yield _section("Pareto front", hint, fronts + "".join(_front_table(run, part) for part in run.analysis.workloads))
    for number, part in enumerate(run.analysis.workloads):
        if part.breakdowns:
            yield _breakdown_section(part, number)
    parallel = "".join(
        f'<h3>{escape(part.workload)}</h3><div class="wide">'
        f"{_drawn(interactive.parallel_figure(parallel_info(run, part.workload)), f'parallel-{number}')}</div>"
        for number, part in enumerate(run.analysis.workloads)
        if part.breakdowns
    )
    yield from (_picture_section(picture) for picture in knee_pictures(run))
    yield from (_sheet_section(part, sheet) for part in run.analysis.workloads for sheet in part.sheets)
    hint = (
        "A line per feasible design; dark lines are on or near the front. Drag along an axis to select, drag a title "
        "to move the axis."
    )
    yield _section("All designs", hint, parallel)
    yield _matters_section(run)
    yield _search_section(run, colours)
    yield _reproduce_section(run)


def _front_table(run: Run, part: WorkloadAnalysis) -> str:
    table = pareto_table(run, part.workload)
    note = f'<p class="hint">{escape(table.note)}</p>' if table.note else ""
    return f"<details open><summary>{escape(table.title)}</summary>{note}{_table(table)}</details>"


def _breakdown_section(part: WorkloadAnalysis, number: int) -> str:
    figures = "".join(
        f"<div><h3>{escape(info.title.capitalize())}</h3>"
        f"{_drawn(interactive.stack_figure(info), f'stack-{number}-{index}')}</div>"
        for index, info in enumerate(stack_infos(part))
    )
    hint = (
        f"{len(part.breakdowns)} designs of the front, fastest on top. Parts of the latency are sums over ops: where "
        "ops overlap they exceed the latency of the run."
    )
    return _section(f"Where time and energy go: {part.workload}", hint, f'<div class="grid">{figures}</div>')


def _picture_section(picture: Picture) -> str:
    """A backend's drawing, inside the page; `object` because an `img` would look like something to be loaded."""
    data = base64.b64encode(picture.png).decode("ascii")
    drawn = f'<object data="data:image/png;base64,{data}" type="image/png" style="width:100%"></object>'
    return _section(picture.title, picture.text, drawn)


def _sheet_section(part: WorkloadAnalysis, sheet: SheetRecord) -> str:
    """A backend's table of the knee."""
    return _section(f"{sheet.title}: {part.workload}, design {part.knee}", sheet.text, _table(sheet_table(sheet)))


def _matters_section(run: Run) -> str:
    blocks = []
    for number, part in enumerate(run.analysis.workloads):
        if not part.breakdowns:
            continue
        share = interactive.bars_figure(importance_info(part, run.objectives), "share of variance explained", True)
        slope = interactive.bars_figure(elasticity_info(part, run.objectives), "% per 1 %", False)
        blocks.append(
            f'<h3>{escape(part.workload)}</h3><div class="grid"><div><h4>Searched parameters, over all designs</h4>'
            f"{_drawn(share, f'importance-{number}')}</div><div><h4>Every number of the spec, at the knee (design "
            f"{part.knee})</h4>{_drawn(slope, f'elasticity-{number}')}</div></div>"
        )
    hint = (
        "Left: the share of an objective's variance (in decades) that a parameter explains alone. Right: by how many "
        "per cent an objective rises when a number of the spec rises by 1 %: the numbers that deserve the best source."
    )
    return _section("What matters", hint, "".join(blocks))


def _search_section(run: Run, colours: dict[str, str]) -> str:
    infos = progress_infos(run)
    curve = _drawn(interactive.progress_figure(infos, colours), "progress") if infos else ""
    lacking = infeasible_table(run)
    reasons = _table(lacking) if lacking.rows else "<p>Every design fits.</p>"
    hint = (
        "Hypervolume: the share of the box between the best and the worst value of every objective (log scale) that "
        "the designs so far dominate."
    )
    return _section("Search", hint, f"{curve}<h3>Searched</h3>{_table(axis_table(run))}<h3>Infeasible</h3>{reasons}")


def _reproduce_section(run: Run) -> str:
    manifest = run.manifest
    identity = manifest.identity
    rows = [
        ("exploration", manifest.identity_hash),
        (f"arch {identity.arch}", identity.arch_hash),
        *((f"workload {record.name}", record.graph_hash) for record in identity.workloads),
        (f"model of {manifest.backend}", manifest.backend_hash),
    ]
    versions = ", ".join(f"{name} {number}" for name, number in manifest.versions.items())
    constraints = "".join(f"<li><code>{escape(text)}</code></li>" for text in identity.constraints)
    assumptions = "".join(
        f"<li><b>{escape(item.id)}</b> {escape(item.title)}</li>" for item in run.analysis.assumptions
    )
    parts = [
        f"<pre>{escape(manifest.command or 'called from Python')}</pre>",
        f"<p>Next: </p><pre>{escape(run.next_command())}</pre>",
        f"<p>{escape(versions)}; {escape(manifest.started)}</p>",
        _table(Table("", ("content", "SHA-256"), tuple(rows))),
        f"<h3>Constraints</h3><ul>{constraints}</ul>" if constraints else "",
        f'<h3>Assumptions used</h3><ul class="assumptions">{assumptions}</ul>' if assumptions else "",
    ]
    return _section("Reproduce", "The same command on the same content gives the same numbers.", "".join(parts))


def _section(title: str, hint: str, content: str) -> str:
    return f'<section><h2>{escape(title)}</h2><p class="hint">{escape(hint)}</p>{content}</section>'


def _drawn(figure: Any, name: str, *, tools: bool = False) -> str:
    """A figure's place in the page and its data for drawing; `tools` adds plotly's bar of buttons."""
    data = figure.to_json().replace("</", "<\\/")
    options = json.dumps(
        {
            "displaylogo": False,
            "responsive": True,
            "displayModeBar": "hover" if tools else False,
            "modeBarButtonsToRemove": ["select2d", "lasso2d", "zoomIn2d", "zoomOut2d"],
        }
    )
    return f'<div class="figure" id="{name}"></div><script>figures.push(["{name}", {data}, {options}])</script>'


def _table(table: Table) -> str:
    right = {index for index, column in enumerate(table.columns) if column in table.right}
    head = "".join(f"<th{_class(index in right)}>{escape(column)}</th>" for index, column in enumerate(table.columns))
    rows = "".join(
        "<tr>" + "".join(f"<td{_class(index in right)}>{escape(cell)}</td>" for index, cell in enumerate(row)) + "</tr>"
        for row in table.rows
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _class(right: bool) -> str:
    return ' class="right"' if right else ""
