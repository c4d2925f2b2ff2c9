"""The timeline of a solved design: what the array, the vector unit and the DMA do when, and how full the buffer is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from hwsim.backends.systolic.program import ArrayStep
from hwsim.backends.systolic.solve import Solution
from hwsim.backends.systolic.vector import lane_cycles
from hwsim.core.frozen import FrozenDict
from hwsim.core.results import OpEstimate, Span


def spans_of(solution: Solution, ops: tuple[OpEstimate, ...], steps: Mapping[str, int]) -> tuple[Span, ...]:
    """Spans on the tracks `array`, `vector` and `dma`, with the buffer's fill at each op's start as a counter."""
    return tuple(span for row in ops if row.latency_s > 0 for span in _spans(solution, row, steps[row.name]))


def _spans(solution: Solution, row: OpEstimate, step: int) -> Iterator[Span]:
    index = solution.plan.steps[solution.rung][step]
    second = 1 / float(solution.design.clock_hz)
    if not isinstance(solution.plan.program.steps[step], ArrayStep):
        yield Span(row.unit, row.name, row.start_s, row.latency_s)
        if row.unit == "vector" and row.bytes.get("dram", 0.0) > 0:
            dma = row.bytes["dram"] / solution.machine.dram_bytes_per_cycle * second
            yield Span("dma", f"{row.name}: load and store", row.start_s, min(dma, row.latency_s))
        return
    cost = solution.costs[index]
    begin = row.start_s + cost.first_load_cycles * second
    end = row.start_s + row.latency_s
    fill = FrozenDict({"buffer_bytes": cost.need_bytes})
    if cost.transfer_cycles > 0:
        last = cost.last_store_cycles * second
        yield Span("dma", f"{row.name}: first tiles", row.start_s, begin - row.start_s, fill)
        steady = max(0.0, cost.transfer_cycles - cost.first_load_cycles - cost.last_store_cycles) * second
        yield Span("dma", f"{row.name}: tiles and results", begin, max(0.0, min(steady, end - last - begin)))
        yield Span("dma", f"{row.name}: last result", end - last, last)
    computing = max(0.0, end - cost.last_store_cycles * second - begin)
    yield Span("array", row.name, begin, computing, fill)
    cores = solution.mappings[index].cores_b * solution.mappings[index].cores_m * solution.mappings[index].cores_n
    epilogue = lane_cycles(solution.unit, solution.plan.products[index].epilogue) / cores * second
    if epilogue > 0:
        yield Span("vector", f"{row.name}: epilogue", begin, min(epilogue, computing))
