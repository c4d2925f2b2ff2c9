"""Every convolution of the two networks of FatNet, against the layer list of the authors' code."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from hwsim.graph.capture import capture
from hwsim.graph.ir import WorkloadGraph
from hwsim.zoo.fatnet import CifarNet, fatnet, resnet18_cifar

LAYERS = Path(__file__).parents[1] / "optical4f" / "published" / "fatnet_layers.csv"


def _graph(make: Callable[[], CifarNet]) -> WorkloadGraph:
    with torch.device("meta"):
        model = make().eval()
    return capture(model, input_shape=(1, *model.input_shape), name=make.__name__)


@pytest.mark.parametrize(("network", "make"), [("resnet18", resnet18_cifar), ("fatnet", fatnet)])
def test_layers_equal_the_authors(network: str, make: Callable[[], CifarNet]) -> None:
    with LAYERS.open() as file:
        rows = [row for row in csv.DictReader(file) if row["network"] == network]
    convs = [op for op in _graph(make).ops if op.kind == "conv"]
    for op, row in zip(convs, rows, strict=True):
        got = op.dims["Cin"], op.dims["Cout"], op.dims["KH"], op.dims["IH"], op.macs
        assert got == tuple(int(row[key]) for key in ("c_in", "c_out", "kernel", "map_in", "macs")), row["layer"]
        assert op.dims["OH"] == op.dims["IH"]


def test_published_numbers_of_convolutions() -> None:
    def conv_ops(graph: WorkloadGraph) -> int:
        layers = [op for op in graph.ops if op.kind == "conv" and not op.name.startswith("classifier")]
        return sum(op.dims["Cin"] * op.dims["Cout"] for op in layers)

    assert conv_ops(_graph(resnet18_cifar)) == 1_220_800
    assert conv_ops(_graph(fatnet)) == 148_637


@pytest.mark.parametrize("make", [resnet18_cifar, fatnet])
def test_both_classify_cifar_100(make: Callable[[], CifarNet]) -> None:
    assert make().eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 100)
