"""Which activations stay on chip: a short ladder of sets, from none to all, each with the room it takes.

An activation that stays is neither written to nor read from DRAM. It takes its bytes from the op that makes it to the
last that reads it; inside a fused attention only the slice of one head is alive at a time (A15). Each rung fills a
room of given size, those first that save most traffic for the time they stay.
"""

from __future__ import annotations

from dataclasses import dataclass

from hwsim.backends.systolic.program import ArrayStep, Operand, Program, VectorStep

#: Ratio of the rooms of neighbouring rungs.
_RATIO = 1.25


@dataclass(frozen=True)
class Rung:
    """A set of activations that stay on chip together and the most bytes they take at any step."""

    kept: frozenset[str]
    room_bytes: float


@dataclass(frozen=True)
class _Life:
    """An activation's first and last step, the bytes it takes and the traffic that keeping it saves."""

    root: str
    first: int
    last: int
    room_bytes: float
    saved_bytes: float


def operands(step: ArrayStep | VectorStep) -> tuple[tuple[Operand, ...], tuple[Operand, ...]]:
    """What a step reads and what it writes."""
    if isinstance(step, ArrayStep):
        return (step.a, step.b), (step.out,)
    return step.reads, step.writes


def _lives(program: Program) -> list[_Life]:
    made: dict[str, int] = {}
    last: dict[str, int] = {}
    saved: dict[str, float] = {}
    for index, step in enumerate(program.steps):
        reads, writes = operands(step)
        for item in reads:
            if item.root in made:
                last[item.root] = index
                saved[item.root] += item.size_bytes
        for item in writes:
            if item.root is not None:
                made.setdefault(item.root, index)
                saved[item.root] = saved.get(item.root, 0.0) + item.size_bytes
    return [
        _Life(root, made[root], last[root], program.sizes[root] / program.slices.get(root, 1), saved[root])
        for root in last
        if root not in program.outside
    ]


def _fill(lives: list[_Life], steps: int, room_bytes: float) -> tuple[frozenset[str], float, float]:
    """Greedy choice for a room: what stays, the most it takes at once, and the traffic it saves."""
    taken = [0.0] * steps
    kept: list[str] = []
    saved = 0.0
    for life in lives:
        span = range(life.first, life.last + 1)
        if max(taken[step] for step in span) + life.room_bytes <= room_bytes:
            for step in span:
                taken[step] += life.room_bytes
            kept.append(life.root)
            saved += life.saved_bytes
    return frozenset(kept), max(taken, default=0.0), saved


def ladder(program: Program) -> tuple[Rung, ...]:
    """Rungs in rising order of room; the first keeps nothing."""
    lives = _lives(program)
    lives.sort(key=lambda life: (-life.saved_bytes / (life.room_bytes * (life.last - life.first)), life.first))
    rungs = [Rung(frozenset(), 0.0)]
    if not lives:
        return tuple(rungs)
    steps = len(program.steps)
    room, everything, best = min(life.room_bytes for life in lives), sum(life.room_bytes for life in lives), 0.0
    while True:
        kept, used, saved = _fill(lives, steps, room)
        if saved > best:
            rungs.append(Rung(kept, used))
            best = saved
        if len(kept) == len(lives) or room >= everything:
            return tuple(rungs)
        room *= _RATIO
