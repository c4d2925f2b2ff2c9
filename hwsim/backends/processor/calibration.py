"""Stored calibrations: fitted coefficients with their intervals, where they come from and how well they predict.

A file holds `timing` per runtime mode and `power`; what a file lacks is taken from the transferred set of its kind.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from importlib import resources
from typing import Any

from hwsim.backends.processor.power import PowerCoefficients
from hwsim.backends.processor.timing import TimingCoefficients
from hwsim.core.errors import SpecError
from hwsim.core.names import nearest

SCHEMA = "hwsim/calibration/1"
#: Coefficients for a processor of a kind nobody has measured.
TRANSFERRED = {"gpu": "transferred_gpu", "cpu": "transferred_cpu"}


@dataclass(frozen=True)
class Calibration:
    """Coefficients of one device and mode; `source` says what they were fitted on, `transferred` which parts come from
    other devices."""

    name: str
    timing: TimingCoefficients
    power: PowerCoefficients
    source: str
    transferred: tuple[str, ...]


def load_calibration(name: str | None, kind: str, mode: str) -> Calibration:
    """The stored calibration `name`, or the transferred one of the kind if None.

    Raises SpecError for a name no file has. A mode or a part that the file lacks is transferred, and said so.
    """
    fallback = _read(TRANSFERRED[kind])
    own = fallback if name is None else _read(name)
    timing, power = own.get("timing", {}).get(mode), own.get("power")
    missing = tuple(what for what, part in (("timing", timing), ("power", power)) if name is None or part is None)
    timing = timing or fallback["timing"].get(mode) or next(iter(fallback["timing"].values()))
    power = power or fallback["power"]
    borrowed = f"; {' and '.join(missing)}: {fallback['source']}" if name is not None and missing else ""
    return Calibration(
        name=own["device"],
        timing=replace(TimingCoefficients(), **_values(timing, TimingCoefficients)),
        power=replace(PowerCoefficients(), **_values(power, PowerCoefficients)),
        source=own["source"] + borrowed,
        transferred=missing,
    )


def _values(part: Mapping[str, Any], record: type) -> dict[str, float]:
    known = {field.name for field in fields(record)}
    return {key: float(entry["value"]) for key, entry in part["coefficients"].items() if key in known}


@cache
def _read(name: str) -> Mapping[str, Any]:
    folder = resources.files("hwsim.backends.processor") / "calibrations"
    names = sorted(entry.name.removesuffix(".json") for entry in folder.iterdir() if entry.name.endswith(".json"))
    if name not in names:
        raise SpecError(
            f"calibration {name!r} does not exist", expected="one of " + ", ".join(names), remedy=nearest(name, names)
        )
    data: Mapping[str, Any] = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    return data
