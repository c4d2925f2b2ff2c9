"""Tiles on the whole panel: exactly the layer, at the pitch the mapper counts with."""

from __future__ import annotations

from typing import cast

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from hwsim.backends.optical4f.convolution import convolve_4f, embed_kernel
from hwsim.backends.optical4f.layout import PanelLayout
from hwsim.backends.optical4f.picture import draw_layer, layer_planes
from hwsim.backends.optical4f.spec import Optical4fSpec
from hwsim.backends.optical4f.tiles import kept_outputs
from hwsim.backends.optical4f.work import work_of
from hwsim.graph.sources import load_source
from hwsim.spec.arch import load_arch


@given(
    size=st.integers(3, 8),
    kernel=st.integers(1, 8),
    padding=st.integers(0, 2),
    samples=st.integers(1, 40),
    plane=st.tuples(st.integers(16, 40), st.integers(16, 40)),
)
@settings(max_examples=40, deadline=None)
def test_a_full_panel_is_the_layer(size: int, kernel: int, padding: int, samples: int, plane: tuple[int, int]) -> None:
    """At the pitch map + padding, neighbours change no kept output: F.conv2d of every sample, to rounding."""
    if kernel > size or padding > (kernel - 1) // 2:
        return
    draw = torch.Generator().manual_seed(samples)
    maps = torch.rand(samples, size, size, generator=draw, dtype=torch.float64)
    weight = torch.randn(kernel, kernel, generator=draw, dtype=torch.float64)
    layout = PanelLayout(plane, (size + padding, size + padding))
    kept = kept_outputs(size, kernel, 1, padding, size + 2 * padding - kernel + 1, 0)
    camera = convolve_4f(layout.place(maps), embed_kernel(weight.flip(0, 1), plane)).real
    found = layout.read(camera, samples, (kept, kept))
    expected = functional.conv2d(maps[:, None], weight[None, None], padding=padding)[:, 0]
    torch.testing.assert_close(found, expected)


def test_counts_frames() -> None:
    layout = PanelLayout((20, 31), (8, 10))
    assert layout.grid == (2, 3)
    assert [layout.frames(count) for count in (1, 6, 7)] == [1, 1, 2]


def test_picture_of_a_layer() -> None:
    graph = load_source("zoo:convsharevit?img_size=8&patch_size=2&dim=36&depth=1&heads=3&in_chans=1", None, 1)
    spec = cast(Optical4fSpec, load_arch("arch_specs/optical4f.yaml").spec)
    work = work_of(graph)
    op = next(i for i, name in enumerate(work.names) if work.maps.kernel_rows[i] == 6)
    planes = layer_planes(spec, work, op)
    assert planes.inputs.shape == planes.camera.shape == planes.mask_phase_rad.shape
    assert planes.layout.pitch == (6, 6)
    assert float(planes.camera.min()) >= 0
    png = draw_layer(planes, "a layer")
    assert png.startswith(b"\x89PNG")
