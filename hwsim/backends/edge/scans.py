"""One pass over the requests for each of the two queues of the fast path."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hwsim.backends.edge.agenda import compiled


@compiled
def lindley(ready_s: NDArray[np.float64], service_s: float, done_s: NDArray[np.float64]) -> None:
    """Ends of jobs of equal length on one first-come-first-served device: done_n = max(ready_n, done_{n-1}) + C."""
    free = -np.inf
    for n in range(ready_s.size):
        free = max(ready_s[n], free) + service_s
        done_s[n] = free


@compiled
def processor_sharing(
    entry_s: NDArray[np.float64],
    size_bytes: float,
    speed: float,
    cap: float,
    target: NDArray[np.float64],
    done_s: NDArray[np.float64],
) -> None:
    """Ends of equal flows that share `speed` B/s, none above `cap`: with k flows each moves at min(speed/k, cap).

    `target` is scratch: by flow, the bytes served to each flow present when it ends.
    """
    served, now, first = 0.0, 0.0, 0
    for n in range(entry_s.size + 1):
        entry = entry_s[n] if n < entry_s.size else np.inf
        while first < n:
            rate = min(speed / (n - first), cap)
            end = now + max(0.0, target[first] - served) / rate
            if end > entry:
                served += (entry - now) * rate
                break
            served = target[first]
            now = end
            done_s[first] = end
            first += 1
        if n < entry_s.size:
            if first == n:
                served = 0.0
            now = entry
            target[n] = served + size_bytes
