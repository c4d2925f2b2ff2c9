"""Number formats by name and the storage each element takes.

One table serves the graph (bytes of a tensor), the backends (width of an operand) and numerics (what to round to).
"""

from __future__ import annotations

import re
from math import ceil

from hwsim.core.errors import UsageError

# Bits per element. MX formats share one 8-bit exponent over 32 elements: 8/32 = 0.25 bit (OCP MX v1.0, section 5).
BITS: dict[str, float] = {
    "bool": 8,
    "float64": 64,
    "float32": 32,
    "fp32": 32,
    "tf32": 32,
    "float16": 16,
    "fp16": 16,
    "bfloat16": 16,
    "bf16": 16,
    "fp8_e4m3": 8,
    "fp8_e5m2": 8,
    "mxfp8_e4m3": 8.25,
    "mxfp8_e5m2": 8.25,
    "mxfp6_e2m3": 6.25,
    "mxfp6_e3m2": 6.25,
    "mxfp4": 4.25,
    "mxint8": 8.25,
    "complex64": 64,
    "complex128": 128,
}
_INT = re.compile(r"u?int([1-9][0-9]?)$")


def bits(dtype: str) -> float:
    """Bits that one element of `dtype` takes in memory; intN and uintN for N from 1 to 64.

    Raises UsageError for a format that is not known.
    """
    if (found := BITS.get(dtype)) is not None:
        return found
    if (match := _INT.match(dtype)) and int(match[1]) <= 64:
        return int(match[1])
    raise UsageError(
        f"number format {dtype!r} is not known",
        got=dtype,
        expected="intN or uintN (N = 1..64) or one of " + ", ".join(sorted(BITS)),
    )


def size_bytes(elements: int, dtype: str) -> int:
    """Whole bytes that `elements` packed elements of `dtype` take."""
    return ceil(elements * bits(dtype) / 8)
