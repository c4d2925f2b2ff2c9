"""Optical systems that cannot work: every command names the inequality, its values and the change that mends it."""

from __future__ import annotations

import re
import shlex

import pytest

from tests.cli.conftest import Command

DESIGN = ("optical4f", "digits_convsharevit_valid")

IMPOSSIBLE = {
    "the mask clips the spectrum": (
        ["optics.focal_length=250 mm"],
        "mask rows x pitch >= c lambda f / p is broken, 16.46 mm against 10.6 mm",
    ),
    "the lenses clip the spectrum": (["optics.lens_diameter=20 mm"], "D >= N p + c lambda f / p is broken"),
    "the kernel is larger than the tile that the mask repeats": (
        ["optics.focal_length=1 mm"],
        "kernel <= lambda f / (mask pitch x input pitch) is broken",
    ),
    "the map is larger than the plane": (["modulators.pluto_2_1.rows=3"], "tile pitch <= rows of the input is broken"),
    "the exposure is longer than the frame": (
        ["exposure.signal=4 ke", "optics.laser_power=1 uW", "frame.rate=50 Hz", "frame.required=true"],
        "slowest part <= 1 / frame rate is broken",
    ),
    "the modulator is slower than the frame": (
        ["frame.rate=1 kHz", "frame.required=true"],
        "slowest part <= 1 / frame rate is broken, 16.67 ms against 1 ms",
    ),
    "the camera saturates": (
        ["exposure.signal=20 ke"],
        "E (|U| + R)^2 <= full well is broken, 124.5 ke against 30 ke",
    ),
    "the reference saturates the camera": (
        ["mapping.sign=interferometric"],
        "E (|U| + R)^2 <= full well is broken",
    ),
    "the least exposure saturates the camera": (
        ["exposure.time=1 ms"],
        "E (|U| + R)^2 <= full well is broken",
    ),
}


def settings(*changes: str) -> list[str]:
    """`--set` words; a later change of a path replaces an earlier one."""
    last = {change.partition("=")[0]: change for change in changes}
    return [word for change in last.values() for word in ("--set", change)]


@pytest.mark.parametrize(("changes", "message"), IMPOSSIBLE.values(), ids=IMPOSSIBLE.keys())
def test_every_remedy_works_alone(hwsim: Command, changes: list[str], message: str) -> None:
    broken = hwsim("estimate", *DESIGN, *settings(*changes))
    assert broken.code == 3
    assert message in broken.err
    remedies = [shlex.split(words)[1] for words in re.findall(r"try (--set '[^']*'|--set \S+)", broken.err)]
    assert remedies
    for remedy in remedies:
        mended = hwsim("estimate", *DESIGN, *settings(*changes, remedy))
        assert mended.code == 0, f"{remedy} does not help: {mended.err}"


@pytest.mark.parametrize("command", ["estimate", "explain", "execute"])
@pytest.mark.parametrize("format", ["table", "json"])
def test_every_command_explains(hwsim: Command, command: str, format: str) -> None:
    words = ["blocks.0.fc1"] if command == "explain" else ["--format", format]
    said = hwsim(command, *DESIGN, *words, "--set", "exposure.signal=20 ke")
    assert said.code == 3
    text = said.out if format == "json" and command != "explain" else said.err
    assert "E (|U| + R)^2 <= full well is broken" in text
    assert "exposure.signal" in text


def test_a_search_keeps_the_reason(hwsim: Command) -> None:
    sweep = ("--sweep", "exposure.signal=1 ke,20 ke", "--strategy", "grid", "--format", "json")
    plain = ("--set", "search={}", "--workload", DESIGN[1], "--out", "run")
    assert hwsim("explore", DESIGN[0], *plain, *sweep).code == 0
    page = hwsim("report", "run")
    assert page.code == 0


def test_a_rate_that_is_not_required_falls_and_says_so(hwsim: Command) -> None:
    done = hwsim("estimate", *DESIGN, "--set", "frame.rate=10 kHz")
    assert done.code == 0
    assert re.search(
        r"runs at 500 Hz, not at frame.rate: its slowest part \(modulator\) takes 2 ms against 100 us", done.err
    )
