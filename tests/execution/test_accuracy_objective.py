"""Accuracy as an objective of `explore`: executed in each design's arithmetic, never guessed."""

from __future__ import annotations

from pathlib import Path

import pytest

from hwsim.api import execute
from hwsim.core.errors import UsageError
from hwsim.explore.run import explore
from hwsim.spec.arch import load_arch


def test_fewer_bits_trade_accuracy_for_energy(tmp_path: Path) -> None:
    sweeps = {"precision.weights": ["int8", "int3"], "array.clock": ["500 MHz", "1 GHz"]}
    arch = load_arch("systolic_int8")
    run = explore(
        arch.with_values({"search": {}}), ["digits_vit"], objectives=["energy_j", "top1", "sqnr_db"],
        sweeps=sweeps, strategy="grid", samples=64, jobs=1, out=tmp_path / "run",
    )  # fmt: skip
    frame = run.frame().set_index(["precision.weights", "array.clock"])
    eight, three = frame.loc["int8"], frame.loc["int3"]
    assert (eight["energy_j"] > three["energy_j"]).all()
    assert (eight["sqnr_db"] > three["sqnr_db"] + 6).all()
    assert eight["top1"].nunique() == 1  # the clock does not change what is computed
    direct = execute(arch, "digits_vit", samples=64)
    assert eight["top1"].iloc[0] == direct.top1
    assert eight["sqnr_db"].iloc[0] == direct.sqnr_db


def test_top1_needs_labels_and_trained_weights(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"top1: deit_small names no weights[\s\S]*`sqnr_db`"):
        explore("systolic_int8", ["deit_small"], objectives=["energy_j", "top1"], out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_arch_names_the_workloads_whose_accuracy_can_be_measured(tmp_path: Path) -> None:
    run = explore(
        "systolic_int8", objectives=["energy_j", "top1"], sweeps={"precision.weights": ["int8"]},
        strategy="random", budget=1, samples=32, jobs=1, out=tmp_path / "run",
    )  # fmt: skip
    assert [record.name for record in run.manifest.identity.workloads] == ["digits_vit"]
    assert 0.8 < run.frame()["top1"].iloc[0] <= 1.0
