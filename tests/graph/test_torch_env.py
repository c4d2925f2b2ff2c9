"""`import timm` works whichever torch torchvision was built for."""

from __future__ import annotations

import subprocess
import sys

import pytest

from hwsim.core.errors import CapabilityError
from hwsim.graph import torch_env


def run(script: str) -> str:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_timm_imports_and_detection_operators_have_a_schema() -> None:
    script = (
        "from hwsim.graph.torch_env import declare_torchvision_operators, import_timm\n"
        "timm = import_timm()\nimport torch\n"
        "assert declare_torchvision_operators() is declare_torchvision_operators()\n"
        "print(timm.__name__, torch.ops.torchvision.nms.default._schema.name)"
    )
    assert run(script) == "timm torchvision::nms"


def test_a_torchvision_that_loads_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_env, "_operators_load", lambda: True)
    assert torch_env.declare_torchvision_operators.__wrapped__() is None


def test_without_timm_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_env, "declare_torchvision_operators", lambda: None)
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(CapabilityError, match=r"timm cannot be imported(?s:.*)make setup") as caught:
        torch_env.import_timm()
    assert caught.value.exit_code == 4
