"""Free-space 4f optical convolution engines: a modulator, two lenses, a Fourier mask, a camera, and a host."""

from __future__ import annotations

from hwsim.backends.optical4f.backend import Optical4f

__all__ = ["Optical4f"]
