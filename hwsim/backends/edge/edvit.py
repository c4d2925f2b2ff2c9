"""ED-ViT's four stages in torch: split the classes, prune by class-wise importance, place, fuse; and real accuracy.

Published: Liu et al., "Efficient Partitioning Vision Transformer on Edge Devices", arXiv 2410.11650; the loop of its
predecessor EC-SNN (IJCAI 2024, Algorithm 1). Placing is `assignment.py`; this file trains, prunes and fuses.
Importance is the first-order change of the group's loss when a unit is masked (Michel et al., NeurIPS 2019): one
backward pass scores heads, hidden and embedding channels alike. (ED-ViT's own score is not published in full.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

HEAD_DIM = 8


@dataclass(frozen=True)
class Shape:
    """Sizes of a small vision transformer."""

    image: int
    channels: int
    patch: int
    heads: int
    hidden: int
    depth: int
    classes: int
    width: int

    @property
    def tokens(self) -> int:
        return (self.image // self.patch) ** 2


@dataclass(frozen=True)
class Recipe:
    """How long and how to train: whole network, each sub-model after pruning, fusion."""

    epochs: int = 30
    prune_epochs: int = 12
    fusion_epochs: int = 40
    batch: int = 64
    rate: float = 2e-3
    seed: int = 0


@dataclass(frozen=True)
class Data:
    """Images (n, channels, rows, columns) in float32 and their classes."""

    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor


@dataclass
class Masks:
    """Ones whose gradients score units: embedding channels, and per block heads and hidden channels."""

    embedding: Tensor
    heads: list[Tensor]
    hidden: list[Tensor]


class Block(nn.Module):
    """A pre-norm transformer block whose number of heads is free of its width."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        inner = shape.heads * HEAD_DIM
        self.norm1, self.norm2 = nn.LayerNorm(shape.width), nn.LayerNorm(shape.width)
        self.qkv, self.proj = nn.Linear(shape.width, 3 * inner), nn.Linear(inner, shape.width)
        self.fc1, self.fc2 = nn.Linear(shape.width, shape.hidden), nn.Linear(shape.hidden, shape.width)

    def forward(self, x: Tensor, heads: Tensor | None = None, hidden: Tensor | None = None) -> Tensor:
        """(batch, tokens, width) to the same; masks (heads,) and (hidden,) scale units."""
        batch, tokens, _ = x.shape
        q, k, v = self.qkv(self.norm1(x)).reshape(batch, tokens, 3, -1, HEAD_DIM).permute(2, 0, 3, 1, 4)
        y = functional.scaled_dot_product_attention(q, k, v)
        if heads is not None:
            y = y * heads[:, None, None]
        x = x + self.proj(y.transpose(1, 2).reshape(batch, tokens, -1))
        y = functional.gelu(self.fc1(self.norm2(x)))
        if hidden is not None:
            y = y * hidden
        out: Tensor = x + self.fc2(y)
        return out


class SmallViT(nn.Module):
    """Patches, blocks, mean over tokens, classifier."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.patches = nn.Linear(shape.channels * shape.patch**2, shape.width)
        self.position = nn.Parameter(0.02 * torch.randn(shape.tokens, shape.width))
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.depth))
        self.norm = nn.LayerNorm(shape.width)
        self.head = nn.Linear(shape.width, shape.classes)

    def features(self, x: Tensor, masks: Masks | None = None) -> Tensor:
        """(batch, channels, rows, columns) to (batch, width)."""
        size = self.shape.patch
        cut = x.unfold(2, size, size).unfold(3, size, size).permute(0, 2, 3, 1, 4, 5)
        y = self.patches(cut.reshape(x.shape[0], self.shape.tokens, -1)) + self.position
        for i, block in enumerate(self.blocks):
            y = block(y) if masks is None else block(y * masks.embedding, masks.heads[i], masks.hidden[i])
        mean: Tensor = self.norm(y).mean(1)
        return mean

    def forward(self, x: Tensor, masks: Masks | None = None) -> Tensor:
        """Logits (batch, classes)."""
        logits: Tensor = self.head(self.features(x, masks))
        return logits


class Fusion(nn.Module):
    """Two layers over the concatenated features of all sub-models."""

    def __init__(self, width: int, classes: int, hidden: int = 64) -> None:
        super().__init__()
        self.classes = classes
        self.layers = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, classes))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layers(x)
        return logits


def groups_of(classes: int, parts: int) -> tuple[tuple[int, ...], ...]:
    """Stage 1: classes in `parts` groups whose sizes differ by one at most."""
    return tuple(tuple(range(part, classes, parts)) for part in range(parts))


def batches(count: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Shuffled index batches of one epoch."""
    yield from torch.split(torch.randperm(count, generator=generator), size)


def train(model: nn.Module, x: Tensor, y: Tensor, epochs: int, recipe: Recipe) -> None:
    """AdamW with a cosine schedule on cross-entropy."""
    generator = torch.Generator().manual_seed(recipe.seed)
    steps = max(1, epochs * -(-x.shape[0] // recipe.batch))
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    model.train()
    for _ in range(epochs):
        for chosen in batches(x.shape[0], recipe.batch, generator):
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(x[chosen]), y[chosen])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    model.eval()


def importance(model: SmallViT, x: Tensor, y: Tensor) -> Masks:
    """Stage 2, scores: |d loss / d mask| of every unit on the samples of the group."""
    shape = model.shape
    masks = Masks(
        torch.ones(shape.width, requires_grad=True),
        [torch.ones(shape.heads, requires_grad=True) for _ in range(shape.depth)],
        [torch.ones(shape.hidden, requires_grad=True) for _ in range(shape.depth)],
    )
    total = Masks(torch.zeros(shape.width), [torch.zeros(shape.heads)] * shape.depth,
                  [torch.zeros(shape.hidden)] * shape.depth)  # fmt: skip
    leaves = [masks.embedding, *masks.heads, *masks.hidden]
    for chosen in torch.split(torch.arange(x.shape[0]), 64):
        grads = torch.autograd.grad(functional.cross_entropy(model(x[chosen], masks), y[chosen]), leaves)
        depth = shape.depth
        total = Masks(
            total.embedding + grads[0].abs(),
            [a + g.abs() for a, g in zip(total.heads, grads[1 : 1 + depth], strict=True)],
            [a + g.abs() for a, g in zip(total.hidden, grads[1 + depth :], strict=True)],
        )
    return total


def best(scores: Tensor, count: int) -> Tensor:
    """Indices of the `count` highest scores, ascending."""
    return scores.topk(count).indices.sort().values


def pruned(model: SmallViT, scores: Masks, keep: float, classes: int) -> SmallViT:
    """Stage 2, structure: the sub-model of the units that matter most, with their weights and a head of its own."""
    old = model.shape
    new = replace(
        old,
        heads=max(1, round(old.heads * keep)),
        hidden=max(1, round(old.hidden * keep)),
        width=max(1, round(old.width * keep)),
        classes=classes,
    )
    part = SmallViT(new)
    wide = best(scores.embedding, new.width)
    with torch.no_grad():
        part.patches.weight.copy_(model.patches.weight[wide])
        part.patches.bias.copy_(model.patches.bias[wide])
        part.position.copy_(model.position[:, wide])
        copy_norm(part.norm, model.norm, wide)
        for i, (to, of) in enumerate(zip(part.blocks, model.blocks, strict=True)):
            heads = best(scores.heads[i], new.heads)
            copy_block(to, of, wide, heads, best(scores.hidden[i], new.hidden))  # type: ignore[arg-type]
    return part


def copy_norm(to: nn.LayerNorm, of: nn.LayerNorm, wide: Tensor) -> None:
    """The kept channels of a norm."""
    to.weight.copy_(of.weight[wide])
    to.bias.copy_(of.bias[wide])


def copy_block(to: Block, of: Block, wide: Tensor, heads: Tensor, hidden: Tensor) -> None:
    """The kept channels, heads and hidden channels of a block."""
    inner = (heads[:, None] * HEAD_DIM + torch.arange(HEAD_DIM)).flatten()
    width = of.proj.in_features
    rows = torch.cat([inner + part * width for part in range(3)])
    copy_norm(to.norm1, of.norm1, wide)
    copy_norm(to.norm2, of.norm2, wide)
    for new, old, out, into in (
        (to.qkv, of.qkv, rows, wide),
        (to.proj, of.proj, wide, inner),
        (to.fc1, of.fc1, hidden, wide),
        (to.fc2, of.fc2, wide, hidden),
    ):
        new.weight.copy_(old.weight[out][:, into])
        new.bias.copy_(old.bias[out])


@dataclass(frozen=True)
class ClassSplitModel:
    """Sub-models and what fuses them."""

    parts: tuple[SmallViT, ...]
    fusion: Fusion

    def features(self, x: Tensor, missing: Sequence[int] = ()) -> Tensor:
        """Concatenated features; those of a `missing` sub-model are zeros, as the fusion device then assumes."""
        with torch.no_grad():
            each = [part.features(x) for part in self.parts]
        return torch.cat([torch.zeros_like(f) if i in missing else f for i, f in enumerate(each)], 1)

    def accuracy(self, x: Tensor, y: Tensor, missing: Sequence[int] = ()) -> float:
        """Top-1 share, without the sub-models in `missing`."""
        with torch.no_grad():
            return float((self.fusion(self.features(x, missing)).argmax(1) == y).float().mean())

    @property
    def parameters_per_part(self) -> tuple[int, ...]:
        """Parameters of each sub-model without its classifier, which stays behind."""
        return tuple(
            sum(p.numel() for name, p in part.named_parameters() if not name.startswith("head.")) for part in self.parts
        )


def split_model(model: SmallViT, data: Data, parts: int, keep: float, recipe: Recipe) -> ClassSplitModel:
    """Stages 1, 2 and 4: a sub-model for each group, pruned and trained on it, and the fusion trained on all.

    A sub-model of one class has nothing to tell apart, so every one also learns `none of mine` from other samples.
    """
    made = []
    for group in groups_of(model.shape.classes, parts):
        own = torch.isin(data.train_y, torch.tensor(group))
        scores = importance(model, data.train_x[own], data.train_y[own])
        torch.manual_seed(recipe.seed)
        part = pruned(model, scores, keep, len(group) + 1)
        labels = torch.full_like(data.train_y, len(group))
        for place, label in enumerate(group):
            labels[data.train_y == label] = place
        train(part, data.train_x, labels, recipe.prune_epochs, recipe)
        made.append(part)
    torch.manual_seed(recipe.seed)
    fusion = Fusion(sum(part.shape.width for part in made), model.shape.classes)
    fused = ClassSplitModel(tuple(made), fusion)
    train(fusion, fused.features(data.train_x), data.train_y, recipe.fusion_epochs, recipe)
    return fused


def hardened(model: ClassSplitModel, data: Data, recipe: Recipe) -> ClassSplitModel:
    """The same sub-models with a fusion that has also seen every sample without one of them, chosen at random."""
    torch.manual_seed(recipe.seed)
    whole = model.features(data.train_x)
    ends = torch.tensor([part.shape.width for part in model.parts]).cumsum(0)
    owner = torch.searchsorted(ends, torch.arange(whole.shape[1]), right=True)
    lost = torch.randint(len(model.parts), (whole.shape[0], 1))
    fusion = Fusion(whole.shape[1], model.fusion.classes)
    x, y = torch.cat([whole, whole * (owner[None, :] != lost)]), data.train_y.repeat(2)
    train(fusion, x, y, recipe.fusion_epochs, recipe)
    return ClassSplitModel(model.parts, fusion)


def trained(shape: Shape, data: Data, recipe: Recipe) -> SmallViT:
    """The whole network."""
    torch.manual_seed(recipe.seed)
    model = SmallViT(shape)
    train(model, data.train_x, data.train_y, recipe.epochs, recipe)
    return model


def accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """Top-1 share."""
    with torch.no_grad():
        return float((model(x).argmax(1) == y).float().mean())
