"""Systems that cannot work, and the smallest change that makes them: saturated camera, late exposure, short tiles."""

from __future__ import annotations

import math

from hwsim.backends.optical4f.chain import Chain
from hwsim.backends.optical4f.sampling import Finding


def check_chain(chain: Chain, frame_rate_hz: float | None = None) -> tuple[Finding, ...]:
    """What the camera of a chain cannot do, whatever the image: hold its brightest pixel, or expose within a frame."""
    findings = (saturates(chain), late(chain.camera.exposure_s, frame_rate_hz))
    return tuple(finding for finding in findings if finding is not None)


def saturates(chain: Chain, peak: float = 1.0) -> Finding | None:
    """The brightest pixel of a field of amplitude `peak` (1: all inputs open) against what a pixel holds.

    An interferometer adds its reference to the amplitude.
    """
    reference = chain.reference_amplitude if chain.readout == "interferometric" else 0.0
    brightest = chain.electrons_per_unit * (peak + reference) ** 2
    holds = chain.camera.saturation_e
    if brightest <= holds:
        return None
    exposure = chain.camera.exposure_s * holds / brightest
    return Finding(
        "saturates",
        "E (|U| + R)^2 <= full well",
        brightest,
        holds,
        "e-",
        f"pixels above {math.sqrt(holds / brightest):.0%} of the full amplitude read the same",
        f"expose for {exposure * 1e6:.4g} us instead of {chain.camera.exposure_s * 1e6:.4g} us, or dim the laser by "
        f"{brightest / holds:.3g}",
    )


def late(exposure_s: float, frame_rate_hz: float | None) -> Finding | None:
    """An exposure that does not fit between two frames of a camera or modulator of this rate."""
    if frame_rate_hz is None or exposure_s * frame_rate_hz <= 1.0:
        return None
    return Finding(
        "late",
        "exposure <= 1 / frame rate",
        exposure_s,
        1 / frame_rate_hz,
        "s",
        f"at {frame_rate_hz:.4g} Hz a frame ends before its light has been collected",
        f"run at {1 / exposure_s:.4g} Hz, or with {exposure_s * frame_rate_hz:.3g} times the laser power",
    )


def spills(kernel: int, pitch: int, size: int) -> Finding | None:
    """A kernel of `kernel` samples on maps of `size` samples, set `pitch` apart, reaching into the next tile.

    For the outputs inside a map, light of the neighbour must be half a kernel away: pitch >= size + kernel // 2.
    """
    needed = size + kernel // 2
    if pitch >= needed:
        return None
    return Finding(
        "misplaces",
        "tile pitch >= map + kernel // 2",
        float(pitch),
        float(needed),
        "samples",
        f"outputs at the rim of a map mix with the next tile over {needed - pitch} samples",
        f"set tiles {needed} samples apart ({needed - pitch} guard pixels more), or use kernels of "
        f"{max(1, 2 * (pitch - size) + 1)} samples",
    )
