"""Bit-accurate arithmetic: formats, requantization rules, accumulators and integer kernels.

Names are resolved on first use, so that `import hwsim.numerics` costs no torch import.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hwsim.numerics.accumulator import Accumulated, Accumulator, exact_accumulator_bits
    from hwsim.numerics.affine import Affine
    from hwsim.numerics.casts import cast
    from hwsim.numerics.gemm import conv_int, matmul_int
    from hwsim.numerics.integer import IntFormat
    from hwsim.numerics.rescale import RULES, requantize

__all__ = [
    "RULES",
    "Accumulated",
    "Accumulator",
    "Affine",
    "IntFormat",
    "cast",
    "conv_int",
    "exact_accumulator_bits",
    "matmul_int",
    "requantize",
]

_HOME = {
    "Accumulated": "accumulator",
    "Accumulator": "accumulator",
    "exact_accumulator_bits": "accumulator",
    "Affine": "affine",
    "cast": "casts",
    "conv_int": "gemm",
    "matmul_int": "gemm",
    "IntFormat": "integer",
    "RULES": "rescale",
    "requantize": "rescale",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
