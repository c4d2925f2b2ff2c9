"""The guard names the inequality and a change that really mends it."""

from __future__ import annotations

import dataclasses
import re

import pytest
import torch

from hwsim.backends.optical4f.masks import PixelMask, SmoothMask
from hwsim.backends.optical4f.relay import Relay
from hwsim.backends.optical4f.sampling import Finding, check_relay, require_sampled
from hwsim.core.errors import UsageError
from tests.optical4f_physics.oracles import FOCAL_M, PITCH_M, WAVELENGTH_M

RELAY = Relay(WAVELENGTH_M, FOCAL_M, PITCH_M, (512, 512), lens_side_m=4.096e-3)
OPEN = SmoothMask(torch.ones(1, 1))


def found(relay: Relay, mask: SmoothMask | PixelMask = OPEN) -> dict[str, Finding]:
    return {finding.inequality: finding for finding in check_relay(relay, mask)}


def number(text: str, unit: str) -> float:
    match = re.search(rf"([\d.]+) {unit}", text)
    assert match is not None
    return float(match.group(1))


def test_lens_that_clips() -> None:
    finding = found(RELAY)["D >= N p + lambda f / p"]
    assert finding.kind == "clips"
    mended = dataclasses.replace(RELAY, lens_side_m=number(finding.remedy, "mm") * 1e-3 + 1e-5)
    assert "D >= N p + lambda f / p" not in found(mended)


def test_mask_that_clips() -> None:
    mask = PixelMask(torch.ones(512, 512), PITCH_M)
    finding = found(RELAY, mask)["mask side >= lambda f / p"]
    assert "61.6%" in finding.consequence
    shorter = dataclasses.replace(RELAY, focal_m=number(finding.remedy.split(" or ")[1], "mm") * 1e-3 - 1e-5)
    assert "mask side >= lambda f / p" not in found(shorter, mask)


def test_orders_that_overlap() -> None:
    mask = PixelMask(torch.ones(512, 512), 20e-6)
    finding = found(RELAY, mask)["lambda f / p_mask >= N p"]
    mended = PixelMask(torch.ones(1024, 1024), number(finding.remedy, "um") * 1e-6 - 1e-8)
    assert "lambda f / p_mask >= N p" not in found(RELAY, mended)
    with pytest.raises(UsageError, match="orders of the mask's pixels overlap"):
        require_sampled(RELAY, mask)
    require_sampled(RELAY, mended)


def test_quadratic_lens_beyond_the_paraxial_regime() -> None:
    finding = found(RELAY)["k f (lambda nu)^4 / 8 <= 0.1 rad"]
    assert finding.left == pytest.approx(0.7218, rel=1e-3)
    mended = dataclasses.replace(RELAY, pitch_m=number(finding.remedy, "um") * 1e-6 + 1e-7)
    assert "k f (lambda nu)^4 / 8 <= 0.1 rad" not in found(mended)


def test_a_good_geometry_has_nothing_to_say() -> None:
    good = Relay(WAVELENGTH_M, FOCAL_M, 16e-6, (256, 256), lens_side_m=0.01)
    assert check_relay(good, OPEN) == ()


def test_reads_as_a_sentence() -> None:
    assert str(check_relay(RELAY, OPEN)[0]).startswith("D >= N p + lambda f / p is violated: 0.004096 m against")
