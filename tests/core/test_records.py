"""Frozen data, formats, hashes, results: what every room builds on."""

from __future__ import annotations

import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwsim.core.errors import Location, SpecError, SpecErrorGroup, UsageError
from hwsim.core.formats import bits, size_bytes
from hwsim.core.frozen import FrozenDict
from hwsim.core.hashing import content_hash
from hwsim.core.results import Estimate, Infeasible, Lever, OpEstimate


def test_frozen_dict_refuses_change_and_survives_a_process_border() -> None:
    one = FrozenDict({"a": 1})
    for change in (lambda: one.__setitem__("b", 2), lambda: one.update(b=2), one.clear, lambda: one.pop("a")):
        with pytest.raises(TypeError, match="frozen"):
            change()
    copy = pickle.loads(pickle.dumps(one))
    assert copy == one
    assert hash(copy) == hash(one)


@given(st.integers(1, 64))
def test_integer_formats_have_their_own_width(width: int) -> None:
    assert bits(f"int{width}") == width
    assert size_bytes(3, f"uint{width}") == -(-3 * width // 8)


@pytest.mark.parametrize("name", ["int0", "int65", "float7", "", "mxfp9"])
def test_unknown_formats_are_named(name: str) -> None:
    with pytest.raises(UsageError, match=r"not known.*intN"):
        bits(name)


def test_mx_formats_count_their_shared_exponent() -> None:
    assert size_bytes(32, "mxfp4") == 17  # 32 x 4 bits + one 8-bit exponent


def test_hash_ignores_key_order_and_refuses_nan() -> None:
    assert content_hash({"a": 1, "b": [2]}) == content_hash({"b": [2], "a": 1})
    assert content_hash({"a": 1}) != content_hash({"a": 2})
    with pytest.raises(ValueError, match="Out of range"):
        content_hash(float("nan"))


energies = st.dictionaries(st.sampled_from(["mac", "dram", "buffer"]), st.floats(0, 1), max_size=3).map(FrozenDict)
ops = st.builds(
    OpEstimate,
    name=st.text(min_size=1),
    kind=st.sampled_from(["gemm", "softmax"]),
    macs=st.integers(0, 10**15),
    latency_s=st.floats(0, 1e3),
    energy_ledger_j=energies,
    cycles=st.none() | st.integers(0, 10**12),
    utilization=st.none() | st.floats(0, 1),
)
estimates = st.builds(
    Estimate,
    arch=st.text(),
    workload=st.text(),
    batch=st.integers(1, 99),
    latency_s=st.floats(0, 1e3),
    macs=st.integers(0, 10**15),
    params=st.integers(0, 10**12),
    ops=st.lists(ops, max_size=3).map(tuple),
    static_ledger_j=energies,
    area_mm2=st.none() | st.floats(0, 1e3),
)


@given(estimates)
def test_estimate_round_trips_through_json(estimate: Estimate) -> None:
    data = json.loads(json.dumps(estimate.to_json()))
    assert data["schema"] == "hwsim/estimate/1"
    again = Estimate.from_json(data)
    assert again.energy_j == pytest.approx(estimate.energy_j)
    assert again.ops == estimate.ops
    assert sum(data["energy_ledger_j"].values()) == pytest.approx(data["energy_j"])


def test_infeasible_round_trips_through_json() -> None:
    one = Infeasible("buffer", 100.0, 60.0, "B", "tile does not fit", "fc1", (Lever("memory.buffer.size", 100.0, "B"),))
    assert Infeasible.from_json(json.loads(json.dumps(one.to_json()))) == one
    assert one.gap == 40


def test_error_points_at_the_value_and_counts_its_siblings() -> None:
    where = Location("a.yaml", 7, 9, "  cols: -4", 2)
    one = SpecError("array.cols = -4", where=where, expected="must be 1 or more", remedy="try `cols: 256`")
    assert one.render().splitlines() == [
        "a.yaml:7:9  array.cols = -4: must be 1 or more",
        "  7 |   cols: -4",
        "    |         ^^ try `cols: 256`",
    ]
    assert SpecErrorGroup([one, one]).render().endswith("2 errors")
