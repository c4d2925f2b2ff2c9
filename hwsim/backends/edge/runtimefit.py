"""Overhead of a runtime apart from arithmetic, fitted on measured latencies, with error bars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hwsim.core.errors import UsageError

# The same board differs by 16 % between two revisions of one benchmark table (geerlingguy/top500-benchmark).
BOARD_ERROR = 0.15


@dataclass(frozen=True)
class Latency:
    """A measured inference: its arithmetic, how many kernels it is made of, its time."""

    name: str
    macs: float
    kernels: int
    seconds: float


@dataclass(frozen=True)
class RuntimeFit:
    """time = macs / rate + kernels x overhead. Errors are one standard deviation."""

    macs_per_s: float
    macs_per_s_error: float
    overhead_s: float
    overhead_s_error: float

    def seconds(self, macs: float, kernels: int) -> float:
        """Predicted time of an inference."""
        return macs / self.macs_per_s + kernels * self.overhead_s


def fit_runtime(points: Sequence[Latency], relative_error: float = BOARD_ERROR) -> RuntimeFit:
    """Weighted least squares with `relative_error` on each latency; errors by propagation.

    Raises UsageError unless the points tell arithmetic from overhead.
    """
    weight = np.array([1.0 / (relative_error * p.seconds) for p in points])
    design = np.array([[p.macs, p.kernels] for p in points], dtype=np.float64) * weight[:, None]
    normal = design.T @ design
    if len(points) < 2 or np.linalg.matrix_rank(design) < 2:
        names = ", ".join(p.name for p in points)
        raise UsageError(f"{names} do not tell arithmetic from overhead", expected="two networks of another shape")
    covariance = np.linalg.inv(normal)
    per_mac, overhead = covariance @ design.T @ (weight * [p.seconds for p in points])
    if per_mac <= 0.0 or overhead < 0.0:
        raise UsageError(f"the fit gives {per_mac:.3g} s per MAC and {overhead:.3g} s per kernel")
    error_per_mac, error_overhead = np.sqrt(np.diag(covariance))
    return RuntimeFit(float(1.0 / per_mac), float(error_per_mac / per_mac**2), float(overhead), float(error_overhead))
