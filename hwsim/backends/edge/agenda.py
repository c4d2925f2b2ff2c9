"""An indexed binary min-heap: one slot per thing that can happen next, keyed by when it happens.

Every slot is always in the heap (infinity when nothing is due), so the next event is `slots[0].order` and a change of
plan is one `reschedule`: no stale entries, no allocation while the simulation runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

import numba
import numpy as np

# A numpy structured array; its dtype stands beside the code that owns it. One array of records instead of an array
# per field keeps what is used together in one cache line, and the compiled functions' argument lists short.
Records: TypeAlias = Any

Function = TypeVar("Function", bound=Callable[..., object])


def compiled(function: Function) -> Function:
    """How every inner loop here is compiled: kept on disk, without Python's checks for division by zero, and without
    reference counts (`_nrt`), which took 85 % of the time. So these functions allocate nothing: callers bring arrays.
    """
    options = {"cache": True, "error_model": "numpy", "_nrt": False}
    made: Function = numba.njit(**options)(function)  # type: ignore[call-overload]
    return made


# `due_s`: when the slot is due. `place`: where in the heap it is. `order`: the slot at this position of the heap.
SLOT = np.dtype([("due_s", np.float64), ("place", np.int64), ("order", np.int64)])


def new_agenda(slots: int) -> Records:
    """An agenda of `slots` slots in which nothing is due."""
    agenda = np.zeros(slots, SLOT)
    agenda["due_s"] = np.inf
    agenda["place"] = agenda["order"] = np.arange(slots)
    return agenda


@compiled
def reschedule(agenda: Records, slot: int, due_s: float) -> None:
    """Make `slot` due at `due_s`; O(log slots)."""
    earlier = due_s < agenda[slot].due_s
    agenda[slot].due_s = due_s
    at = agenda[slot].place
    if earlier:
        while at > 0:
            above = (at - 1) >> 1
            other = agenda[above].order
            if agenda[other].due_s <= due_s:
                break
            agenda[at].order = other
            agenda[other].place = at
            at = above
    else:
        while 2 * at + 1 < agenda.size:
            child = 2 * at + 1
            other = agenda[child].order
            if child + 1 < agenda.size and agenda[agenda[child + 1].order].due_s < agenda[other].due_s:
                child += 1
                other = agenda[child].order
            if agenda[other].due_s >= due_s:
                break
            agenda[at].order = other
            agenda[other].place = at
            at = child
    agenda[at].order = slot
    agenda[slot].place = at
