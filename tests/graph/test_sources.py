"""Sources: what their texts mean, and what a user is told when one is wrong."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from hwsim.core import registry
from hwsim.core.errors import HwsimError, UsageError
from hwsim.graph.sources import build_module, load_source, parse_source


@pytest.mark.parametrize(
    ("text", "name", "options"),
    [
        ("timm:vit", "vit", {}),
        ("timm:vit?num_classes=10&global_pool=avg", "vit", {"num_classes": 10, "global_pool": "avg"}),
        ("zoo:net?padding=valid&flag=true&none=null", "net", {"padding": "valid", "flag": True, "none": None}),
        ("zoo:net?sizes=(1,2)&rate=1e-3", "net", {"sizes": (1, 2), "rate": 1e-3}),
        ("torch:a.b:make.net?x=-1", "a.b:make.net", {"x": -1}),
        ("pt2:dir/odd?name.pt2", "dir/odd?name.pt2", {}),
    ],
)
def test_parse(text: str, name: str, options: dict[str, object]) -> None:
    source = parse_source(text)
    assert (source.name, dict(source.options)) == (name, options)
    assert parse_source(source.text) == source


def test_options_in_any_order_are_one_source() -> None:
    assert parse_source("zoo:n?b=2&a=1").text == parse_source("zoo:n?a=1&b=2").text == "zoo:n?a=1&b=2"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("vit_base", "'vit_base' is not a source: one of timm:"),
        ("tim:vit", r"'tim:vit' is not a source(?s:.*)did you mean `timm`"),
        ("timm:", "names nothing after `timm:`"),
        ("timm:vit?classes", r"option 'classes' of source .*: `name=value`"),
        (
            "timm:deit_smal_patch16_224",
            r"timm has no model 'deit_smal_patch16_224'(?s:.*)`timm:deit_small_patch16_224`",
        ),
        ("timm:deit_tiny_patch16_224?depht=2", r"cannot be built: (?s:.*)check the options `depht=2`"),
        ("zoo:nothing_like_it", "zoo 'nothing_like_it' does not exist"),
        ("torch:nowhere.at_all:net", "module 'nowhere.at_all' cannot be found"),
        ("torch:math", "source `torch:math`: `torch:package.module:callable`"),
        ("torch:torch.nn:Lineer", r"torch\.nn has no 'Lineer'(?s:.*)Linear"),
        ("torch:math:floor?x=1", "torch:math:floor cannot be built: TypeError"),
    ],
)
def test_wrong_sources_say_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(HwsimError, match=message):
        load_source(text)


def test_a_batch_below_one() -> None:
    with pytest.raises(UsageError, match="batch 0: a whole number, 1 or more"):
        load_source("timm:deit_tiny_patch16_224", batch=0)


@pytest.fixture
def user_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Writes a module into the current directory."""
    monkeypatch.chdir(tmp_path)

    def write(name: str, text: str) -> None:
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))

    return write


NET = """
    import torch

    class Net(torch.nn.Module):
        input_shape = (4,)
        def __init__(self, width=3):
            super().__init__()
            rates = [rate.item() for rate in torch.linspace(0, 1, 2)]
            self.layer = torch.nn.Linear(4, width)
            self.rates = rates
        def forward(self, x):
            return self.layer(x) * torch.arange(1, 2)
    def number(): return 3
    def needs_weights():
        net = Net()
        if net.layer.weight.sum() > 1e9: raise ValueError
        return net
    def data_dependent():
        class Branch(Net):
            def forward(self, x):
                return x if x.sum() > 0 else self.layer(x)
        return Branch()
    nested = torch.nn.Linear(4, 4)
"""


def test_torch_source_from_the_current_directory(user_module: Callable[[str, str], None]) -> None:
    user_module("my_net_a", NET)
    graph = load_source("torch:my_net_a:Net?width=5", batch=2)
    assert (graph.macs, graph.params, graph.input_shape) == (2 * 4 * 5, 25, (2, 4))
    assert build_module("torch:my_net_a:Net").layer.weight.device.type == "cpu"
    assert load_source("torch:my_net_a:needs_weights").params == 15
    assert load_source("torch:my_net_a:nested", (7, 4)).macs == 7 * 16


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("number", "gives a int: a torch.nn.Module"),
        ("nested", "does not say its input shape(?s:.*)--input"),
        ("data_dependent", "Branch cannot be exported by torch.export: non-strict: .*; strict: "),
        ("absent", "my_net_b has no 'absent'"),
    ],
)
def test_torch_sources_that_cannot_be_captured(
    user_module: Callable[[str, str], None], name: str, message: str
) -> None:
    user_module("my_net_b", NET)
    with pytest.raises(UsageError, match=message):
        load_source(f"torch:my_net_b:{name}")


def test_the_wrong_input_shape_is_reported(user_module: Callable[[str, str], None]) -> None:
    user_module("my_net_c", NET)
    with pytest.raises(UsageError, match=r"Net cannot be exported(?s:.*)check that the input shape"):
        load_source("torch:my_net_c:Net", (5,))


def test_zoo_source(monkeypatch: pytest.MonkeyPatch) -> None:
    def tiny(width: int = 3) -> torch.nn.Module:
        module = torch.nn.Linear(4, width)
        module.input_shape = (2, 4)  # type: ignore[assignment]
        return module

    monkeypatch.setattr(registry, "load", lambda group, name: {("hwsim.zoo", "tiny"): tiny}[group, name])
    assert load_source("zoo:tiny?width=6").macs == 2 * 4 * 6


def test_timm_models_take_another_input_size() -> None:
    assert load_source("timm:deit_tiny_patch16_224?depth=1", (3, 96, 96)).op("patch_embed.proj").dims["OH"] == 6
    assert load_source("timm:deit_tiny_patch16_224?depth=1&img_size=96").input_shape == (1, 3, 96, 96)
    assert load_source("timm:resnet18", (1, 64, 64)).op("conv1").dims["Cin"] == 1
