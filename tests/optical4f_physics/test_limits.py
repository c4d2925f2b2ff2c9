"""Impossible systems are explained, and the change they name is enough."""

from __future__ import annotations

import dataclasses
import re

import pytest
import torch

from hwsim.backends.optical4f.camera import Camera
from hwsim.backends.optical4f.chain import Chain
from hwsim.backends.optical4f.layers import InputCoding, LayerOptics
from hwsim.backends.optical4f.limits import check_chain, late, saturates, spills
from hwsim.backends.optical4f.operators import Operator
from tests.optical4f_physics.oracles import FOCAL_M, PITCH_M, WAVELENGTH_M

CAMERA = Camera(PITCH_M, 1e-3, full_well_e=1e4)
BRIGHT = Chain(WAVELENGTH_M, FOCAL_M, PITCH_M, 5e4 / CAMERA.electrons_per_intensity(WAVELENGTH_M), CAMERA)


def number(text: str, unit: str) -> float:
    match = re.search(rf"([\d.e+-]+) {unit}", text)
    assert match is not None
    return float(match.group(1))


@pytest.mark.parametrize("readout", ["two_frame", "interferometric"])
def test_saturated_camera(readout: str) -> None:
    chain = dataclasses.replace(BRIGHT, readout=readout)  # type: ignore[arg-type]
    finding = saturates(chain)
    assert finding is not None
    assert finding.kind == "saturates"
    shorter = dataclasses.replace(CAMERA, exposure_s=number(finding.remedy, "us") * 1e-6 * 0.999)
    assert saturates(dataclasses.replace(chain, camera=shorter)) is None


def test_what_saturates_in_the_formula_saturates_in_the_chain() -> None:
    x, w = torch.ones(3, 16), torch.ones(2, 16)
    operator = Operator(BRIGHT, torch.Generator().manual_seed(0))
    operator.linear(x, w)
    assert operator.budget.saturated_share == pytest.approx(0.5)  # the positive frames; the negative ones are dark
    assert LayerOptics(BRIGHT, InputCoding(0.0, 1.0)).tiles == 1


def test_exposure_longer_than_the_frame() -> None:
    finding = late(2e-3, 1000.0)
    assert finding is not None
    assert late(2e-3, number(finding.remedy, "Hz")) is None
    assert "2 times the laser power" in finding.remedy
    assert late(2e-3, None) is None


def test_kernel_that_spills_into_the_next_tile() -> None:
    finding = spills(kernel=7, pitch=33, size=32)
    assert finding is not None
    assert (finding.left, finding.right) == (33.0, 35.0)
    assert spills(kernel=7, pitch=35, size=32) is None
    assert spills(kernel=3, pitch=33, size=32) is None


def test_a_working_chain_has_nothing_to_say() -> None:
    assert check_chain(dataclasses.replace(BRIGHT, irradiance_w_m2=1e-9), 100.0) == ()
    assert {finding.kind for finding in check_chain(BRIGHT, 1e4)} == {"saturates", "late"}
