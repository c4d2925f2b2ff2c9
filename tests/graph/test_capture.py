"""Names, kinds and records of captured graphs."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from hwsim.core.errors import UsageError
from hwsim.graph.capture import capture, graph_of, inference_program
from hwsim.graph.ir import KINDS, WorkloadGraph
from hwsim.graph.program import clean_path
from hwsim.graph.sources import load_source
from hwsim.graph.values import fetch_values


@pytest.fixture(scope="module")
def deit(tmp_path_factory: pytest.TempPathFactory) -> WorkloadGraph:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HWSIM_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        return load_source("timm:deit_tiny_patch16_224?depth=2")


def test_names_carry_the_module_path(deit: WorkloadGraph) -> None:
    names = [op.name for op in deit.ops]
    for name in ("patch_embed.proj", "blocks.1.attn.qkv", "blocks.1.attn.qk", "blocks.1.mlp.act", "norm", "head"):
        assert name in names
    assert deit.op("blocks.1.attn.qkv").module == "blocks.1.attn.qkv"
    assert deit.op("blocks.1.attn.softmax").group == "blocks.1.attn:attention"
    assert len(set(names)) == len(names)


def test_json_round_trip(deit: WorkloadGraph) -> None:
    again = WorkloadGraph.from_json(json.loads(json.dumps(deit.to_json())))
    assert again == deit
    assert again.content_hash == deit.content_hash
    assert {op.kind for op in deit.ops} <= set(KINDS)


def test_capture_is_deterministic(deit: WorkloadGraph) -> None:
    assert load_source("timm:deit_tiny_patch16_224?depth=2").content_hash == deit.content_hash


def test_dropout_leaves_no_trace(deit: WorkloadGraph) -> None:
    assert not [op for op in deit.ops if "drop" in op.name or op.fn == "dropout"]


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.add = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.add(self.layer(self.layer(x)) + x)


def test_a_module_called_twice_and_a_module_named_like_an_operator() -> None:
    graph = capture(Twice(), (torch.randn(1, 4),))
    assert [op.name for op in graph.ops] == ["layer", "layer@1", "add", "add@1"]


def test_meta_modules_and_other_dtypes() -> None:
    with torch.device("meta"):
        module = nn.Conv2d(3, 8, 4, stride=4, dtype=torch.bfloat16)
    graph = capture(module, input_shape=(2, 3, 8, 8))
    (op,) = graph.ops
    assert (graph.batch, graph.tensors[op.outputs[0]].dtype) == (2, "bfloat16")
    assert dict(op.dims) == {
        "B": 2, "G": 1, "Cin": 3, "Cout": 8, "IH": 8, "OH": 2, "KH": 4, "SH": 4, "IW": 8, "OW": 2, "KW": 4, "SW": 4,
    }  # fmt: skip
    assert graph.operand_bytes(op, ["parameter"]) == 2 * (8 * 3 * 16 + 8)


@torch.library.custom_op("hwsim_test::mystery", mutates_args=())
def mystery(x: torch.Tensor, strength: float) -> torch.Tensor:
    return x.clone()


@mystery.register_fake
def _(x: torch.Tensor, strength: float) -> torch.Tensor:
    return torch.empty_like(x)


class Unknown(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return mystery(mystery(x + 1, 0.5), 2.0)


def test_an_unknown_operator_is_counted_and_keeps_its_bytes() -> None:
    graph = capture(Unknown(), (torch.randn(2, 4),))
    assert dict(graph.unmodelled) == {"hwsim_test.mystery.default": 2}
    op = graph.op("mystery")
    assert (op.kind, op.dims["elements"], op.macs) == ("unmodelled", 8, 0)
    assert graph.output_bytes(op) == graph.operand_bytes(op, ["activation"]) == 32
    assert json.loads(op.call)["args"] == [{"$": "add"}, 0.5]


class Conditional(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cond(x.sum() > 0, lambda y: y @ y, lambda y: y + 1, (x,))


def test_a_conditional_is_reported_and_not_fatal() -> None:
    assert dict(capture(Conditional(), (torch.randn(4, 4),)).unmodelled) == {"cond": 1}


class Found(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten()[x.flatten().nonzero()[:, 0]]


def test_a_size_that_depends_on_data_counts_as_its_largest() -> None:
    graph = capture(Found(), (torch.randn(3, 4),))
    assert graph.tensors[graph.outputs[0]].elements == 12


@pytest.mark.parametrize(
    ("path", "clean"),
    [
        ("blocks.0.fc", "blocks.0.fc"),
        ("", ""),
        ("L['self']", ""),
        ("L['self'].blocks.0", "blocks.0"),
        ("__dict__['_modules']['blocks'].0.fc", "blocks.0.fc"),
    ],
)
def test_module_paths_of_either_export(path: str, clean: str) -> None:
    assert clean_path(path) == clean


def test_strict_export_gives_the_same_names() -> None:
    module = nn.Sequential(nn.Sequential(nn.Linear(4, 4), nn.GELU()), nn.Linear(4, 2)).eval()
    program = inference_program(torch.export.export(module, (torch.randn(2, 4),), strict=True))
    strict = graph_of(program, "Sequential", module.named_parameters(), {})
    assert strict.content_hash == capture(module, (torch.randn(2, 4),)).content_hash


class Remembers(nn.Module):
    """Keeps a tensor that its first forward makes, as many position tables do."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.steps is None:
            self.steps = torch.arange(4)
        return x * self.steps


def test_a_tensor_made_by_the_first_forward_is_an_op_of_the_graph() -> None:
    module = Remembers()
    first, second = (capture(module, (torch.randn(2, 4),)) for _ in range(2))
    assert [op.fn for op in first.ops] == [op.fn for op in second.ops] == ["arange", "mul"]


class Mask(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mask = torch.ones(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.mask * torch.tensor(2.0)


def test_values_come_from_the_module_or_from_the_graph() -> None:
    graph = capture(Mask(), (torch.randn(2, 4),))
    assert {t.name: t.role for t in graph.tensors.values() if t.role != "activation"} == {
        "x": "input", "mask": "constant",
    }  # fmt: skip
    assert set(fetch_values(graph, Mask())) == {"mask"}
    with pytest.raises(UsageError, match="Linear holds no tensor 'mask', which Mask reads"):
        fetch_values(graph, nn.Linear(1, 1))
    other = Mask()
    other.mask = torch.ones(5)
    with pytest.raises(UsageError, match=r"'mask' has shape \(5,\) in the module: \(4,\)"):
        fetch_values(graph, other)


def test_capture_without_inputs_is_an_error() -> None:
    with pytest.raises(UsageError, match="capture needs example_inputs or input_shape"):
        capture(nn.Linear(1, 1))


def test_several_inputs_and_nested_outputs() -> None:
    class Pair(nn.Module):
        def forward(self, image: torch.Tensor, *, scale: float = 2.0, extra: dict[str, torch.Tensor] | None = None):  # type: ignore[no-untyped-def]
            return {"a": image * scale, "b": [image + 1]}

    graph = capture(Pair(), (torch.randn(2, 4),))
    assert (graph.inputs, graph.outputs) == (("image",), ("mul", "add"))
