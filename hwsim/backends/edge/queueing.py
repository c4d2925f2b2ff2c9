"""Closed forms that stand beside a simulation: M/D/1 waiting times, fork-join bounds, percentiles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hwsim.core.errors import UsageError

# Below this probability a tail of the queue no longer changes a waiting-time percentile in doubles.
TAIL = 1e-18


@dataclass(frozen=True)
class Percentiles:
    """Mean and percentiles of a sample in seconds, by linear interpolation."""

    mean: float
    p50: float
    p90: float
    p95: float
    p99: float
    p999: float
    maximum: float


def percentiles(sample_s: ArrayLike) -> Percentiles:
    """Summary of `sample_s`; nan for an empty sample."""
    values = np.asarray(sample_s, dtype=np.float64)
    if values.size == 0:
        return Percentiles(*([math.nan] * 7))
    p50, p90, p95, p99, p999 = np.percentile(values, [50, 90, 95, 99, 99.9])
    return Percentiles(
        float(values.mean()), float(p50), float(p90), float(p95), float(p99), float(p999), float(values.max())
    )


@dataclass(frozen=True)
class MD1:
    """Waiting time of an M/D/1 queue: Poisson arrivals, one server, constant service of `service_s`."""

    arrival_per_s: float
    service_s: float

    def __post_init__(self) -> None:
        if self.arrival_per_s <= 0.0 or self.service_s <= 0.0:
            raise UsageError("M/D/1 needs a positive arrival rate and service time")
        if self.utilization >= 1.0:
            raise UsageError(
                f"{self.arrival_per_s:g}/s of {self.service_s:g} s each load the device {self.utilization:.4g} times",
                where="M/D/1",
                got=self.utilization,
                expected="utilisation below 1",
                remedy="lower the arrival rate or add devices: the queue grows without bound",
            )

    @property
    def utilization(self) -> float:
        """rho = lambda D."""
        return self.arrival_per_s * self.service_s

    @property
    def mean_s(self) -> float:
        """Mean wait: rho D / (2 (1 - rho)) (Pollaczek-Khinchine)."""
        return self.utilization * self.service_s / (2.0 * (1.0 - self.utilization))

    @property
    def variance_s2(self) -> float:
        """Variance of the wait: rho (4 - rho) D^2 / (12 (1 - rho)^2)."""
        rho = self.utilization
        return rho * (4.0 - rho) * self.service_s**2 / (12.0 * (1.0 - rho) ** 2)

    def wait_cdf(self, wait_s: ArrayLike) -> NDArray[np.float64]:
        """P(W <= t), exact to rounding at any utilisation; shape as `wait_s`.

        Erlang's alternating sum loses all digits above rho = 0.8. Franx (Operations Research Letters 29, 2001,
        eq. 3) has only positive terms: for (k-1) D <= t < k D and u = lambda (k D - t),
        P(W <= t) = sum_{j=0}^{k-1} Q_{k-1-j} u^j e^{-u} / j!, where Q_n is the probability that at most n wait.
        """
        waits = np.asarray(wait_s, dtype=np.float64)
        most = float(waits.max(initial=0.0))
        queue = queue_cdf(self.utilization, int(most / self.service_s) + 2)
        each = [self._wait_probability(t, queue) for t in waits.ravel().tolist()]
        return np.array(each).reshape(waits.shape)

    def _wait_probability(self, t: float, queue: NDArray[np.float64]) -> float:
        if t < 0.0:
            return 0.0
        k = int(t / self.service_s) + 1
        u = self.arrival_per_s * (k * self.service_s - t)
        terms = np.cumprod(np.concatenate([[math.exp(-u)], u / np.arange(1, k)]))
        return min(1.0, float(terms @ queue[k - 1 :: -1]))

    def wait_percentile(self, probability: float) -> float:
        """The wait in s that is exceeded with 1 - `probability`; 0 where so many do not wait at all."""
        if not 0.0 <= probability < 1.0:
            raise UsageError(f"probability {probability:g}", expected="0 <= probability < 1")
        low, high = 0.0, self.service_s
        if probability <= 1.0 - self.utilization:
            return 0.0
        while float(self.wait_cdf(high)) < probability:
            low, high = high, 2.0 * high
        queue = queue_cdf(self.utilization, int(high / self.service_s) + 2)
        while high - low > 1e-15 * high:
            middle = 0.5 * (low + high)
            if middle in (low, high):
                break
            if self._wait_probability(middle, queue) < probability:
                low = middle
            else:
                high = middle
        return high


def queue_cdf(utilization: float, count: int) -> NDArray[np.float64]:
    """P(at most n wait), n = 0 .. count-1, of an M/D/1 queue; the one in service does not wait.

    Ramaswami's recursion (Stochastic Models 4, 1988) for the queue left at departures, without subtractions:
    p_i a_0 = p_0 A_i + sum_{j=1}^{i-1} p_j A_{i+1-j}, with a_k the chance of k arrivals in a service, A_k of k or more.
    """
    size = count + 1
    arrivals = np.cumprod(np.concatenate([[math.exp(-utilization)], utilization / np.arange(1, size + 60)]))
    tail = np.cumsum(arrivals[::-1])[::-1]
    p = np.zeros(size)
    p[0] = 1.0 - utilization
    for i in range(1, size):
        p[i] = (p[0] * tail[i] + p[1:i] @ tail[i:1:-1]) / arrivals[0]
        if p[i] < TAIL:
            break
    return np.minimum(1.0, np.cumsum(p))[1:]


def fork_join_bounds(
    branches: Sequence[MD1], constants_s: Sequence[float], time_s: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lower and upper bound on P(all branches done <= t) when one Poisson stream forks into M/D/1 queues.

    Branch i ends at its wait plus `constants_s[i]`. Branches that share their arrivals are associated, so the product
    of their distributions is a lower bound; the slowest branch alone an upper one (Baccelli, Makowski & Shwartz,
    Advances in Applied Probability 21, 1989).
    """
    times = np.asarray(time_s, dtype=np.float64)
    each = np.array([b.wait_cdf(times - constant) for b, constant in zip(branches, constants_s, strict=True)])
    return each.prod(axis=0), each.min(axis=0)
