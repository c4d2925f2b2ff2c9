"""When requests come: at random, at equal intervals, or as recorded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import UsageError


def poisson(rate_per_s: float, count: int, seed: int) -> NDArray[np.float64]:
    """`count` arrival times in s of a Poisson stream."""
    check(rate_per_s, count)
    gaps: NDArray[np.float64] = np.random.default_rng(seed).exponential(1.0 / rate_per_s, count)
    return np.cumsum(gaps)


def periodic(rate_per_s: float, count: int) -> NDArray[np.float64]:
    """`count` arrival times in s, 1/rate apart, the first at 0."""
    check(rate_per_s, count)
    return np.arange(count) / rate_per_s


def recorded(path: str | Path) -> NDArray[np.float64]:
    """Arrival times in s from the column `arrival_s` of a CSV. Raises UsageError unless they ascend from 0 or later."""
    file = Path(path)
    if not file.is_file():
        raise UsageError("no such file of arrivals", where=str(file))
    with file.open(encoding="utf-8") as lines:
        header = [name.strip() for name in lines.readline().split(",")]
        if "arrival_s" not in header:
            raise UsageError("no column arrival_s", where=str(file), got=", ".join(header))
        column = header.index("arrival_s")
        try:
            times = np.array([float(line.split(",")[column]) for line in lines if line.strip()])
        except (ValueError, IndexError) as error:
            raise UsageError(f"a row without an arrival time: {error}", where=str(file)) from error
    if times.size and (times[0] < 0.0 or (np.diff(times) < 0.0).any()):
        raise UsageError("arrival times", where=str(file), expected="ascending, 0 s or later")
    return times


def check(rate_per_s: float, count: int) -> None:
    """Raises UsageError unless the rate is positive and the count not negative."""
    if rate_per_s <= 0.0 or count < 0:
        raise UsageError(f"{count} arrivals at {rate_per_s:g}/s", expected="a positive rate and 0 or more arrivals")
