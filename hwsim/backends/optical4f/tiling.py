"""Legality and count: what shares the plane in one frame, and how many frames an op takes.

All values are arrays that broadcast to (designs, ops); maps of an op stand on a grid of tiles, in camera samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hwsim.backends.optical4f.bench import Bench
from hwsim.backends.optical4f.work import Array, Work

Mask = npt.NDArray[np.bool_]

#: What the signs of the operands cost: patterns of the input, patterns of the kernel, reference phases (facts of
#: Chang et al. 2018 for pseudo-negativity: k = k+ - k-; four products where inputs are signed too; two phase steps of
#: a reference beam give the signed field, Re(U R*)). See A4.
SIGN_TERMS: Mapping[str, tuple[int, int, int]] = {
    "none": (1, 1, 1),
    "pseudo_negative": (1, 2, 1),
    "four_term": (2, 2, 1),
    "interferometric": (1, 1, 2),
}
TILINGS = ("samples", "kernels", "channels")


def ceil_div(a: Array, b: Array) -> Array:
    """Whole number of `b` that hold `a`; exact for whole numbers below 2^53."""
    return -np.floor_divide(-a, b)


@dataclass(frozen=True)
class Grid:
    """Tiles of `pitch` on the plane; `field` is the grid that the filter can address as offsets of a kernel."""

    pitch_rows: Array
    pitch_cols: Array
    rows: Array
    cols: Array
    field_rows: Array
    field_cols: Array

    @property
    def tiles(self) -> Array:
        return self.rows * self.cols


@dataclass(frozen=True)
class Layout:
    """One way to put an op on the plane.

    `frames` in all; `input_patterns` of them load a new input; each frame holds up to `outputs` wanted maps in
    `tile_rows` x `tile_cols` tiles, each lit by 1 / `split` of a full tile's light; `used` is the mean number of tiles
    in use, of inputs or outputs, whichever is more. Whether the op can be laid out so at all is for `bounds` to say.
    """

    frames: Array
    input_patterns: Array
    outputs: Array
    tile_rows: Array
    tile_cols: Array
    split: Array
    used: Array


def grid(bench: Bench, work: Work) -> Grid:
    """Tile pitch and tiles of every op.

    A tile keeps outputs at lags -pad..map - kernel + pad, while its neighbour reaches kernel - 1 samples towards it:
    nothing overlaps at a pitch of map + pad (`exact`; the map alone for valid padding). `full` leaves room for every
    lag, map + kernel - 1, which is eq. 6 of FatNet (doi 10.3390/ai4020018), unless one aligned output is wanted.
    """
    m = work.maps
    full = bench.mapping.guard == "full"
    gap_rows = np.where(full & (m.out_rows > 1), m.kernel_rows - 1, m.pad_rows)
    gap_cols = np.where(full & (m.out_cols > 1), m.kernel_cols - 1, m.pad_cols)
    pitch_rows = m.rows + gap_rows + bench.mapping.guard_pixels
    pitch_cols = m.cols + gap_cols + bench.mapping.guard_pixels
    return Grid(
        pitch_rows=pitch_rows,
        pitch_cols=pitch_cols,
        rows=np.floor_divide(bench.plane_rows, pitch_rows),
        cols=np.floor_divide(bench.plane_cols, pitch_cols),
        field_rows=np.floor_divide(np.minimum(bench.plane_rows, bench.kernel_extent), pitch_rows),
        field_cols=np.floor_divide(np.minimum(bench.plane_cols, bench.kernel_extent), pitch_cols),
    )


def input_slices(bench: Bench, work: Work) -> Array:
    """Patterns that carry one input: its bits over the bits of one pattern of the modulator (A5)."""
    return ceil_div(np.minimum(work.input_bits, bench.precision.activations), np.asarray(bench.input.bits, float))


def sign_terms(bench: Bench) -> tuple[Array, Array, Array]:
    """Input patterns, kernel patterns and reference phases that the signs take."""
    names = np.asarray(bench.mapping.sign)
    terms = (
        np.select([names == name for name in SIGN_TERMS], [SIGN_TERMS[n][i] for n in SIGN_TERMS]) for i in range(3)
    )
    inputs, signs, phases = (np.asarray(term, float) for term in terms)
    return inputs, signs, phases


def samples(bench: Bench, work: Work, g: Grid) -> Layout:
    """One kernel per frame on a plane full of samples: one mask serves every tile.

    frames = frames_per_conv x signs x slices x C_in C_out / groups x ceil(batch / tiles); with C_in = 1 and tokens as
    the batch this is a shared valid convolution, frames = pn d_out ceil(T B / n_tiles).
    """
    m = work.maps
    tiles = np.maximum(g.tiles, 1)
    inputs, signs, phases = sign_terms(bench)
    rounds = ceil_div(m.batch, tiles)
    patterns = inputs * input_slices(bench, work) * m.c_in * rounds
    held = np.minimum(m.batch, tiles)
    columns = np.maximum(g.cols, 1)
    return Layout(
        frames=bench.mapping.frames_per_conv * phases * patterns * signs * m.c_out / m.groups,
        input_patterns=patterns,
        outputs=held,
        tile_rows=ceil_div(held, columns),
        tile_cols=np.minimum(held, columns),
        split=np.ones_like(held),
        used=m.batch / rounds,
    )


def kernels(bench: Bench, work: Work, g: Grid) -> Layout:
    """Samples in as few columns of tiles as hold them, and as many kernels side by side as there are columns left.

    The mask is a row of kernels, one tile apart, so each sample gives one output map per kernel, with the light shared
    among them. Kernels of both signs are kernels too.
    """
    m = work.maps
    rows, cols = np.maximum(g.rows, 1), np.maximum(g.cols, 1)
    inputs, signs, phases = sign_terms(bench)
    wanted = signs * m.c_out / m.groups
    columns = np.minimum(cols, ceil_div(m.batch, rows))
    abreast = np.minimum(np.floor_divide(cols, columns), np.minimum(g.field_cols, wanted))
    abreast = np.maximum(abreast, 1)
    rounds = ceil_div(m.batch, rows * columns)
    mask_patterns = ceil_div(wanted, abreast)
    patterns = inputs * input_slices(bench, work) * m.c_in * rounds
    held = np.minimum(m.batch, rows * columns)
    return Layout(
        frames=bench.mapping.frames_per_conv * phases * patterns * mask_patterns,
        input_patterns=patterns,
        outputs=held * abreast,
        tile_rows=ceil_div(held, columns),
        tile_cols=np.minimum(held, columns) * abreast,
        split=abreast,
        used=(m.batch / rounds) * (wanted / mask_patterns),
    )


def channels(bench: Bench, work: Work, g: Grid) -> Layout:
    """Input channels side by side under a mask of as many kernels: their sum forms in one tile of the camera.

    The channels are added as light, before the sensor (Li et al. 2020, arXiv 2011.07391), one output map per frame.
    """
    m = work.maps
    inputs, signs, phases = sign_terms(bench)
    per_group = m.c_in / m.groups
    together = np.maximum(np.minimum(g.field_rows * g.field_cols, per_group), 1)
    parts = ceil_div(per_group, together)
    patterns = inputs * input_slices(bench, work) * m.batch * m.groups * parts
    one = np.ones_like(patterns * together)
    return Layout(
        frames=bench.mapping.frames_per_conv * phases * patterns * signs * m.c_out / m.groups,
        input_patterns=patterns,
        outputs=one,
        tile_rows=one,
        tile_cols=one,
        split=one,
        used=per_group / parts,
    )


def layouts(bench: Bench, work: Work) -> tuple[Layout, ...]:
    """Every tiling of every op, in the order of TILINGS."""
    g = grid(bench, work)
    return samples(bench, work, g), kernels(bench, work, g), channels(bench, work, g)
