"""Every command of the README runs."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    line.split("  #")[0].strip()
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line.startswith("hwsim ")
]
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_readme_has_commands() -> None:
    assert len(COMMANDS) >= 9
    assert "make explore" in README
    assert "make test" in README


def test_every_command_runs_in_order(tmp_path: Path) -> None:
    for command in COMMANDS:
        words = [sys.executable, "-m", "hwsim", *shlex.split(command)[1:]]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        assert done.stdout, command
    assert (tmp_path / "runs" / "first" / "report.html").stat().st_size > 100_000


@pytest.mark.parametrize("code", PYTHON)
def test_the_python_runs(code: str, tmp_path: Path) -> None:
    # As a script with a guard, as a user would save it: worker processes import the main module again.
    body = "\n".join(f"    {line}" for line in code.splitlines())
    script = tmp_path / "example.py"
    script.write_text(f"if __name__ == '__main__':\n{body}\n")
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout
