"""The tilings, checked by building the plane: what the model says comes out must come out of one large convolution."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.signal import convolve2d, fftconvolve

from hwsim.backends.optical4f.bench import Bench, bench_of
from hwsim.backends.optical4f.spec import Optical4fSpec
from hwsim.backends.optical4f.tiling import Grid, Layout, channels, grid, kernels, samples
from hwsim.backends.optical4f.work import Work, work_of
from hwsim.backends.synthetic import GraphBuilder, transformer
from hwsim.spec.arch import load_arch
from hwsim.spec.yaml import Tree

Image = npt.NDArray[np.float64]


def _bench(changes: dict[str, Tree]) -> Bench:
    spec = load_arch("optical4f_paper", {"mapping.frames_per_conv": 1, **changes}).spec
    assert isinstance(spec, Optical4fSpec)
    return bench_of(spec)


def _plane(rows: int, cols: int, **mapping: Tree) -> Bench:
    sizes: dict[str, Tree] = {
        f"{library}.plane_4k.{axis}": size
        for library in ("modulators", "cameras")
        for axis, size in (("rows", rows), ("cols", cols))
    }
    return _bench({**sizes, **{f"mapping.{key}": value for key, value in mapping.items()}})


def _conv(batch: int, c_in: int, c_out: int, size: tuple[int, int], kernel: int, padding: int, groups: int = 1) -> Work:
    g = GraphBuilder("one", batch)
    g.conv("conv", g.input((batch, c_in, *size)), c_out, kernel, groups=groups, padding=padding)
    return work_of(g.build())


def _wanted(image: Image, kernel: Image, padding: int) -> Image:
    """Full convolution, cropped to the lags that a convolution with `padding` keeps."""
    reach = kernel.shape[0] - 1 - padding
    full: Image = convolve2d(image, kernel)
    return full[reach : full.shape[0] - reach, reach : full.shape[1] - reach]


def _crop(plane: Image, top: int, left: int, shape: tuple[int, ...], reach: int) -> Image:
    return plane[top + reach : top + reach + shape[0], left + reach : left + reach + shape[1]]


SHAPES = st.tuples(st.integers(3, 9), st.integers(3, 9))


@given(
    size=SHAPES,
    kernel=st.integers(1, 5),
    same=st.booleans(),
    guard=st.sampled_from(["exact", "full"]),
    seed=st.integers(0, 9),
)
@settings(deadline=None, max_examples=40)
def test_tiles_of_samples_do_not_disturb_each_other(
    size: tuple[int, int], kernel: int, same: bool, guard: str, seed: int
) -> None:
    padding = (kernel - 1) // 2 if same else 0
    assume(min(size) >= kernel)
    rng = np.random.default_rng(seed)
    bench, work = _plane(40, 50, guard=guard), _conv(99, 1, 1, size, kernel, padding)
    g = grid(bench, work)
    layout = samples(bench, work, g)
    images = rng.normal(size=(int(layout.outputs[0]), *size))
    taps = rng.normal(size=(kernel, kernel))
    pitch = int(g.pitch_rows[0]), int(g.pitch_cols[0])
    plane = np.zeros((40, 50))
    corners = [(pitch[0] * (i // int(g.cols[0])), pitch[1] * (i % int(g.cols[0]))) for i in range(len(images))]
    for (top, left), image in zip(corners, images, strict=True):
        plane[top : top + size[0], left : left + size[1]] = image
    camera = fftconvolve(plane, taps)
    reach = kernel - 1 - padding
    for (top, left), image in zip(corners, images, strict=True):
        wanted = _wanted(image, taps, padding)
        np.testing.assert_allclose(_crop(camera, top, left, wanted.shape, reach), wanted, atol=1e-12)


@given(size=SHAPES, kernel=st.integers(1, 5), same=st.booleans(), batch=st.integers(1, 12), seed=st.integers(0, 9))
@settings(deadline=None, max_examples=40)
def test_kernels_abreast_give_a_map_each(size: tuple[int, int], kernel: int, same: bool, batch: int, seed: int) -> None:
    padding = (kernel - 1) // 2 if same else 0
    assume(min(size) >= kernel)
    rng = np.random.default_rng(seed)
    bench, work = _plane(40, 60), _conv(batch, 1, 7, size, kernel, padding)
    g = grid(bench, work)
    layout = kernels(bench, work, g)
    abreast, columns = int(layout.split[0]), int(layout.tile_cols[0] / layout.split[0])
    pitch = int(g.pitch_rows[0]), int(g.pitch_cols[0])
    assert columns * abreast * pitch[1] <= 60
    bank = rng.normal(size=(abreast, kernel, kernel))
    mask = np.zeros((kernel, (abreast - 1) * pitch[1] + kernel))
    for j, taps in enumerate(bank):
        mask[:, j * pitch[1] : j * pitch[1] + kernel] = taps
    held = int(layout.outputs[0]) // abreast
    images = rng.normal(size=(held, *size))
    plane = np.zeros((40, 60))
    corners = [(pitch[0] * (i // columns), pitch[1] * abreast * (i % columns)) for i in range(held)]
    for (top, left), image in zip(corners, images, strict=True):
        plane[top : top + size[0], left : left + size[1]] = image
    camera = fftconvolve(plane, mask)
    for (top, left), image in zip(corners, images, strict=True):
        for j, taps in enumerate(bank):
            wanted = _wanted(image, taps, padding)
            got = _crop(camera, top, left + j * pitch[1], wanted.shape, kernel - 1 - padding)
            np.testing.assert_allclose(got, wanted, atol=1e-12)


@given(size=SHAPES, kernel=st.integers(1, 5), same=st.booleans(), seed=st.integers(0, 9))
@settings(deadline=None, max_examples=40)
def test_channels_add_up_as_light(size: tuple[int, int], kernel: int, same: bool, seed: int) -> None:
    padding = (kernel - 1) // 2 if same else 0
    assume(min(size) >= kernel)
    rng = np.random.default_rng(seed)
    bench, work = _plane(40, 50), _conv(1, 64, 1, size, kernel, padding)
    g = grid(bench, work)
    together = int(channels(bench, work, g).used[0])
    pitch, cols = (int(g.pitch_rows[0]), int(g.pitch_cols[0])), int(g.field_cols[0])
    images, bank = rng.normal(size=(together, *size)), rng.normal(size=(together, kernel, kernel))
    rows = -(-together // cols)
    plane = np.zeros((rows * pitch[0], cols * pitch[1]))
    mask = np.zeros(((rows - 1) * pitch[0] + kernel, (cols - 1) * pitch[1] + kernel))
    for i in range(together):
        top, left = pitch[0] * (i // cols), pitch[1] * (i % cols)
        plane[top : top + size[0], left : left + size[1]] = images[i]
        # The kernel of a channel stands opposite to its tile, so that every channel lands on the last one's place.
        top, left = (rows - 1) * pitch[0] - top, (cols - 1) * pitch[1] - left
        mask[top : top + kernel, left : left + kernel] = bank[i]
    camera = fftconvolve(plane, mask)
    wanted = sum(_wanted(image, taps, padding) for image, taps in zip(images, bank, strict=True))
    assert isinstance(wanted, np.ndarray)
    at = (rows - 1) * pitch[0], (cols - 1) * pitch[1]
    np.testing.assert_allclose(_crop(camera, *at, wanted.shape, kernel - 1 - padding), wanted, atol=1e-12)


def _layouts(bench: Bench, work: Work) -> tuple[Grid, list[Layout]]:
    g = grid(bench, work)
    return g, [tiling(bench, work, g) for tiling in (samples, kernels, channels)]


@given(
    batch=st.integers(1, 400),
    per_group=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    groups=st.integers(1, 4),
    size=SHAPES,
    sign=st.sampled_from(["none", "pseudo_negative", "four_term", "interferometric"]),
)
@settings(deadline=None, max_examples=80)
def test_frames_hold_all_the_work(
    batch: int, per_group: tuple[int, int], groups: int, size: tuple[int, int], sign: str
) -> None:
    work = _conv(batch, per_group[0] * groups, per_group[1] * groups, size, 3, 1, groups)
    g, layouts = _layouts(_plane(64, 96, sign=sign), work)
    products = batch * groups * per_group[0] * per_group[1]  # one input map with one kernel each
    for layout in layouts:
        together = float(layout.used[0]) if layout is layouts[2] else float(layout.outputs[0])
        assert layout.frames[0] * together >= products * (1 - 1e-12)
        assert 1 <= layout.used[0] <= g.tiles[0]
        assert layout.frames[0] >= layout.input_patterns[0] >= 1
        assert layout.tile_rows[0] <= g.rows[0]
        assert layout.tile_cols[0] <= g.cols[0]


@pytest.mark.parametrize(("sign", "pn"), [("none", 1), ("pseudo_negative", 2)])
def test_shared_valid_convolution_takes_pn_d_out_rounds(sign: str, pn: int) -> None:
    """frames = pn d_out ceil(T B / n_tiles), with tiles as close as the token image is wide."""
    d_in, d_out, tokens, batch = 196, 50, 197, 7
    g = GraphBuilder("dense", batch)
    g.linear("fc", g.input((batch, tokens, d_in)), d_out)
    work = work_of(g.build())
    _, (layout, *_) = _layouts(_plane(100, 150, sign=sign), work)
    tiles = (100 // 14) * (150 // 14)
    assert layout.frames[0] == pn * d_out * -(-tokens * batch // tiles)


def test_bits_of_the_input_take_slices() -> None:
    g = transformer(dtype="int4")
    for bits, precision, slices in ((1, 8, 4), (1, 2, 2), (3, 8, 2), (8, 8, 1)):
        bench = _bench({"modulators.plane_4k.bits": bits, "precision.activations": precision})
        layout = samples(bench, work_of(g), grid(bench, work_of(g)))
        one = _bench({})
        assert layout.frames[0] == slices * samples(one, work_of(g), grid(one, work_of(g))).frames[0]
