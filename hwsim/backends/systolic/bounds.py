"""What no mapping can beat: DRAM traffic of one op for a given buffer."""

from __future__ import annotations

from math import sqrt

from hwsim.backends.systolic.machine import Gemm, Machine
from hwsim.backends.systolic.solve import Solution


def product_bytes(machine: Machine, gemm: Gemm) -> float:
    """Least bytes that cross DRAM for one op: each operand once, or 2 MNK / sqrt(S) - 2 S elements if that is more.

    Smith, Lowery, Langou, van de Geijn, arXiv:1702.02017, for a memory of S elements; S counts every on-chip byte of
    all cores in the smallest elements, so that the bound holds for operands of any width.
    """
    a = 0.0 if gemm.a_kept else gemm.M * gemm.K * gemm.a_share * gemm.a_bytes
    b = 0.0 if gemm.b_kept else gemm.K * gemm.N * gemm.b_bytes
    o = 0.0 if gemm.o_kept else gemm.M * gemm.N * gemm.o_bytes
    on_chip = (machine.buffer_bytes + machine.weight_bytes + machine.accumulator_bytes) * machine.cores
    smallest = min(gemm.a_bytes, gemm.b_bytes, gemm.o_bytes)
    elements = (on_chip + machine.stage_bytes) / smallest + machine.rows * machine.cols * machine.cores
    pebbles = 2 * gemm.M * gemm.N * gemm.K / sqrt(elements) - 2 * elements
    if gemm.a_kept or gemm.b_kept or gemm.o_kept or gemm.a_share < 1:
        pebbles = 0.0
    return gemm.batch * max(a + b + o, pebbles * smallest)


def compulsory_bytes(solution: Solution, index: int) -> float:
    """Least bytes that cross DRAM for one distinct product or move of a solved design."""
    if index in solution.gemms:
        return product_bytes(solution.machine, solution.gemms[index])
    move = solution.plan.moves[index - len(solution.plan.products)]
    return move.dram_read_bytes + move.dram_write_bytes
