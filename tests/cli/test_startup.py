"""The command line starts light: what it imports decides how long a user waits."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROBE = """
import json, sys
from hwsim.cli.app import main
sys.argv = ["hwsim", *{words!r}]
try:
    main()
except SystemExit as end:
    code = end.code
print(json.dumps([code, sorted(m for m in sys.modules if "." not in m)]), file=sys.stderr)
"""


def modules_after(*words: str, cwd: Path | None = None) -> set[str]:
    """Top-level modules in memory after a command."""
    probe = [sys.executable, "-c", PROBE.format(words=list(words))]
    done = subprocess.run(probe, capture_output=True, text=True, check=True, cwd=cwd)
    code, modules = json.loads(done.stderr.splitlines()[-1])
    assert not code, done.stderr
    return set(modules)


@pytest.mark.parametrize("words", [("--help",), ("--version",), ("explore", "--help"), ("list", "archs")])
def test_help_and_lists_import_nothing_heavy(words: tuple[str, ...]) -> None:
    heavy = {"torch", "pandas", "dask", "distributed", "numpy", "scipy", "optuna", "matplotlib", "plotly", "pyarrow"}
    assert not modules_after(*words) & heavy


def test_a_cached_estimate_imports_no_torch(tmp_path: Path) -> None:
    (tmp_path / "g.csv").write_text("name, M, N, K\nfc, 16, 32, 64,\n")
    words = ("estimate", "optical4f", "gemm:g.csv", "--format", "json")
    modules_after(*words, cwd=tmp_path)
    heavy = {"torch", "timm", "pandas", "dask", "distributed", "scipy", "optuna", "matplotlib", "numba"}
    assert not modules_after(*words, cwd=tmp_path) & heavy
