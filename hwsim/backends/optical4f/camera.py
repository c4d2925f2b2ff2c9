"""The camera: intensity to electrons to digital numbers, with every noise source on its own switch.

Poisson(S (1 + PRNU_i) + D_i t) + N(0, sigma_r^2), clipped at the full well, then gain, offset and ADC, after the
EMVA 1288 model (release 4.0, section 2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hwsim.backends.optical4f.bench import LIGHT_M_PER_S, PLANCK_J_S
from hwsim.backends.optical4f.surrogates import poisson, straight_through


def photon_energy_j(wavelength_m: float) -> float:
    """h c / lambda in joules."""
    return PLANCK_J_S * LIGHT_M_PER_S / wavelength_m


@dataclass(frozen=True)
class Camera:
    """A sensor and its settings.

    prnu: relative RMS of the pixels' gain. dark_e_per_s, dsnu_e_per_s: mean dark current and its RMS over pixels.
    gain_dn_per_e: None sets the full well to the top code. bits None: no ADC. full_well_e inf: never saturates.
    shot_noise False counts the mean (the limit of bright light).
    """

    pitch_m: float
    exposure_s: float
    quantum_efficiency: float = 1.0
    full_well_e: float = math.inf
    read_noise_e: float = 0.0
    dark_e_per_s: float = 0.0
    dsnu_e_per_s: float = 0.0
    prnu: float = 0.0
    bits: int | None = None
    gain_dn_per_e: float | None = None
    offset_dn: float = 0.0
    shot_noise: bool = True

    @property
    def gain(self) -> float:
        """Digital numbers per electron."""
        if self.gain_dn_per_e is not None:
            return self.gain_dn_per_e
        if self.bits is None or math.isinf(self.full_well_e):
            return 1.0
        return float(2**self.bits - 1 - self.offset_dn) / self.full_well_e

    @property
    def saturation_e(self) -> float:
        """Electrons at which a pixel stops responding: full well or top code, whichever is lower."""
        if self.bits is None:
            return self.full_well_e
        return min(self.full_well_e, float(2**self.bits - 1 - self.offset_dn) / self.gain)

    @property
    def span_e(self) -> tuple[float, float]:
        """Electrons between which a pixel follows its light: half a code below the first and above the last, or the
        full well."""
        if self.bits is None:
            return -math.inf, self.full_well_e
        least, most = (-0.5 - self.offset_dn) / self.gain, (2**self.bits - 0.5 - self.offset_dn) / self.gain
        return least, min(self.full_well_e, most)

    def electrons_per_intensity(self, wavelength_m: float) -> float:
        """Mean signal electrons of one pixel and exposure per W/m^2: QE A t / (h nu)."""
        photons = self.pitch_m**2 * self.exposure_s / photon_energy_j(wavelength_m)
        return self.quantum_efficiency * photons

    def noise_e(self, signal_e: Tensor) -> Tensor:
        """RMS noise in electrons of one pixel: sqrt(S + D t + sigma_r^2 + (PRNU S)^2 + LSB^2 / 12).

        The PRNU term is what one unit without flat field shows over its pixels.
        """
        floor, slope, square = self._variance_e2()
        return torch.sqrt(floor + slope * signal_e + square * signal_e.square())

    def _variance_e2(self) -> tuple[float, float, float]:
        """Variance of the noise as a polynomial of the signal: what the dark has, per electron, per its square."""
        lsb = 0.0 if self.bits is None else 1 / self.gain
        shot = 1.0 if self.shot_noise else 0.0
        dark = shot * self.dark_e_per_s * self.exposure_s + (self.dsnu_e_per_s * self.exposure_s) ** 2
        return dark + self.read_noise_e**2 + lsb**2 / 12, shot, self.prnu**2

    def rms_snr(self, pixels: int, sum_e: float, sum_square_e2: float) -> float:
        """RMS signal over RMS noise of many pixels, from the sums of their mean signals and of its squares."""
        floor, slope, square = self._variance_e2()
        noise = floor * pixels + slope * sum_e + square * sum_square_e2
        return math.sqrt(sum_square_e2 / noise) if noise > 0 else math.inf

    def snr(self, signal_e: Tensor) -> Tensor:
        """Signal over its RMS noise; log2 of it is the effective bits."""
        return signal_e / self.noise_e(signal_e)


@dataclass(frozen=True)
class FixedPattern:
    """One unit's pixels: relative gain error and dark current in e-/s, each
    (..., H, W)."""

    gain_error: Tensor
    dark_e_per_s: Tensor


def draw_pattern(camera: Camera, shape: tuple[int, ...], seed: int) -> FixedPattern:
    """The fixed pattern of the unit numbered `seed`: Gaussian PRNU and DSNU, dark current never negative."""
    generator = torch.Generator().manual_seed(seed)
    gain_error = camera.prnu * torch.randn(shape, generator=generator, dtype=torch.float64)
    dark = camera.dark_e_per_s + camera.dsnu_e_per_s * torch.randn(shape, generator=generator, dtype=torch.float64)
    return FixedPattern(gain_error.clamp_min(-1.0), dark.clamp_min(0.0))


def expose(signal_e: Tensor, camera: Camera, pattern: FixedPattern | None, generator: torch.Generator) -> Tensor:
    """Digital numbers (..., H, W) of one frame whose mean signal is `signal_e` electrons, (..., H, W) >= 0.

    `pattern` None stands for pixels that are all alike.

    Gradients pass through the noise and the rounding as through their means, and stop where a pixel saturates.
    """
    if pattern is None:
        dark = camera.dark_e_per_s * camera.exposure_s
        mean = signal_e + dark if dark else signal_e
    else:
        gain = 1 + pattern.gain_error.to(signal_e.device, signal_e.dtype)
        mean = signal_e * gain + pattern.dark_e_per_s.to(signal_e.device, signal_e.dtype) * camera.exposure_s
    dn, slope = _frame(mean.detach(), camera, generator)
    return straight_through(dn, mean, slope) if mean.requires_grad else dn


def _frame(mean_e: Tensor, camera: Camera, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Digital numbers of pixels that expect `mean_e` electrons, and their derivative by it: the gain, 0 if saturated.

    What a full well or a code of 0 or 2^b - 1 cuts off has no derivative; noise and rounding have that of their means.
    """
    held = poisson(mean_e, generator) if camera.shot_noise else mean_e.clone()
    if camera.read_noise_e:
        noise = torch.randn(mean_e.shape, generator=generator, dtype=mean_e.dtype, device=mean_e.device)
        held.add_(noise, alpha=camera.read_noise_e)
    # Scaling and rounding keep the order, so that well and codes clip at once, in electrons as in numbers.
    least, most = camera.span_e
    slope = ((held >= least) & (held <= most)) * camera.gain
    if camera.gain != 1.0:
        held.mul_(camera.gain)
    if camera.offset_dn:
        held.add_(camera.offset_dn)
    full = camera.gain * camera.full_well_e + camera.offset_dn
    if camera.bits is None:
        return held.clamp_max_(full), slope
    top = 2**camera.bits - 1
    return held.round_().clamp_(0, top if full >= top else round(full)), slope


def saturated_share(dn: Tensor, camera: Camera) -> float:
    """Part of the pixels at the top code or the full well."""
    top = camera.gain * camera.saturation_e + camera.offset_dn
    return float((dn >= top - 0.5 * (camera.bits is not None)).double().mean()) if math.isfinite(top) else 0.0
