"""The timeline of a solved design: what the array, the vector unit and the DMA do when, and how full the buffer is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from hwsim.backends.systolic.plan import blocks_of
from hwsim.backends.systolic.program import ArrayStep
from hwsim.backends.systolic.solve import Solution
from hwsim.backends.systolic.vector import lane_cycles
from hwsim.core.frozen import FrozenDict
from hwsim.core.results import OpEstimate, Span


@dataclass(frozen=True)
class _Piece:
    """A part of an op's time: all of it, or that of one block of rows."""

    row: OpEstimate
    step: int
    name: str
    start_s: float
    share: float

    @property
    def end_s(self) -> float:
        """When it ends."""
        return self.start_s + self.row.latency_s * self.share


def spans_of(solution: Solution, ops: tuple[OpEstimate, ...], steps: Mapping[str, int]) -> tuple[Span, ...]:
    """Spans on the tracks `array`, `vector` and `dma`, with the buffer's fill at each op's start as a counter."""
    rows = {steps[row.name]: row for row in ops if row.latency_s > 0}
    pieces = sorted(_pieces(solution, rows), key=lambda piece: piece.start_s)
    return tuple(span for piece in pieces for span in _spans(solution, piece))


def _pieces(solution: Solution, rows: Mapping[int, OpEstimate]) -> Iterator[_Piece]:
    """Ops one after another; the two layers of a cut MLP take turns, block by block (A18)."""
    program, rung = solution.plan.program, solution.plan.rungs[solution.rung]
    cut = {step: mlp.step for mlp in program.mlps if mlp.root in rung.blocks for step in (mlp.step, mlp.step + 1)}
    for step, row in rows.items():
        count = blocks_of(program.steps[step], rung)
        if count == 1:
            yield _Piece(row, step, row.name, row.start_s, 1.0)
            continue
        first, last = rows[cut[step]], rows[cut[step] + 1]
        turn = (first.latency_s + last.latency_s) / count
        offset = first.start_s if row is first else first.start_s + first.latency_s / count
        for index in range(count):
            yield _Piece(row, step, f"{row.name}: block {index + 1} of {count}", offset + index * turn, 1 / count)


def _spans(solution: Solution, piece: _Piece) -> Iterator[Span]:
    row, name, start = piece.row, piece.name, piece.start_s
    index = solution.plan.steps[solution.rung][piece.step]
    second = piece.share / float(solution.design.clock_hz)
    if not isinstance(solution.plan.program.steps[piece.step], ArrayStep):
        yield Span(row.unit, name, start, row.latency_s)
        if row.unit == "vector" and row.bytes.get("dram", 0.0) > 0:
            dma = row.bytes["dram"] / solution.machine.dram_bytes_per_cycle * second
            yield Span("dma", f"{name}: load and store", start, min(dma, row.latency_s))
        return
    cost = solution.costs[index]
    begin, end = start + cost.first_load_cycles * second, piece.end_s
    fill = FrozenDict({"buffer_bytes": cost.need_bytes})
    if cost.transfer_cycles > 0:
        last = cost.last_store_cycles * second
        yield Span("dma", f"{name}: first tiles", start, begin - start, fill)
        steady = max(0.0, cost.transfer_cycles - cost.first_load_cycles - cost.last_store_cycles) * second
        yield Span("dma", f"{name}: tiles and results", begin, max(0.0, min(steady, end - last - begin)))
        yield Span("dma", f"{name}: last result", end - last, last)
    computing = max(0.0, end - cost.last_store_cycles * second - begin)
    yield Span("array", name, begin, computing, fill)
    cores = solution.mappings[index].cores_b * solution.mappings[index].cores_m * solution.mappings[index].cores_n
    epilogue = lane_cycles(solution.unit, solution.plan.products[index].epilogue) / cores * second
    if epilogue > 0:
        yield Span("vector", f"{name}: epilogue", begin, min(epilogue, computing))
