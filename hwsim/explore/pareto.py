"""Pareto fronts and their hypervolume. Every objective is minimised here; negate what is to be maximised."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


def pareto_mask(points: Floats) -> Mask:
    """Which rows of `points` (designs, objectives) no other row dominates.

    A row dominates another if it is nowhere worse and somewhere better. Of equal rows the first stands for all. Rows
    with a NaN are on no front.
    """
    mask = np.zeros(len(points), dtype=bool)
    whole = np.flatnonzero(~np.isnan(points).any(axis=1))
    # In lexicographic order (the index breaks ties) only an earlier row can dominate, so each is compared with the
    # front found so far.
    order = whole[np.lexsort((whole, *points[whole].T[::-1]))]
    if points.shape[1] == 2:
        second = points[order, 1]
        best_before = np.concatenate(([np.inf], np.minimum.accumulate(second)[:-1])) if len(order) else second
        mask[order[second < best_before]] = True
        return mask
    front = np.empty((0, points.shape[1]))
    for row in order:
        if not (front <= points[row]).all(axis=1).any():
            front = np.vstack((front, points[row]))
            mask[row] = True
    return mask


def domination_ranks(values: Floats, violations: Floats) -> npt.NDArray[np.int64]:
    """Rank of each row: 0 on the front, 1 on the front of the rest, and so on.

    Constrained domination (Deb et al., IEEE TEC 6(2), 2002, definition 1): what violates less dominates; of what
    violates nothing, a row dominates another if it is nowhere worse and somewhere better.
    """
    worse = np.where(violations[:, None] > 0, 0.0, values)
    below = (worse[:, None] <= worse).all(axis=2) & (worse[:, None] < worse).any(axis=2)
    dominates = (violations[:, None] < violations) | ((violations[:, None] == violations) & below)
    ranks = np.full(len(values), -1)
    rank = 0
    while (left := ranks < 0).any():
        ranks[left & ~dominates[left].any(axis=0)] = rank
        rank += 1
    return ranks


def hypervolume(points: Floats, reference: Floats) -> float:
    """Exact volume that `points` (designs, objectives) dominate, bounded by `reference`; the unit is the product of
    the objectives' units.

    Hypervolume by slicing objectives (While et al., IEEE TEC 10(1), 2006): slabs along the last objective, each the
    hypervolume of one dimension less; two objectives are a sum of rectangles. Points that do not beat the reference
    in every objective add nothing.
    """
    reference = np.asarray(reference, dtype=float)
    inside = points[(points < reference).all(axis=1)]
    if len(inside) == 0:
        return 0.0
    return _hypervolume(inside[pareto_mask(inside)], reference)


def _hypervolume(front: Floats, reference: Floats) -> float:
    if front.shape[1] == 1:
        return float(reference[0] - front.min())
    if front.shape[1] == 2:
        front = front[np.argsort(front[:, 0])]
        heights = np.concatenate(([reference[1]], front[:-1, 1])) - front[:, 1]
        return float(((reference[0] - front[:, 0]) * heights).sum())
    front = front[np.argsort(front[:, -1], kind="stable")]
    tops = np.append(front[1:, -1], reference[-1])
    volume = 0.0
    for count, thickness in enumerate(tops - front[:, -1], start=1):
        if thickness > 0:
            slab = front[:count, :-1]
            volume += float(thickness) * _hypervolume(slab[pareto_mask(slab)], reference[:-1])
    return volume


def hypervolume_progress(points: Floats, reference: Floats, checkpoints: npt.NDArray[np.int64]) -> Floats:
    """Hypervolume of the first n rows, for every n of `checkpoints` (ascending); it never falls."""
    values, front, start = [], np.empty((0, points.shape[1])), 0
    for stop in checkpoints:
        candidates = np.vstack((front, points[start:stop]))
        front, start = candidates[pareto_mask(candidates)], stop
        values.append(hypervolume(front, reference))
    return np.array(values)
