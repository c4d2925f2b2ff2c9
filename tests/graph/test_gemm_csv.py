"""SCALE-Sim's GEMM topologies."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from interpreter import operator_of, resolve

from hwsim.core.errors import SpecErrorGroup, UsageError
from hwsim.graph.gemm_csv import read_gemm_csv
from hwsim.graph.sources import load_source

SCALESIM = "Layer, M, N, K,\nqkv,197,1152,384,\n\n# the head\nhead , 1, 1000, 384\n"


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "net.csv"
    path.write_text(text)
    return path


def test_reads_what_scale_sim_writes(tmp_path: Path) -> None:
    graph = load_source(f"gemm:{write(tmp_path, SCALESIM)}")
    assert graph.name == "net"
    assert [(op.name, dict(op.dims)) for op in graph.ops] == [
        ("qkv", {"M": 197, "N": 1152, "K": 384}),
        ("head", {"M": 1, "N": 1000, "K": 384}),
    ]
    assert graph.macs == 197 * 1152 * 384 + 1000 * 384
    assert graph.params == 1152 * 384 + 1000 * 384


@given(st.lists(st.tuples(*[st.integers(1, 99)] * 3), min_size=1, max_size=5), st.booleans(), st.booleans())
def test_header_and_trailing_comma_are_optional(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[tuple[int, int, int]], header: bool, comma: bool
) -> None:
    end = "," if comma else ""
    lines = ["Layer name, M, N, K" + end] if header else []
    lines += [f"L{index}, {m}, {n}, {k}{end}" for index, (m, n, k) in enumerate(sizes)]
    graph = read_gemm_csv(write(tmp_path_factory.mktemp("gemm"), "\n".join(lines)))
    assert [(op.dims["M"], op.dims["N"], op.dims["K"]) for op in graph.ops] == sizes


def test_ops_execute(tmp_path: Path) -> None:
    graph = read_gemm_csv(write(tmp_path, "a,2,3,4"))
    a, b = torch.randn(2, 4), torch.randn(4, 3)
    target, args, kwargs = resolve(graph.ops[0].call, {"a.a": a, "a.b": b})
    assert torch.equal(operator_of(target)(*args, **kwargs), a @ b)


def test_the_batch_multiplies_rows(tmp_path: Path) -> None:
    path = write(tmp_path, SCALESIM)
    assert load_source(f"gemm:{path}", batch=3).op("qkv").dims["M"] == 3 * 197


def test_every_wrong_line_is_pointed_at(tmp_path: Path) -> None:
    path = write(tmp_path, "Layer,M,N,K\na,1,2\nb,1,-2,3\nc,1,2,x,\nd,1,2,3,4\na b,1,1,1\na b,1,1,1\n,1,1,1\n")
    with pytest.raises(SpecErrorGroup, match="6 errors") as caught:
        read_gemm_csv(path)
    text = str(caught.value)
    for place, message in (
        ("2:5", "3 cells instead of 4"),
        ("3:5", "N = -2: must be a whole number, 1 or more"),
        ("4:7", "K = x: must be"),
        ("5:9", "5 cells instead of 4"),
        ("7:1", "layer 'a b' appears twice"),
        ("8:1", "the layer has no name"),
    ):
        assert f"{path}:{place}  {message}" in text
    assert "  3 | b,1,-2,3\n    |     ^^" in text


@pytest.mark.parametrize("text", ["", "Layer,M,N,K\n", "# nothing\n,,,\n"])
def test_a_file_without_layers(tmp_path: Path, text: str) -> None:
    with pytest.raises(SpecErrorGroup, match="no layer in the file"):
        read_gemm_csv(write(tmp_path, text))


def test_a_missing_file() -> None:
    with pytest.raises(UsageError, match=r"topology file 'absent\.csv' cannot be read"):
        load_source("gemm:absent.csv")
