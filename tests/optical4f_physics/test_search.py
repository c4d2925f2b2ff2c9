"""Accuracy as an objective of the optics: every design runs on its own bench."""

from __future__ import annotations

from pathlib import Path

import pytest

from hwsim.api import explore, load_arch
from hwsim.report.html import page


@pytest.mark.slow
def test_light_buys_accuracy(tmp_path: Path) -> None:
    run = explore(
        load_arch("optical4f").with_values({"search": {}}),  # nothing but the light varies
        ["digits_convsharevit_valid"],
        objectives=["latency_s", "energy_j", "top1"],
        sweeps={"exposure.signal": ["20 e", "4 ke"]},
        strategy="grid",
        out=tmp_path / "run",
        jobs=1,
        samples=24,
    )
    frame = run.frame().sort_values("exposure.signal")
    dark, bright = frame["top1"]
    assert bright > 0.8 > dark


def test_a_search_for_accuracy_says_where_it_is_lost(tmp_path: Path) -> None:
    arch = load_arch("optical4f").with_values({"search": {}, "mapping.host_ops": ["blocks.*"]})
    run = explore(
        arch,
        ["digits_convsharevit_valid"],
        objectives=["latency_s", "top1"],
        sweeps={"exposure.signal": ["500 e", "4 ke"]},
        strategy="grid",
        out=tmp_path / "run",
        jobs=1,
        samples=16,
    )
    (part,) = run.analysis.workloads
    assert [sheet.title for sheet in part.sheets] == ["Light of every layer", "Where accuracy is lost"]
    text = page(run)
    for words in ("photons per MAC", "effective bits", "misalignment", "together"):
        assert words in text
