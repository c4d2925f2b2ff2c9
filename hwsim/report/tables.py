"""Tables of a run: headings and formatted cells, for the terminal and for the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hwsim.explore.analysis import SheetRecord
from hwsim.explore.domain import is_number
from hwsim.explore.run import Run
from hwsim.report.quantities import shown


@dataclass(frozen=True)
class Table:
    """A titled table of text cells; columns named in `right` hold numbers; `note` is a line below the title."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: tuple[str, ...] = ()
    note: str = ""


def pareto_tables(run: Run, top: int | None = None) -> tuple[Table, ...]:
    """The Pareto front of every workload, best first objective on top; of a longer front `top` designs spread evenly.

    Parameters that all designs of the front share are left out of the columns and named in the note.
    """
    return tuple(pareto_table(run, record.name, top) for record in run.manifest.identity.workloads)


def pareto_table(run: Run, workload: str, top: int | None = None) -> Table:
    """The Pareto front of one workload."""
    front = run.pareto(workload)
    units = {axis.path: axis.unit for axis in run.parameters}
    varied = [path for path in units if len(front) and front[path].nunique(dropna=False) > 1]
    fixed = [path for path in units if path not in varied] if len(front) else []
    objectives = run.objectives
    picked = front if top is None or len(front) <= top else front.iloc[evenly(len(front), top)]
    rows = tuple(
        (
            str(row["design"]),
            *(shown(row[objective.name], objective.unit) for objective in objectives),
            *(shown(_plain(row[path]), units[path]) for path in varied),
        )
        for row in picked.to_dict(orient="records")
    )
    title = f"{workload}: {len(front)} Pareto design" + ("s" if len(front) != 1 else "")
    if len(picked) < len(front):
        title += f", {len(picked)} shown"
    shared = ", ".join(f"{path} = {shown(_plain(front[path].iloc[0]), units[path])}" for path in fixed)
    headings = short_names(varied)
    numeric = (headings[path] for path in varied if all(is_number(_plain(value)) for value in front[path]))
    names = tuple(objective.label for objective in objectives)
    return Table(
        title,
        ("design", *names, *headings.values()),
        rows,
        right=("design", *names, *numeric),
        note=f"all with {shared}" if shared else "",
    )


def short_names(paths: Sequence[str]) -> dict[str, str]:
    """The shortest ending of each dotted path that no other of them shares: `optics.laser_power` is `laser_power`."""
    names = {}
    for path in paths:
        parts = path.split(".")
        endings = [".".join(parts[-count:]) for count in range(1, len(parts) + 1)]
        others = [f".{other}" for other in paths if other != path]
        names[path] = next((e for e in endings if not any(other.endswith(f".{e}") for other in others)), path)
    return names


def evenly(length: int, count: int) -> list[int]:
    """`count` indices spread evenly over `length`, ends included."""
    if count == 1:
        return [0]
    return sorted({round(index * (length - 1) / (count - 1)) for index in range(count)})


def _plain(value: object) -> object:
    """A numpy scalar as the Python value it holds."""
    return value.item() if hasattr(value, "item") else value


def axis_table(run: Run) -> Table:
    """What was searched."""
    rows = []
    for axis in run.parameters:
        if axis.values is not None:
            text = ", ".join(shown(value, axis.unit) for value in axis.values)
        else:
            text = f"{shown(axis.low, axis.unit)} to {shown(axis.high, axis.unit)}"
            text += f" in steps of {shown(axis.step, axis.unit)}" if axis.step is not None and not axis.log else ""
            text += ", log scale" if axis.log else ""
        rows.append((axis.path, text))
    return Table("Searched", ("parameter", "values"), tuple(rows))


def sheet_table(sheet: SheetRecord) -> Table:
    """A backend's table with its numbers in words; names stand left."""
    rows = tuple(
        tuple(
            "" if cell is None else cell if isinstance(cell, str) else shown(cell, unit)
            for cell, unit in zip(row, sheet.units, strict=True)
        )
        for row in sheet.rows
    )
    names = {
        column for row in sheet.rows for column, cell in zip(sheet.columns, row, strict=True) if isinstance(cell, str)
    }
    return Table("", tuple(sheet.columns), rows, right=tuple(c for c in sheet.columns if c not in names))


def infeasible_table(run: Run) -> Table:
    """Why designs do not fit: how many (design, workload) rows lack what, with an example of the reason."""
    frame = run.frame()
    total = len(frame)
    lacking = frame[frame["resource"].notna()]
    rows = tuple(
        (str(resource), f"{len(part)}", f"{len(part) / total:.1%}", str(part["infeasible"].iloc[0]))
        for resource, part in sorted(lacking.groupby("resource"), key=lambda item: -len(item[1]))
    )
    return Table("Infeasible", ("resource", "rows", "share", "for example"), rows, right=("rows", "share"))
