"""A workload prepared for any design: its distinct products and moves, and how often each occurs on each rung.

Layers repeat: DeiT-S is 193 GEMMs of 7 shapes. A design is charged for each distinct product once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from hwsim.backends.systolic.machine import Move, Product
from hwsim.backends.systolic.program import ArrayStep, Formats, Operand, Program, VectorStep, lower
from hwsim.backends.systolic.residency import Rung, ladder
from hwsim.backends.systolic.spec import PRIMITIVES, SystolicSpec
from hwsim.backends.systolic.technology import int_bits, mac_energy
from hwsim.core.formats import bits
from hwsim.graph.ir import WorkloadGraph

if TYPE_CHECKING:
    import numpy.typing as npt


@dataclass(frozen=True)
class Arithmetic:
    """The arch's multipliers: formats, and joules per MAC where the file gives them; and whether MLPs may run in
    blocks of rows."""

    formats: Formats
    multiplier: str
    mac_energy_j: float | None
    row_blocks: bool

    def passes(self, weights: str) -> int:
        """Runs of the array for operands wider than a multiplier: one per pair of parts (TPU v1: 8 x 16 at half
        speed, 16 x 16 at a quarter; Jouppi et al., ISCA 2017, section 2)."""
        width = int_bits(self.multiplier)
        return ceil(int_bits(weights) / width) * ceil(int_bits(self.formats.activations) / width)

    def joules_per_mac(self, weights: str) -> float:
        """Joules of one MAC at the anchor of `technology`, or as the file gives it."""
        if self.mac_energy_j is not None:
            return self.mac_energy_j
        return mac_energy(weights, self.formats.activations, self.formats.accumulator)


@dataclass(frozen=True)
class Tables:
    """A plan as arrays: a row per distinct product and move, counts (rung, product or move), and room per rung."""

    products: npt.NDArray[np.float64]
    moves: npt.NDArray[np.float64]
    counts: npt.NDArray[np.float64]
    rooms: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Plan:
    """Distinct products and moves, and for each rung the one each step is (index; products first, then moves)."""

    program: Program
    rungs: tuple[Rung, ...]
    products: tuple[Product, ...]
    moves: tuple[Move, ...]
    steps: tuple[tuple[int, ...], ...]
    weight_bytes: float

    @cached_property
    def tables(self) -> Tables:
        """The same as arrays, for the kernels."""
        counts = np.zeros((len(self.rungs), len(self.products) + len(self.moves)))
        for rung, row in enumerate(self.steps):
            for index in row:
                counts[rung, index] += 1
        width = len(PRIMITIVES)
        products = np.array([(*item[:-1], *item.epilogue) for item in self.products], float)
        moves = np.array([(*item[1:], *item.primitives) for item in self.moves], float)
        return Tables(
            products.reshape(len(self.products), len(Product._fields) - 1 + width),
            moves.reshape(len(self.moves), len(Move._fields) - 1 + width),
            counts,
            np.array([rung.room_bytes for rung in self.rungs]),
        )


def arithmetic_of(spec: SystolicSpec) -> Arithmetic:
    """What of a spec decides a plan."""
    formats = Formats(
        spec.precision.weights,
        spec.precision.activations,
        spec.precision.accumulator,
        spec.array.transposer,
        spec.vector.inline,
        spec.vector.depthwise,
    )
    return Arithmetic(formats, spec.array.multiplier, spec.array.mac_energy_j, bool(spec.mapping.row_blocks))


def _product(step: ArrayStep, arithmetic: Arithmetic, rung: Rung) -> Product:
    formats, kept, blocks = arithmetic.formats, rung.kept, blocks_of(step, rung)
    weights = formats.weights if step.b_is_weight else formats.activations
    return Product(
        step.batch * blocks, step.M // blocks, step.N, step.K, step.a_bytes, step.b_bytes, step.o_bytes,
        bits(formats.accumulator) / 8, step.a_share, arithmetic.passes(weights), int(step.a.root in kept),
        int(step.b.root in kept), int(step.out.root in kept), arithmetic.joules_per_mac(weights), step.epilogue,
    )  # fmt: skip


def blocks_of(step: ArrayStep | VectorStep, rung: Rung) -> int:
    """Blocks of rows a step runs in, each with the whole of its weights: 1 but for the layers of a cut MLP (A18)."""
    if not isinstance(step, ArrayStep):
        return 1
    return max(rung.blocks.get(root, 1) for root in (step.a.root, step.out.root) if root is not None)


def _move(step: VectorStep, kept: frozenset[str]) -> Move:
    def total(items: tuple[Operand, ...], on_chip: bool) -> float:
        return sum(item.size_bytes for item in items if (item.root in kept) == on_chip)

    return Move(
        step.primitives,
        total(step.reads, False),
        total(step.writes, False),
        total(step.reads, True),
        total(step.writes, True),
    )


@lru_cache(maxsize=64)
def plan_of(graph: WorkloadGraph, arithmetic: Arithmetic) -> Plan:
    """The plan of a graph on any design with that arithmetic."""
    program = lower(graph, arithmetic.formats)
    rungs = ladder(program, arithmetic.row_blocks)
    products: dict[Product, int] = {}
    moves: dict[Move, int] = {}
    rows: list[list[tuple[bool, int]]] = []
    for rung in rungs:
        row = []
        for step in program.steps:
            if isinstance(step, ArrayStep):
                product = _product(step, arithmetic, rung)
                row.append((True, products.setdefault(product, len(products))))
            else:
                row.append((False, moves.setdefault(_move(step, rung.kept), len(moves))))
        rows.append(row)
    steps = tuple(tuple(index if array else len(products) + index for array, index in row) for row in rows)
    weights = sum(step.b.size_bytes for step in program.steps if isinstance(step, ArrayStep) and step.b.root is None)
    return Plan(program, rungs, tuple(products), tuple(moves), steps, weights)
