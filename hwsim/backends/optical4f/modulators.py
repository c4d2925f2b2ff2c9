"""Spatial light modulators: what a panel of pixels does to the value it was asked to show.

Each modulator takes the wanted value per pixel and returns the complex amplitude that leaves the pixel, on one sample
per pixel. What the pixel's shape does between samples (a sinc envelope on the far side of the lens) is `fill_envelope`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from hwsim.backends.optical4f.surrogates import gaussian_blur, round_through, straight_through
from hwsim.core.errors import UsageError

TWO_PI = 2 * math.pi
GreyMode: TypeAlias = Literal["binary", "pwm", "dither"]


@dataclass(frozen=True)
class PhaseModulator:
    """A phase-only SLM.

    bits: 2^bits equal phase steps over `range_rad`; None for a continuous one. lut_rad: the phases really shown at
    equally spaced drive levels over the range (None: linear). calibrated: drive levels are chosen through the
    inverse of that table. fill_factor: area that modulates. efficiency: power reflected by that area. gap_amplitude:
    amplitude reflected by the gaps, relative to the pixel. crosstalk_px: sigma of the fringing field in pixels.
    flicker_rad: RMS error of a phase at full range, drawn per frame; smaller phases flicker in proportion.
    """

    bits: int | None = 8
    range_rad: float = TWO_PI
    lut_rad: tuple[float, ...] | None = None
    calibrated: bool = True
    fill_factor: float = 1.0
    efficiency: float = 1.0
    gap_amplitude: float = 0.0
    crosstalk_px: float = 0.0
    flicker_rad: float = 0.0

    @property
    def open_amplitude(self) -> float:
        """Amplitude that an open pixel passes of what falls on it, gaps aside."""
        return math.sqrt(self.efficiency) * self.fill_factor

    def phase(self, wanted_rad: Tensor) -> Tensor:
        """Phase that the panel shows for the wanted one: wrapped, levelled, bent by the table, smeared (..., H, W)."""
        wrapped = torch.remainder(wanted_rad, TWO_PI)
        table = None if self.lut_rad is None else torch.tensor(self.lut_rad, dtype=wrapped.dtype, device=wrapped.device)
        drive = wrapped / self.range_rad
        if table is not None and self.calibrated:
            drive = interpolate(
                wrapped, table, torch.linspace(0, 1, len(table), dtype=table.dtype, device=table.device)
            )
        if self.bits is not None:
            drive = self._levelled(drive, 2**self.bits)
        shown = self.range_rad * drive if table is None else _through_table(drive, table)
        return gaussian_blur(shown, self.crosstalk_px)

    def _levelled(self, drive: Tensor, levels: int) -> Tensor:
        """The nearest of the levels k / 2^b; the last step back to 0 wraps where the range is a whole turn."""
        nearest = round_through(drive * levels)
        whole_turn = abs(self.range_rad - TWO_PI) < 1e-9
        top = nearest - levels if whole_turn else torch.full_like(nearest, levels - 1)
        return torch.where(nearest > levels - 1, top, nearest) / levels

    def field(self, wanted_rad: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Complex amplitude (..., H, W) leaving each pixel: the modulated area plus what its gaps reflect (A25)."""
        phase = self.phase(wanted_rad)
        if self.flicker_rad and generator is not None:
            frames = torch.randn(*phase.shape[:-2], 1, 1, generator=generator, dtype=phase.dtype, device=phase.device)
            phase = phase * (1 + self.flicker_rad / self.range_rad * frames)
        lit = self.fill_factor * torch.polar(torch.ones_like(phase), phase)
        return math.sqrt(self.efficiency) * (lit + (1 - self.fill_factor) * self.gap_amplitude)


@dataclass(frozen=True)
class AmplitudeModulator:
    """An amplitude SLM: amplitude in [0, 1], levelled in the drive, with a dark floor.

    contrast: brightest over darkest power (inf: black is black). gamma: amplitude = drive^gamma as really shown; a
    calibrated panel chooses the drive through its inverse. Other fields as in PhaseModulator; flicker is the relative
    RMS of the amplitude.
    """

    bits: int | None = 8
    contrast: float = math.inf
    gamma: float = 1.0
    calibrated: bool = True
    fill_factor: float = 1.0
    efficiency: float = 1.0
    crosstalk_px: float = 0.0
    flicker: float = 0.0

    @property
    def open_amplitude(self) -> float:
        """Amplitude that a fully open pixel passes of what falls on it."""
        return math.sqrt(self.efficiency) * self.fill_factor

    def field(self, wanted: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Amplitude (..., H, W), real and non-negative, leaving each pixel."""
        drive = wanted.clamp(0.0, 1.0)
        if self.calibrated and self.gamma != 1.0:
            drive = drive.clamp_min(1e-12) ** (1 / self.gamma)
        if self.bits is not None:
            drive = round_through(drive * (2**self.bits - 1)) / (2**self.bits - 1)
        shown = drive if self.gamma == 1.0 else drive.clamp_min(1e-12) ** self.gamma
        floor = 0.0 if math.isinf(self.contrast) else 1 / math.sqrt(self.contrast)
        shown = gaussian_blur(floor + (1 - floor) * shown, self.crosstalk_px)
        if self.flicker and generator is not None:
            frames = torch.randn(*shown.shape[:-2], 1, 1, generator=generator, dtype=shown.dtype, device=shown.device)
            shown = shown * (1 + self.flicker * frames)
        return self.open_amplitude * shown


@dataclass(frozen=True)
class Dmd:
    """A binary mirror device: mirrors are on or off, grey comes from time (`pwm`) or area (`dither`).

    bits: bit planes of PWM, or the side's power of two of the dither cell. contrast, fill_factor, efficiency as above.
    """

    mode: GreyMode = "binary"
    bits: int = 1
    contrast: float = math.inf
    fill_factor: float = 1.0
    efficiency: float = 1.0

    def frames(self, wanted: Tensor) -> tuple[Tensor, Tensor]:
        """Binary amplitude frames (F, ..., H, W) and the share of the exposure (F,) that each is shown.

        Coherent light does not see PWM as grey amplitude: the camera sums the *intensities* of the frames, each of
        share 2^b / (2^bits - 1), so grey is linear in incoherent light only. `dither` and `binary` are one frame.
        """
        clipped = wanted.clamp(0.0, 1.0)
        if self.mode == "pwm":
            top = 2**self.bits - 1
            code = torch.round(clipped * top).to(torch.int64)
            planes = torch.stack([(code >> b) & 1 for b in range(self.bits)]).to(wanted.dtype)
            shares = torch.tensor([2.0**b / top for b in range(self.bits)], dtype=wanted.dtype, device=wanted.device)
            return self._mirrors(planes), shares
        threshold = ordered_threshold(wanted, self.bits) if self.mode == "dither" else torch.full_like(clipped, 0.5)
        on = straight_through((clipped > threshold).to(wanted.dtype), clipped)
        return self._mirrors(on)[None], torch.ones(1, dtype=wanted.dtype, device=wanted.device)

    def _mirrors(self, on: Tensor) -> Tensor:
        floor = 0.0 if math.isinf(self.contrast) else 1 / math.sqrt(self.contrast)
        return math.sqrt(self.efficiency) * self.fill_factor * (floor + (1 - floor) * on)


def ordered_threshold(like: Tensor, bits: int) -> Tensor:
    """Bayer's thresholds in (0, 1) of a 2^bits-sided cell, repeated over the last two axes of `like`."""
    cell = torch.zeros(1, 1, dtype=like.dtype, device=like.device)
    for _ in range(bits):
        cell = torch.cat([torch.cat([4 * cell, 4 * cell + 2], -1), torch.cat([4 * cell + 3, 4 * cell + 1], -1)], -2)
    rows, cols = like.shape[-2:]
    side = cell.shape[-1]
    tiled = cell.repeat(-(-rows // side), -(-cols // side))[:rows, :cols]
    return ((tiled + 0.5) / side**2).expand(like.shape)


def fill_envelope(samples: int, fill_factor: float, replicas: int = 1) -> Tensor:
    """Amplitude envelope sinc(sqrt(F) p nu) across the plane behind a lens, (samples,), 1 at the centre.

    The plane behind a lens shows frequencies |nu| <= replicas / (2 p) of a panel of pitch p, centred at N/2.
    """
    nu = (torch.arange(samples, dtype=torch.float64) - samples / 2) / samples * replicas
    return torch.sinc(math.sqrt(fill_factor) * nu)


def interpolate(x: Tensor, at: Tensor, values: Tensor) -> Tensor:
    """Piecewise-linear values(x) at x, flat beyond the ends of `at` (n,), which must rise, else UsageError."""
    if bool((at[1:] <= at[:-1]).any()):
        raise UsageError(
            "the look-up table does not rise",
            where="modulator lut_rad",
            got=at.tolist(),
            expected="strictly increasing phases",
            remedy="measure the panel over one monotonic stretch of its response",
        )
    right = torch.searchsorted(at, x.detach().contiguous()).clamp(1, len(at) - 1)
    left = right - 1
    slope = (values[right] - values[left]) / (at[right] - at[left])
    return (values[left] + (x - at[left]) * slope).clamp(values[0], values[-1])


def _through_table(drive: Tensor, table: Tensor) -> Tensor:
    levels = torch.linspace(0, 1, len(table), dtype=table.dtype, device=table.device)
    return interpolate(drive, levels, table)
