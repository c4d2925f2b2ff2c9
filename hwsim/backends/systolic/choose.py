"""One design on one plan: the best mapping of every distinct product, and how much of the memory activations keep.

Kernels over tables: a row of numbers per distinct product and move, so that one design and a million read the same.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from hwsim.backends.systolic.cost import dynamic_energy, evaluate, first_rank, second_rank
from hwsim.backends.systolic.machine import Machine, Mapping, Move, Product, Unit
from hwsim.backends.systolic.mapper import best_mapping, product_floor, rule_mapping
from hwsim.backends.systolic.vector import gemm_of, lane_energy, move_cost

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    # One estimate passes lists, which Python reads faster; a sweep passes arrays.
    Row = npt.NDArray[np.float64] | list[float]
    Table = npt.NDArray[np.float64] | list[list[float]]
    Wholes = npt.NDArray[np.int64]


class Choice(NamedTuple):
    """The better share of memory for activations: its index, its rung, and the workload's cycles and dynamic joules.

    `short` is -1, or the index of a product that no mapping fits on.
    """

    share: int
    rung: int
    cycles: float
    energy_j: float
    short: int


def product_of(row: Row) -> Product:
    """A product from its row."""
    return Product(
        int(row[0]), int(row[1]), int(row[2]), int(row[3]), row[4], row[5], row[6], row[7], row[8], int(row[9]),
        int(row[10]), int(row[11]), int(row[12]), row[13],
        (row[14], row[15], row[16], row[17], row[18], row[19], row[20], row[21]),
    )  # fmt: skip


def move_of(row: Row) -> Move:
    """A move from its row."""
    return Move(
        (row[4], row[5], row[6], row[7], row[8], row[9], row[10], row[11]), row[0], row[1], row[2], row[3]
    )  # fmt: skip


def room_bytes(machine: Machine, share: float) -> float:
    """Bytes that activations may keep on chip, all cores together."""
    if machine.stage_bytes > 0:
        return share * machine.stage_bytes
    return share * machine.buffer_bytes * (1 if machine.shared else machine.cores)


def reserved_bytes(machine: Machine, share: float) -> float:
    """Bytes that are taken of the memory a product's tiles must fit: of the global buffer, or of one core's buffer."""
    return share * (machine.stage_bytes if machine.stage_bytes > 0 else machine.buffer_bytes)


def highest_rung(rooms: Row, room: float) -> int:
    """The last rung whose activations fit a room."""
    found = 0
    for index in range(len(rooms)):
        if rooms[index] <= room:
            found = index
    return found


def rung_cost(
    machine: Machine, unit: Unit, products: Table, moves: Table, counts: Row, reserved: float, objective: int,
    by_rule: int, limit: float, mappings: Wholes,
) -> Choice:  # fmt: skip
    """Cycles and joules of all steps of a rung; `counts` says how often each distinct product and move occurs.

    Writes the mapping of each product into its row of `mappings`. Gives up, with infinite cost, as soon as what is
    known and the floors of the rest rank above `limit`.
    """
    cycles, energy = moves_cost(machine, unit, moves, counts, len(products))
    for index in range(len(products)):
        if counts[index] > 0:
            gemm = gemm_of(product_of(products[index]), unit, reserved)
            floor = product_floor(machine, gemm)
            cycles += counts[index] * floor.cycles
            energy += counts[index] * (floor.energy_j + lane_energy(unit, product_of(products[index]).epilogue))
    for index in range(len(products)):
        if counts[index] > 0:
            if first_rank(objective, cycles, energy) * (1 - 1e-12) > limit:
                return Choice(0, 0, math.inf, math.inf, -1)
            gemm = gemm_of(product_of(products[index]), unit, reserved)
            found = rule_mapping(machine, gemm, objective) if by_rule else best_mapping(machine, gemm, objective)
            if math.isinf(found.rank):
                return Choice(0, 0, math.inf, math.inf, index)
            for place in range(len(found.mapping)):
                mappings[index, place] = found.mapping[place]
            floor = product_floor(machine, gemm)
            cycles += counts[index] * (found.cycles - floor.cycles)
            energy += counts[index] * (found.energy_j - floor.energy_j)
    return exact_cost(machine, unit, products, moves, counts, reserved, mappings)


def moves_cost(machine: Machine, unit: Unit, moves: Table, counts: Row, first: int) -> tuple[float, float]:
    """Cycles and joules of all steps that are no products; `first` is the place of the first move in `counts`."""
    cycles, energy = 0.0, 0.0
    for index in range(len(moves)):
        if counts[first + index] > 0:
            cost = move_cost(machine, unit, move_of(moves[index]))
            cycles += counts[first + index] * cost.cycles
            energy += counts[first + index] * (cost.vector_j + cost.dram_j + cost.stage_j + cost.buffer_j)
    return cycles, energy


def exact_cost(
    machine: Machine, unit: Unit, products: Table, moves: Table, counts: Row, reserved: float, mappings: Wholes
) -> Choice:
    """Cycles and joules of all steps of a rung with given mappings."""
    cycles, energy = moves_cost(machine, unit, moves, counts, len(products))
    for index in range(len(products)):
        if counts[index] > 0:
            product = product_of(products[index])
            cost = evaluate(machine, gemm_of(product, unit, reserved), mapping_of(mappings[index]))
            cycles += counts[index] * cost.cycles
            energy += counts[index] * (dynamic_energy(cost) + lane_energy(unit, product.epilogue))
    return Choice(0, 0, cycles, energy, -1)


def mapping_of(row: Wholes) -> Mapping:
    """A mapping from its row."""
    return Mapping(
        int(row[0]), int(row[1]), int(row[2]), int(row[3]), int(row[4]), int(row[5]), int(row[6]), int(row[7]),
        int(row[8]), int(row[9]), int(row[10]), int(row[11]),
    )  # fmt: skip


def choose(
    machine: Machine, unit: Unit, products: Table, moves: Table, counts: Table, rooms: Row, shares: Row,
    objective: int, by_rule: int, limit: float, mappings: Wholes,
) -> Choice:  # fmt: skip
    """The best of the `shares` of on-chip memory that activations may keep, given in rising order.

    Of shares that keep the same activations only the smallest is tried: it leaves most room for tiles. What is
    sure to rank above `limit` is given up, with infinite cost. `mappings` (shares, products, 12) receives the mappings
    of each share tried.
    """
    best = Choice(0, 0, math.inf, math.inf, 0)
    for index in range(len(shares) - 1, -1, -1):
        rung = highest_rung(rooms, room_bytes(machine, shares[index]))
        if index > 0 and rung == highest_rung(rooms, room_bytes(machine, shares[index - 1])):
            continue
        reserved = reserved_bytes(machine, shares[index])
        best_rank = first_rank(objective, best.cycles, best.energy_j)
        cost = rung_cost(
            machine, unit, products, moves, counts[rung], reserved, objective, by_rule, min(limit, best_rank),
            mappings[index],
        )  # fmt: skip
        rank = first_rank(objective, cost.cycles, cost.energy_j)
        tie = second_rank(objective, cost.cycles, cost.energy_j) < second_rank(objective, best.cycles, best.energy_j)
        if rank < best_rank or (rank == best_rank and tie):
            best = Choice(index, rung, cost.cycles, cost.energy_j, -1)
        elif math.isinf(best.cycles) and cost.short >= 0:
            best = Choice(index, rung, math.inf, math.inf, cost.short)
    return best
