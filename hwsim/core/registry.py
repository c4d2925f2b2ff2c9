"""Plug-ins by entry point: ours and an outsider's are found and loaded the same way."""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from hwsim.core.errors import UsageError
from hwsim.core.names import nearest

BACKENDS = "hwsim.backends"
TRANSFORMS = "hwsim.transforms"
ZOO = "hwsim.zoo"


@cache
def _group(group: str) -> dict[str, EntryPoint]:
    return {point.name: point for point in sorted(entry_points(group=group), key=lambda point: point.name)}


def names(group: str) -> tuple[str, ...]:
    """Registered names of a group, sorted, without importing any of them."""
    return tuple(_group(group))


@cache
def load(group: str, name: str) -> Any:
    """Import and return the object registered as `name`; UsageError lists what exists."""
    point = _group(group).get(name)
    if point is None:
        word = group.rsplit(".", 1)[-1].rstrip("s")
        raise UsageError(
            f"{word} {name!r} does not exist",
            got=name,
            expected="one of " + ", ".join(names(group)),
            remedy=nearest(name, names(group)),
        )
    return point.load()
