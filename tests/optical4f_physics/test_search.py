"""Accuracy as an objective: measured per design, kept in the journal, refused where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from hwsim.api import explore
from hwsim.core.errors import UsageError

SWEEP = {"exposure.signal": ["20 e", "5 ke"]}


@pytest.fixture(autouse=True)
def few_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hwsim.explore.accuracy.SAMPLES", 24)


def test_light_buys_accuracy(tmp_path: Path) -> None:
    chosen = ["latency_s", "energy_j", "top1"]
    options = {"objectives": chosen, "sweeps": SWEEP, "strategy": "grid", "out": tmp_path / "run", "jobs": 1}
    run = explore("optical4f", ["digits_convsharevit_valid"], **options)  # type: ignore[arg-type]
    frame = run.frame().sort_values("exposure.signal")
    assert list(frame["exposure.signal"]) == [20.0, 5000.0]
    dark, bright = frame["top1"]
    assert bright > 0.8 > dark
    again = explore("optical4f", ["digits_convsharevit_valid"], **options)  # type: ignore[arg-type]
    assert again.frame()["top1"].tolist() == run.frame()["top1"].tolist()


def test_a_workload_without_weights_has_no_accuracy(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no accuracy to search for"):
        explore("optical4f", ["convsharevit_cifar"], objectives=["top1"], budget=1, out=tmp_path / "run", jobs=1)
