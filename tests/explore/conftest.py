"""The toy backend in the registry, and its arch and workloads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hwsim.core import registry
from hwsim.graph import sources
from hwsim.graph.ir import WorkloadGraph
from hwsim.spec.arch import Arch, load_arch
from hwsim.transforms.workload import Workload, load_workload

from . import toy

BACKENDS = {"toy": toy.Toy, "single": toy.Single, "ruled": toy.Ruled}


def _toy_source(model: str, shape: tuple[int, ...] | None = None) -> WorkloadGraph:
    return toy.toy_graph(scale=2 if "wide" in model else 1)


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """`backend: toy` and the source `gemm:NAME` as toy graphs; sweeps are counted anew in every test."""
    names, load = registry.names, registry.load

    def toy_names(group: str) -> tuple[str, ...]:
        return (*names(group), *BACKENDS) if group == registry.BACKENDS else names(group)

    def toy_load(group: str, name: str) -> object:
        return BACKENDS[name] if group == registry.BACKENDS and name in BACKENDS else load(group, name)

    monkeypatch.setattr(registry, "names", toy_names)
    monkeypatch.setattr(registry, "load", toy_load)
    monkeypatch.setattr(sources, "load_source", _toy_source)
    toy.COUNTED.clear()


@pytest.fixture
def arch(tmp_path: Path) -> Arch:
    return load_arch(toy.write_arch(tmp_path))


@pytest.fixture
def arch_of(tmp_path: Path) -> Callable[[str], Arch]:
    return lambda text: load_arch(toy.write_arch(tmp_path, text))


@pytest.fixture
def net() -> Workload:
    return load_workload("gemm:net.csv")


@pytest.fixture
def wide() -> Workload:
    return load_workload("gemm:wide.csv")


@pytest.fixture
def arch_text() -> str:
    return toy.ARCH
