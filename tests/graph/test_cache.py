"""The cache of captured graphs: fast, torch-free, and never the reason for a failure or a stale result."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from pathlib import Path

import pytest

import hwsim
from hwsim.graph import cache, sources
from hwsim.graph.sources import load_source

SOURCE = "timm:deit_tiny_patch16_224?depth=1"


@pytest.fixture
def captures(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The sources that were captured rather than read."""
    done: list[str] = []
    real = sources._captured
    monkeypatch.setattr(sources, "_captured", lambda source, *rest: done.append(source.text) or real(source, *rest))
    return done


def entries() -> list[Path]:
    return sorted((cache.cache_dir() / "graphs").iterdir())


def test_a_hit_is_the_same_graph_and_imports_no_torch(captures: list[str]) -> None:
    first = load_source(SOURCE)
    assert load_source(SOURCE) == first
    assert captures == [SOURCE]
    script = (
        "import sys\nfrom hwsim.graph.sources import load_source\n"
        f"print(load_source({SOURCE!r}).content_hash)\n"
        "print([m for m in ('torch', 'timm', 'numpy', 'pandas') if m in sys.modules])"
    )
    root = str(Path(hwsim.__file__).parents[1])
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": root},
    )  # fmt: skip
    assert run.stdout.split("\n")[:2] == [first.content_hash, "[]"]


def test_shape_batch_options_and_versions_are_part_of_the_key(
    captures: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    load_source(SOURCE)
    load_source(SOURCE, (3, 96, 96))
    load_source(SOURCE, batch=2)
    load_source(SOURCE + "&num_classes=10")
    monkeypatch.setattr(sources, "versions", lambda: {"timm": "another"})
    load_source(SOURCE)
    assert len(captures) == len(entries()) == 5


@pytest.mark.parametrize(
    "damage",
    [b"", b"garbage", gzip.compress(b"{}", mtime=0), gzip.compress(b"[1, 2", mtime=0), None],
    ids=["empty", "no gzip", "no graph", "cut short", "gone"],
)
def test_a_damaged_entry_is_rebuilt(captures: list[str], damage: bytes | None) -> None:
    graph = load_source(SOURCE)
    (entry,) = entries()
    entry.write_bytes(entry.read_bytes()[:-20] if damage is None else damage)
    assert load_source(SOURCE) == graph
    assert load_source(SOURCE) == graph
    assert len(captures) == 2


def test_a_directory_that_cannot_be_written_is_no_failure(
    captures: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HWSIM_CACHE_DIR", str(tmp_path / "file" / "below"))
    assert load_source(SOURCE) == load_source(SOURCE)
    assert len(captures) == 2


def test_a_failed_write_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    load_source(SOURCE)
    assert entries() == []


def test_where_the_cache_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache.cache_dir() == Path(os.environ["HWSIM_CACHE_DIR"])
    monkeypatch.delenv("HWSIM_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.cache_dir() == tmp_path / "hwsim"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache.cache_dir() == Path.home() / ".cache" / "hwsim"


@pytest.mark.parametrize("changed", ["my_cached_net.py", "my_cached_part.py"])
def test_a_changed_source_file_is_captured_again(
    captures: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("my_cached_net", "my_cached_part"):
        sys.modules.pop(name, None)
    (tmp_path / "my_cached_part.py").write_text("width = 3\n")
    (tmp_path / "my_cached_net.py").write_text(
        "import torch\nimport my_cached_part\nnet = lambda: torch.nn.Linear(4, my_cached_part.width)\n"
    )
    load_source("torch:my_cached_net:net", (4,))
    load_source("torch:my_cached_net:net", (4,))
    assert len(captures) == 1
    with (tmp_path / changed).open("a") as file:
        file.write("# edited\n")
    load_source("torch:my_cached_net:net", (4,))
    assert len(captures) == 2
