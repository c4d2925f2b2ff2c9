"""The kernel of a sweep: designs as rows of numbers, one after another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hwsim.backends.systolic.choose import choose
from hwsim.backends.systolic.cost import first_rank
from hwsim.backends.systolic.machine import Machine, Unit

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Wholes = npt.NDArray[np.int64]


def machine_of(row: Floats) -> Machine:
    """A machine from its row, fields in the order of the tuple."""
    return Machine(
        int(row[0]), int(row[1]), int(row[2]), int(row[3]), int(row[4]), int(row[5]), int(row[6]), int(row[7]),
        int(row[8]), int(row[9]), int(row[10]), int(row[11]),
        row[12], row[13], row[14], row[15], row[16], int(row[17]),
        row[18], row[19], row[20], row[21], row[22], row[23], row[24], row[25], row[26], row[27], row[28], row[29],
        row[30],
    )  # fmt: skip


def unit_of(row: Floats) -> Unit:
    """A vector unit from its row: lanes, cycles, joules."""
    return Unit(
        row[0],
        (row[1], row[2], row[3], row[4], row[5], row[6], row[7], row[8]),
        (row[9], row[10], row[11], row[12], row[13], row[14], row[15], row[16]),
    )


def run_designs(
    machines: Floats, units: Floats, products: Floats, moves: Floats, counts: Floats, rooms: Floats,
    shares: Floats, objective: int, by_rule: int, mappings: Wholes, cycles: Floats, energy_j: Floats,
) -> None:  # fmt: skip
    """Cycles and dynamic joules of every design into `cycles` and `energy_j`; infinite where something does not fit.

    What these hold before is what to beat: a design that cannot may become infinite early.
    """
    for index in range(len(machines)):
        limit = first_rank(objective, cycles[index], energy_j[index])
        choice = choose(
            machine_of(machines[index]), unit_of(units[index]), products, moves, counts, rooms, shares, objective,
            by_rule, limit, mappings,
        )  # fmt: skip
        cycles[index] = choice.cycles
        energy_j[index] = choice.energy_j
