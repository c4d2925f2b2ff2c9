"""Gauss-Legendre nodes on the planes of an optical system, and how many of them its oscillations need."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import roots_legendre
from torch import Tensor

from hwsim.core.errors import UsageError

DEFAULT_TOLERANCE = 1e-6
# Two-dimensional planes of so many nodes per axis take 0.6 GiB each: beyond it a grid is the better tool.
MAX_NODES = 6000


@dataclass(frozen=True)
class Nodes:
    """Quadrature points and weights along one axis of a plane, both float64 (n,), in the axis' unit."""

    points: Tensor
    weights: Tensor

    def __len__(self) -> int:
        return self.points.shape[0]


def gauss_order(half_phase: float, tolerance: float = DEFAULT_TOLERANCE) -> int:
    """Gauss nodes that integrate exp(i c t) over [-1, 1] to `tolerance`, c = `half_phase` in radians.

    n nodes are exact to degree 2n - 1, and the Legendre series of exp(i c t) falls like the Bessel function
    J_2n(c), whose decay beyond 2n = c is Debye's (DLMF 10.19.3): exp(k (tanh a - a)) / sqrt(2 pi k tanh a), cosh a
    = k / c.
    """
    order = max(1, math.ceil(half_phase / 2))
    while _bessel_tail(2 * order, half_phase) > tolerance:
        order += 1
    return order


def gauss_nodes(low: float, high: float, half_phase: float, tolerance: float) -> Nodes:
    """Nodes on [low, high] for an integrand whose phase runs over +-`half_phase` radians about its mean slope."""
    return panel_nodes(np.array([low]), np.array([high]), half_phase, tolerance)


def panel_nodes(low: NDArray[np.float64], high: NDArray[np.float64], half_phase: float, tolerance: float) -> Nodes:
    """The same rule on each of several intervals (P,), in order: P * order nodes.

    Raises UsageError beyond MAX_NODES.
    """
    order = gauss_order(half_phase, tolerance)
    if order * len(low) > MAX_NODES:
        raise UsageError(
            f"an aperture of {high[-1] - low[0]:.3g} needs {order * len(low)} quadrature nodes per axis",
            where="finite-aperture 4f",
            got=order * len(low),
            expected=f"at most {MAX_NODES}",
            remedy="use lenses that clip nothing (lens_side_m=None), a smaller aperture or a longer focal length; "
            "for a smooth mask, grid.paraxial_field",
        )
    unit_points, unit_weights = _legendre(order)
    middle, half = (low + high)[:, None] / 2, (high - low)[:, None] / 2
    return Nodes(
        torch.from_numpy((middle + half * unit_points).ravel()), torch.from_numpy((half * unit_weights).ravel())
    )


def _bessel_tail(k: int, c: float) -> float:
    if c <= 0.0:
        return 0.0
    if k <= c:
        return math.inf
    a = math.acosh(k / c)
    return math.exp(k * (math.tanh(a) - a)) / math.sqrt(2 * math.pi * k * math.tanh(a))


@lru_cache(maxsize=32)
def _legendre(order: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    points, weights = roots_legendre(order)
    return points, weights
