"""Many designs at once: columns of numbers through the compiled kernels, chunk by chunk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt

from hwsim.backends.base import Sweep
from hwsim.backends.systolic.batch import machine_of, run_designs
from hwsim.backends.systolic.choose import room_bytes
from hwsim.backends.systolic.compiled import compiled
from hwsim.backends.systolic.cost import first_rank, second_rank
from hwsim.backends.systolic.design import design_of
from hwsim.backends.systolic.fusion import alternatives, best_solution, cuts
from hwsim.backends.systolic.machine import OBJECTIVES, Machine
from hwsim.backends.systolic.machine import Mapping as ProductMapping
from hwsim.backends.systolic.plan import Plan, arithmetic_of, plan_of
from hwsim.backends.systolic.solve import main_memory_need, shares_of
from hwsim.backends.systolic.spec import SystolicSpec, spec_of
from hwsim.core.errors import SpecError
from hwsim.core.results import Infeasible
from hwsim.graph.ir import WorkloadGraph
from hwsim.spec.arch import Arch
from hwsim.spec.fields import as_si
from hwsim.spec.overrides import value_at, with_columns

Floats = npt.NDArray[np.float64]
Columns = Mapping[str, Sequence[object]]
#: Designs per call of the kernel: their rows stay in the cache and little memory is alive at a time.
_CHUNK = 8192
#: Numbers that change the plan or its tables, and so make groups of designs rather than columns.
_GROUPING = {"technology.node", "technology.voltage", "array.mac_energy", "mapping.residency", "mapping.row_blocks"}


def sweep(graph: WorkloadGraph, arch: Arch, columns: Columns) -> Sweep:
    """Objectives of many designs; `columns` maps a dotted path to one validated SI value per design."""
    count = len(next(iter(columns.values()))) if columns else 1
    latency, energy, area = (np.full(count, np.nan) for _ in range(3))
    for group, indices in _groups(arch, columns, count):
        spec = spec_of(group)
        plans = tuple(plan_of(graph, arithmetic_of(item)) for item in alternatives(graph, spec))
        numeric = {path: np.asarray(columns[path]) for path in columns if _is_column(arch, path)}
        for start in range(0, len(indices), _CHUNK):
            chosen = indices[start : start + _CHUNK]
            varied = with_columns(spec, {path: column[chosen] for path, column in numeric.items()})
            _fill(plans, cast(SystolicSpec, varied), chosen, (latency, energy, area))
    failed = np.flatnonzero(np.isnan(latency))
    return Sweep(latency, energy, area, _Reasons(graph, arch, columns, failed))


def _fill(
    plans: tuple[Plan, ...], spec: SystolicSpec, chosen: npt.NDArray[np.int64], outputs: tuple[Floats, Floats, Floats]
) -> None:
    latency, energy, area = outputs
    design = design_of(spec)
    count = len(chosen)
    clock = np.broadcast_to(np.asarray(design.clock_hz, float), count)
    machines = _rows(tuple(design.machine[name] for name in Machine._fields), count)
    units = _rows((design.lanes, *design.cycles, *design.energy_j), count)
    nothing = np.full(count, np.inf)
    cycles, joules = _kernel(plans[0], spec, machines, units, (nothing, nothing))
    for plan in plans[1:]:
        cut = _cuts(plan, spec, machines)
        best = cycles[cut], joules[cut]
        cycles[cut], joules[cut] = _better(spec, best, _kernel(plan, spec, machines[cut], units[cut], best))
    cycles[main_memory_need(plans[0]) > np.broadcast_to(np.asarray(design.dram_bytes), count)] = np.inf
    fits = np.isfinite(cycles)
    latency[chosen] = np.where(fits, cycles / clock, np.nan)
    energy[chosen] = np.where(fits, joules + design.leakage_w * latency[chosen], np.nan)
    area[chosen] = np.where(fits, design.area_mm2, np.nan)


def _kernel(
    plan: Plan, spec: SystolicSpec, machines: Floats, units: Floats, best: tuple[Floats, Floats]
) -> tuple[Floats, Floats]:
    """Cycles and dynamic joules of designs on one plan; infinite where they cannot beat `best`."""
    tables, shares = plan.tables, shares_of(spec.mapping)
    cycles, joules = best[0].copy(), best[1].copy()
    scratch = np.zeros((len(shares), len(plan.products), len(ProductMapping._fields)), np.int64)
    compiled(run_designs)(
        machines, units, tables.products, tables.moves, tables.counts, tables.rooms, shares,
        OBJECTIVES.index(spec.mapping.objective), int(spec.mapping.search == "rule"), scratch, cycles, joules,
    )  # fmt: skip
    return cycles, joules


def _cuts(plan: Plan, spec: SystolicSpec, machines: Floats) -> npt.NDArray[np.bool_]:
    """The designs on which a plan cuts an MLP (A18)."""
    shares = shares_of(spec.mapping)
    rooms = np.array([[room_bytes(machine, float(share)) for share in shares] for machine in map(machine_of, machines)])
    found: npt.NDArray[np.bool_] = np.any(cuts(plan, rooms), axis=1)
    return found


def _better(spec: SystolicSpec, one: tuple[Floats, Floats], other: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
    """Cycles and joules of the better of two for each design, as `fusion.better` chooses."""
    objective = OBJECTIVES.index(spec.mapping.objective)
    (first, first_tie), (second, second_tie) = _ranks(objective, *one), _ranks(objective, *other)
    wins = (second < first) | ((second == first) & (second_tie < first_tie))
    return np.where(wins, other[0], one[0]), np.where(wins, other[1], one[1])


def _ranks(objective: int, cycles: Floats, joules: Floats) -> tuple[Floats, Floats]:
    """What `fusion.ranks` compares, for columns: the formulas are the same."""
    return (
        first_rank(objective, cycles, joules),  # type: ignore[arg-type,return-value]
        second_rank(objective, cycles, joules),  # type: ignore[arg-type]
    )


def _rows(values: tuple[object, ...], count: int) -> Floats:
    """One row per design from fields that are numbers or columns."""
    table = np.empty((count, len(values)))
    for place, value in enumerate(values):
        table[:, place] = value  # type: ignore[call-overload]
    return table


def _is_column(arch: Arch, path: str) -> bool:
    """Whether a leaf is a number that the kernels read, and is there in the base design."""
    if path in _GROUPING:
        return False
    try:
        value = value_at(arch.spec, path)
    except SpecError:
        return False
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _groups(arch: Arch, columns: Columns, count: int) -> Iterator[tuple[Arch, npt.NDArray[np.int64]]]:
    """Designs that share everything but columns of numbers, each group with its arch."""
    paths = [path for path in columns if not _is_column(arch, path)]
    if not paths:
        yield arch, np.arange(count)
        return
    members: dict[tuple[object, ...], list[int]] = {}
    for index in range(count):
        members.setdefault(tuple(columns[path][index] for path in paths), []).append(index)
    for values, indices in members.items():
        yield (
            arch.with_values({path: as_si(value) for path, value in zip(paths, values, strict=True)}),
            np.array(indices),
        )


@dataclass(frozen=True)
class _Reasons(Mapping[int, Infeasible]):
    """Why each failed design does not fit, worked out when asked for."""

    graph: WorkloadGraph
    arch: Arch
    columns: Columns
    failed: npt.NDArray[np.int64]

    def __getitem__(self, index: int) -> Infeasible:
        if not np.isin(index, self.failed):
            raise KeyError(index)
        values = {path: as_si(_plain(column[index])) for path, column in self.columns.items()}
        spec = spec_of(self.arch.with_values(values))
        reason = best_solution(self.graph, spec)
        if not isinstance(reason, Infeasible):
            raise KeyError(index)
        return reason

    def __iter__(self) -> Iterator[int]:
        return iter(self.failed.tolist())

    def __len__(self) -> int:
        return len(self.failed)


def _plain(value: object) -> object:
    return value.item() if isinstance(value, np.generic) else value
