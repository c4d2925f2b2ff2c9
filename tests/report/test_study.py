"""Studies: figures are committed, drift is an exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hwsim.cli.study import run
from hwsim.core.errors import SpecError

STUDY = """
from pathlib import Path
def run(out):
    (out / "table.csv").write_text("a\\n")
    return {"a": float(Path("a.txt").read_text()), "b": 2}
"""


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "studies" / "toy"
    folder.mkdir(parents=True)
    (folder / "study.py").write_text(STUDY)
    Path("a.txt").write_text("1.0")
    return folder


def test_a_run_commits_its_figures_and_check_holds_them(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("toy") == 0
    assert (study / "results" / "table.csv").read_text() == "a\n"
    assert json.loads((study / "figures.json").read_text())["figures"]["a"] == {"value": 1.0, "rel": 1e-6}
    assert run("toy", check=True) == 0
    Path("a.txt").write_text("1.001")
    before = (study / "figures.json").read_text()
    assert run("toy", check=True) == 1
    assert "1 figures drifted: a" in capsys.readouterr().err
    assert (study / "figures.json").read_text() == before


def test_a_tolerance_is_kept_and_used(study: Path) -> None:
    (study / "figures.json").write_text('{"figures": {"a": {"value": 1.0, "rel": 0.1}, "b": {"value": 2, "rel": 0}}}')
    Path("a.txt").write_text("1.05")
    assert run("toy", check=True) == 0
    run("toy")
    assert json.loads((study / "figures.json").read_text())["figures"]["a"] == {"value": 1.05, "rel": 0.1}


def test_a_figure_that_vanished_or_came_is_drift(study: Path) -> None:
    (study / "figures.json").write_text(
        '{"figures": {"a": {"value": 1.0, "rel": 0.1}, "gone": {"value": 2, "rel": 1}}}'
    )
    assert run("toy", check=True) == 1


@pytest.mark.usefixtures("study")
def test_an_unknown_study_names_the_nearest() -> None:
    with pytest.raises(SpecError, match=r"study 'toi' does not exist: one of toy[\s\S]*did you mean `toy`"):
        run("toi")
