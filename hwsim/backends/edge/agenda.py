"""An indexed binary min-heap: one slot per thing that can happen next, keyed by when it happens.

Every slot is always in the heap (infinity when nothing is due), so the next event is `order[0]` and a change of plan
is one `reschedule`: no stale entries, no allocation while the simulation runs.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray


class Agenda(NamedTuple):
    """`due_s[slot]` when the slot is due; `order` the heap of slots; `place[slot]` its position in `order`."""

    due_s: NDArray[np.float64]
    order: NDArray[np.int64]
    place: NDArray[np.int64]


def new_agenda(slots: int) -> Agenda:
    """An agenda of `slots` slots in which nothing is due."""
    return Agenda(np.full(slots, np.inf), np.arange(slots), np.arange(slots))


@numba.njit(cache=True)
def reschedule(agenda: Agenda, slot: int, due_s: float) -> None:
    """Make `slot` due at `due_s`; O(log slots)."""
    due, order, place = agenda
    earlier = due_s < due[slot]
    due[slot] = due_s
    at = place[slot]
    if earlier:
        while at > 0 and due[order[(at - 1) >> 1]] > due_s:
            order[at] = order[(at - 1) >> 1]
            place[order[at]] = at
            at = (at - 1) >> 1
    else:
        while 2 * at + 1 < order.size:
            child = 2 * at + 1
            if child + 1 < order.size and due[order[child + 1]] < due[order[child]]:
                child += 1
            if due[order[child]] >= due_s:
                break
            order[at] = order[child]
            place[order[at]] = at
            at = child
    order[at] = slot
    place[slot] = at
