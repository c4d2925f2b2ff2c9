"""`hwsim study`: run a comparison again, or check that its figures still hold."""

from __future__ import annotations

from pathlib import Path

from hwsim.cli.options import Format
from hwsim.cli.output import console, note, print_csv, print_json, table
from hwsim.core.errors import EXIT_DRIFT


def run(name: str, /, *, check: bool = False, out: Path | None = None, format: Format = "table") -> int:
    """Run a study and write its tables, pictures and figures; with --check, fail if a figure drifted.

    Parameters
    ----------
    name
        The study's folder under studies/.
    check
        Compare with the committed figures and write nothing; exit code 1 on drift.
    out
        Where tables and pictures go; studies/NAME/results by default.
    """
    from tempfile import TemporaryDirectory

    from hwsim.report.study import accept, compare, find_study, run_study

    folder = find_study(name)
    if check:
        with TemporaryDirectory() as scratch:
            values = run_study(folder, Path(scratch))
    else:
        values = run_study(folder, out or folder / "results")
        accept(folder, values)
        note(f"wrote {out or folder / 'results'}")
    figures = compare(folder, values)
    rows = [
        {"figure": f.name, "committed": f.expected, "now": f.value, "tolerance": f.rel, "ok": f.ok} for f in figures
    ]
    if format == "json":
        print_json(rows)
    elif format == "csv":
        print_csv(rows)
    else:
        cells = (
            [r["figure"], *(_digits(r[k]) for k in ("committed", "now", "tolerance")), _word(r["ok"])] for r in rows
        )
        columns = ["figure", "committed", "now", "tolerance", ""]
        console().print(table(name, columns, cells, right=columns[1:4]))
    drifted = [f.name for f in figures if not f.ok]
    if drifted:
        note(f"{len(drifted)} figures drifted: {', '.join(drifted)}")
    return EXIT_DRIFT if drifted else 0


def _digits(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else "-"


def _word(ok: object) -> str:
    return "ok" if ok else "DRIFT"
