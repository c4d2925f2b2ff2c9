"""Search blocks: what becomes which axis, and what is refused, where."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hwsim.core.errors import SpecError, UsageError
from hwsim.explore.domain import Choices, Interval, Steps
from hwsim.explore.space import Space, build_space
from hwsim.spec.arch import Arch
from hwsim.spec.yaml import Tree
from hwsim.transforms.workload import Workload, load_workload

from .toy import ARCH

ArchOf = Callable[[str], Arch]
HEAD = ARCH[: ARCH.index("search:")]


def domains(space: Space) -> dict[str, object]:
    return {axis.path: axis.domain for axis in space.axes}


def test_every_kind_of_axis_in_si(arch_of: ArchOf, net: Workload) -> None:
    text = (
        HEAD
        + """
search:
  array.rows: [8, 16, 16]
  array.cols: {low: 2, high: 64, log: true}
  array.clock: {low: 500 MHz, high: 2 GHz}
  memory.size: {low: 1 KiB, high: 4 KiB, step: 1 KiB}
  mac: {low: 0.1 pJ, high: 10 pJ, log: true}
  array.pipeline: [flat, deep]
"""
    )
    assert domains(build_space(arch_of(text), [net])) == {
        "array.rows": Choices((8, 16)),
        "array.cols": Steps(2, 1, 63, log=True),
        "array.clock": Interval(5e8, 2e9),
        "memory.size": Steps(1024, 1024, 4),
        "mac": Interval(1e-13, 1e-11, log=True),
        "array.pipeline": Choices(("flat", "deep")),
    }


def test_whole_number_fields_give_whole_numbers(arch_of: ArchOf, net: Workload) -> None:
    text = HEAD + "search:\n  array.cols: {low: 2, high: 4000, log: true}\n  memory.size: {low: 1 KiB, high: 3 KiB}\n"
    space = build_space(arch_of(text), [net])
    for step in range(101):
        assert all(isinstance(value, int) for value in space.at([step / 100] * 2))
    assert space.at([0, 0]) == (2, 1024)
    assert space.at([1, 1]) == (4000, 3072)


def test_a_grid_meets_every_design_once(arch: Arch, net: Workload) -> None:
    space = build_space(arch, [net])
    designs = [space.grid_design(index) for index in range(space.grid_size)]
    assert space.grid_size == 3 * 4 * 3 * 2 == len(set(designs))
    assert designs[1] == (8, 8, 128, "deep")


def test_a_sweep_replaces_or_adds_an_axis(arch: Arch, net: Workload) -> None:
    sweeps: dict[str, Tree] = {
        "array.rows": [4],
        "array.clock": ["1 GHz", "2 GHz"],
        "mac": {"low": "1 pJ", "high": "2 pJ"},
    }
    found = domains(build_space(arch, [net], sweeps))
    assert found["array.rows"] == Choices((4,))
    assert found["array.clock"] == Choices((1e9, 2e9))
    assert found["mac"] == Interval(1e-12, 2e-12)


def test_workload_and_transform_fields(arch: Arch, net: Workload) -> None:
    work = net.with_values({"transforms": [{"quantize": {"weights": "int8"}}]})
    sweeps: dict[str, Tree] = {
        "workload.input.batch": [1, 2],
        "workload.transforms.0.quantize.weights": ["int4", "int8"],
    }
    found = domains(build_space(arch, [work], sweeps))
    assert found["workload.input.batch"] == Choices((1, 2))
    assert found["workload.transforms.0.quantize.weights"] == Choices(("int4", "int8"))


def test_constraints_bind_axes_fixed_fields_and_workloads(arch_of: ArchOf, net: Workload) -> None:
    text = (
        ARCH + "constraints:\n  - array.rows * array.cols <= 256\n  - memory.size >= '1 KiB'\n"
        "  - workload.input.batch < 4\n  - array.clock <= '1 GHz'\n"
    )
    space = build_space(arch_of(text), [net])
    designs = [space.grid_design(index) for index in range(space.grid_size)]
    allowed = [design for design, ok in zip(designs, space.allowed(designs), strict=True) if ok]
    assert allowed == [d for d in designs if d[0] * d[1] <= 256 and d[2] >= 1024]
    many = load_workload("gemm:net.csv", {"input.batch": 4})
    assert not build_space(arch_of(text), [net, many]).allowed(designs).any()


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ("array.rows: [8, -4]", r"toy.yaml:8:19 +array.rows = -4: must be a whole number, 1 or more"),
        ("array.rows: [8, many]", r"array.rows = 'many'"),
        ("array.rows: {low: 0, high: 4}", r"array.rows = 0"),
        ("array.rows: {low: 8, high: 4}", r"low = 8 is not below high = 4"),
        ("array.rows: {low: 1, high: 4, step: 0.5}", r"step = 0.5: a whole number"),
        ("array.rows: {low: 1, high: 4, step: 9}", r"step = 9: above 0 and at most"),
        ("array.rows: {low: 1, high: 4, step: 1, log: true}", r"both `log` and `step`"),
        ("array.rows: {low: 1, hihg: 4}", r"hihg"),
        ("array.clock: {low: 1 GHz, high: 4 GB}", r"array.clock = '4 GB': '4 GB' has the wrong unit"),
        ("array.clock: [1e9]", r"'1000000000.0' has no unit"),
        ("array.pipeline: {low: flat, high: deep}", r"array.pipeline is not a number"),
        ("array.rowz: [1]", r"did you mean `rows`"),
        ("name: [a, b]", r"name cannot be explored"),
        ("backend: [a, b]", r"backend cannot be explored"),
        ("workload.input.batch: [0]", r"input.batch = 0"),
        ("workload.transforms.0.quantize.weights: [int4]", r"transforms"),
    ],
)
def test_a_bad_axis_is_one_clear_error(search: str, message: str, arch_of: ArchOf, net: Workload) -> None:
    with pytest.raises(SpecError, match=message):
        build_space(arch_of(f"{HEAD}search:\n  {search}\n"), [net])


def test_all_faults_of_a_block_at_once(arch_of: ArchOf, net: Workload) -> None:
    text = f"{HEAD}search:\n  array.rows: [8, -4]\n  array.clock: [1 GHz, 3 kg]\n"
    with pytest.raises(SpecError, match=r"(?s)array.rows = -4.*3 kg.*2 errors"):
        build_space(arch_of(text), [net])


@pytest.mark.parametrize(
    ("constraint", "message"),
    [
        ("array.rowz < 4", r"toy.yaml:\d+:\d+ .*names array.rowz, which is not a field"),
        ("memory.size < array.clock", r"different units"),
        ("array.rows <", r"cannot be read"),
    ],
)
def test_a_bad_constraint_points_at_its_place(constraint: str, message: str, arch_of: ArchOf, net: Workload) -> None:
    with pytest.raises(SpecError, match=message):
        build_space(arch_of(f'{ARCH}constraints: ["{constraint}"]\n'), [net])


def test_nothing_to_explore_says_what_to_do(arch_of: ArchOf, net: Workload) -> None:
    with pytest.raises(UsageError, match=r"(?s)toy has nothing to explore.*--sweep"):
        build_space(arch_of(HEAD), [net])
