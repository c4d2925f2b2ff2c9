"""What every backend is: it maps a graph onto its hardware and estimates the cost of that mapping, op by op."""

from __future__ import annotations

import inspect
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from hwsim.core import registry
from hwsim.core.results import Estimate, Infeasible
from hwsim.graph.ir import WorkloadGraph
from hwsim.spec.arch import Arch, ArchSpec
from hwsim.spec.precision import Precision

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from hwsim.backends.execution.arithmetic import Arithmetic
    from hwsim.backends.execution.program import OwnOperator
    from hwsim.transforms.workload import Workload

    Column = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Placement:
    """Where one op runs and why: `unit` names the hardware, `choice` the form it takes there."""

    op: str
    unit: str
    choice: str
    reason: str


@dataclass(frozen=True)
class Assumption:
    """A numbered simplification, as written in a backend's ASSUMPTIONS.md."""

    id: str
    title: str
    text: str


@dataclass(frozen=True)
class Sweep:
    """Objectives of many designs, one array entry each; NaN where infeasible, with the reason beside it.

    `infeasible` maps the index of a design that does not fit to what it lacks.
    """

    latency_s: Column
    energy_j: Column
    area_mm2: Column
    infeasible: Mapping[int, Infeasible]


@dataclass(frozen=True)
class Picture:
    """A drawing of a design for the report: a PNG, its title, and what it shows."""

    title: str
    text: str
    png: bytes


@dataclass(frozen=True)
class Sheet:
    """A table about a design for the report: its title, what it shows, and rows of a name and numbers.

    `units` has one per column, empty for names, counts and ratios; a number that does not exist is None.
    """

    title: str
    text: str
    columns: tuple[str, ...]
    units: tuple[str, ...]
    rows: tuple[tuple[str | float | None, ...], ...]


class Backend(ABC):
    """The model of one kind of arch. Stateless: all state is in the arch and the graph."""

    name: ClassVar[str]
    spec_model: ClassVar[type[ArchSpec]]
    #: Whether `sweep` also takes columns of text (choices), and not of numbers alone.
    sweeps_text: ClassVar[bool] = False

    @abstractmethod
    def map(self, graph: WorkloadGraph, arch: Arch) -> Sequence[Placement] | Infeasible:
        """Place every op of the graph, or say what does not fit."""

    @abstractmethod
    def estimate(self, graph: WorkloadGraph, arch: Arch) -> Estimate | Infeasible:
        """Latency, energy and area of one run of the graph (its batch is the graph's)."""

    def sweep(self, graph: WorkloadGraph, arch: Arch, columns: Mapping[str, Sequence[object]]) -> Sweep:
        """Objectives of many designs: `columns` maps a dotted path to one validated SI value per design.

        This default estimates design by design; a backend whose model is closed-form overrides it with arrays.
        """
        import numpy as np

        from hwsim.spec.fields import as_si

        count = len(next(iter(columns.values()))) if columns else 1
        table = np.full((3, count), np.nan)
        infeasible: dict[int, Infeasible] = {}
        for index in range(count):
            changes = {path: as_si(column[index]) for path, column in columns.items()}
            result = self.estimate(graph, arch.with_values(changes))
            if isinstance(result, Infeasible):
                infeasible[index] = result
                continue
            area = np.nan if result.area_mm2 is None else result.area_mm2
            table[:, index] = result.latency_s, result.energy_j, area
        return Sweep(table[0], table[1], table[2], infeasible)

    def arithmetic(self, arch: Arch) -> Arithmetic:
        """What `execute` computes with on this arch: its `precision` block, or int8 with int32 accumulators."""
        from hwsim.backends.execution.arithmetic import arithmetic_of

        precision = getattr(arch.spec, "precision", None)
        return arithmetic_of(precision if isinstance(precision, Precision) else None)

    def operators(self, graph: WorkloadGraph, arch: Arch, seed: int = 0) -> Mapping[str, OwnOperator]:
        """The ops that this hardware computes in a way of its own, by name; `execute` runs all others in codes."""
        return {}

    def operators_key(self, graph: WorkloadGraph, arch: Arch) -> str:
        """What decides the results of `operators`: designs with equal keys compute the same numbers.

        Where a backend has operators of its own, any number of its spec may decide, unless it says which do.
        """
        return "" if type(self).operators is Backend.operators else repr(arch.spec)

    def explain(self, graph: WorkloadGraph, arch: Arch, op: str) -> str:
        """The formula of one op's cost with its numbers, for `hwsim explain`."""
        result = self.estimate(graph, arch)
        if isinstance(result, Infeasible):
            return result.reason
        graph.op(op)
        row = next(entry for entry in result.ops if entry.name == op)
        parts = "\n".join(f"  {name:24s} {value:.6g} J" for name, value in row.energy_ledger_j.items())
        return f"{op} on {row.unit} ({row.choice}): {row.latency_s:.6g} s, bound by {row.bound_by}\n{parts}"

    def pictures(self, graph: WorkloadGraph, arch: Arch) -> Sequence[Picture]:
        """Drawings of this design that the report of an exploration shows for its knee; none unless overridden."""
        return ()

    def sheets(self, workload: Workload, arch: Arch, samples: int) -> Sequence[Sheet]:
        """Tables from executing `samples` on this design, for the knee of a search that executes; none by default."""
        return ()

    @classmethod
    def assumptions(cls) -> tuple[Assumption, ...]:
        """The numbered simplifications of this backend's ASSUMPTIONS.md."""
        return _assumptions(Path(inspect.getfile(cls)).parent)


@cache
def _assumptions(folder: Path) -> tuple[Assumption, ...]:
    file = folder / "ASSUMPTIONS.md"
    sections = re.split(r"^## +", file.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    found = []
    for section in sections:
        head, _, text = section.partition("\n")
        number, _, title = head.partition(".")
        found.append(Assumption(number.strip(), title.strip(), text.strip()))
    return tuple(found)


def backend_of(arch: Arch) -> Backend:
    """The backend an arch file names."""
    backend: Backend = registry.load(registry.BACKENDS, arch.backend)()
    return backend
