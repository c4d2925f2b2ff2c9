"""The sampling guard: which inequality a geometry violates, what that does, and the smallest change that mends it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from hwsim.backends.optical4f.masks import MaskPlane, PixelMask
from hwsim.backends.optical4f.propagation import PARAXIAL_PHASE_LIMIT_RAD, FreeSpace
from hwsim.backends.optical4f.relay import Relay, unvignetted_lens_m
from hwsim.core.errors import UsageError

# clips: light is truly lost. aliases: light of a replica order truly lands on the image, or samples lie.
# aberrates: a quadratic lens is not ideal here. blurs, saturates, late: see `limits`.
Kind: TypeAlias = Literal["clips", "aliases", "aberrates", "misplaces", "saturates", "late"]


@dataclass(frozen=True)
class Finding:
    """One violated inequality `inequality`, `left` against `right` in `unit`, its consequence and its remedy."""

    kind: Kind
    inequality: str
    left: float
    right: float
    unit: str
    consequence: str
    remedy: str

    def __str__(self) -> str:
        return (
            f"{self.inequality} is violated: {self.left:.4g} {self.unit} against {self.right:.4g} {self.unit}; "
            f"{self.consequence}\n  = {self.remedy}"
        )


def fourier_bin_m(wavelength_m: float, focal_m: float, pitch_m: float, samples: int) -> float:
    """Bin of the Fourier plane, lambda f / (N p), in metres."""
    return wavelength_m * focal_m / (samples * pitch_m)


def lens_pitch_limit_m(wavelength_m: float, focal_m: float, diameter_m: float) -> float:
    """Coarsest grid that samples the phase exp(-i pi r^2 / (lambda f)) of a lens of this diameter, lambda f / D."""
    return wavelength_m * focal_m / diameter_m


def transfer_function_limit_m(wavelength_m: float, pitch_m: float, samples: int) -> float:
    """Longest gap for which N samples hold the Fresnel transfer function, N p^2 / lambda, in metres."""
    return samples * pitch_m**2 / wavelength_m


def equal_pitch_samples(wavelength_m: float, focal_m: float, pitch_m: float) -> float:
    """Samples for which input and Fourier plane have one pitch, lambda f / p^2."""
    return wavelength_m * focal_m / pitch_m**2


def mask_coverage(side_m: float, wavelength_m: float, focal_m: float, pitch_m: float) -> float:
    """Part of each spectral axis that a mask of this side covers, at most 1."""
    return min(1.0, side_m * pitch_m / (wavelength_m * focal_m))


def coherent_cutoff_per_m(diameter_m: float, wavelength_m: float, focal_m: float) -> float:
    """Highest amplitude frequency through a pupil, D / (2 lambda f) in 1/m; the incoherent one is twice that."""
    return diameter_m / (2 * wavelength_m * focal_m)


def check_relay(relay: Relay, mask: MaskPlane) -> tuple[Finding, ...]:
    """Every inequality that this relay and mask violate, worst light loss first; empty when nothing is wrong."""
    findings = [_lens_clips(relay), _mask_clips(relay, mask), _replicas(relay, mask), _paraxial(relay)]
    return tuple(finding for finding in findings if finding is not None)


def require_sampled(relay: Relay, mask: MaskPlane) -> None:
    """Raise UsageError for the first finding of `check_relay` that aliases; clipping is physics and passes."""
    for finding in check_relay(relay, mask):
        if finding.kind == "aliases":
            raise UsageError(
                f"{finding.inequality}: {finding.left:.4g} {finding.unit}; {finding.consequence}",
                where="optical relay",
                got=finding.left,
                expected=f"{finding.right:.4g} {finding.unit}",
                remedy=finding.remedy,
            )


def _lens_clips(relay: Relay) -> Finding | None:
    if relay.lens_side_m is None:
        return None
    needed = unvignetted_lens_m(relay.wavelength_m, relay.focal_m, relay.pitch_m, max(relay.shape))
    if relay.lens_side_m >= needed:
        return None
    return Finding(
        "clips",
        "D >= N p + lambda f / p",
        relay.lens_side_m,
        needed,
        "m",
        "the lenses cut the high frequencies of the panel's rim; the loss is real, not numerical",
        f"use lenses of {needed * 1e3:.4g} mm or more",
    )


def _mask_clips(relay: Relay, mask: MaskPlane) -> Finding | None:
    side = 2 * min(mask.half_side_m(0, relay), mask.half_side_m(1, relay))
    if isinstance(mask, PixelMask):
        side = min(mask.values.shape[-2:]) * mask.pitch_m
    extent = relay.spectral_extent_m
    # One part in 1e9 forgives the rounding of a side computed from the same numbers.
    if side >= extent * (1 - 1e-9):
        return None
    shorter = side * relay.pitch_m / relay.wavelength_m
    return Finding(
        "clips",
        "mask side >= lambda f / p",
        side,
        extent,
        "m",
        f"the mask passes {side / extent:.1%} of each axis of the spectrum",
        f"use a mask of {extent * 1e3:.4g} mm, or a focal length of {shorter * 1e3:.4g} mm",
    )


def _replicas(relay: Relay, mask: MaskPlane) -> Finding | None:
    if not isinstance(mask, PixelMask):
        return None
    order = relay.wavelength_m * relay.camera_focal_m / mask.pitch_m
    panel = max(relay.shape) * relay.pitch_m
    if order >= panel:
        return None
    pitch = relay.wavelength_m * relay.camera_focal_m / panel
    return Finding(
        "aliases",
        "lambda f / p_mask >= N p",
        order,
        panel,
        "m",
        "diffraction orders of the mask's pixels overlap on the camera",
        f"use mask pixels of {pitch * 1e6:.4g} um or less, or a panel of {int(order / relay.pitch_m)} samples",
    )


def _paraxial(relay: Relay) -> Finding | None:
    if relay.lens_side_m is None:
        return None
    phase = FreeSpace(relay.wavelength_m, relay.focal_m, relay.pitch_m, relay.shape).paraxial_phase_rad
    if phase <= PARAXIAL_PHASE_LIMIT_RAD:
        return None
    shorter = relay.focal_m * PARAXIAL_PHASE_LIMIT_RAD / phase
    coarser = relay.pitch_m * (phase / PARAXIAL_PHASE_LIMIT_RAD) ** 0.25
    return Finding(
        "aberrates",
        "k f (lambda nu)^4 / 8 <= 0.1 rad",
        phase,
        PARAXIAL_PHASE_LIMIT_RAD,
        "rad",
        "quadratic lenses are not ideal at the corner of this band",
        f"use corrected lenses, pixels of {coarser * 1e6:.3g} um, or a focal length of {shorter * 1e3:.3g} mm",
    )
