"""Error statistics of predictions, all on the measured quantity itself (time, power or energy; never throughput)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hwsim.core.errors import UsageError

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ErrorSummary:
    """Relative errors of one quantity over `rows` rows, in percent; `interval_pct` is the 95 % bootstrap interval of
    the MAPE, resampled by group so that rows of one model count as one observation."""

    rows: int
    mape_pct: float
    median_pct: float
    max_pct: float
    bias_pct: float
    spearman: float
    interval_pct: tuple[float, float]


def relative_error(predicted: Array, measured: Array) -> Array:
    """(predicted - measured) / measured."""
    if predicted.shape != measured.shape or predicted.size == 0:
        raise UsageError(f"{predicted.size} predictions for {measured.size} measurements cannot be compared")
    if not (np.isfinite(measured).all() and (measured > 0).all()):
        raise UsageError("a measured value is zero, negative or not a number")
    return predicted / measured - 1


def ranks(values: Array) -> Array:
    """Ranks from 1, ties sharing their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return ((2 * ends - counts + 1) / 2)[inverse].astype(np.float64)


def spearman(a: Array, b: Array) -> float:
    """Spearman's rank correlation; NaN where either side is constant."""
    ra, rb = ranks(a) - (a.size + 1) / 2, ranks(b) - (b.size + 1) / 2
    norm = float(np.sqrt((ra**2).sum() * (rb**2).sum()))
    return float((ra * rb).sum()) / norm if norm > 0 else float("nan")


def bootstrap_interval(errors: Array, groups: Sequence[str], draws: int = 1000, seed: int = 0) -> tuple[float, float]:
    """95 % interval of the mean of `errors`, drawing whole groups with replacement."""
    names, index = np.unique(np.asarray(groups), return_inverse=True)
    totals = np.bincount(index, errors, len(names))
    counts = np.bincount(index, minlength=len(names)).astype(np.float64)
    picks = np.random.default_rng(seed).integers(0, len(names), (draws, len(names)))
    means = totals[picks].sum(1) / counts[picks].sum(1)
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)


def summarize(predicted: Array, measured: Array, groups: Sequence[str] | None = None) -> ErrorSummary:
    """Statistics of one quantity; `groups` (one per row) defaults to every row on its own."""
    errors = relative_error(predicted, measured) * 100
    size = np.abs(errors)
    names = [str(index) for index in range(errors.size)] if groups is None else groups
    return ErrorSummary(
        rows=int(errors.size),
        mape_pct=float(size.mean()),
        median_pct=float(np.median(size)),
        max_pct=float(size.max()),
        bias_pct=float(errors.mean()),
        spearman=spearman(predicted, measured),
        interval_pct=bootstrap_interval(size, names),
    )
