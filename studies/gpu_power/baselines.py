"""The naive predictors every table stands beside, fitted and tested on the same rows and folds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def held_out(groups: Sequence[str], fit: Callable[[npt.NDArray[np.bool_]], Array]) -> Array:
    """Predictions of every row by `fit(rows to learn from)`, which never saw a row of its group."""
    names = np.asarray(groups)
    result = np.zeros(len(names))
    for name in np.unique(names):
        out = names == name
        result[out] = fit(~out)[out]
    return result


def roofline(gmacs: Array, macts: Array, batch: Array, flop_per_s: float, bytes_per_s: float, width: float) -> Array:
    """max(compute, memory) per image of 2 GMACs and `width` bytes in and out per conv or matmul activation."""
    compute = 2e9 * gmacs / flop_per_s
    memory = 2 * width * 1e6 * macts / bytes_per_s
    return batch * np.maximum(compute, memory)


def one_scalar(base: Array, measured: Array, groups: Sequence[str]) -> Array:
    """The roofline times the one factor that fits the other groups best (median of ratios)."""
    return held_out(groups, lambda keep: base * np.median(measured[keep] / base[keep]))


def three_terms(gmacs: Array, macts: Array, batch: Array, measured: Array, groups: Sequence[str]) -> Array:
    """a GMACs + b Macts + c / batch per image, non-negative, relative errors, fitted on the other groups."""
    from scipy.optimize import nnls

    columns = np.stack([batch * gmacs, batch * macts, np.ones_like(batch)], axis=1)

    def fit(keep: npt.NDArray[np.bool_]) -> Array:
        weights, _ = nnls(columns[keep] / measured[keep, None], np.ones(int(keep.sum())))
        result: Array = columns @ weights
        return result

    return held_out(groups, fit)
