"""The optical layout of one layer, drawn: what stands on the input panel, on the mask, and on the camera."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hwsim.backends.optical4f.bench import Bench, bench_of
from hwsim.backends.optical4f.chain import Chain, camera_amplitude, prepare_mask
from hwsim.backends.optical4f.convolution import transfer_function
from hwsim.backends.optical4f.encodings import double_phase, normalise_mask, power_of
from hwsim.backends.optical4f.layout import PanelLayout
from hwsim.backends.optical4f.readout import split_signs
from hwsim.backends.optical4f.setup import chain_of
from hwsim.backends.optical4f.spec import Optical4fSpec
from hwsim.backends.optical4f.tiles import Kept, Pair, kept_outputs
from hwsim.backends.optical4f.tiling import grid
from hwsim.backends.optical4f.work import Work

# Tiles per axis of the zoomed views.
ZOOM_TILES = 3


@dataclass(frozen=True)
class LayerPlanes:
    """One frame of a layer: input amplitude, mask phase and camera intensity, each (rows, cols), and its layout."""

    inputs: Tensor
    mask_phase_rad: Tensor
    camera: Tensor
    layout: PanelLayout
    kept: tuple[Kept, Kept]


def layer_planes(spec: Optical4fSpec, work: Work, op: int, seed: int = 0) -> LayerPlanes:
    """Simulate one frame of an op on the whole panel: random samples, the positive part of a random kernel.

    The camera has no noise here; the mask's panel is a double-phase one whatever device the spec names.
    """
    bench, maps, places = bench_of(spec), work.maps, grid(bench_of(spec), work)
    size: Pair = (int(maps.rows[op]), int(maps.cols[op]))
    kernel: Pair = (int(maps.kernel_rows[op]), int(maps.kernel_cols[op]))
    layout = PanelLayout(_plane(bench), (int(places.pitch_rows.flat[op]), int(places.pitch_cols.flat[op])))
    draw = torch.Generator().manual_seed(seed)
    samples = torch.rand(layout.tiles, *size, generator=draw)
    weights, _ = split_signs(torch.randn(kernel, generator=draw))
    inputs = layout.place(samples)[0]
    chain = replace(chain_of(spec, 1.0), encoding="complex", source=None, mask=None, window=1)
    camera = power_of(camera_amplitude(inputs, prepare_mask(weights, layout.plane, chain), chain))
    outputs = (int(maps.out_rows[op]), int(maps.out_cols[op]))
    pads = (int(maps.pad_rows[op]), int(maps.pad_cols[op]))
    kept = tuple(kept_outputs(size[axis], kernel[axis], 1, pads[axis], outputs[axis], 0) for axis in (0, 1))
    return LayerPlanes(inputs, _mask_phase(weights, chain, layout.plane), camera, layout, (kept[0], kept[1]))


def _plane(bench: Bench) -> Pair:
    return int(bench.plane_rows), int(bench.plane_cols)


def _mask_phase(kernel: Tensor, chain: Chain, plane: Pair) -> Tensor:
    """Phase on the mask, zero frequency in the middle."""
    centred = torch.zeros(plane)
    centred[: kernel.shape[0], : kernel.shape[1]] = kernel
    centred = torch.roll(centred, (-(kernel.shape[0] // 2), -(kernel.shape[1] // 2)), (0, 1))
    scaled, _ = normalise_mask(transfer_function(centred))
    phase: Tensor = torch.fft.fftshift(torch.remainder(double_phase(scaled), 2 * torch.pi))
    return phase


def draw_layer(planes: LayerPlanes, title: str) -> bytes:
    """A PNG of the three planes, whole above and a few tiles below, kept camera pixels marked."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    views = (
        ("input plane: amplitude", planes.inputs, "gray"),
        ("mask: phase, rad", planes.mask_phase_rad, "twilight"),
        ("camera plane: intensity of the + frame", planes.camera, "inferno"),
    )
    pitch, (rows, cols) = planes.layout.pitch, planes.layout.plane
    near = (min(rows, ZOOM_TILES * pitch[0]), min(cols, ZOOM_TILES * pitch[1]))
    figure, axes = plt.subplots(2, 3, figsize=(11, 6.2), constrained_layout=True)
    for column, (label, plane, colours) in enumerate(views):
        whole = axes[0, column].imshow(plane.numpy(), cmap=colours, interpolation="antialiased")
        axes[0, column].set_title(label, fontsize=9)
        top, left = ((rows - near[0]) // 2, (cols - near[1]) // 2) if column == 1 else (0, 0)
        edges = (left - 0.5, left + near[1] - 0.5, top + near[0] - 0.5, top - 0.5)
        part = plane.numpy()[top : top + near[0], left : left + near[1]]
        limits = whole.get_clim()
        axes[1, column].imshow(part, cmap=colours, extent=edges, clim=limits, interpolation="nearest")
        figure.colorbar(whole, ax=axes[:, column], location="bottom", shrink=0.8, aspect=40)
        for axis in axes[:, column]:
            axis.tick_params(labelsize=7)
    for column in (0, 2):
        for row in range(0, near[0] + 1, pitch[0]):
            axes[1, column].axhline(row - 0.5, color="#56B4E9", linewidth=0.6)
        for col in range(0, near[1] + 1, pitch[1]):
            axes[1, column].axvline(col - 0.5, color="#56B4E9", linewidth=0.6)
    _mark_kept(axes[1, 2], planes, near)
    figure.suptitle(title, fontsize=11)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=110)
    plt.close(figure)
    return file.getvalue()


def _mark_kept(axis: object, planes: LayerPlanes, near: Pair) -> None:
    from matplotlib.axes import Axes

    if not isinstance(axis, Axes) or planes.kept[0].count * planes.kept[1].count > 16:
        return
    for row in range(0, near[0], planes.layout.pitch[0]):
        for col in range(0, near[1], planes.layout.pitch[1]):
            rows, cols = (kept.offsets() + base for kept, base in zip(planes.kept, (row, col), strict=True))
            for y in rows.tolist():
                axis.plot(cols.tolist(), [y] * len(cols), "s", color="#56B4E9", markersize=4, fillstyle="none")
