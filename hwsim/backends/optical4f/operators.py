"""The operators of a network as the optics computes them: drop-in linear and conv2d that keep their photon budget."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from hwsim.backends.optical4f.chain import Chain
from hwsim.backends.optical4f.layers import InputCoding, LayerOptics, Pair, Signs, optical_conv2d, optical_linear

# Known patterns that calibration shows: enough that its straight line is far better than one output.
CALIBRATION_TILES = 64


@dataclass
class Budget:
    """Photoelectrons and MACs that went through an operator, and what its camera had to clip."""

    electrons: float = 0.0
    square_electrons: float = 0.0
    macs: int = 0
    outputs: int = 0
    pixels: int = 0
    saturated: int = 0

    @property
    def photons_per_mac(self) -> float:
        """Detected photons (photoelectrons, over all frames) per multiply-accumulate."""
        return self.electrons / self.macs if self.macs else 0.0

    @property
    def photons_per_output(self) -> float:
        return self.electrons / self.outputs if self.outputs else 0.0

    @property
    def saturated_share(self) -> float:
        """Part of the camera pixels whose mean signal was beyond what they can hold."""
        return self.saturated / self.pixels if self.pixels else 0.0


@dataclass
class Operator:
    """linear and conv2d through one chain, with torch's signatures; biases are added by the host in float.

    The host knows a batch before it is shown and scales it by its own extremes (A31). bits and slice_bits are the
    operand's and one pattern's; tiles is how many the plane holds.
    """

    chain: Chain
    generator: torch.Generator
    signs: Signs = "offset"
    bits: int | None = None
    slice_bits: int = 8
    guard: int = 0
    tiles: int = 1
    flat_field: bool = True
    flat_field_error: float = 0.0
    gain: float = 1.0
    budget: Budget = field(default_factory=Budget)

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """torch.nn.functional.linear."""
        y = optical_linear(x, weight, self._optics(x), self.generator, self._seen)
        self._count(y, weight.shape[-1])
        return y if bias is None else y + bias

    def conv2d(
        self,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: int | Sequence[int] = 1,
        padding: int | str | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
    ) -> Tensor:
        """torch.nn.functional.conv2d; `same` padding of an even kernel pads the end, as torch does."""
        gaps = _pair(dilation)
        x, pads = _padded(x, weight, padding, gaps)
        y = optical_conv2d(x, weight, self._optics(x), self.generator, _pair(stride), pads, gaps, groups, self._seen)
        self._count(y, prod(weight.shape[1:]))
        return y if bias is None else y + bias[:, None, None]

    def conv1d(self, x: Tensor, weight: Tensor, bias: Tensor | None = None, *geometry: Any, **named: Any) -> Tensor:
        """torch.nn.functional.conv1d, as one row of a plane; stride, padding, dilation and groups as torch has them."""
        given = dict(zip(("stride", "padding", "dilation", "groups"), geometry, strict=False)) | named
        along = {name: _along_columns(name, value) for name, value in given.items()}
        return self.conv2d(x[:, :, None], weight[:, :, None], bias, **along)[:, :, 0]

    def matmul(self, a: Tensor, b: Tensor) -> Tensor:
        """torch.matmul of a (..., M, K) and b (..., K, N): the columns of b are the kernels of each product."""
        if b.dim() == 2:
            return self.linear(a, b.mT)
        batch = np.broadcast_shapes(tuple(a.shape[:-2]), tuple(b.shape[:-2]))
        left = a.expand(*batch, *a.shape[-2:]).reshape(-1, *a.shape[-2:])
        right = b.expand(*batch, *b.shape[-2:]).reshape(-1, *b.shape[-2:])
        products = [self.linear(x, y.mT) for x, y in zip(left, right, strict=True)]
        return torch.stack(products).reshape(*batch, a.shape[-2], b.shape[-1])

    def calibrated(self, seed: int = 0) -> Operator:
        """The operator with its gain fitted: known random tiles and kernels shown, read and regressed."""
        draw = torch.Generator().manual_seed(seed)
        # Open and closed pixels: patterns that any panel shows as they are.
        tiles = torch.randint(0, 2, (CALIBRATION_TILES, 16), generator=draw).to(torch.float32)
        kernels = torch.randn(CALIBRATION_TILES, 16, generator=draw)
        raw = replace(self, gain=1.0, bits=None, budget=Budget())
        with torch.no_grad():
            measured, known = raw.linear(tiles, kernels).flatten(), (tiles @ kernels.T).flatten()
        centred = measured - measured.mean()
        gain = float((centred * known).sum() / centred.square().sum())
        return replace(self, gain=gain, budget=Budget())

    @property
    def identity(self) -> str:
        """All that decides what the operator computes, its noise generator's state aside."""
        camera = self.chain.camera
        uneven = camera.prnu or camera.dsnu_e_per_s
        pattern = (self.tiles, self.flat_field, self.flat_field_error) if uneven else ()
        return repr((self.chain.identity, self.signs, self.bits, self.slice_bits, self.guard, pattern))

    @property
    def snr(self) -> float:
        """RMS signal over RMS noise of the camera pixels so far, flat-fielded where the operator is."""
        camera, seen = self.chain.camera, self.budget
        known = replace(camera, prnu=self.flat_field_error) if self.flat_field and camera.prnu else camera
        return known.rms_snr(seen.pixels, seen.electrons, seen.square_electrons)

    def _optics(self, x: Tensor) -> LayerOptics:
        coding = InputCoding.fitted(x.detach(), self.signs, self.bits, self.slice_bits)
        return LayerOptics(
            self.chain, coding, self.guard, self.tiles, self.flat_field, self.flat_field_error, self.gain
        )

    def _seen(self, mean_e: Tensor) -> None:
        flat = mean_e.flatten()
        self.budget.electrons += float(flat.sum())
        self.budget.square_electrons += float(torch.dot(flat, flat))
        self.budget.pixels += mean_e.numel()
        top = self.chain.camera.saturation_e
        if math.isfinite(top):
            self.budget.saturated += int(torch.count_nonzero(flat > top))

    def _count(self, y: Tensor, macs_per_output: int) -> None:
        self.budget.outputs += y.numel()
        self.budget.macs += y.numel() * macs_per_output


class ThroughOptics(TorchFunctionMode):
    """While active, torch's linear and conv2d run on an operator: any module, training included, without surgery.

    `chosen` picks the operator by the call's weight; None leaves the call to the host.
    """

    def __init__(self, chosen: Callable[[Tensor], Operator | None]) -> None:
        super().__init__()
        self._chosen = chosen

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # fmt: skip
        kwargs = kwargs or {}
        if func in (functional.linear, functional.conv2d):
            operator = self._chosen(args[1] if len(args) > 1 else kwargs["weight"])
            if operator is not None:
                run = operator.linear if func is functional.linear else operator.conv2d
                # Inside, the mode is off: the host's own products stay the host's.
                return run(*args, **kwargs)
        return func(*args, **kwargs)


def _along_columns(name: str, value: Any) -> Any:
    """A setting of a one-dimensional convolution for the columns of a plane of one row."""
    if name == "groups" or isinstance(value, str):
        return value
    return 0 if name == "padding" else 1, _pair(value)[1]


def _pair(value: int | Sequence[int]) -> Pair:
    if isinstance(value, int):
        return value, value
    return (value[0], value[0]) if len(value) == 1 else (value[0], value[1])


def _padded(x: Tensor, weight: Tensor, padding: int | str | Sequence[int], dilation: Pair) -> tuple[Tensor, Pair]:
    """The input and its symmetric padding; what `same` adds to one end alone is added to the input."""
    if padding == "valid":
        return x, (0, 0)
    if not isinstance(padding, str):
        return x, _pair(padding)
    reach = [gap * (size - 1) for gap, size in zip(dilation, weight.shape[-2:], strict=True)]
    odd = [total % 2 for total in reach]
    if any(odd):
        x = functional.pad(x, (0, odd[1], 0, odd[0]))
    return x, (reach[0] // 2, reach[1] // 2)
