"""The bounds of the estimate are those of the chain, and what a mask cuts off is lost in the chain as well."""

from __future__ import annotations

import dataclasses
import math
from typing import cast

import numpy as np
import pytest
import torch

from hwsim.backends.optical4f.bench import bench_of
from hwsim.backends.optical4f.bounds import apertures, brightest_per_signal, well
from hwsim.backends.optical4f.camera import Camera
from hwsim.backends.optical4f.chain import Chain, camera_amplitude, prepare_mask
from hwsim.backends.optical4f.estimate import electrons_per_s, exposure_s
from hwsim.backends.optical4f.library import kept
from hwsim.backends.optical4f.limits import saturates
from hwsim.backends.optical4f.operators import Operator
from hwsim.backends.optical4f.setup import chain_of
from hwsim.backends.optical4f.spec import Optical4fSpec
from hwsim.backends.optical4f.tiling import grid, samples
from hwsim.backends.optical4f.work import at, work_of
from hwsim.backends.synthetic import GraphBuilder
from hwsim.spec.arch import load_arch
from tests.optical4f_physics.oracles import FOCAL_M, PITCH_M, WAVELENGTH_M


def spec(**changes: object) -> Optical4fSpec:
    return cast(Optical4fSpec, load_arch("optical4f", dict(changes)).spec)


@pytest.mark.parametrize("sign", ["none", "pseudo_negative", "interferometric"])
@pytest.mark.parametrize("signal", ["1 ke", "20 ke"])
def test_the_full_well_of_the_estimate_is_that_of_the_chain(sign: str, signal: str) -> None:
    """Light is counted twice, by power on the plane and by field on a pixel: both must reach the same brightest one."""
    described = spec(**{"mapping.sign": sign, "exposure.signal": signal})
    g = GraphBuilder("dense")
    g.linear("fc", g.input((10, 64)), 4)
    bench, work = bench_of(described), work_of(g.build())
    layout = samples(bench, work, grid(bench, work))
    bound = well(bench, layout)
    chain = chain_of(described, at(exposure_s(bench, layout), 0))
    finding = saturates(chain)
    assert (finding is None) == bool(np.all(bound.kept))
    reference = 1.0 if sign == "interferometric" else 0.0
    assert at(bound.demand, 0) == pytest.approx(chain.electrons_per_unit * (1 + reference) ** 2, rel=1e-9)
    if finding is not None:
        assert finding.left == pytest.approx(at(bound.demand, 0), rel=1e-9)


@pytest.mark.parametrize(("panel", "order"), [("qxga_3dm", 2 / math.pi), ("dlp9500", 1 / math.pi)])
def test_a_binary_hologram_is_as_bright_as_its_order(panel: str, order: float) -> None:
    grey, binary = (bench_of(spec(filter=name)) for name in ("meadowlark_p1920", panel))
    fill = binary.filter.fill_factor / grey.filter.fill_factor
    ratio = float(brightest_per_signal(binary)) / float(brightest_per_signal(grey))
    assert ratio == pytest.approx(fill * order**2, rel=1e-12)


def test_exposure_and_rate_of_electrons_agree() -> None:
    bench, work = bench_of(spec(**{"exposure.time": 0})), work_of(_one_dense())
    layout = samples(bench, work, grid(bench, work))
    collected = electrons_per_s(bench, layout) * exposure_s(bench, layout)
    assert float(np.ravel(collected)[0]) == pytest.approx(bench.exposure.signal_e, rel=1e-12)


def _one_dense() -> object:
    g = GraphBuilder("dense")
    g.linear("fc", g.input((10, 64)), 4)
    return g.build()


def test_the_least_lens_and_mask_are_those_of_the_facts() -> None:
    """System S at N = 512: 10.75 mm of lens, 6.65 mm of mask, of which 512 pixels of 8 um cover 61.6 %."""
    small = {"rows": 512, "cols": 512}
    changes = {f"modulators.pluto_2_1.{axis}": count for axis, count in small.items()}
    changes |= {"filter": "pluto_2_1", "optics.focal_length": "100 mm", "optics.least_spectrum": 1}  # type: ignore[dict-item]
    lens, rows, cols = apertures(bench_of(spec(**changes)))
    assert at(lens.demand, 0) == pytest.approx(10.75e-3, rel=1e-3)
    assert at(rows.demand, 0) == at(cols.demand, 0) == pytest.approx(6.65e-3, rel=1e-9)
    assert at(rows.bound, 0) / at(rows.demand, 0) == pytest.approx(0.616, rel=1e-3)


def test_a_mask_that_covers_part_of_the_band_passes_that_part() -> None:
    """Beyond its edge nothing passes: a fine stripe pattern is lost, a coarse one is not."""
    side = WAVELENGTH_M * FOCAL_M / PITCH_M
    chain = Chain(WAVELENGTH_M, FOCAL_M, PITCH_M, 1.0, Camera(PITCH_M, 1e-3), stop_m=(side, side / 2))
    delta = torch.ones(1, 1)
    column = torch.arange(32)
    for period, passes in ((3.2, 0.0), (16.0, 1.0)):
        stripes = (0.5 + 0.5 * torch.cos(2 * math.pi * column / period)).expand(32, 32)
        field = camera_amplitude(stripes, prepare_mask(delta, (32, 32), chain), chain).real
        assert float(field.std() / stripes.std()) == pytest.approx(passes, abs=1e-5)
    whole = dataclasses.replace(chain, stop_m=(side * 33 / 32, side * 33 / 32))  # with the outer bins' outer halves
    image = torch.rand(32, 32, generator=torch.Generator().manual_seed(0))
    seen = camera_amplitude(image, prepare_mask(delta, (32, 32), whole), whole).real
    assert float((seen - image).norm() / image.norm()) < 1e-6


def test_the_preset_covers_its_spectrum_and_a_longer_lens_does_not() -> None:
    assert chain_of(spec(), 1e-3).stop_m is None
    assert chain_of(spec(**{"optics.focal_length": "250 mm"}), 1e-3).stop_m is not None


def test_noise_of_many_pixels_from_two_sums() -> None:
    camera = Camera(PITCH_M, 1e-3, full_well_e=1e4, bits=10, read_noise_e=3.0, prnu=0.01, dark_e_per_s=500.0)
    signal = torch.rand(1000, dtype=torch.float64) * 5e3
    noise = camera.noise_e(signal)
    direct = float(signal.square().sum().sqrt() / noise.square().sum().sqrt())
    assert camera.rms_snr(1000, float(signal.sum()), float(signal.square().sum())) == pytest.approx(direct, rel=1e-12)


def test_masks_are_made_once_unless_they_flicker_or_learn() -> None:
    chain = Chain(WAVELENGTH_M, FOCAL_M, PITCH_M, 1.0, Camera(PITCH_M, 1e-3))
    made = []

    def make(kernel: torch.Tensor) -> object:
        made.append(kernel)
        return prepare_mask(kernel, (8, 8), chain)

    kernel = torch.rand(2, 3, 3)
    brighter = dataclasses.replace(chain, irradiance_w_m2=2.0)
    first = kept(kernel, "form", chain, make)  # type: ignore[arg-type]
    assert kept(kernel.clone(), "form", brighter, make) is first  # type: ignore[arg-type]
    assert len(made) == 1
    kept(kernel + 1, "form", chain, make)  # type: ignore[arg-type]
    kept(kernel, "another", chain, make)  # type: ignore[arg-type]
    kept(kernel, "form", dataclasses.replace(chain, encoding="kinoform"), make)  # type: ignore[arg-type]
    assert len(made) == 4
    learned = kernel.clone().requires_grad_()
    assert kept(learned, "form", chain, make).response.requires_grad  # type: ignore[arg-type]


def test_identity_counts_light_and_not_its_source() -> None:
    camera = Camera(PITCH_M, 1e-3, read_noise_e=2.0)
    chain = Chain(WAVELENGTH_M, FOCAL_M, PITCH_M, 1.0, camera)
    longer = dataclasses.replace(chain, irradiance_w_m2=0.5, camera=dataclasses.replace(camera, exposure_s=2e-3))
    brighter = dataclasses.replace(chain, irradiance_w_m2=2.0)
    noisier = dataclasses.replace(chain, camera=dataclasses.replace(camera, read_noise_e=3.0))
    assert chain.identity == longer.identity
    assert len({chain.identity, brighter.identity, noisier.identity}) == 3
    nearly = dataclasses.replace(chain, irradiance_w_m2=1.0 + 1e-7)
    assert chain.identity != nearly.identity


@pytest.mark.parametrize("uneven", [{"prnu": 0.01}, {"dsnu_e_per_s": 5.0}])
def test_where_pixels_differ_the_tiles_they_hold_count(uneven: dict[str, float]) -> None:
    even = Camera(PITCH_M, 1e-3, read_noise_e=2.0)

    def identities(camera: Camera) -> set[str]:
        chain = Chain(WAVELENGTH_M, FOCAL_M, PITCH_M, 1.0, camera)
        return {Operator(chain, torch.Generator(), tiles=tiles).identity for tiles in (1, 4)}

    assert len(identities(even)) == 1
    assert len(identities(dataclasses.replace(even, **uneven))) == 2
