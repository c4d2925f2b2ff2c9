"""Free-space 4f optical convolution engines: a modulator, two lenses, a Fourier mask, a camera, and a host."""

from __future__ import annotations

from importlib import import_module

from hwsim.backends.optical4f.backend import Optical4f

__all__ = ["Optical4f", "convolve_4f"]

#: Public names whose modules import torch, which an estimate does not need: name -> module.
_LAZY = {"convolve_4f": "convolution"}


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
