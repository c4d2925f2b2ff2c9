"""What every backend keeps, as property tests that ship with the package: subclass `BackendConformance` in a test file.

    class TestMyBackend(BackendConformance):
        backend = MyBackend
        never_slower = ("memory.dram.bandwidth", "array.clock")

        def archs(self): return ARCHS
        def variations(self, arch): return fixed_dictionaries({"array.rows": integers(4, 64)})
        def roofline_s(self, graph, arch): return graph.macs / peak_macs_per_s
        def misfits(self): return [(graph_too_big, arch)]

Needs the `dev` extra (pytest, hypothesis). Units are the spec's SI.
"""

from __future__ import annotations

import inspect
import json
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hwsim.backends.base import Backend, backend_of
from hwsim.backends.synthetic import convnet, transformer
from hwsim.core.errors import SpecError
from hwsim.core.results import Estimate, Infeasible
from hwsim.graph.ir import WorkloadGraph
from hwsim.spec.arch import Arch
from hwsim.spec.fields import as_si
from hwsim.spec.overrides import value_at
from hwsim.spec.yaml import Tree

#: Relative room for floating-point sums taken in another order.
RTOL = 1e-9
_PROPERTY = settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow, HealthCheck.differing_executors]
)


def graphs(dtypes: Sequence[str] = ("float32", "float16", "int8")) -> st.SearchStrategy[WorkloadGraph]:
    """Small transformers and convolutional nets over sizes that divide evenly and sizes that do not."""
    shared = {"batch": st.integers(1, 5), "classes": st.integers(1, 40), "dtype": st.sampled_from(list(dtypes))}
    vits = st.builds(
        transformer,
        grid=st.integers(1, 9),
        patch=st.integers(1, 8),
        heads=st.integers(1, 4),
        head_dim=st.integers(1, 48),
        mlp_ratio=st.integers(1, 4),
        depth=st.integers(1, 2),
        **shared,
    )
    convnets = st.builds(
        convnet,
        size=st.integers(7, 33),
        channels=st.integers(1, 40),
        kernel=st.integers(1, 7),
        stride=st.integers(1, 3),
        depthwise=st.booleans(),
        **shared,
    )
    return st.one_of(vits, convnets)


class BackendConformance(ABC):
    """The contract of a backend. A subclass names the backend and says what may vary, what helps and what bounds."""

    backend: ClassVar[type[Backend]]
    #: Number formats the backend takes.
    dtypes: ClassVar[Sequence[str]] = ("float32", "float16", "int8")
    #: Paths whose larger value can never make an inference slower (bandwidths, clocks).
    never_slower: ClassVar[Sequence[str]]

    @abstractmethod
    def archs(self) -> Sequence[Arch]:
        """Designs the properties hold for; called for every example, so load them once."""

    @abstractmethod
    def variations(self, arch: Arch) -> st.SearchStrategy[dict[str, Tree]]:
        """Changes to an arch by path, as `--set` takes them; the same keys in every draw."""

    @abstractmethod
    def roofline_s(self, graph: WorkloadGraph, arch: Arch) -> float:
        """A time no run of the graph can beat: peak compute rate or compulsory traffic, from the spec alone."""

    @abstractmethod
    def misfits(self) -> Sequence[tuple[WorkloadGraph, Arch]]:
        """Graphs with an arch they do not fit; empty only if nothing can fail to fit."""

    def graphs(self) -> st.SearchStrategy[WorkloadGraph]:
        return graphs(self.dtypes)

    def one_of_archs(self, data: st.DataObject) -> Arch:
        archs = self.archs()
        return archs[data.draw(st.integers(0, len(archs) - 1), label="index of the arch")]

    def design(self, data: st.DataObject) -> Arch:
        """One of the archs, varied."""
        arch = self.one_of_archs(data)
        return arch.with_values(data.draw(self.variations(arch), label="variation"))

    def drawn(self, data: st.DataObject) -> tuple[WorkloadGraph, Arch, Estimate | Infeasible]:
        graph, arch = data.draw(self.graphs(), label="graph"), self.design(data)
        return graph, arch, backend_of(arch).estimate(graph, arch)

    @given(data=st.data())
    @_PROPERTY
    def test_every_op_is_placed_and_costed_once(self, data: st.DataObject) -> None:
        graph, arch, result = self.drawn(data)
        names = [op.name for op in graph.ops]
        placements = backend_of(arch).map(graph, arch)
        assert isinstance(placements, Infeasible) == isinstance(result, Infeasible)
        if isinstance(result, Estimate) and not isinstance(placements, Infeasible):
            assert sorted(row.name for row in result.ops) == sorted(names)
            assert sorted(placement.op for placement in placements) == sorted(names)
            assert all(placement.unit and placement.reason for placement in placements)

    @given(data=st.data())
    @_PROPERTY
    def test_macs_are_conserved(self, data: st.DataObject) -> None:
        graph, _, result = self.drawn(data)
        if isinstance(result, Estimate):
            assert result.macs == graph.macs == sum(row.macs for row in result.ops)
            assert {row.name: row.macs for row in result.ops} == {op.name: op.macs for op in graph.ops}
            assert result.params == graph.params
            assert result.batch == graph.batch

    @given(data=st.data())
    @_PROPERTY
    def test_utilization_is_a_fraction(self, data: st.DataObject) -> None:
        _, _, result = self.drawn(data)
        if isinstance(result, Estimate):
            for row in result.ops:
                assert row.utilization is None or 0 < row.utilization <= 1 + RTOL, row

    @given(data=st.data())
    @_PROPERTY
    def test_latency_respects_the_roofline(self, data: st.DataObject) -> None:
        graph, arch, result = self.drawn(data)
        if isinstance(result, Estimate):
            assert 0 < result.latency_s < math.inf
            assert result.latency_s >= self.roofline_s(graph, arch) * (1 - RTOL)

    @given(data=st.data())
    @_PROPERTY
    def test_ops_and_spans_lie_inside_the_run(self, data: st.DataObject) -> None:
        _, _, result = self.drawn(data)
        if isinstance(result, Estimate):
            end = result.latency_s * (1 + RTOL)
            for row in result.ops:
                assert row.start_s >= 0
                assert row.latency_s >= 0
                assert row.start_s + row.latency_s <= end, row
            for span in result.timeline():
                assert span.duration_s >= 0
                assert 0 <= span.start_s <= span.start_s + span.duration_s <= end, span

    @given(data=st.data())
    @_PROPERTY
    def test_energy_is_the_sum_of_its_ledger(self, data: st.DataObject) -> None:
        _, _, result = self.drawn(data)
        if isinstance(result, Estimate):
            parts = [*result.static_ledger_j.values(), *(e for row in result.ops for e in row.energy_ledger_j.values())]
            assert all(0 <= part < math.inf for part in parts)
            assert result.energy_j == pytest.approx(math.fsum(parts), rel=RTOL)
            assert result.power_w * result.latency_s == pytest.approx(result.energy_j, rel=RTOL)

    @given(data=st.data(), factor=st.floats(1, 64))
    @_PROPERTY
    def test_latency_never_rises_with_bandwidth_or_clock(self, data: st.DataObject, factor: float) -> None:
        graph, arch, result = self.drawn(data)
        paths = _numbers_at(arch, self.never_slower)
        if not paths or isinstance(result, Infeasible):
            return
        path = data.draw(st.sampled_from(paths), label="path")
        before = value_at(arch.spec, path)
        assert isinstance(before, (int, float))
        faster = arch.with_values({path: as_si(int(before * factor) if isinstance(before, int) else before * factor)})
        after = backend_of(arch).estimate(graph, faster)
        assert isinstance(after, Estimate), f"a larger {path} must not make a design infeasible"
        assert after.latency_s <= result.latency_s * (1 + RTOL)

    def test_every_path_that_never_slows_is_a_number_of_some_arch(self) -> None:
        found = {path for arch in self.archs() for path in _numbers_at(arch, self.never_slower)}
        assert found == set(self.never_slower)

    @given(data=st.data())
    @_PROPERTY
    def test_estimates_are_deterministic(self, data: st.DataObject) -> None:
        graph, arch, result = self.drawn(data)
        assert self.backend().estimate(graph, arch) == result

    @given(data=st.data())
    @_PROPERTY
    def test_results_round_trip_through_json(self, data: st.DataObject) -> None:
        _, _, result = self.drawn(data)
        text = json.dumps(result.to_json(), allow_nan=False)
        assert type(result).from_json(json.loads(text)).to_json() == result.to_json()

    @given(data=st.data())
    @_PROPERTY
    def test_sweep_equals_estimate_point_by_point(self, data: st.DataObject) -> None:
        graph = data.draw(self.graphs(), label="graph")
        arch = self.one_of_archs(data)
        changes = data.draw(st.lists(self.variations(arch), min_size=1, max_size=5), label="designs")
        designs = [arch.with_values(change) for change in changes]
        columns = {path: [value_at(design.spec, path) for design in designs] for path in changes[0]}
        swept = backend_of(arch).sweep(graph, arch, columns)
        for index, design in enumerate(designs):
            one = backend_of(arch).estimate(graph, design)
            assert (index in swept.infeasible) == isinstance(one, Infeasible)
            got = (swept.latency_s[index], swept.energy_j[index], swept.area_mm2[index])
            if isinstance(one, Infeasible):
                assert swept.infeasible[index] == one
                assert np.isnan(got).all()
            else:
                area = math.nan if one.area_mm2 is None else one.area_mm2
                assert got == pytest.approx((one.latency_s, one.energy_j, area), rel=RTOL, nan_ok=True)

    def test_what_does_not_fit_is_data_with_levers_that_work(self) -> None:
        for graph, arch in self.misfits():
            backend = backend_of(arch)
            result = backend.estimate(graph, arch)
            assert isinstance(result, Infeasible)
            assert backend.map(graph, arch) == result
            assert result.demand > result.bound
            assert result.gap == result.demand - result.bound > 0
            assert result.reason
            assert result.levers, "say what would make it fit"
            assert Infeasible.from_json(json.loads(json.dumps(result.to_json()))) == result
            for lever in result.levers:
                after = backend.estimate(graph, arch.with_values({lever.path: as_si(lever.value)}))
                still = isinstance(after, Infeasible) and (after.resource, after.op) == (result.resource, result.op)
                assert not still, f"{lever.path} = {lever.value} {lever.unit} does not help"

    @given(data=st.data())
    @_PROPERTY
    def test_explain_shows_every_op_with_numbers(self, data: st.DataObject) -> None:
        graph, arch, result = self.drawn(data)
        op = data.draw(st.sampled_from(graph.ops), label="op")
        text = backend_of(arch).explain(graph, arch, op.name)
        if isinstance(result, Estimate):
            assert op.name in text
            assert re.search(r"\d", text)

    def test_assumptions_are_numbered_and_every_citation_exists(self) -> None:
        listed = self.backend.assumptions()
        assert [a.id for a in listed] == [f"A{index}" for index in range(1, len(listed) + 1)]
        assert all(a.title and a.text for a in listed)
        cited = {number for text in _sources(self.backend) for number in re.findall(r"\((A\d+)\)", text)}
        assert cited <= {a.id for a in listed}

    @given(data=st.data())
    @_PROPERTY
    def test_estimates_name_only_listed_assumptions(self, data: st.DataObject) -> None:
        _, _, result = self.drawn(data)
        if isinstance(result, Estimate):
            assert set(result.assumptions) <= {a.id for a in self.backend.assumptions()}


def _numbers_at(arch: Arch, paths: Sequence[str]) -> list[str]:
    """Those of the paths that this arch has a number for (it may leave optional fields out)."""
    found = []
    for path in paths:
        with suppress(SpecError):
            if isinstance(value_at(arch.spec, path), (int, float)):
                found.append(path)
    return found


def _sources(backend: type[Backend]) -> Sequence[str]:
    """The texts of the modules beside the backend's own."""
    return [file.read_text(encoding="utf-8") for file in Path(inspect.getfile(backend)).parent.glob("*.py")]
