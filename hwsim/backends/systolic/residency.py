"""Which activations stay on chip: a short ladder of sets, from none to all, each with the room it takes.

An activation that stays is neither written to nor read from DRAM. It takes its bytes from the op that makes it to the
last that reads it; inside a fused attention only the slice of one head is alive at a time (A15), and inside an MLP that
runs in blocks of rows only one block (A18). Each rung fills a room of given size, those first that save most traffic
for the time they stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hwsim.backends.systolic.program import ArrayStep, Mlp, Operand, Program, VectorStep

#: Ratio of the rooms of neighbouring rungs.
_RATIO = 1.25


@dataclass(frozen=True)
class Rung:
    """Activations that stay on chip together, the most bytes they take at any step, and in how many blocks of rows
    those are made that do not stay whole."""

    kept: frozenset[str]
    room_bytes: float
    blocks: Mapping[str, int]


@dataclass(frozen=True)
class Keep:
    """A way to keep an activation: whole or by blocks, the bytes it takes and the traffic that it saves."""

    blocks: int
    room_bytes: float
    saved_bytes: float


@dataclass(frozen=True)
class _Life:
    """An activation's first and last step, and how it can be kept, whole first."""

    root: str
    first: int
    last: int
    ways: tuple[Keep, ...]

    @property
    def worth(self) -> float:
        """Traffic saved per byte and step, kept whole."""
        return self.ways[0].saved_bytes / (self.ways[0].room_bytes * (self.last - self.first))


def operands(step: ArrayStep | VectorStep) -> tuple[tuple[Operand, ...], tuple[Operand, ...]]:
    """What a step reads and what it writes."""
    if isinstance(step, ArrayStep):
        return (step.a, step.b), (step.out,)
    return step.reads, step.writes


def in_blocks(mlp: Mlp, size_bytes: float) -> tuple[Keep, ...]:
    """Numbers of equal blocks that save traffic: every block after the first reads the weights of both layers again."""
    ways = []
    for count in range(2, mlp.rows + 1):
        saved = 2 * size_bytes - (count - 1) * mlp.weight_bytes
        if saved <= 0:
            break
        if mlp.rows % count == 0:
            ways.append(Keep(count, size_bytes / count, saved))
    return tuple(ways)


def _lives(program: Program, row_blocks: bool) -> list[_Life]:
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
    mlps = {mlp.root: mlp for mlp in program.mlps} if row_blocks else {}
    lives = []
    for root in last:
        if root not in program.outside:
            whole = Keep(1, program.sizes[root] / program.slices.get(root, 1), saved[root])
            blocks = in_blocks(mlps[root], program.sizes[root]) if root in mlps else ()
            lives.append(_Life(root, made[root], last[root], (whole, *blocks)))
    return lives


def _fill(lives: list[_Life], steps: int, room_bytes: float) -> tuple[Rung, float]:
    """Greedy choice for a room, each activation whole if it can be, else in as few blocks as fit; traffic it saves."""
    taken = [0.0] * steps
    kept: dict[str, Keep] = {}
    for life in lives:
        span = range(life.first, life.last + 1)
        busiest = max(taken[step] for step in span)
        way = next((way for way in life.ways if busiest + way.room_bytes <= room_bytes), None)
        if way is not None:
            for step in span:
                taken[step] += way.room_bytes
            kept[life.root] = way
    blocks = {root: way.blocks for root, way in kept.items() if way.blocks > 1}
    rung = Rung(frozenset(kept), max(taken, default=0.0), blocks)
    return rung, sum(way.saved_bytes for way in kept.values())


def ladder(program: Program, row_blocks: bool) -> tuple[Rung, ...]:
    """Rungs in rising order of room; the first keeps nothing. `row_blocks`: MLPs may run in blocks of rows."""
    lives = sorted(_lives(program, row_blocks), key=lambda life: (-life.worth, life.first))
    rungs = [Rung(frozenset(), 0.0, {})]
    if not lives:
        return tuple(rungs)
    steps = len(program.steps)
    room = min(life.ways[-1].room_bytes for life in lives)
    everything, best = sum(life.ways[0].room_bytes for life in lives), 0.0
    while True:
        rung, saved = _fill(lives, steps, room)
        if saved > best:
            rungs.append(rung)
            best = saved
        if (len(rung.kept) == len(lives) and not rung.blocks) or room >= everything:
            return tuple(rungs)
        room *= _RATIO
