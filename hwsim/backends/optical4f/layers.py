"""Layers through the optics: a dense layer or a convolution of real tensors, as the camera reads it.

The operands of a network are signed and of any size; a panel shows 0 to 1. How inputs are brought there, and what
the host adds back, is the layer's `InputCoding`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, isqrt
from typing import Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from hwsim.backends.optical4f.camera import FixedPattern, draw_pattern
from hwsim.backends.optical4f.chain import Chain
from hwsim.backends.optical4f.detection import Sensor, View, load, read
from hwsim.backends.optical4f.surrogates import straight_through
from hwsim.backends.optical4f.tiles import DotView, MapView, kept_outputs

Signs: TypeAlias = Literal["offset", "split"]
Pair: TypeAlias = tuple[int, int]

# Samples of all masks prepared at once: 2^24 complex64 are 128 MiB.
MAX_MASK_SAMPLES = 1 << 24


@dataclass(frozen=True)
class InputCoding:
    """How inputs become light: x in [low, high] is shown as (x - low) / (high - low), clipped (A31).

    A signed range with `offset` lights zero with -low / (high - low), and the host takes off low * (1 * w), which it
    computes exactly; with `split` x+ and x- are shown one after the other, over max(|low|, high). Of `bits` bits, the
    panel shows `slice_bits` at a time (A5); None shows the value as it is.
    """

    low: float
    high: float
    signs: Signs = "offset"
    bits: int | None = None
    slice_bits: int = 1

    @staticmethod
    def fitted(x: Tensor, signs: Signs = "offset", bits: int | None = None, slice_bits: int = 1) -> InputCoding:
        """The coding that holds every value of a calibration tensor; a range that starts above zero starts at zero."""
        low, high = min(0.0, float(x.min())), max(0.0, float(x.max()))
        return InputCoding(low, high if high > low else low + 1.0, signs, bits, slice_bits)

    def terms(self, x: Tensor) -> list[tuple[Tensor, float]]:
        """Panel values in [0, 1] and the weight of each in the result."""
        if self.low < 0 and self.signs == "split":
            span = max(-self.low, self.high)
            return [*self._slices((x / span).clamp(0, 1), span), *self._slices((-x / span).clamp(0, 1), -span)]
        span = self.high - self.low
        return self._slices(((x - self.low) / span).clamp(0, 1), span)

    def _slices(self, shown: Tensor, weight: float) -> list[tuple[Tensor, float]]:
        """Digits of base 2^slice_bits as panel values, lowest first; each has the gradient of the whole."""
        if self.bits is None or self.bits <= self.slice_bits:
            return [(shown, weight)]
        base, count = 2**self.slice_bits, -(-self.bits // self.slice_bits)
        code = torch.round(shown.detach() * (base**count - 1))
        digits = []
        for place in range(count):
            digit = torch.remainder(torch.floor(code / base**place), base) / (base - 1)
            share = (base - 1) * base**place / (base**count - 1)
            digits.append((straight_through(digit, shown), weight * share))
        return digits

    @property
    def offset(self) -> float:
        """What the shown zero stands for: the host adds it times the kernel's response to ones."""
        return 0.0 if self.signs == "split" else self.low


@dataclass(frozen=True)
class LayerOptics:
    """The optics as one layer uses it: chain, input coding, extra guard pixels between tiles, tiles on the plane.

    `flat_field` True divides by the unit's measured gain map, whose own error is `flat_field_error` (RMS). `gain` is
    the slope that calibration fitted of known outputs against measured ones.
    """

    chain: Chain
    coding: InputCoding
    guard: int = 0
    tiles: int = 1
    flat_field: bool = True
    flat_field_error: float = 0.0
    gain: float = 1.0

    def sensor(
        self, shape: tuple[int, ...], generator: torch.Generator, seen: Callable[[Tensor], None] | None
    ) -> Sensor:
        """The camera behind `shape` = (samples, ...) kept pixels: sample i stands on tile i modulo `tiles`."""
        camera, seed = self.chain.camera, self.chain.unit_seed
        if not camera.prnu and not camera.dsnu_e_per_s:
            return Sensor(self.chain, None, generator, None, seen)
        held = min(shape[0], self.tiles)
        drawn = draw_pattern(camera, (held, *shape[1:]), seed)
        stand = torch.arange(shape[0]) % held
        pattern = FixedPattern(drawn.gain_error[stand], drawn.dark_e_per_s[stand])
        if not self.flat_field:
            return Sensor(self.chain, pattern, generator, None, seen)
        error = self.flat_field_error * torch.randn(
            drawn.gain_error.shape, generator=torch.Generator().manual_seed(seed + 1), dtype=torch.float64
        )
        return Sensor(self.chain, pattern, generator, (1 + drawn.gain_error + error)[stand], seen)


def tile_sides(elements: int) -> Pair:
    """Rows and columns of the squarest image that holds a row of so many elements."""
    cols = isqrt(elements - 1) + 1
    return ceil(elements / cols), cols


def optical_linear(
    x: Tensor,
    weight: Tensor,
    optics: LayerOptics,
    generator: torch.Generator,
    seen: Callable[[Tensor], None] | None = None,
) -> Tensor:
    """x (..., K) times weight (N, K) transposed, (..., N), as a valid convolution shared by all rows of x.

    Each row is a tile of the squarest image that holds K, each row of the weight a kernel of the same size, of which
    the aligned camera pixel is kept. Differentiable in both.
    """
    sides = tile_sides(x.shape[-1])
    missing = sides[0] * sides[1] - x.shape[-1]
    rows = functional.pad(x.flatten(0, -2), (0, missing))
    kernels = functional.pad(weight, (0, missing)).reshape(-1, *sides)
    return shared_kernels(rows, kernels, optics, generator, seen).reshape(*x.shape[:-1], -1)


def shared_kernels(
    rows: Tensor,
    kernels: Tensor,
    optics: LayerOptics,
    generator: torch.Generator,
    seen: Callable[[Tensor], None] | None = None,
) -> Tensor:
    """Dot products (B, N) of tiles (B, r c) with kernels (N, r, c) that all of them share."""
    sides = (kernels.shape[-2], kernels.shape[-1])
    sensor = optics.sensor((rows.shape[0], 1), generator, seen)

    def view(values: Tensor) -> View:
        return DotView(values, sides, optics.guard, optics.chain, generator)

    samples = optics.chain.periods**2 * (sides[0] + optics.guard) * (sides[1] + optics.guard)
    # The mask convolves, the layer correlates: kernels go on turned.
    turned, held = kernels.flip(-2, -1), max(1, MAX_MASK_SAMPLES // samples)
    parts = [turned[first : first + held] for first in range(0, len(turned), held)]
    measured = torch.cat([_detected(rows, part, view, optics, sensor) for part in parts], dim=-1)
    return measured + optics.coding.offset * kernels.sum((-2, -1))


def optical_conv2d(
    x: Tensor,
    weight: Tensor,
    optics: LayerOptics,
    generator: torch.Generator,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
    groups: int = 1,
    seen: Callable[[Tensor], None] | None = None,
) -> Tensor:
    """F.conv2d of x (B, C, H, W) with weight (O, C / groups, k, k), every channel detected and summed on the host."""
    if x.shape[1] == 1 and x.shape[-2:] == weight.shape[-2:] and padding == (0, 0):
        return shared_kernels(x.flatten(1), weight[:, 0], optics, generator, seen)[..., None, None]
    spread = dilated(weight, dilation)
    outputs = tuple((x.shape[axis] + 2 * padding[axis] - spread.shape[axis]) // stride[axis] + 1 for axis in (-2, -1))
    kept = tuple(
        kept_outputs(x.shape[axis], spread.shape[axis], stride[axis], padding[axis], outputs[axis], optics.guard)
        for axis in (-2, -1)
    )
    maps = x.reshape(x.shape[0], groups, 1, x.shape[1] // groups, *x.shape[-2:])
    kernel = spread.flip(-2, -1).reshape(groups, weight.shape[0] // groups, *spread.shape[1:])
    sensor = optics.sensor((x.shape[0], 1, 1, 1, *outputs), generator, seen)

    def view(values: Tensor) -> View:
        return MapView(values, (kept[0], kept[1]), optics.chain, generator)

    detected = _detected(maps, kernel, view, optics, sensor).sum(3).flatten(1, 2)
    if optics.coding.offset == 0.0:
        return detected
    ones = torch.ones_like(x[:1])
    return detected + optics.coding.offset * functional.conv2d(ones, weight, None, stride, padding, dilation, groups)


def _detected(x: Tensor, kernel: Tensor, view: Callable[[Tensor], View], optics: LayerOptics, sensor: Sensor) -> Tensor:
    """What the camera reads of all terms of an input, summed by the host; a steady mask is loaded once for them."""
    total, masks, chain = torch.zeros(()), None, optics.chain
    for shown, weight in optics.coding.terms(x):
        seen = view(shown)
        if masks is None or not chain.steady:
            masks = load(kernel, seen, chain.readout)
        total = total + weight * read(masks, seen, sensor)
    return optics.gain * total


def dilated(weight: Tensor, dilation: Pair) -> Tensor:
    """A kernel (..., k, k) with dilation - 1 zeros between its taps."""
    if dilation == (1, 1):
        return weight
    rows, cols = ((size - 1) * gap + 1 for size, gap in zip(weight.shape[-2:], dilation, strict=True))
    spread = weight.new_zeros(*weight.shape[:-2], rows, cols)
    spread[..., :: dilation[0], :: dilation[1]] = weight
    return spread
