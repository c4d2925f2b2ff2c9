"""The backend: plans a graph on a bench and reports it, for one design or for many."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, cast

import numpy as np
import numpy.typing as npt

from hwsim.backends.base import Backend, Picture, Placement, Sheet, Sweep
from hwsim.backends.optical4f.bench import Bench, bench_of
from hwsim.backends.optical4f.explain import explained, form, notes
from hwsim.backends.optical4f.lacks import lack
from hwsim.backends.optical4f.mapper import HOST, Plan, homeless, plan, reason
from hwsim.backends.optical4f.spec import Optical4fSpec
from hwsim.backends.optical4f.work import Work, at, work_of
from hwsim.core.frozen import FrozenDict
from hwsim.core.results import Estimate, Infeasible, OpEstimate, Span
from hwsim.graph.ir import WorkloadGraph
from hwsim.spec.arch import Arch
from hwsim.spec.overrides import with_columns

if TYPE_CHECKING:
    from hwsim.backends.execution.arithmetic import Arithmetic
    from hwsim.backends.execution.program import OwnOperator
    from hwsim.transforms.workload import Workload

_NONE = np.zeros(())


class Optical4f(Backend):
    """A 4f convolution engine with an electronic host."""

    name = "optical4f"
    spec_model: ClassVar[type[Optical4fSpec]] = Optical4fSpec
    sweeps_text: ClassVar[bool] = True

    def map(self, graph: WorkloadGraph, arch: Arch) -> Sequence[Placement] | Infeasible:
        bench, work, p = _planned(graph, arch)
        if (lost := _lost(arch, work, p)) is not None:
            return lost
        return [
            Placement(name, _unit(p, op), form(work, p, op), reason(bench, work, p, op))
            for op, name in enumerate(work.names)
        ]

    def estimate(self, graph: WorkloadGraph, arch: Arch) -> Estimate | Infeasible:
        bench, work, p = _planned(graph, arch)
        if (lost := _lost(arch, work, p)) is not None:
            return lost
        rows = tuple(_rows(graph, bench, work, p))
        return Estimate(
            arch=arch.name,
            workload=graph.name,
            batch=graph.batch,
            latency_s=float(p.latency_s.sum()),
            macs=graph.macs,
            params=graph.params,
            ops=rows,
            assumptions=tuple(assumption.id for assumption in self.assumptions()),
            notes=notes(bench, work, p),
            spans=tuple(span for index, row in enumerate(rows) for span in _spans(p, index, row)),
        )

    def sweep(self, graph: WorkloadGraph, arch: Arch, columns: Mapping[str, Sequence[object]]) -> Sweep:
        """All designs at once: the formulas of `estimate` with a designs axis, on each distinct op once."""
        if not all(
            isinstance(value, (int, float, str, np.generic, type(None)))
            for column in columns.values()
            for value in column
        ):
            return super().sweep(graph, arch, columns)  # a list (mapping.host_ops) has no array
        designs = len(next(iter(columns.values()))) if columns else 1
        work, counts = work_of(graph).distinct(_spec(arch).mapping.host_ops)
        varied = with_columns(_spec(arch), {path: _column(values) for path, values in columns.items()})
        p = plan(bench_of(cast(Optical4fSpec, varied)), work, designs)
        latency_s, energy_j = p.latency_s @ counts, p.energy_j @ counts
        infeasible: dict[int, Infeasible] = {}
        for design in range(designs):
            if homeless(p, design) is None:
                continue
            one = with_columns(_spec(arch), {path: values[design] for path, values in columns.items()})
            if (lost := lack(cast(Optical4fSpec, one), work)) is not None:
                infeasible[design] = lost
                latency_s[design] = energy_j[design] = np.nan
        return Sweep(latency_s, energy_j, np.full(designs, np.nan), infeasible)

    def explain(self, graph: WorkloadGraph, arch: Arch, op: str) -> str:
        graph.op(op)
        bench, work, p = _planned(graph, arch)
        if (lost := _lost(arch, work, p)) is not None:
            return lost.reason
        return explained(bench, work, p, work.names.index(op))

    def arithmetic(self, arch: Arch) -> Arithmetic:
        """The host's: 32-bit float. What the optics carries of it is `precision.activations` (A5)."""
        from hwsim.backends.execution.arithmetic import Arithmetic

        return Arithmetic(weights="float32", activations="float32")

    def operators(self, graph: WorkloadGraph, arch: Arch, seed: int = 0) -> Mapping[str, OwnOperator]:
        """Products that the mapping puts on the optics, through light, modulators and camera."""
        from hwsim.backends.optical4f.execute import optical_ops

        return optical_ops(graph, _spec(arch), seed)

    def operators_key(self, graph: WorkloadGraph, arch: Arch) -> str:
        """The chains of the ops on the optics: most of a bench costs time or energy and changes no number."""
        from hwsim.backends.optical4f.execute import identity

        return identity(graph, _spec(arch))

    def sheets(self, workload: Workload, arch: Arch, samples: int) -> Sequence[Sheet]:
        """The light of every layer, and where accuracy is lost: one kind of fault at a time, and all together."""
        from hwsim.backends.optical4f.faults import budget_sheet, executed_faults, fault_sheet

        results = executed_faults(workload, _spec(arch), self.arithmetic(arch), samples)
        return budget_sheet(results["together"]), fault_sheet(results)

    def pictures(self, graph: WorkloadGraph, arch: Arch) -> Sequence[Picture]:
        """The optical layout of the product that takes longest on the optics."""
        from hwsim.backends.optical4f.picture import draw_layer, layer_planes

        _, work, p = _planned(graph, arch)
        on_plane = np.flatnonzero((p.choice[0] != HOST) & ~p.homeless[0])
        if not on_plane.size:
            return ()
        op = int(on_plane[np.argmax(p.latency_s[0][on_plane])])
        name = work.names[op]
        png = draw_layer(layer_planes(_spec(arch), work, op), f"{name}: one frame")
        text = (
            "The panel filled with samples of the layer that takes longest, its mask for one kernel, and what the "
            "camera sees: whole planes above, a few tiles below. Samples and kernel are random, noise is left out."
        )
        return (Picture("Optical layout", text, png),)


def _spec(arch: Arch) -> Optical4fSpec:
    return cast(Optical4fSpec, arch.spec)


def _lost(arch: Arch, work: Work, p: Plan) -> Infeasible | None:
    return None if homeless(p) is None else lack(_spec(arch), work)


def _planned(graph: WorkloadGraph, arch: Arch) -> tuple[Bench, Work, Plan]:
    bench, work = bench_of(_spec(arch)), work_of(graph)
    return bench, work, plan(bench, work)


def _column(values: Sequence[object]) -> npt.NDArray[np.generic]:
    """One value per design as a column that broadcasts against ops; null stands for no limit."""
    return np.array([np.inf if value is None else value for value in values])[:, None]


def _unit(p: Plan, op: int) -> str:
    return "host" if p.choice[0, op] == HOST else "optics"


def _rows(graph: WorkloadGraph, bench: Bench, work: Work, p: Plan) -> Iterator[OpEstimate]:
    components = {name: None for cost in p.costs for name in cost.energy_j}
    ledger = {name: p.pick([cost.energy_j.get(name, _NONE) for cost in p.costs])[0].tolist() for name in components}
    latency = p.latency_s[0]
    starts = np.cumsum(latency) - latency
    for index, op in enumerate(graph.ops):
        cost = p.costs[p.choice[0, index]]
        stages = {name: at(stage, index) for name, stage in cost.stages_s.items()}
        yield OpEstimate(
            name=op.name,
            kind=op.kind,
            macs=op.macs,
            latency_s=float(latency[index]),
            energy_ledger_j=FrozenDict({name: joules[index] for name, joules in ledger.items() if joules[index]}),
            start_s=float(starts[index]),
            unit=_unit(p, index),
            choice=form(work, p, index),
            utilization=_utilization(bench, work, p, index),
            bytes=FrozenDict({level: at(count, index) for level, count in cost.bytes.items()}),
            bound_by=max(stages, key=lambda name: stages[name]) if latency[index] else "",
        )


def _utilization(bench: Bench, work: Work, p: Plan, op: int) -> float | None:
    """Share of the plane that maps fill, averaged over frames; on the host, share of its arithmetic rate."""
    choice = int(p.choice[0, op])
    if choice != HOST:
        plane = float(bench.plane_rows * bench.plane_cols)
        return at(p.layouts[choice].used, op) * float(work.maps.payload[op]) / plane
    latency_s = at(p.costs[HOST].latency_s, op)
    if bench.host.flop_rate_hz is None or not work.flops[op] or not latency_s:
        return None
    return float(work.flops[op]) / bench.host.flop_rate_hz / latency_s


def _spans(p: Plan, op: int, row: OpEstimate) -> Iterator[Span]:
    """How long an op keeps each part busy: on the plane the parts work side by side, frame after frame."""
    choice = int(p.choice[0, op])
    if row.latency_s == 0:
        return
    if choice == HOST:
        yield Span("host", row.name, row.start_s, row.latency_s)
        return
    frames = at(p.layouts[choice].frames, op)
    counters = FrozenDict({"frames": frames, "maps per frame": at(p.layouts[choice].outputs, op)})
    for track in ("modulator", "camera", "link", "host"):
        busy_s = min(frames * at(p.costs[choice].stages_s[track], op), row.latency_s)
        if busy_s > 0:
            yield Span(track, row.name, row.start_s, busy_s, counters)
