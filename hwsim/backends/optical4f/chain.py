"""The optical chain, from the values asked of the panels to the field on the camera.

laser -> input panel -> lens -> mask panel (pupil, aberration) -> lens -> camera (displaced). Batched over images and
kernels by broadcasting, differentiable, on the DFT's own grid: the mask has the full band of the input panel, lambda
f / p (A24). `finite.camera_field` is the tool for clipped bands; `detection` reads signed numbers off the camera.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from hwsim.backends.optical4f.bench import BINARY_ORDER, REFERENCE_AMPLITUDE
from hwsim.backends.optical4f.camera import Camera
from hwsim.backends.optical4f.convolution import embed_kernel, signed_index, transfer_function
from hwsim.backends.optical4f.encodings import binary_hologram, double_phase, kinoform, normalise_mask, power_of
from hwsim.backends.optical4f.misalignment import Misalignment, camera_factor, misplaced_response, resample_camera
from hwsim.backends.optical4f.modulators import AmplitudeModulator, PhaseModulator
from hwsim.backends.optical4f.pupils import Pupil, edge_coverage
from hwsim.backends.optical4f.readout import Readout

Encoding: TypeAlias = Literal["complex", "double_phase", "kinoform", "binary_amplitude", "binary_phase"]


@dataclass(frozen=True)
class Chain:
    """An optical 4f processor: geometry, light, panels, errors, camera and readout.

    irradiance_w_m2 is the light on the input panel. source and mask None are ideal panels. encoding says how complex
    mask values go onto the mask panel, the binary ones over `superpixel` pixels per axis. pupil None passes the
    whole band, and so does stop_m None, the sides (rows, columns) of the mask panel. reference_amplitude is the
    interferometer's, relative to a fully open input pixel. unit_seed numbers the individual camera (its fixed
    pattern). window is how many images per axis the mask resolves, None for the least that its encoding needs: more
    of them carry the encoding's noise further from the image.
    """

    wavelength_m: float
    focal_m: float
    pitch_m: float
    irradiance_w_m2: float
    camera: Camera
    source: AmplitudeModulator | None = None
    mask: PhaseModulator | None = None
    encoding: Encoding = "complex"
    pupil: Pupil | None = None
    stop_m: tuple[float, float] | None = None
    misalignment: Misalignment = field(default_factory=Misalignment)
    readout: Readout = "two_frame"
    phase_steps: int = 2
    reference_amplitude: float = REFERENCE_AMPLITUDE
    unit_seed: int = 0
    window: int | None = None
    superpixel: int = 4

    @property
    def electrons_per_unit(self) -> float:
        """Mean signal electrons of a camera pixel that receives unit field (a fully open input, an open mask)."""
        passed = 1.0 if self.source is None else self.source.open_amplitude
        passed *= 1.0 if self.mask is None else self.mask.open_amplitude
        return passed**2 * self.irradiance_w_m2 * self.camera.electrons_per_intensity(self.wavelength_m)

    @property
    def identity(self) -> str:
        """All that decides what a layer reads through the chain, light as counts: a weak laser exposed for long is a
        strong one exposed briefly."""
        camera = replace(self.camera, pitch_m=1.0, exposure_s=1.0, quantum_efficiency=1.0)
        dark_e = self.camera.dark_e_per_s * self.camera.exposure_s, self.camera.dsnu_e_per_s * self.camera.exposure_s
        # As many digits as products in another order share; designs that differ at all keep results of their own.
        counts = [f"{count:.12g}" for count in (self.electrons_per_unit, *dark_e)]
        camera = replace(camera, dark_e_per_s=0.0, dsnu_e_per_s=0.0)
        read = (self.readout, self.phase_steps, self.reference_amplitude, self.unit_seed)
        return repr((self.mask_identity, self.source, camera, counts, read))

    @property
    def steady(self) -> bool:
        """Whether a mask does the same to the light in every frame."""
        return self.encoding == "complex" or self.mask is None or not self.mask.flicker_rad

    @property
    def mask_identity(self) -> str:
        """All that decides what the mask of a kernel does to the light: chains that share it share their masks."""
        placed = self.pupil is not None or self.stop_m is not None or self.misalignment != Misalignment()
        geometry = (self.wavelength_m, self.focal_m, self.pitch_m) if placed else ()
        shown = (self.encoding, self.mask, self.periods, self.superpixel)
        return repr((shown, self.pupil, self.stop_m, self.misalignment, geometry))

    @property
    def real_response(self) -> bool:
        """Whether a real kernel's point response is real: nothing on the way but the mask itself."""
        return self.encoding == "complex" and self.pupil is None and self.misalignment == Misalignment()

    @property
    def periods(self) -> int:
        """Samples of the simulated plane per image sample and axis."""
        if self.window is not None:
            return self.window
        return {"double_phase": 2, "binary_amplitude": 2 * self.superpixel, "binary_phase": 2 * self.superpixel}.get(
            self.encoding, 1
        )


@dataclass(frozen=True)
class PreparedMask:
    """What a mask does to the light, and the scale taken out of it, which broadcasts with the camera pixels.

    `response` is a factor on the spectrum, (..., sH, sW) in FFT order; a view of a tile may hold it in its own form.
    """

    response: Tensor
    scale: Tensor


def prepare_mask(
    kernel: Tensor, shape: tuple[int, int], chain: Chain, generator: torch.Generator | None = None
) -> PreparedMask:
    """Load a small centred kernel (..., k, k) onto the mask panel for images of `shape`.

    The result holds every linear element between the input panel and the camera: mask, encoding and panel errors,
    pupil, aberration, mask position, camera shift and focus.
    """
    window = (shape[0] * chain.periods, shape[1] * chain.periods)
    wanted = _wanted_response(kernel, window, chain)
    scaled, scale = normalise_mask(wanted)
    panel, order = _on_panel(scaled, chain, generator)
    optics = camera_factor(window, chain.pitch_m, chain.wavelength_m, chain.misalignment)
    if chain.pupil is not None:
        optics = optics * _pupil_factor(window, chain.pupil, chain)
    if chain.stop_m is not None:
        optics = optics * _stop_factor(window, chain.stop_m, chain)
    return PreparedMask(panel * optics.to(panel.device, panel.dtype), scale / order)


def _wanted_response(kernel: Tensor, window: tuple[int, int], chain: Chain) -> Tensor:
    moved = chain.misalignment
    if moved.mask_rotation_rad == 0.0 and moved.mask_shift_m == (0.0, 0.0):
        return transfer_function(embed_kernel(kernel, window))
    extent = chain.wavelength_m * chain.focal_m / chain.pitch_m
    response = misplaced_response(kernel, window, (extent / window[0], extent / window[1]), moved)
    return response.to(torch.promote_types(kernel.dtype, torch.complex64))


def _on_panel(mask: Tensor, chain: Chain, generator: torch.Generator | None) -> tuple[Tensor, float]:
    """What the panel makes of the mask, relative to an open pixel, and the amplitude of the order that carries it."""
    if chain.encoding == "complex":
        return mask, 1.0
    modulator = PhaseModulator(bits=None) if chain.mask is None else chain.mask
    if chain.encoding in ("double_phase", "kinoform"):
        phases = double_phase(mask) if chain.encoding == "double_phase" else kinoform(mask)
        return modulator.field(phases, generator) / modulator.open_amplitude, 1.0
    two_phases = chain.encoding == "binary_phase"
    panel, carrier = binary_hologram(mask, chain.superpixel, two_phases)
    return panel * carrier, BINARY_ORDER[two_phases]


def _pupil_factor(window: tuple[int, int], pupil: Pupil, chain: Chain) -> Tensor:
    (rows, row_cell), (cols, col_cell) = (_mask_plane(n, chain) for n in window)
    return pupil.transmission(rows, cols, (row_cell, col_cell))


def _stop_factor(window: tuple[int, int], stop_m: tuple[float, float], chain: Chain) -> Tensor:
    """The part of every bin that the mask panel covers; beyond its edge nothing passes."""
    rows, cols = (edge_coverage(*_mask_plane(n, chain), side) for n, side in zip(window, stop_m, strict=True))
    return torch.outer(rows, cols)


def _mask_plane(count: int, chain: Chain) -> tuple[Tensor, Tensor]:
    """Positions of the bins of one axis in the mask plane, in FFT order, and their widths, (count,) in metres."""
    extent = chain.wavelength_m * chain.focal_m / chain.pitch_m
    points = signed_index(count) * extent / count
    return points, torch.full_like(points, extent / count)


def camera_amplitude(
    image: Tensor, mask: PreparedMask, chain: Chain, generator: torch.Generator | None = None
) -> Tensor:
    """Complex field (..., H, W) on the camera, in units of a fully open input pixel.

    image: (..., H, W), amplitudes in [0, 1] asked of the input panel.
    """
    rows, cols = image.shape[-2:]
    shown = shown_image(image, chain, generator)
    window = mask.response.shape[-2:]
    spectrum = torch.fft.fft2(shown, s=tuple(window)) * mask.response
    plane: Tensor = torch.fft.ifft2(spectrum)[..., :rows, :cols]
    return resample_camera(plane, chain.misalignment)


def shown_image(image: Tensor, chain: Chain, generator: torch.Generator | None = None) -> Tensor:
    """What the input panel makes of the values asked of it (..., H, W), relative to a fully open pixel."""
    if chain.source is None:
        return image
    return chain.source.field(image, generator) / chain.source.open_amplitude


def incoherent_intensity(
    image: Tensor, mask: PreparedMask, chain: Chain, generator: torch.Generator | None = None
) -> Tensor:
    """Camera intensity (..., H, W) in incoherent light: input intensities convolved with |h|^2 (Goodman, eq. 6-16)."""
    rows, cols = image.shape[-2:]
    shown = shown_image(image, chain, generator)
    window = tuple(mask.response.shape[-2:])
    spread = power_of(torch.fft.ifft2(mask.response))
    plane: Tensor = torch.fft.irfft2(torch.fft.rfft2(shown, s=window) * torch.fft.rfft2(spread), s=window)
    return resample_camera(plane[..., :rows, :cols], chain.misalignment)
