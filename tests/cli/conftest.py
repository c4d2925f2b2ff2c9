"""Run the command line in this process: the exit code, stdout and stderr of one command."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from hwsim.cli.app import main


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


Command = Callable[..., Outcome]


@pytest.fixture
def hwsim(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    """`hwsim("show", "tpu_v1")` in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")

    def run(*words: str) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["hwsim", *words])
        with pytest.raises(SystemExit) as end:
            main()
        captured = capsys.readouterr()
        return Outcome(
            end.value.code if isinstance(end.value.code, int) else int(end.value.code or 0), captured.out, captured.err
        )

    return run
