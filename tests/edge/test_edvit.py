"""ED-ViT's stages on a toy: pruning keeps what matters, fusion learns, a missing sub-model costs its classes."""

from __future__ import annotations

import pytest
import torch

from hwsim.backends.edge.datasets import drawn_shapes
from hwsim.backends.edge.edvit import (
    Masks,
    Recipe,
    Shape,
    SmallViT,
    accuracy,
    groups_of,
    hardened,
    importance,
    pruned,
    split_model,
    trained,
)

SHAPE = Shape(image=16, channels=1, patch=4, heads=4, hidden=32, depth=1, classes=10, width=24)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def test_groups_differ_by_one_at_most() -> None:
    for parts in range(1, 11):
        groups = groups_of(10, parts)
        assert sorted(c for g in groups for c in g) == list(range(10))
        assert max(map(len, groups)) - min(map(len, groups)) <= 1


def test_pruning_nothing_changes_nothing() -> None:
    torch.manual_seed(0)
    model = SmallViT(SHAPE)
    scores = Masks(torch.rand(24), [torch.rand(4)], [torch.rand(32)])
    part = pruned(model, scores, 1.0, 10)
    x = torch.randn(3, 1, 16, 16)
    assert torch.allclose(part.features(x), model.features(x), atol=1e-6)


def test_dead_units_are_pruned_first_and_without_loss() -> None:
    """Half of the heads and hidden channels write nothing; they score 0, and the rest does all the work."""
    torch.manual_seed(0)
    model = SmallViT(SHAPE)
    block = model.blocks[0]
    with torch.no_grad():
        block.proj.weight[:, 16:] = 0.0
        block.fc2.weight[:, 16:] = 0.0
    data = drawn_shapes(100)
    scores = importance(model, data.train_x, data.train_y)
    assert scores.heads[0][2:].abs().max() == 0.0
    assert scores.hidden[0][16:].abs().max() == 0.0
    assert scores.heads[0][:2].min() > 0.0


def test_split_learns_and_a_missing_part_costs_accuracy() -> None:
    data = drawn_shapes(900)
    recipe = Recipe(epochs=12, prune_epochs=6, fusion_epochs=20)
    model = trained(SHAPE, data, recipe)
    whole = accuracy(model, data.test_x, data.test_y)
    fused = split_model(model, data, 2, 0.5, recipe)
    got = fused.accuracy(data.test_x, data.test_y)
    assert whole > 0.4
    assert got > 0.4
    lost = fused.accuracy(data.test_x, data.test_y, missing=[0])
    assert lost < got
    assert hardened(fused, data, recipe).accuracy(data.test_x, data.test_y, missing=[0]) >= lost - 0.05
    assert max(fused.parameters_per_part) < sum(p.numel() for p in model.parameters()) / 2
