"""Numbers as people read them: engineering prefixes, binary sizes, whole counts, areas as they are."""

from __future__ import annotations

import math

from hwsim.core.units import show

#: Units that take no SI prefix (a prefix would be squared or doubled).
_PLAIN = {"mm^2", "m^2", "mm2"}
_BINARY = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))


def shown(value: object, unit: str, digits: int = 4) -> str:
    """A value with its unit: `1.25 ms`, `24 MiB`, `3.2 mm²`, `64`, `ws`; an empty text for what does not exist."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if unit == "B":
        for scale, name in _BINARY:
            if value >= scale and value % scale == 0:
                return f"{value / scale:g} {name}"
    if unit in _PLAIN:
        return f"{value:.{digits}g} {superscript(unit)}"
    if unit == "":
        return f"{value:.{digits}g}" if isinstance(value, float) and value != int(value) else f"{value:.0f}"
    return show(float(value), unit, digits).replace(" u", " µ")


def superscript(unit: str) -> str:
    """`mm^2` as `mm²`."""
    return unit.replace("^2", "²").replace("^3", "³")


def si_prefixed(unit: str) -> bool:
    """Whether axis ticks of this unit may carry an SI prefix."""
    return unit != "" and unit not in _PLAIN
