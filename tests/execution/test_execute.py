"""The command and the function: accuracy of the shipped networks, JSON, rounding comparison, refusals."""

from __future__ import annotations

import json

import pytest
import torch

import hwsim
from hwsim.backends.execution.arithmetic import Arithmetic
from hwsim.backends.execution.run import evaluate
from hwsim.backends.execution.session import calibrated, open_workload
from hwsim.cli.execute import run
from hwsim.core.errors import CapabilityError, SpecError, UsageError
from hwsim.transforms.workload import load_workload

FLOAT_TOP1 = {
    "digits_vit": 0.9583,
    "digits_convsharevit_valid": 0.9583,
    "digits_hybrid": 0.9889,
}


@pytest.mark.parametrize("name", FLOAT_TOP1)
def test_shipped_networks_keep_their_accuracy_in_int8(name: str) -> None:
    opened = open_workload(load_workload(name), 120)
    result = evaluate(calibrated(opened, Arithmetic(residual="int16")), opened.data, 360)
    assert result.top1_float == pytest.approx(FLOAT_TOP1[name], abs=0.003)
    assert result.top1 is not None
    assert result.top1 > FLOAT_TOP1[name] - 0.02
    assert result.overflows == 0
    assert "float" not in result.forms


def test_rounding_matters_with_power_of_two_scales() -> None:
    opened = open_workload(load_workload("digits_vit"), 60)
    shares = {}
    for power_of_two in (False, True):
        ready = calibrated(opened, Arithmetic(rounding="half_away", power_of_two=power_of_two, residual="int16"))
        result = evaluate(ready, opened.data, 60, compare_rounding="half_even")
        shares[power_of_two] = (result.flipped or 0) / sum(layer.outputs for layer in result.layers)
    assert 0 <= shares[False] < shares[True] < 0.5


def test_execute_by_function_reports_cost_and_accuracy() -> None:
    result = hwsim.execute("a100_pcie_40gb", "digits_hybrid", samples=40, batch=20)
    assert result.estimate == hwsim.estimate("a100_pcie_40gb", "digits_hybrid")
    data = json.loads(json.dumps(result.to_json()))
    assert data["schema"] == "hwsim/execute/1"
    assert data["accuracy"]["top1"] > 0.9
    assert data["samples"] == 40
    assert data["energy_j"] > 0
    split = hwsim.execute("a100_pcie_40gb", "digits_hybrid", samples=40, batch=16)
    for ours, theirs in zip(split.layers, result.layers, strict=True):
        # Noise is measured against float32, whose own sums differ in the last bit.
        assert ours.sqnr_db == (None if theirs.sqnr_db is None else pytest.approx(theirs.sqnr_db, rel=1e-3))
    assert split.top1 == result.top1


def test_execute_by_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("optical4f", "digits_vit", samples=20, compare_rounding="floor", format="json") == 0
    data = json.loads(capsys.readouterr().out)
    assert data["flipped"] > 0
    assert not data["proxy"]
    assert run("optical4f", "digits_vit", samples=20, weights="random", data="random") == 0
    captured = capsys.readouterr()
    assert "proxy" in captured.err
    assert "SQNR" in captured.out


def test_refusals() -> None:
    with pytest.raises(CapabilityError, match=r"weights 'none\.pt' do not exist"):
        hwsim.execute("optical4f", "digits_vit", weights="none.pt", samples=4)
    with pytest.raises(CapabilityError, match="data 'nowhere' does not exist"):
        hwsim.execute("optical4f", "digits_vit", data="nowhere", samples=4)
    with pytest.raises(UsageError, match="samples 0"):
        hwsim.execute("optical4f", "digits_vit", samples=0)
    with pytest.raises(UsageError, match=r"shape \(1, 8, 8\): the model's \(3, 224, 224\)"):
        hwsim.execute("optical4f", "timm:deit_tiny_patch16_224", data="digits", samples=1)


def test_weights_are_seeded_and_the_module_is_not_trained_on_the_way() -> None:
    work = load_workload("digits_vit")
    first, second = (open_workload(work, 2, weights="random", seed=3).module.state_dict() for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.values(), second.values(), strict=True))


def test_accumulator_width_is_the_archs() -> None:
    wide = hwsim.load_arch("systolic_int8", {"precision.residual": "int16"})
    narrow = hwsim.load_arch("systolic_int8", {"precision.residual": "int16", "precision.accumulator": "int16"})
    full = hwsim.execute(wide, "digits_vit", samples=32, batch=32)
    wrapped = hwsim.execute(narrow, "digits_vit", samples=32, batch=32)
    assert full.overflows == 0
    assert wrapped.overflows > 1000
    assert full.top1 is not None
    assert wrapped.top1 is not None
    assert full.top1 > wrapped.top1


def test_an_accumulator_that_is_none_is_refused_at_its_place() -> None:
    with pytest.raises(SpecError, match=r"precision\.accumulator = 'int8': must be int16 to int48"):
        hwsim.load_arch("systolic_int8", {"precision.accumulator": "int8"})
