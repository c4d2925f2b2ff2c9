"""Parameters and multiply-accumulates of timm models against independent counts."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from hwsim.graph.capture import capture
from hwsim.graph.sources import load_source

_FILE = Path(__file__).parent / "published" / "timm_counts.csv"
ROWS = list(csv.DictReader(line for line in _FILE.read_text().splitlines() if not line.startswith("#")))
# One small model of each of ten families.
FAST = (
    "timm:convnext_tiny", "timm:crossvit_9_240", "timm:convit_tiny", "timm:efficientformer_l3", "timm:mobilevit_xxs",
    "timm:deit_tiny_distilled_patch16_224", "timm:swin_tiny_patch4_window7_224", "timm:pvt_v2_b0", "timm:resnet50",
    "timm:pit_s_224",
)  # fmt: skip


def check(row: dict[str, str]) -> None:
    graph = load_source(row["source"], tuple(int(size) for size in row["input"].split("x")))
    assert round(graph.params / 1e6, 4) == float(row["params_M"])
    assert graph.macs / 1e9 == pytest.approx(float(row["macs_G"]), rel=0.005)
    assert not graph.unmodelled


@pytest.mark.parametrize("row", [row for row in ROWS if row["source"] in FAST], ids=lambda row: row["source"])
def test_ten_families(row: dict[str, str]) -> None:
    check(row)


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["source"])
def test_every_model(row: dict[str, str]) -> None:
    check(row)


def test_the_fast_selection_exists() -> None:
    assert set(FAST) <= {row["source"] for row in ROWS}
    assert len({row["family"] for row in ROWS if row["source"] in FAST}) == 10


@settings(max_examples=10, deadline=None)
@given(
    axes=st.integers(1, 3), groups=st.integers(1, 3), channels=st.integers(1, 3), out=st.integers(1, 3),
    kernel=st.integers(1, 3), stride=st.integers(1, 2), padding=st.integers(0, 2), transposed=st.booleans(),
)  # fmt: skip
def test_convolutions_count_as_torch_counts(
    axes: int, groups: int, channels: int, out: int, kernel: int, stride: int, padding: int, transposed: bool
) -> None:
    kinds = {False: (nn.Conv1d, nn.Conv2d, nn.Conv3d),
             True: (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)}  # fmt: skip
    with torch.device("meta"):
        module = kinds[transposed][axes - 1](
            channels * groups, out * groups, kernel, stride=stride, padding=padding, groups=groups
        )
        data = torch.empty(2, channels * groups, *range(7, 7 + axes))
    with FlopCounterMode(display=False) as counter:
        module(data)
    graph = capture(module, (data,))
    assert 2 * graph.macs == counter.get_total_flops()
    assert graph.params == sum(p.numel() for p in module.parameters())


def test_a_complex_product_is_four_real_ones() -> None:
    class Complex(nn.Module):
        def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            return torch.view_as_real(torch.view_as_complex(a) @ torch.view_as_complex(b))

    graph = capture(Complex(), (torch.randn(2, 3, 4, 2), torch.randn(2, 4, 5, 2)))
    assert graph.macs == 4 * (2 * 3 * 4 * 5)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.unread = nn.Parameter(torch.zeros(7))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(x))


def test_shared_parameters_count_once_and_unread_ones_count() -> None:
    graph = capture(Tied(), (torch.randn(2, 4),))
    assert graph.params == 16 + 4 + 4 + 7
    assert [op.inputs[1] for op in graph.ops] == ["first.weight", "first.weight"]


def test_capture_leaves_the_module_as_it_was() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.Dropout(), nn.BatchNorm1d(4).eval())
    module[0].train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    modes = [part.training for part in module.modules()]
    capture(module, (torch.randn(2, 4),))
    assert [part.training for part in module.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize("source", ["timm:deit_tiny_patch16_224?depth=2", "timm:resnet18"])
def test_rescaling_the_batch_equals_capturing_it(source: str) -> None:
    one, four = load_source(source), load_source(source, batch=4)
    scaled = one.with_batch(4)
    assert (scaled.macs, scaled.params) == (four.macs, four.params) == (4 * one.macs, one.params)
    for a, b in zip(scaled.ops, four.ops, strict=True):
        assert (a.name, a.kind, a.macs) == (b.name, b.kind, b.macs)
        if a.kind != "view":  # an expanded parameter is a view of the same memory
            assert scaled.output_bytes(a) == four.output_bytes(b), a.name
