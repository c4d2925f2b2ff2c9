"""Exported archives: read back exactly, and never run."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from interpreter import run_graph
from torch import nn

from hwsim.core.errors import UsageError
from hwsim.graph.pt2 import is_harmless, load_pt2
from hwsim.graph.sources import build_module, load_source


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.register_buffer("scale", torch.arange(4.0), persistent=False)
        self.attribute = torch.ones(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            y = self.first(x) + self.scale + self.attribute
        return self.second(y) * torch.tensor([1.0, 2, 3, 4])


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    batch = torch.export.Dim("batch", max=64)
    program = torch.export.export(Net().eval(), (torch.randn(2, 4),), dynamic_shapes=({0: batch},))
    torch.export.save(program, tmp_path / "net.pt2")
    return tmp_path / "net.pt2"


def rewritten(archive: Path, change: Callable[[str, bytes], bytes], extra: dict[str, bytes] | None = None) -> Path:
    """The archive with members changed and added."""
    target = archive.with_name("changed.pt2")
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(target, "w") as sink:
        top = source.namelist()[0].split("/")[0]
        for name in source.namelist():
            sink.writestr(name, change(name, source.read(name)))
        for name, data in (extra or {}).items():
            sink.writestr(f"{top}/{name}", data)
    return target


def test_round_trip(archive: Path) -> None:
    graph = load_source(f"pt2:{archive}")
    assert (graph.name, graph.batch, graph.input_shape) == ("net", 2, (2, 4))
    assert graph.params == 16 + 4 + 4
    assert [op.name for op in graph.ops if op.kind == "gemm"] == ["first", "second"]
    module = build_module(f"pt2:{archive}")
    x = torch.randn(2, 4)
    torch.testing.assert_close(run_graph(graph, module, x)[0], module(x))
    assert load_source(f"pt2:{archive}", batch=6).macs == 3 * graph.macs


def test_another_input_shape_is_refused(archive: Path) -> None:
    with pytest.raises(UsageError, match=r"exported for an input of \(4,\), not \(8,\)"):
        load_source(f"pt2:{archive}", (8,))


class Touch:
    """Unpickling this creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path(self.path),)  # type: ignore[return-value]


def test_pickled_sample_inputs_are_never_opened(archive: Path, tmp_path: Path) -> None:
    witness = tmp_path / "ran"
    buffer = io.BytesIO()
    torch.save((Touch(witness),), buffer)
    changed = rewritten(archive, lambda name, data: buffer.getvalue() if "sample_inputs" in name else data)
    assert load_pt2(str(changed)).graph_signature.user_inputs == ("x",)
    assert not witness.exists()


def _edit(part: str, old: str, new: str) -> Callable[[str, bytes], bytes]:
    def change(name: str, data: bytes) -> bytes:
        if not name.endswith(part):
            return data
        assert old in data.decode()
        return data.decode().replace(old, new).encode()

    return change


@pytest.mark.parametrize(
    ("part", "old", "new", "reason"),
    [
        ("weights_config.json", '"use_pickle": false', '"use_pickle": true', "pickled tensor"),
        ("models/model.json", "torch.ops.aten.mul.Tensor", "torch.load", "calls 'torch.load'"),
        ("models/model.json", "torch.ops.aten.mul.Tensor", "torch.ops.load_library.__call__", "load_library"),
        ("models/model.json", "torch.ops.aten.mul.Tensor", "_operator.attrgetter", "attrgetter"),
        ("models/model.json", "torch.ops.aten.mul.Tensor", "#plugin:x", "#plugin"),
        ("models/model.json", "Symbol('s", "exec('s", "size expression"),
    ],
)
def test_what_could_run_is_refused(archive: Path, part: str, old: str, new: str, reason: str) -> None:
    with pytest.raises(UsageError, match=f"(?s){reason}.*could run code"):
        load_pt2(str(rewritten(archive, _edit(part, old, new))))


@pytest.mark.parametrize(
    "member", ["data/aotinductor/model/x.so", "data/constants/custom_obj_0", "data/weights/model.pt", "code/x.py"]
)
def test_members_that_hold_code_are_refused(archive: Path, member: str) -> None:
    with pytest.raises(UsageError, match="code or a pickle"):
        load_pt2(str(rewritten(archive, lambda _, data: data, {member: pickle.dumps(1)})))


@pytest.mark.parametrize(
    ("expression", "harmless"),
    [
        ("Symbol('s0', positive=True, integer=True)", True),
        ("4*s0 + 2", True),
        ("FloorDiv(s0, 2)**2 - Max(1, u3)", True),
        ("__import__('os').system('x')", False),
        ("exec('import os')", False),
        ("(lambda: 0)()", False),
        ("s0.__class__", False),
        ("Symbol('a b')", False),
        ("[x for x in s0]", False),
        ("open('x')", False),
        ("not a program", False),
    ],
)
def test_size_expressions(expression: str, harmless: bool) -> None:
    assert is_harmless(expression) is harmless


@pytest.mark.parametrize("content", [b"", b"not a zip", None])
def test_files_that_are_no_archive(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "bad.pt2"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=r"bad\.pt2 cannot be read as a torch\.export archive"):
        load_source(f"pt2:{path}")


def test_another_zip_is_named_as_such(tmp_path: Path) -> None:
    path = tmp_path / "other.pt2"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a/byteorder", json.dumps({}))
    with pytest.raises(UsageError, match=r"holds no models/model\.json"):
        load_source(f"pt2:{path}")
