"""From the parts of an arch to the chain of one layer, and to chains with one fault at a time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal, TypeAlias, get_args

from hwsim.backends.optical4f.bench import Bench, bench_of
from hwsim.backends.optical4f.camera import Camera
from hwsim.backends.optical4f.chain import Chain, Encoding
from hwsim.backends.optical4f.layers import Signs
from hwsim.backends.optical4f.misalignment import Misalignment
from hwsim.backends.optical4f.modulators import AmplitudeModulator, PhaseModulator
from hwsim.backends.optical4f.pupils import Pupil
from hwsim.backends.optical4f.readout import Readout
from hwsim.backends.optical4f.spec import Modulator, Optical4fSpec

Fault: TypeAlias = Literal[
    "ideal", "encoding", "quantization", "noise", "aberration", "crosstalk", "misalignment", "together"
]
FAULTS: tuple[Fault, ...] = get_args(Fault)

# What `mapping.sign` means for the camera and for signed inputs (A4).
READOUTS: Mapping[str, tuple[Readout, Signs]] = {
    "none": ("amplitude", "offset"),
    "pseudo_negative": ("two_frame", "offset"),
    "four_term": ("two_frame", "split"),
    "interferometric": ("interferometric", "offset"),
}
# Periods of a tile that the mask is made to resolve, so that its encoding's noise lands outside (A30).
ENCODING_PERIODS: Mapping[Encoding, int] = {
    "double_phase": 8,
    "kinoform": 8,
    "binary_amplitude": 16,
    "binary_phase": 16,
}


def chain_of(spec: Optical4fSpec, exposure_s: float, split: float = 1.0) -> Chain:
    """The chain of a layer that is exposed for `exposure_s` and whose tiles get 1 / `split` of a full tile's light.

    The laser lights the whole plane evenly (A6) and one input pixel is imaged onto one camera pixel (A1).
    """
    bench, faults = bench_of(spec), spec.imperfections
    optics, pitch_m = bench.optics, bench.input.pitch_m
    plane_m2 = float(bench.plane_rows * bench.plane_cols) * pitch_m**2
    encoding = encoding_of(bench.filter)
    readout, _ = READOUTS[bench.mapping.sign]
    extent_m = optics.wavelength_m * optics.focal_length_m / pitch_m
    mask_m = (bench.filter.rows * bench.filter.pitch_m, bench.filter.cols * bench.filter.pitch_m)
    return Chain(
        wavelength_m=optics.wavelength_m,
        focal_m=optics.focal_length_m,
        pitch_m=pitch_m,
        irradiance_w_m2=optics.laser_power_w * optics.transmission / plane_m2 / split,
        camera=camera_of(bench, exposure_s),
        source=AmplitudeModulator(
            bits=bench.input.bits,
            contrast=math.inf if faults.contrast is None else faults.contrast,
            fill_factor=bench.input.fill_factor,
        ),
        mask=PhaseModulator(
            bits=bench.filter.bits,
            fill_factor=bench.filter.fill_factor,
            gap_amplitude=faults.gap_amplitude,
            crosstalk_px=faults.crosstalk_px,
            flicker_rad=faults.flicker_rad,
        ),
        encoding=encoding,
        # The whole square band inside the circle on which the polynomials are normal.
        pupil=Pupil(extent_m * math.sqrt(2), zernike_waves=dict(faults.zernike_waves))
        if faults.zernike_waves
        else None,
        stop_m=mask_m if min(mask_m) < extent_m else None,
        misalignment=Misalignment(
            mask_shift_m=(0.0, float(faults.mask_shift_m)),
            camera_shift_m=(0.0, float(faults.camera_shift_m)),
            defocus_m=float(faults.defocus_m),
        ),
        readout=readout,
        unit_seed=faults.unit_seed,
        window=ENCODING_PERIODS.get(encoding),
        superpixel=bench.filter.superpixel,
    )


def camera_of(bench: Bench, exposure_s: float) -> Camera:
    """The spec's camera with the pixel that one input pixel is imaged onto."""
    camera = bench.camera
    return Camera(
        pitch_m=bench.input.pitch_m,
        exposure_s=exposure_s,
        quantum_efficiency=camera.quantum_efficiency,
        full_well_e=camera.full_well_e or math.inf,
        read_noise_e=camera.read_noise_e,
        dark_e_per_s=camera.dark_current_hz,
        prnu=camera.nonuniformity,
        bits=camera.bits if camera.full_well_e else None,
    )


def encoding_of(mask: Modulator) -> Encoding:
    """How a panel of this kind shows complex values; an amplitude panel is an ideal mask (A32)."""
    if mask.kind == "amplitude":
        return "complex"
    if mask.kind == "binary":
        return "binary_amplitude"
    if mask.bits == 1:
        return "binary_phase"
    return "double_phase" if mask.superpixel > 1 else "kinoform"


def ideal(chain: Chain) -> Chain:
    """The same bench without a fault: continuous perfect panels in place, and a camera that counts without noise."""
    camera = Camera(chain.camera.pitch_m, chain.camera.exposure_s, chain.camera.quantum_efficiency, shot_noise=False)
    return replace(
        chain, camera=camera, source=None, mask=None, encoding="complex", pupil=None, stop_m=None,
        misalignment=Misalignment(), window=None,
    )  # fmt: skip


def one_at_a_time(chain: Chain) -> dict[Fault, Chain]:
    """Chains with one kind of fault each, by name, and `together` with all of them.

    encoding: the mask's encoding on a continuous panel. quantization: levels of both panels and of the ADC, full well.
    noise: shot, dark, read noise and fixed pattern. aberration: wavefront, and what the mask's edge cuts off.
    crosstalk: fringing fields, gaps, flicker and the input's contrast. The faults of a mask panel need its encoding,
    so `quantization` and `crosstalk` include it.
    """
    perfect, camera = ideal(chain), chain.camera
    encoded = replace(perfect, encoding=chain.encoding, window=chain.window)
    quiet_adc = replace(perfect.camera, full_well_e=camera.full_well_e, bits=camera.bits)
    faults: dict[Fault, Chain] = {
        "encoding": encoded,
        "quantization": replace(
            encoded,
            source=AmplitudeModulator(bits=None if chain.source is None else chain.source.bits),
            mask=PhaseModulator(bits=None if chain.mask is None else chain.mask.bits),
            camera=quiet_adc,
        ),
        "noise": replace(perfect, camera=replace(camera, bits=None, full_well_e=math.inf)),
        "aberration": replace(perfect, pupil=chain.pupil, stop_m=chain.stop_m),
        "crosstalk": replace(
            encoded,
            source=None if chain.source is None else replace(chain.source, bits=None),
            mask=None if chain.mask is None else replace(chain.mask, bits=None),
        ),
        "misalignment": replace(perfect, misalignment=chain.misalignment),
    }
    return {"ideal": perfect, **faults, "together": chain}
