"""Signed numbers off the camera: which frames are exposed for one kernel, and what their signals amount to.

The optics in front is a `View`: anything that gives the field, or in incoherent light the intensity, that a prepared
mask makes on the camera. A whole plane by FFT and a product of a tile with its point response are two views of one
system.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import torch
from torch import Tensor

from hwsim.backends.optical4f.camera import FixedPattern, draw_pattern, expose
from hwsim.backends.optical4f.chain import (
    Chain,
    PreparedMask,
    camera_amplitude,
    incoherent_intensity,
    prepare_mask,
)
from hwsim.backends.optical4f.encodings import power_of
from hwsim.backends.optical4f.readout import Readout, amplitude_of, demodulate, interferogram_phases, split_signs
from hwsim.core.errors import UsageError

# Kernel value added under the root in incoherent light, relative to a kernel of order 1.
INCOHERENT_FLOOR = 1e-12


class View(Protocol):
    """The optics between one input and the camera pixels of interest."""

    def prepare(self, kernel: Tensor) -> PreparedMask:
        """Load a kernel (..., k, k) onto the mask; the scale taken out broadcasts with the view's pixels."""
        ...

    def amplitude(self, mask: PreparedMask) -> Tensor:
        """Complex field on the camera pixels in units of a fully open input pixel."""
        ...

    def powers(self, masks: Sequence[PreparedMask]) -> Tensor:
        """|amplitude|^2 of several masks, stacked on a new first axis."""
        ...

    def intensity(self, mask: PreparedMask) -> Tensor:
        """Intensity on the camera pixels in incoherent light, in the same units."""
        ...


@dataclass(frozen=True)
class Sensor:
    """What turns intensity into a known signal: the unit's fixed pattern, its noise, and what calibration took out.

    `flat_field` is the measured gain of each pixel, 1 where none was measured; it broadcasts with the pattern. `seen`
    receives the mean signal in electrons of every frame, for the photon budget.
    """

    chain: Chain
    pattern: FixedPattern | None
    generator: torch.Generator
    flat_field: Tensor | None = None
    seen: Callable[[Tensor], None] | None = None

    def signal_e(self, intensity: Tensor) -> Tensor:
        """Electrons that an experimenter recovers: DN less offset and mean dark, over gain and flat field."""
        chain = self.chain
        mean = chain.electrons_per_unit * intensity
        if self.seen is not None:
            self.seen(mean.detach())
        dn = expose(mean, chain.camera, self.pattern, self.generator)
        gain, dark = chain.camera.gain, chain.camera.dark_e_per_s * chain.camera.exposure_s
        known = gain * dark + chain.camera.offset_dn
        signal = (dn - known if known else dn) / gain if known or gain != 1.0 else dn
        return signal if self.flat_field is None else signal / self.flat_field.to(signal.device, signal.dtype)


def detect(kernel: Tensor, view: View, sensor: Sensor) -> Tensor:
    """The signed convolution at the view's pixels, real, in the units of the ideal result, by the chain's readout.

    kernel: (..., k, k) real, centred at k // 2, broadcasting with the view's input.
    """
    return read(load(kernel, view, sensor.chain.readout), view, sensor)


def load(kernel: Tensor, view: View, readout: Readout) -> list[PreparedMask]:
    """The masks that a readout shows for one kernel; unless the panel flickers they serve any number of inputs."""
    signed = readout in ("amplitude", "interferometric")
    parts: tuple[Tensor, ...] = (kernel,) if signed else split_signs(kernel)
    if readout == "incoherent":
        # The mask makes the amplitude point response sqrt(k); the light then convolves intensities with |sqrt(k)|^2.
        # A floor far below any level keeps the root's slope finite.
        parts = tuple(torch.sqrt(part + INCOHERENT_FLOOR) for part in parts)
    return [view.prepare(part) for part in parts]


def read(masks: Sequence[PreparedMask], view: View, sensor: Sensor) -> Tensor:
    """What the camera measures through the masks of `load`."""
    return _READOUTS[sensor.chain.readout](masks, view, sensor)


def _amplitude(masks: Sequence[PreparedMask], view: View, sensor: Sensor) -> Tensor:
    signal = sensor.signal_e(power_of(view.amplitude(masks[0])))
    return amplitude_of(signal) * masks[0].scale / math.sqrt(sensor.chain.electrons_per_unit)


def _two_frames(masks: Sequence[PreparedMask], view: View, sensor: Sensor) -> Tensor:
    plus, minus = amplitude_of(sensor.signal_e(view.powers(masks))).unbind()
    unit = math.sqrt(sensor.chain.electrons_per_unit)
    return plus * (masks[0].scale / unit) - minus * (masks[1].scale / unit)


def _incoherent(masks: Sequence[PreparedMask], view: View, sensor: Sensor) -> Tensor:
    signals = [sensor.signal_e(view.intensity(mask).clamp_min(0.0)) * mask.scale.square() for mask in masks]
    return (signals[0] - signals[1]) / sensor.chain.electrons_per_unit


def _interferometric(masks: Sequence[PreparedMask], view: View, sensor: Sensor) -> Tensor:
    chain = sensor.chain
    amplitude = view.amplitude(masks[0])
    frames = []
    for phase in interferogram_phases(chain.phase_steps).tolist():
        reference = chain.reference_amplitude * complex(math.cos(phase), math.sin(phase))
        frames.append(sensor.signal_e(power_of(amplitude + reference)))
    measured = demodulate(torch.stack(frames), chain.reference_amplitude * chain.electrons_per_unit)
    real = measured.real if measured.is_complex() else measured
    return real * masks[0].scale


_READOUTS: dict[Readout, Callable[[Sequence[PreparedMask], View, Sensor], Tensor]] = {
    "amplitude": _amplitude,
    "two_frame": _two_frames,
    "interferometric": _interferometric,
    "incoherent": _incoherent,
}

Shape: TypeAlias = tuple[int, int]


@dataclass(frozen=True)
class PlaneView:
    """A whole plane: images (..., H, W) through FFTs, displaced as the chain says."""

    image: Tensor
    chain: Chain
    generator: torch.Generator

    def prepare(self, kernel: Tensor) -> PreparedMask:
        return prepare_mask(kernel, (self.image.shape[-2], self.image.shape[-1]), self.chain, self.generator)

    def amplitude(self, mask: PreparedMask) -> Tensor:
        return camera_amplitude(self.image, mask, self.chain, self.generator)

    def powers(self, masks: Sequence[PreparedMask]) -> Tensor:
        return torch.stack([power_of(self.amplitude(mask)) for mask in masks])

    def intensity(self, mask: PreparedMask) -> Tensor:
        return incoherent_intensity(self.image, mask, self.chain, self.generator)


def convolve_measured(image: Tensor, kernel: Tensor, chain: Chain, generator: torch.Generator) -> Tensor:
    """The convolution image * kernel as the camera measures it, real (..., H, W), in the units of the ideal result.

    image: (..., H, W) in [0, 1]: amplitudes on the input panel, intensities where the light is incoherent.
    kernel: (..., k, k) real, centred at k // 2; leading axes broadcast. Raises UsageError for inputs below zero.
    """
    require_light(image)
    pattern = draw_pattern(chain.camera, (image.shape[-2], image.shape[-1]), chain.unit_seed)
    return detect(kernel, PlaneView(image, chain, generator), Sensor(chain, pattern, generator))


def require_light(image: Tensor) -> None:
    """Raise UsageError where a panel is asked for less than no light."""
    if bool((image < 0).any()):
        raise UsageError(
            f"input panel asked for an amplitude of {float(image.min()):.3g}",
            where="optical chain",
            got=float(image.min()),
            expected="amplitudes in [0, 1]",
            remedy="split a signed input into x+ and x- (four frames), or add an offset and subtract its response",
        )
