"""ZigZag 3.9.1's cost of a loop nest on its tpu_like hardware, written out for GEMMs.

A nest is temporal loops from inside out, on an array that unrolls N over its columns and K over its rows. Memories take
an operand's loops from the inside out: `allocate` is ZigZag's rule for that, `price` the energy and `latency` the
cycles it charges for the result (Mei et al., "ZigZag", IEEE Trans. Computers 2021; constants and roundings are those of
the released package). Equal to the package on 519 mappings of its own (tests/systolic/test_zigzag_price.py). Energies
in picojoules, sizes in bits, times in cycles.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product, takewhile
from math import ceil, inf, prod
from typing import Literal, NamedTuple

Dim = Literal["M", "N", "K"]
Operand = Literal["O", "I", "W"]
MAC_PJ = 0.04
PARTIAL_BITS, FINAL_BITS = 16, 8


class Loop(NamedTuple):
    """One temporal loop."""

    dim: Dim
    size: int


@dataclass(frozen=True)
class Memory:
    """A memory: bits it holds, bits of its narrowest and widest access, and picojoules of the widest."""

    size: int
    narrow: int
    wide: int
    read_pj: float
    write_pj: float


WEIGHT_FILE = Memory(1024, 8, 8, 0.095, 0.095)
SUM_FILE = Memory(16, 16, 16, 0.021, 0.021)
SRAM = Memory(16_777_216, 64, 2048, 416.16, 378.4)
DRAM = Memory(10_000_000_000, 64, 64, 700.0, 750.0)
#: Memories of each operand from the array outwards, its dimensions, and the boundary its spatial loops lie at.
MEMORIES: dict[Operand, tuple[Memory, ...]] = {"O": (SUM_FILE, SRAM, DRAM), "I": (SRAM, DRAM), "W": (WEIGHT_FILE, DRAM)}
DIMS: dict[Operand, str] = {"O": "MN", "I": "MK", "W": "NK"}
UNROLLED_AT: dict[Operand, int] = {"O": 1, "I": 0, "W": 1}
#: Ports: each the memory it belongs to and what it carries (operand, boundary, whether the memory is above it,
#: whether partial sums return).
PORTS: tuple[tuple[Memory, tuple[tuple[Operand, int, bool, bool], ...]], ...] = (
    (WEIGHT_FILE, (("W", 0, True, False),)),
    (WEIGHT_FILE, (("W", 1, False, False),)),
    (SUM_FILE, (("O", 0, True, True),)),
    (SUM_FILE, (("O", 1, False, False),)),
    (SUM_FILE, (("O", 1, False, True),)),
    (SUM_FILE, (("O", 0, True, False),)),
    (SRAM, (("I", 0, True, False), ("O", 1, True, True), ("O", 2, False, False))),
    (SRAM, (("I", 1, False, False), ("O", 2, False, True), ("O", 1, True, False))),
    (DRAM, (("I", 1, True, False), ("W", 1, True, False), ("O", 2, True, False), ("O", 2, True, True))),
)


@dataclass(frozen=True)
class Gemm:
    """A GEMM on a square array of `side` x `side` PEs."""

    M: int
    N: int
    K: int
    side: int

    def unrolled(self, whole: bool) -> dict[str, float]:
        """Extent of each dimension on the array: the mean fold, or the whole number that latency is counted with."""
        mean = {dim: getattr(self, dim) / ceil(getattr(self, dim) / self.side) for dim in "NK"}
        return {"M": 1.0, **{dim: float(int(size)) if whole else size for dim, size in mean.items()}}


@dataclass(frozen=True)
class Boundary:
    """What crosses the border below one memory of an operand, per period: `elements` in each unit below, times
    `spread` units with data of their own. `returns`: partial sums come back. `window`: cycles for a transfer where
    nothing is double-buffered. `below`, `above`: copies of the memories on either side."""

    elements: int
    spread: int
    bits: int
    period: int
    count: int
    window: int
    returns: bool
    below: int
    above: int


#: Operands that share the SRAM, and the level it is to them.
SHARED: tuple[tuple[Operand, int], tuple[Operand, int]] = (("O", 1), ("I", 0))

Nest = tuple[Loop, ...]
#: How many of a nest's loops lie within each memory of an operand, outermost memory last.
Cuts = dict[Operand, tuple[int, ...]]


def allocate(gemm: Gemm, nest: Nest) -> Cuts:
    """ZigZag's rule: from the array outwards, each memory takes the innermost loops that leave least traffic above."""
    cuts: Cuts = {"O": (), "I": (), "W": ()}
    for memory in (WEIGHT_FILE, SUM_FILE, SRAM):
        sharers: list[Operand] = [op for op in ("I", "O", "W") if memory in MEMORIES[op]]
        starts = tuple(cuts[op][-1] if cuts[op] else 0 for op in sharers)
        best, least = starts, inf
        for ends in product(*(range(start, len(nest) + 1) for start in starts)):
            sizes = [
                _held_bits(gemm, nest, op, len(cuts[op]), start, end)
                for op, start, end in zip(sharers, starts, ends, strict=True)
            ]
            moved = sum(prod(loop.size for loop in nest[end:]) * size for end, size in zip(ends, sizes, strict=True))
            if sum(sizes) <= memory.size and moved <= least:
                best, least = ends, moved
        for op, end in zip(sharers, best, strict=True):
            cuts[op] += (end,)
    return {op: (*ends, len(nest)) for op, ends in cuts.items()}


def _held_bits(gemm: Gemm, nest: Nest, op: Operand, level: int, start: int, end: int) -> float:
    """Bits of an operand in memory `level` with the loops up to `end` inside; sums are narrow once K is done below."""
    elements = float(prod(loop.size for loop in nest[:end] if loop.dim in DIMS[op]))
    if level >= UNROLLED_AT[op]:
        unrolled = gemm.unrolled(whole=False)
        elements *= prod(unrolled[dim] for dim in DIMS[op])
    if op != "O":
        return elements * 8
    pending = level < UNROLLED_AT[op] or any(loop.dim == "K" for loop in nest[start:])
    return elements * (PARTIAL_BITS if pending else FINAL_BITS)


def boundaries(gemm: Gemm, nest: Nest, cuts: Cuts, op: Operand, whole: bool) -> tuple[Boundary, ...]:
    """The borders below each memory of an operand; `whole` counts the array in whole PEs, as latency does."""
    ends = _merged(nest, cuts[op], op)
    unrolled, at = gemm.unrolled(whole), UNROLLED_AT[op]
    relevant = prod(unrolled[dim] for dim in DIMS[op])
    everything = prod(unrolled.values())
    total = prod(loop.size for loop in nest)
    found = []
    for level in range(len(ends)):
        inside = nest[: ends[level - 1]] if level else ()
        period = prod(loop.size for loop in inside)
        if level == 0 and op != "O":
            period = _run(nest[: ends[0]], op, relevant=False)
        below = nest[ends[level - 2] if level > 1 else 0 : ends[level - 1]] if level else ()
        elements = prod(loop.size for loop in inside if loop.dim in DIMS[op]) * (relevant if level > at else 1.0)
        partial = op == "O" and (
            any(loop.dim == "K" for loop in nest[len(inside) :]) or (level < at and unrolled["K"] > 1)
        )
        found.append(
            Boundary(
                elements=round(elements),
                spread=round(relevant) if level == at else 1,
                bits=8 if op != "O" else PARTIAL_BITS if partial else FINAL_BITS,
                period=period,
                count=total // period,
                window=period // _run(below[::-1], op, relevant=False),
                returns=partial,
                below=round(round(everything if level <= at else 1.0, 3)),
                above=round(round(everything if level < at else 1.0, 3)),
            )
        )
    return tuple(found)


def _run(loops: Nest, op: Operand, relevant: bool) -> int:
    """Product of the loops at the start of `loops` that an operand depends on, or does not."""
    return prod(loop.size for loop in takewhile(lambda loop: (loop.dim in DIMS[op]) == relevant, loops))


def _merged(nest: Nest, ends: tuple[int, ...], op: Operand) -> tuple[int, ...]:
    """Cuts moved outwards over loops that bring the operand nothing new: what is there stays."""
    moved = []
    for end in ends:
        while end < len(nest) and nest[end].dim not in DIMS[op]:
            end += 1
        moved.append(end)
    return tuple(moved)


def price(gemm: Gemm, nest: Nest, cuts: Cuts) -> dict[str, float]:
    """Picojoules by component: `mac`, and each memory of each operand as in the published table."""
    energy = {"mac_pj": MAC_PJ * gemm.M * gemm.N * gemm.K}
    names = {WEIGHT_FILE: "rf", SUM_FILE: "rf", SRAM: "sram", DRAM: "dram"}
    for op, memories in MEMORIES.items():
        borders = boundaries(gemm, nest, cuts, op, whole=False)
        for level, memory in enumerate(memories):
            inner = _words(memory, borders[level], borders[level].elements * borders[level].spread, "above")
            down, up = (memory.read_pj, memory.write_pj) if op != "O" else (memory.write_pj, memory.read_pj)
            joules = inner * (down + (up if borders[level].returns else 0.0))
            if level + 1 < len(memories):
                outer = _words(memory, borders[level + 1], borders[level + 1].elements, "below")
                joules += outer * (up + (down if borders[level + 1].returns else 0.0))
            energy[f"{op.lower()}_{names[memory]}_pj"] = joules
    return energy


def _words(memory: Memory, border: Boundary, elements: int, side: Literal["above", "below"]) -> int:
    """Accesses of a memory in its widest words over the whole nest; a transfer takes whole narrow words."""
    units = border.above if side == "above" else border.below
    narrow = ceil(elements * border.bits / memory.narrow)
    return int(narrow * (memory.narrow / memory.wide) * border.count * units)


def double_buffered(gemm: Gemm, nest: Nest, cuts: Cuts) -> dict[Operand, tuple[bool, ...]]:
    """For each border of an operand, whether the memory below it has room for the next data beside the present."""
    part: dict[tuple[Operand, int], float] = {}
    for op, memories in MEMORIES.items():
        ends = _merged(nest, cuts[op], op)
        borders = boundaries(gemm, nest, cuts, op, whole=False)
        for level, memory in enumerate(memories[:-1]):
            last = nest[ends[level - 1] if level else 0 : ends[level]]
            turning = _run(last[::-1], op, relevant=True)
            part[op, level] = (borders[level + 1].elements * borders[level + 1].bits // turning) / memory.size
    taken = part[SHARED[0]] + part[SHARED[1]]
    doubled: dict[tuple[Operand, int], bool] = {}
    for key, size in part.items():
        present = taken if key in SHARED else size
        doubled[key] = present <= 0.5 or size <= 1 - present
        if key in SHARED and 0.5 < present <= 1 - size:
            taken += size
    return {op: (False, *(doubled[op, level] for level in range(len(MEMORIES[op]) - 1))) for op in MEMORIES}


@dataclass(frozen=True)
class _Activity:
    """What one port carries for one border: cycles of a transfer, cycles it may take, period, count, mean bits."""

    operand: Operand
    boundary: int
    above: bool
    returns: bool
    cycles: int
    allowed: int
    period: int
    count: int
    mean_bits: int


def activities(gemm: Gemm, nest: Nest, cuts: Cuts) -> list[tuple[Memory, list[_Activity]]]:
    """What every port carries."""
    borders = {op: boundaries(gemm, nest, cuts, op, whole=True) for op in MEMORIES}
    doubled = double_buffered(gemm, nest, cuts)
    found = []
    for memory, carried in PORTS:
        moves = []
        for op, level, above, returns in carried:
            border = borders[op][level]
            if returns and not border.returns:
                continue
            elements = border.elements * (border.spread if above else 1)
            moves.append(
                _Activity(
                    op,
                    level,
                    above,
                    returns,
                    ceil(elements * border.bits / memory.wide),
                    border.period if doubled[op][level] else border.window,
                    border.period,
                    border.count,
                    int(border.elements * border.bits / border.period * (border.spread if above else 1)),
                )
            )
        found.append((memory, moves))
    return found


def stall_cycles(ports: list[tuple[Memory, list[_Activity]]]) -> int:
    """Cycles that the slowest port holds the array up; what shares a port adds up unless there is slack for it."""
    stalls = [0]
    for _, moves in ports:
        late = [(move.cycles - move.allowed) * (move.count - 1) for move in moves]
        if len(moves) == 1:
            stalls += late
        elif moves:
            windows = sum(move.allowed * (move.count - 1) for move in moves)
            slack = sum(cycles for cycles in late if cycles <= 0)
            overrun = max(0, slack + windows - _union(moves))
            stalls.append(sum(cycles for cycles in late if cycles > 0) + overrun)
    return max(stalls)


def _union(moves: list[_Activity]) -> int:
    """Cycles in which at least one of the windows of a port is open, over the whole nest."""
    for move in moves:
        if move.period == move.allowed:
            return move.period * move.count
    longest = max(moves, key=lambda move: move.period)
    opened = sum(any(cycle % move.period < move.allowed for move in moves) for cycle in range(longest.period))
    return opened * longest.count


def latency(gemm: Gemm, nest: Nest, cuts: Cuts) -> dict[str, float]:
    """Cycles: `ideal`, `stall`, `onload` (first data), `offload_and_drain` (last results)."""
    ports = activities(gemm, nest, cuts)
    ideal = prod(loop.size for loop in nest)
    stall = stall_cycles(ports)
    left: dict[tuple[Operand, int, bool], float] = {}
    for memory, moves in ports:
        left.update(_edge_cycles(gemm, nest, cuts, memory.wide, moves, ideal + stall))
    onload = max(max(left[op, 1, True], left[op, 1, False]) for op in ("I", "W"))
    offload = sum(max(left["O", level, True], left["O", level, False]) for level in (1, 2))
    drain = min(gemm.N, gemm.side) - 1 + min(gemm.K, gemm.side) - 1
    return {"ideal": ideal, "stall": stall, "onload": onload, "offload_and_drain": offload + drain}


def _edge_cycles(
    gemm: Gemm, nest: Nest, cuts: Cuts, wide: int, moves: list[_Activity], computing: int
) -> dict[tuple[Operand, int, bool], float]:
    """Cycles before the first or after the last computation that each transfer of a port needs.

    What moves only once may use the port's idle cycles during computation, the longest transfer first, down to what
    one unit holds; the rest is exposed.
    """
    edges = [move for move in moves if not move.returns]
    busy = sum(move.mean_bits for move in edges if move.count > 1)
    idle = max(0.0, (wide - busy) / wide * computing)
    left = {(move.operand, move.boundary, move.above): float(move.cycles) for move in edges}
    for move in sorted((move for move in edges if move.count == 1), key=lambda move: move.cycles, reverse=True):
        if idle > 0:
            border = boundaries(gemm, nest, cuts, move.operand, whole=True)[1]
            hidden = min(max(0.0, move.cycles - ceil(border.elements * border.bits / wide)), idle)
            left[move.operand, move.boundary, move.above] -= hidden
            idle -= hidden
    return left
