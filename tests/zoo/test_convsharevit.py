"""A valid-padded shared convolution is the dense layer; a same-padded one is not."""

from __future__ import annotations

from math import prod

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.core.errors import UsageError
from hwsim.graph.capture import capture
from hwsim.zoo.convsharevit import SharedConv, convsharevit, token_image

SIZES = st.integers(1, 96)


@given(features=st.integers(1, 5000))
def test_token_image_holds_exactly_its_features(features: int) -> None:
    rows, cols = token_image(features)
    assert rows * cols == features
    assert rows <= cols


@given(d_in=SIZES, d_out=SIZES, tokens=st.integers(1, 9), batch=st.integers(1, 3), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=60)
def test_valid_shared_convolution_is_the_dense_layer(d_in: int, d_out: int, tokens: int, batch: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    layer = SharedConv(d_in, d_out, "valid", token_image(d_in)).double()
    with torch.no_grad():
        layer.weight.normal_(generator=generator)
        layer.bias.normal_(generator=generator)
        x = torch.randn(batch, tokens, d_in, generator=generator, dtype=torch.float64)
        dense = torch.nn.functional.linear(x, layer.weight.reshape(d_out, d_in), layer.bias)
        scale = float(dense.abs().max())
        assert float((layer(x) - dense).abs().max()) <= 1e-12 * max(scale, 1.0)


def test_every_token_meets_the_same_kernels() -> None:
    layer = SharedConv(36, 10, "valid", (6, 6)).double()
    x = torch.randn(1, 5, 36, dtype=torch.float64)
    order = [3, 0, 4, 2, 1]
    torch.testing.assert_close(layer(x)[:, order], layer(x[:, order]), rtol=0, atol=1e-14)


def test_same_padding_is_a_block_toeplitz_map_of_few_weights() -> None:
    layer = SharedConv(16, 32, "same", (4, 4)).double()
    assert layer.weight.numel() == 2 * 16  # two kernels of 4 x 4, where the dense layer has 16 x 32 weights
    with torch.no_grad():
        matrix = (
            layer(torch.eye(16, dtype=torch.float64)[None])[0] - layer(torch.zeros(1, 1, 16, dtype=torch.float64))[0]
        )
    image = matrix.reshape(4, 4, 2, 4, 4)  # input row, column; output image, row, column
    # Shifting input and output together leaves a Toeplitz entry as it is.
    torch.testing.assert_close(image[:-1, :-1, :, :-1, :-1], image[1:, 1:, :, 1:, 1:], rtol=0, atol=1e-15)


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_forward_and_backward_run(padding: str) -> None:
    model = convsharevit(dim=16, depth=1, heads=2, padding=padding, classes=7)  # type: ignore[arg-type]
    logits = model(torch.randn(2, 3, 32, 32))
    assert logits.shape == (2, 7)
    logits.sum().backward()
    assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in model.parameters())


def test_graph_shows_one_channel_and_every_token_as_batch() -> None:
    model = convsharevit(depth=1).eval()
    graph = capture(model, input_shape=(2, 3, 32, 32), name="convsharevit")
    fc1 = graph.op("blocks.0.fc1").dims
    assert {k: fc1[k] for k in ("B", "G", "Cin", "Cout", "KH", "KW", "OH", "OW")} == {
        "B": 2 * 65, "G": 1, "Cin": 1, "Cout": 1024, "KH": 16, "KW": 16, "OH": 1, "OW": 1,
    }  # fmt: skip
    assert graph.params == sum(p.numel() for p in model.parameters())


def test_imagenet_variant_counts_as_deit_small() -> None:
    with torch.device("meta"):
        model = convsharevit(img_size=224, patch_size=16, dim=384, depth=12, heads=6, classes=1000)
    assert sum(prod(p.shape) for p in model.parameters()) == 22_050_664  # facebookresearch/deit, DeiT-S


def test_sizes_that_do_not_divide_are_refused() -> None:
    with pytest.raises(UsageError, match="dim 250 is not a multiple of heads 4"):
        convsharevit(dim=250)
    with pytest.raises(UsageError, match="img_size 30 is not a multiple of patch_size 4"):
        convsharevit(img_size=30)
    with pytest.raises(UsageError, match="padding 'full'"):
        convsharevit(padding="full")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="depth 0"):
        convsharevit(depth=0)
