"""Splitting a network over a cluster: placement, sharding, assignment, class-split, pipelines."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.backends.base import backend_of
from hwsim.backends.edge import Edge
from hwsim.backends.edge.assignment import Assignment, Demands, Shortage, exact, greedy
from hwsim.backends.edge.drawing import draw
from hwsim.backends.edge.plan import Plan
from hwsim.backends.edge.program import Compute, Transfer
from hwsim.backends.edge.runtimefit import Latency, fit_runtime
from hwsim.backends.edge.sharding import Exchange, Sharded, sequence_parallel, tensor_parallel
from hwsim.backends.edge.simulation import Change, Faults, Recovery, simulate
from hwsim.backends.synthetic import transformer
from hwsim.core.errors import HwsimError, UsageError
from hwsim.core.results import Estimate, Infeasible
from hwsim.graph.ir import WorkloadGraph
from hwsim.spec.arch import load_arch
from hwsim.spec.fields import SI
from hwsim.transforms.class_split import ClassSplit
from hwsim.transforms.workload import load_workload

CLUSTER = "arch_specs/edge/raspberry_pi_4_cluster.yaml"
VIT = transformer(grid=4, patch=4, heads=4, head_dim=16, mlp_ratio=4, depth=2, classes=10)


def class_split(graph: WorkloadGraph, parts: int, keep: float) -> WorkloadGraph:
    return ClassSplit.from_options({"parts": parts, "keep": keep}).apply(graph)


def estimated(graph: WorkloadGraph, **changes: object) -> Estimate:
    arch = load_arch(CLUSTER, changes)  # type: ignore[arg-type]
    result = backend_of(arch).estimate(graph, arch)
    assert isinstance(result, Estimate)
    return result


@pytest.mark.parametrize("heads", [1, 2, 3])
def test_a_sub_model_is_the_narrower_network(heads: int) -> None:
    cut = class_split(VIT, 1, heads / 4)
    narrow = transformer(grid=4, patch=4, heads=heads, head_dim=16, mlp_ratio=4, depth=2, classes=10)
    wanted = {op.name: dict(op.dims) for op in narrow.ops if op.name != "head"}
    got = {op.name.removeprefix("branch0."): dict(op.dims) for op in cut.ops if op.name.startswith("branch0.")}
    assert got == wanted
    sizes = {name.removeprefix("branch0."): tensor.size_bytes for name, tensor in cut.tensors.items()}
    assert all(sizes[n] == t.size_bytes for n, t in narrow.tensors.items() if not n.startswith("head"))


def test_fusion_grows_with_the_number_of_parts() -> None:
    fusion = {n: class_split(VIT, n, 0.25).op("fusion.fc1").macs for n in (2, 4)}
    assert fusion[4] == 2 * fusion[2]


def test_a_share_in_percent_is_the_fraction_it_stands_for() -> None:
    assert class_split(VIT, 1, 0.333333).op("branch0.blocks.0.q").dims["N"] == 22
    assert class_split(VIT, 1, 0.5000001).op("branch0.blocks.0.q").dims["N"] == 32


def test_class_split_needs_a_classifier() -> None:
    headless = WorkloadGraph(
        VIT.name, VIT.tensors, VIT.ops[:-1], VIT.inputs, VIT.ops[-2].outputs, VIT.batch
    )  # fmt: skip
    with pytest.raises(UsageError, match="ends with reduction 'mean'"):
        class_split(headless, 2, 0.5)


def test_each_sub_model_has_a_device_and_the_unloaded_time_is_by_hand() -> None:
    """Two equal branches on two devices: input on the wire, work, features on the wire, fusion."""
    cut = class_split(VIT, 2, 0.5)
    arch = load_arch(CLUSTER, {"devices.0.count": 3, "source": "pi.2", "fusion": "pi.2", "split.devices": 2})
    plan = Edge().plan(cut, arch)
    assert isinstance(plan, Plan)
    work = {d: sum(t.work_s for t in plan.tasks if isinstance(t, Compute) and t.device == d) for d in range(3)}
    assert work[0] == work[1] > 0
    input_s, feature_s = VIT.tensors["x"].size_bytes / 117.6e6, 32 * 4 / 117.6e6
    expected = 2 * input_s + 1e-4 + work[0] + 2 * feature_s + 1e-4 + work[2]
    result = backend_of(arch).estimate(cut, arch)
    assert isinstance(result, Estimate)
    assert result.latency_s == pytest.approx(expected, rel=1e-9)


def test_losing_a_device_fuses_without_its_sub_model() -> None:
    arch = load_arch(CLUSTER, {"devices.0.count": 4, "split.devices": 4})
    plan = Edge().plan(class_split(VIT, 4, 0.25), arch)
    assert isinstance(plan, Plan)
    faults = Faults((Change(0.0, 0.0, device=2),), Recovery.DROP, detect_s=0.1)
    log = simulate(plan.cluster, plan.tasks, np.zeros(1), faults=faults)
    assert log.missing.tolist() == [1]
    assert np.isfinite(log.done_s).all()


def test_reassigning_a_lost_sub_model_loses_nothing_but_time() -> None:
    arch = load_arch(CLUSTER, {"devices.0.count": 4, "split.devices": 4, "split.spares": True})
    plan = Edge().plan(class_split(VIT, 4, 0.25), arch)
    assert isinstance(plan, Plan)
    well = simulate(plan.cluster, plan.tasks, np.zeros(1), force_events=True)
    faults = Faults((Change(0.0, 0.0, device=2),), Recovery.REASSIGN, detect_s=0.1)
    log = simulate(plan.cluster, plan.tasks, np.zeros(1), faults=faults)
    assert log.missing.tolist() == [0]
    assert max(0.1, well.latency_s[0]) < log.latency_s[0] < well.latency_s[0] + 0.1 + well.latency_s[0]


@pytest.mark.parametrize("devices", [2, 3, 4])
def test_tensor_parallelism_reduces_twice_per_block(devices: int) -> None:
    steps = list(tensor_parallel(VIT, devices))
    reductions = [s for s in steps if isinstance(s, Exchange) and s.reduce]
    assert len(reductions) == 2 * 2
    assert [s.op.name for s in steps if isinstance(s, Sharded)] == [op.name for op in VIT.ops]


@pytest.mark.parametrize("method", ["tensor", "sequence"])
def test_a_ring_moves_as_many_bytes_as_its_formula(method: str) -> None:
    """2 (n - 1) size for a reduction over all devices, (n - 1) size to gather."""
    changes = {"devices.0.count": 4, "split.method": method, "split.collective": "ring"}
    plan = Edge().plan(VIT, load_arch(CLUSTER, changes))
    assert isinstance(plan, Plan)
    walk = tensor_parallel if method == "tensor" else sequence_parallel
    wanted = sum((2 if s.reduce else 1) * 3 * s.size_bytes for s in walk(VIT, 4) if isinstance(s, Exchange))
    moved = sum(t.size_bytes for t in plan.tasks if isinstance(t, Transfer) and t.name == "pass on")
    assert moved == pytest.approx(wanted)


def test_sequence_parallelism_gathers_keys_and_values() -> None:
    gathers = [s for s in sequence_parallel(VIT, 2) if isinstance(s, Exchange)]
    attention = [s for s in gathers if s.tensors[0].startswith(("blocks.0", "blocks.1"))]
    assert len(attention) >= 2 * 2
    assert not any(s.reduce for s in gathers)


@given(st.sampled_from(["tensor", "sequence"]), st.integers(1, 9))
@settings(max_examples=20, deadline=None)
def test_shards_do_all_the_work(method: str, devices: int) -> None:
    walk = tensor_parallel if method == "tensor" else sequence_parallel
    for step in walk(VIT, devices):
        if isinstance(step, Sharded):
            assert 1.0 / devices - 1e-12 <= step.share <= 1.0


def test_tensor_parallelism_holds_a_share_of_the_weights() -> None:
    arch = {n: load_arch(CLUSTER, {"devices.0.count": 4, "split.method": "tensor", "split.devices": n}) for n in (1, 4)}
    held = {}
    for n, each in arch.items():
        plan = Edge().plan(VIT, each)
        assert isinstance(plan, Plan)
        held[n] = plan.memory_bytes[0]
    assert held[4] < held[1]


def test_a_pipeline_passes_more_requests_and_answers_one_later() -> None:
    one = estimated(VIT, **{"split.method": "single"})
    four = estimated(VIT, **{"split.method": "pipeline", "split.devices": 4})
    assert four.throughput_per_s is not None
    assert one.throughput_per_s is not None
    assert four.throughput_per_s > one.throughput_per_s
    assert four.latency_s > one.latency_s


def test_runtime_fit_recovers_rate_and_overhead() -> None:
    points = [Latency(str(m), m, k, m / 5e9 + k * 1e-4) for m, k in ((1e9, 100), (4e9, 150), (2e9, 400))]
    found = fit_runtime(points, 0.01)
    assert found.macs_per_s == pytest.approx(5e9)
    assert found.overhead_s == pytest.approx(1e-4)
    assert 0 < found.overhead_s_error < found.overhead_s
    with pytest.raises(UsageError, match="do not tell arithmetic from overhead"):
        fit_runtime(points[:1])


def test_too_little_memory_names_the_device_and_the_gap() -> None:
    arch = load_arch(CLUSTER, {"devices.0.memory": SI(512 * 2**20 + 1000)})
    result = backend_of(arch).estimate(class_split(VIT, 2, 0.5), arch)
    assert isinstance(result, Infeasible)
    assert result.resource == "memory of pi.0"
    assert result.bound == 1000
    assert "sub-model 0 needs" in result.reason
    assert result.levers[0].path == "devices.0.memory"


def test_wifi_carries_every_message_twice() -> None:
    wired = estimated(VIT, **{"devices.0.count": 2, "source": "pi.1", "split.devices": 1})
    radio = estimated(VIT, **{"devices.0.count": 2, "source": "pi.1", "split.devices": 1, "network.sharing": "wifi"})
    size = VIT.tensors["x"].size_bytes
    assert radio.latency_s - wired.latency_s == pytest.approx(size / 117.6e6, rel=1e-6)


def test_a_device_may_be_the_arch_file_of_another_backend() -> None:
    arch = load_arch("arch_specs/edge/jetson_wifi_cluster.yaml", {"split.method": "single"})
    alone = load_arch("jetson_orin_nano")
    cluster, device = backend_of(arch).estimate(VIT, arch), backend_of(alone).estimate(VIT, alone)
    assert isinstance(cluster, Estimate)
    assert isinstance(device, Estimate)
    assert cluster.latency_s == pytest.approx(sum(op.latency_s for op in device.ops), rel=1e-9)


def test_load_shows_percentiles_beside_md1() -> None:
    changes = {"load": {"arrivals": "poisson", "rate": "20 1/s", "requests": 500}, "split.method": "single"}
    notes = "\n".join(estimated(VIT, **changes).notes)
    assert "500 requests at 20/s" in notes
    assert "M/D/1 wait at the busiest device" in notes


def test_a_file_may_heat_throttle_and_empty_its_devices() -> None:
    changes = {
        "devices.0.count": 1,
        "devices.0.levels": [{"clock": 0.5, "load_power": "3 W"}],
        "devices.0.thermal": {"resistance": "12 K/W", "capacity": "0.5 J/K", "ambient": 25, "hot": 70, "cool": 60},
        "devices.0.battery": "200 J",
        "split.method": "single",
        "load": {"arrivals": "periodic", "rate": "40 1/s", "requests": 3000},
    }
    arch = load_arch(CLUSTER, changes)  # type: ignore[arg-type]
    plan = Edge().plan(VIT, arch)
    assert isinstance(plan, Plan)
    log = simulate(plan.cluster, plan.tasks, np.arange(3000) / 40.0)
    assert log.throttled_s[0] > 0.0
    assert log.peak_c[0] == pytest.approx(70.0, abs=1e-6)
    assert log.device_energy_j[0] == pytest.approx(200.0, rel=1e-6)
    assert np.isnan(log.done_s).any()
    assert "never ended" in "\n".join(estimated(VIT, **changes).notes)


def test_picture_and_error_bar(tmp_path: Path) -> None:
    plan = Edge().plan(class_split(VIT, 4, 0.25), load_arch(CLUSTER, {"devices.0.count": 4}))
    assert isinstance(plan, Plan)
    draw(plan, "star", tmp_path / "cluster.png", "four sub-models")
    assert (tmp_path / "cluster.png").stat().st_size > 10_000
    assert any("+-" in note for note in estimated(VIT).notes)


def test_timeline_shows_devices_and_links() -> None:
    tracks = {span.track for span in estimated(class_split(VIT, 2, 0.5)).timeline()}
    assert {"pi.0", "pi.1", "link up pi.0", "link down pi.1"} <= tracks


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"devices.0.idle_power": "18.688 W", "devices.0.load_power": "7.3 W"},
            "idle_power 18.688 W is above load_power",
        ),
        ({"fusion": "moon"}, "fusion 'moon' is not a device"),
        ({"devices.0.arch": "rtx4090"}, "either `arch`"),
        ({"load": {"arrivals": "trace"}}, "`file` goes with"),
    ],
)
def test_says_what_is_wrong(changes: dict[str, object], message: str) -> None:
    with pytest.raises(HwsimError, match=message):
        load_arch(CLUSTER, changes)  # type: ignore[arg-type]


@st.composite
def small_demands(draw: st.DrawFn) -> Demands:
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    parts, devices = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    return Demands(
        seconds=rng.uniform(0.1, 1.0, (parts, devices)),
        memory_bytes=rng.uniform(1.0, 2.0, parts),
        memory_bound_bytes=rng.uniform(1.0, 5.0, devices),
        energy_j=rng.uniform(0.0, 1.0, (parts, devices)),
        energy_bound_j=draw(st.sampled_from([1.5, float("inf")])),
    )


@given(small_demands())
@settings(max_examples=60, deadline=None)
def test_exact_assignment_is_the_best_of_all(demands: Demands) -> None:
    parts, devices = demands.seconds.shape
    best = np.inf
    for choice in product(range(devices), repeat=parts):
        placed = np.zeros((parts, devices), bool)
        placed[range(parts), choice] = True
        memory = (placed * demands.memory_bytes[:, None]).sum(0)
        energy = (placed * demands.energy_j).sum(0)
        if (memory <= demands.memory_bound_bytes).all() and (energy <= demands.energy_bound_j).all():
            best = min(best, (placed * demands.seconds).sum(0).max())
    found = exact(demands)
    if np.isinf(best):
        assert isinstance(found, Shortage)
        return
    assert isinstance(found, Assignment)
    assert found.proven
    assert found.busiest_s == pytest.approx(best, rel=1e-9)
    rough = greedy(demands)
    assert isinstance(rough, Shortage) or rough.busiest_s >= best * (1 - 1e-9)


def test_transfers_are_charged_to_radios() -> None:
    arch = load_arch("arch_specs/edge/jetson_wifi_cluster.yaml", {"split.method": "pipeline"})
    plan = Edge().plan(VIT, arch)
    assert isinstance(plan, Plan)
    result = backend_of(arch).estimate(VIT, arch)
    assert isinstance(result, Estimate)
    sent = sum(t.size_bytes for t in plan.tasks if isinstance(t, Transfer) and t.route is not None)
    assert result.energy_ledger_j["radio"] > sent * (1.9e-6 + 0.42e-6)


@pytest.mark.slow
def test_half_of_vit_base_is_vit_small() -> None:
    """A captured network: width 768 with 12 heads becomes width 384 with 6, op by op, up to the classifier."""
    base = load_workload("timm:vit_base_patch16_224").graph
    small = load_workload("timm:vit_small_patch16_224").graph
    cut = class_split(base, 1, 0.5)
    wanted = {op.name: op for op in small.ops}
    for op in cut.ops:
        other = wanted.get(op.name.removeprefix("branch0."))
        if other is not None:
            assert dict(op.dims) == dict(other.dims)
            assert [cut.tensors[n].size_bytes for n in op.outputs] == [
                small.tensors[n].size_bytes for n in other.outputs
            ]
