"""What can be set of a 4f convolution engine: the parts on the bench, the host beside it, and how work is mapped.

Parts are libraries by name (`modulators`, `cameras`, `hosts`), and `input`, `filter`, `camera` and `host` pick one of
each, so that real alternatives stand side by side in one file, each number with its source, and a search may choose.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from hwsim.spec.arch import ArchSpec
from hwsim.spec.fields import (
    BytesPerSecond,
    Count,
    CountOrZero,
    Electrons,
    Fraction,
    Hertz,
    Joules,
    JoulesPerBit,
    JoulesPerByte,
    Metres,
    NonNegative,
    Positive,
    PositiveFraction,
    Quantity,
    Seconds,
    Spec,
    Watts,
)

ElectronsPerSecond = Annotated[float, Quantity("e/s"), Field(ge=0)]
Displacement = Annotated[float, Quantity("m")]
Place = Literal["auto", "optics", "host"]


class Optics(Spec):
    """Laser, lenses and what of the light gets through."""

    wavelength_m: Metres = Field(description="vacuum wavelength of the laser")
    focal_length_m: Metres = Field(description="of both lenses")
    lens_diameter_m: Metres | None = Field(default=None, description="clear aperture; null: nothing is clipped")
    transmission: PositiveFraction = Field(default=1.0, description="lenses, mirrors and windows together")
    mask_efficiency: PositiveFraction = Field(
        default=1.0, description="light a passive mask passes, mean |H|^2 / max |H|^2"
    )
    least_spectrum: PositiveFraction = Field(
        default=0.99,
        description="share of each axis of the input's spectrum that lenses and mask must pass to fit",
    )
    laser_power_w: Watts = Field(description="optical power that reaches the input modulator")
    wall_plug_efficiency: PositiveFraction = Field(default=1.0, description="optical over electrical laser power")
    standby: Fraction = Field(
        default=1.0, description="share of the power of laser, modulators and camera drawn while only the host works"
    )


class Modulator(Spec):
    """A pixelated light modulator: DMD or LCoS, in the input plane or in the Fourier plane."""

    part: str = ""
    kind: Literal["binary", "amplitude", "phase"] = Field(description="what one pixel does to the light")
    rows: Count
    cols: Count
    pitch_m: Metres
    fill_factor: PositiveFraction = 1.0
    bits: Count = Field(description="of one pattern; more bits of an operand take more patterns")
    superpixel: Count = Field(default=1, description="pixels per axis that encode one complex sample of a mask")
    load_s: Seconds = Field(default=0, description="fixed time to load a pattern")
    row_load_s: Seconds = Field(default=0, description="further load time per row")
    settle_s: Seconds = Field(default=0, description="from reset until the pattern stands still")
    frame_rate_hz: Hertz | None = Field(default=None, description="what the controller allows, if less")
    power_w: Watts = 0
    driver_power_w: Watts = 0
    pixel_energy_j: Joules = Field(default=0, description="to convert and load one pixel, beyond the standing power")


class Camera(Spec):
    """An area sensor with column-parallel converters and a streaming output."""

    part: str = ""
    rows: Count
    cols: Count
    pitch_m: Metres
    bits: Count = Field(description="resolution of the converter")
    container_bits: Count | None = Field(default=None, description="bits a pixel takes on the link; null: `bits`")
    full_well_e: Electrons = 0
    read_noise_e: Electrons = 0
    dark_current_hz: ElectronsPerSecond = Field(default=0, description="per pixel")
    nonuniformity: Fraction = Field(default=0, description="PRNU, standard deviation of the gain over pixels")
    quantum_efficiency: PositiveFraction = 1.0
    line_time_s: Seconds = Field(default=0, description="readout time per row")
    overhead_lines: CountOrZero = Field(default=0, description="row times every frame takes besides its rows")
    frame_rate_hz: Hertz | None = None
    bandwidth_bytes_per_s: BytesPerSecond | None = Field(default=None, description="of its output; null: no limit")
    power_w: Watts = 0
    adc_energy_j: Joules = Field(default=0, description="per sample converted, beyond the standing power")


class Host(Spec):
    """The electronic processor beside the bench; a null rate leaves its time out, as the papers do."""

    part: str = ""
    flop_rate_hz: Hertz | None = Field(default=None, description="sustained, such as `12 GFLOP/s`")
    bandwidth_bytes_per_s: BytesPerSecond | None = None
    flop_energy_j: Joules = 0
    byte_energy_j: JoulesPerByte = Field(default=0, description="per byte of memory traffic")
    power_w: Watts = Field(default=0, description="standing power, with no work")


class Exposure(Spec):
    """How long the camera collects light: a least time, or what a signal level needs, whichever is longer."""

    time_s: Seconds = 0
    signal_e: Electrons = Field(default=0, description="what a full-scale sample collects; 0: the light never limits")


class Frame(Spec):
    """The cycle that all parts share."""

    rate_hz: Hertz | None = Field(default=None, description="the fastest that the controller cycles the parts")
    required: bool = Field(default=False, description="a part that cannot keep `rate` does not fit, or slows all down")
    pipelined: bool = Field(default=True, description="load, expose and read out of consecutive frames overlap")


class Link(Spec):
    """Between host and bench; each direction has the full bandwidth."""

    bandwidth_bytes_per_s: BytesPerSecond | None = None
    bit_energy_j: JoulesPerBit = 0


class Precision(Spec):
    """Bits that the optics carries of an operand held in a wider format."""

    activations: Count = 8


class Mapping4f(Spec):
    """How work is laid out on the plane, and what goes to the host."""

    tiling: Literal["auto", "samples", "kernels", "channels"] = Field(
        default="auto", description="what else shares the plane with one map; auto takes the best for each op"
    )
    guard: Literal["exact", "full"] = Field(
        default="exact", description="gap between tiles: for the lags an op keeps, or for all lags (FatNet eq. 6)"
    )
    guard_pixels: CountOrZero = Field(default=0, description="further gap against blur and misalignment")
    sign: Literal["none", "pseudo_negative", "four_term", "interferometric"] = "pseudo_negative"
    frames_per_conv: Count = Field(default=1, description="frame slots charged per convolution, for whatever reason")
    roi: Literal["none", "window", "rows"] = Field(
        default="window", description="what is read out: the sensor, a window, or only rows that hold outputs"
    )
    conv: Place = "auto"
    dense: Place = "auto"
    attention: Place = "auto"
    host_ops: list[str] = Field(default=[], description="op names that stay on the host; `*` matches anything")
    objective: Literal["latency", "energy"] = Field(default="latency", description="what `auto` makes least")


class Imperfections(Spec):
    """What `execute` finds wrong with the bench; the zeros of the defaults are a perfect one."""

    crosstalk_px: NonNegative = Field(default=0, description="sigma of the mask's fringing fields, in its pixels")
    flicker_rad: NonNegative = Field(default=0, description="RMS phase error of the mask at full range, per frame")
    gap_amplitude: Fraction = Field(default=0, description="reflected by the mask's gaps, relative to its pixels")
    contrast: Positive | None = Field(default=None, description="of the input: open over closed power; null: black")
    zernike_waves: dict[int, float] = Field(default={}, description="Noll's index -> RMS wavefront error in waves")
    mask_shift_m: Displacement = Field(default=0, description="of the mask along the columns")
    camera_shift_m: Displacement = Field(default=0, description="of the camera along the columns")
    defocus_m: Displacement = Field(default=0, description="of the camera along the axis")
    flat_field: bool = Field(default=True, description="divide by a measured map of the pixels' gain")
    flat_field_frames: Count = Field(default=100, description="white frames averaged into that map")
    unit_seed: CountOrZero = Field(default=0, description="which camera of its kind: the seed of its fixed pattern")


class Optical4fSpec(ArchSpec):
    """A bench of two modulators and a camera around two lenses, with a host."""

    optics: Optics
    modulators: dict[str, Modulator] = Field(min_length=1)
    cameras: dict[str, Camera] = Field(min_length=1)
    hosts: dict[str, Host] = Field(min_length=1)
    input: str = Field(description="the modulator in the input plane")
    filter: str = Field(description="the modulator in the Fourier plane")
    camera: str
    host: str
    exposure: Exposure = Exposure()
    frame: Frame = Frame()
    link: Link = Link()
    precision: Precision = Precision()
    mapping: Mapping4f = Mapping4f()
    imperfections: Imperfections = Imperfections()

    @field_validator("input", "filter", "camera", "host")
    @classmethod
    def _known_part(cls, name: str, info: ValidationInfo) -> str:
        library = {"input": "modulators", "filter": "modulators"}.get(str(info.field_name), f"{info.field_name}s")
        parts: Mapping[str, Any] | None = info.data.get(library)
        if parts is not None and name not in parts:
            raise ValueError(f"must be one of {library}: " + ", ".join(parts))
        return name

    @field_validator("exposure")
    @classmethod
    def _lit(cls, exposure: Exposure, info: ValidationInfo) -> Exposure:
        optics: Optics | None = info.data.get("optics")
        if exposure.signal_e > 0 and optics is not None and optics.laser_power_w == 0:
            raise ValueError("a signal needs light: optics.laser_power must be more than 0 W")
        return exposure
