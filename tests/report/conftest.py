"""A small finished run of the toy arch, shared by the tests of the report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hwsim.explore.run import Run, explore
from hwsim.spec.arch import load_arch
from hwsim.transforms.workload import load_workload
from tests.explore import toy
from tests.explore.conftest import registered  # noqa: F401  (the toy backend, in every test)

RunOf = Callable[..., Run]


@pytest.fixture
def run_of(tmp_path: Path) -> RunOf:
    """Explores the toy with options of `explore`."""

    def made(**options: object) -> Run:
        arch = load_arch(toy.write_arch(tmp_path))
        workloads = [load_workload("gemm:net.csv"), load_workload("gemm:wide.csv")]
        return explore(arch, workloads, out=tmp_path / "run", **options)  # type: ignore[arg-type]

    return made


@pytest.fixture
def run(run_of: RunOf) -> Run:
    return run_of(command="hwsim explore toy --set 'a=<b>'")
