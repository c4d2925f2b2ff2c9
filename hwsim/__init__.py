"""hwsim: how fast, how much energy, how accurate is a vision transformer on hardware that may not exist yet?

The functions here are the ones the command line calls; each is imported when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hwsim.api import estimate, execute, explain, explore, load_arch, load_workload

__version__ = "0.1.0"
__all__ = ["estimate", "execute", "explain", "explore", "load_arch", "load_workload"]
_ROOMS = ("backends", "explore", "graph", "measure", "numerics", "report", "spec", "transforms", "zoo")


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("hwsim.api"), name)
    if name in _ROOMS:
        return import_module(f"hwsim.{name}")
    raise AttributeError(f"module 'hwsim' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_ROOMS, "__version__"])
