"""The rows of `hwsim show` add up."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hwsim.graph.capture import capture
from hwsim.graph.ir import WorkloadGraph
from hwsim.graph.summary import kind_rows, module_rows, op_rows


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 8)
        self.act = nn.GELU()
        self.second = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.second(self.act(self.first(x))).reshape(x.shape)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(Block(), Block())
        self.unread = nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.blocks(x)


@pytest.fixture(scope="module")
def graph() -> WorkloadGraph:
    return capture(Net(), (torch.randn(2, 4),), "net")


def test_tree(graph: WorkloadGraph) -> None:
    rows = {row.name: row for row in module_rows(graph)}
    assert list(rows)[:4] == ["net", "blocks", "blocks.0", "blocks.0.first"]
    assert [row.depth for row in rows.values()][:4] == [0, 1, 2, 3]
    assert (rows["net"].ops, rows["net"].macs, rows["net"].params) == (len(graph.ops), graph.macs, graph.params)
    assert rows["blocks.0"].macs == 2 * 2 * 4 * 8
    assert rows["blocks.0"].params == 4 * 8 + 8 + 8 * 4 + 4
    assert (rows["unread"].ops, rows["unread"].params) == (0, 12)
    assert [row.name for row in module_rows(graph, depth=1)] == ["net", "blocks", "unread"]


def test_bytes_and_intensity(graph: WorkloadGraph) -> None:
    (row,) = (row for row in op_rows(graph) if row.name == "blocks.0.first")
    assert (row.read_bytes, row.written_bytes) == (4 * (2 * 4 + 8 * 4 + 8), 4 * 2 * 8)
    assert row.intensity_flop_per_byte == pytest.approx(2 * 64 / (192 + 64))
    views = [row for row, op in zip(op_rows(graph), graph.ops, strict=True) if op.kind == "view"]
    assert views
    assert all(row.size_bytes == row.intensity_flop_per_byte == 0 for row in views)


def test_every_table_has_the_same_total(graph: WorkloadGraph) -> None:
    root = module_rows(graph)[0]
    for rows in (kind_rows(graph), op_rows(graph)):
        assert sum(row.ops for row in rows) == root.ops
        assert sum(row.macs for row in rows) == root.macs
        assert sum(row.size_bytes for row in rows) == root.size_bytes
    assert kind_rows(graph)[0].name == "gemm"
