"""`hwsim report`: the page and the pictures of a finished run, drawn again."""

from __future__ import annotations

from pathlib import Path

from hwsim.cli.explore import show_run
from hwsim.cli.options import Format


def run(run_dir: Path, /, *, top: int = 10, format: Format = "table") -> int:
    """Write report.html and pareto.png of a run directory again, and print its Pareto fronts.

    Parameters
    ----------
    run_dir
        The directory that `hwsim explore` wrote.
    top
        How many designs of each front the table shows.
    """
    from hwsim.explore.run import open_run
    from hwsim.report.html import write_report

    found = open_run(run_dir)
    write_report(found)
    show_run(found, top, format)
    return 0
