"""What goes to stdout: a table for people, JSON or CSV for programs. Narration goes to stderr."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from hwsim.core.results import Infeasible

Row = Mapping[str, object]


def console(*, err: bool = False) -> Console:
    """A rich console on stdout (or stderr), plain without a terminal."""
    from rich.console import Console

    stream = sys.stderr if err else sys.stdout
    return Console(file=stream, width=None if stream.isatty() else 200, highlight=False)


def print_json(data: object) -> None:
    """One JSON document on stdout; NaN and infinity are refused, as JSON has neither."""
    json.dump(data, sys.stdout, indent=1, allow_nan=False)
    sys.stdout.write("\n")


def print_csv(rows: Sequence[Row]) -> None:
    """Rows as CSV with the keys of the first as header; nested values as JSON."""
    if not rows:
        return
    writer = csv.DictWriter(sys.stdout, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: json.dumps(v) if isinstance(v, (dict, list)) else v for key, v in row.items()})


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], right: Sequence[str] = ()) -> Table:
    """A rich table; columns named in `right` are numbers."""
    from rich import box
    from rich.table import Table

    made = Table(title=title or None, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold")
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        made.add_row(*("" if cell is None else str(cell) for cell in row))
    return made


def note(text: str) -> None:
    """A line of narration on stderr."""
    print(text, file=sys.stderr)  # noqa: T201


def count(value: float) -> str:
    """`22.05 M`, `4.6 G`: a count with a decimal prefix."""
    from hwsim.core.units import show

    return show(float(value), "").strip() if value else "0"


def print_infeasible(result: Infeasible, format: str) -> None:
    """Why a design does not fit: JSON on stdout, or lines on stderr."""
    print_json(result.to_json()) if format == "json" else note(infeasible_text(result.to_json()))


def infeasible_text(data: Mapping[str, Any]) -> str:
    """Why a design does not fit, in lines."""
    lines = [f"does not fit: {data['reason']}"]
    lines.append(f"  {data['resource']}: demands {data['demand']:.6g} {data['unit']}, has {data['bound']:.6g}")
    lines += [f"  try {_assignment(lever)}   {lever['text']}".rstrip() for lever in data["levers"]]
    return "\n".join(lines)


def _assignment(lever: Mapping[str, Any]) -> str:
    """`--set PATH=VALUE` as a shell takes it: every digit, and the unit where the field has a dimension."""
    from hwsim.core.errors import UsageError
    from hwsim.core.units import unit_of

    value = f"{lever['value']:.15g}"
    try:
        counted = not any(unit_of(lever["unit"])[1])
    except UsageError:
        counted = True  # a word for a thing that is counted, such as PE
    return f"--set {lever['path']}={value}" if counted else f"--set '{lever['path']}={value} {lever['unit']}'"
