"""What the kernels and their times must obey, case by case."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwsim.backends.processor.device import device_of, runtime_of
from hwsim.backends.processor.estimate import predict, queue
from hwsim.backends.processor.kernels import Bytes, Kernel, KernelTable, Kind
from hwsim.backends.processor.lower import lower
from hwsim.backends.processor.runtime import Runtime
from hwsim.backends.processor.spec import ProcessorSpec
from hwsim.backends.synthetic import convnet, transformer
from hwsim.core.errors import SpecError
from hwsim.core.results import Estimate
from hwsim.spec.arch import load_arch


def spec_of(name: str, **changes: object) -> ProcessorSpec:
    spec = load_arch(name, {path.replace("__", "."): value for path, value in changes.items()}).spec
    assert isinstance(spec, ProcessorSpec)
    return spec


def gemm(m: float, n: float, k: float) -> Kernel:
    size = Bytes(fixed=2 * (m * k + k * n))
    return Kernel(("x",), Kind.GEMM, size, Bytes(fixed=2 * m * n), 1.0, m, n, k, fixed=True, format="fp16")


def vit(**changes: int):  # type: ignore[no-untyped-def]
    sizes = {"grid": 7, "patch": 4, "heads": 3, "head_dim": 32, "mlp_ratio": 4, "depth": 2, "batch": 1, "classes": 10}
    return transformer(**{**sizes, **changes})


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=30))
def test_queue_is_the_recurrence_it_unrolls(pairs: list[tuple[float, float]]) -> None:
    times, gaps = np.array(pairs).T
    issued = np.cumsum(gaps)
    ends, end = queue(times, issued), 0.0
    for index in range(len(times)):
        end = max(end, issued[index]) + times[index]
        assert ends[index] == pytest.approx(end)


def test_a_tile_and_a_wave_cost_the_same_whether_full_or_not() -> None:
    device = device_of(spec_of("a100_pcie_40gb"))

    def cycles(m: float) -> float:
        return float(predict(KernelTable((gemm(m, 4096.0, 4096.0),)), 1, device).demand.cycles[0])

    assert cycles(1) == cycles(32) < cycles(1025) == cycles(1026)


@pytest.mark.parametrize("mode", ["eager", "compiled"])
def test_products_of_the_graph_are_the_products_of_the_kernels(mode: str) -> None:
    graph = convnet(size=33, channels=24, kernel=3, stride=2, depthwise=True, classes=10, batch=1, dtype="float32")
    table = lower(graph, Runtime(mode, "amp_fp16", True, "gpu"))
    assert sum(k.products * k.m * k.n * k.k for k in table.kernels) == pytest.approx(graph.macs)


def test_compiling_launches_fewer_kernels_and_moves_fewer_bytes() -> None:
    tables = {mode: lower(vit(), Runtime(mode, "fp16", True, "gpu")) for mode in ("eager", "compiled")}
    moved = {mode: sum(k.read.sample + k.write.sample for k in table.kernels) for mode, table in tables.items()}
    assert len(tables["compiled"]) < len(tables["eager"])
    assert moved["compiled"] < moved["eager"]


def test_autocast_converts_each_weight_in_every_pass() -> None:
    graph = vit()
    casts = {
        precision: sum(k.read.fixed for k in lower(graph, Runtime("compiled", precision, True, "gpu")).kernels)
        for precision in ("fp16", "amp_fp16")
    }
    weights = sum(graph.tensors[op.inputs[1]].elements for op in graph.ops if op.kind in ("gemm", "conv"))
    assert casts["amp_fp16"] - casts["fp16"] >= 4 * weights


def test_a_batch_costs_the_same_lowered_at_one_sample_or_at_many() -> None:
    device = device_of(spec_of("rtx4090"))
    runtime = runtime_of(spec_of("rtx4090"))
    one = predict(lower(vit(), runtime), 4, device)
    four = predict(lower(vit(batch=4), runtime), 4, device)
    assert one.latency_s == pytest.approx(four.latency_s)
    assert one.energy_j == pytest.approx(four.energy_j)


def test_the_cap_lowers_the_clock_and_is_met() -> None:
    graph = vit(grid=28, heads=12, head_dim=64, batch=64)
    free = device_of(spec_of("a100_sxm4_40gb", power__limit="2 kW", power__idle="60 W"))
    capped = device_of(spec_of("a100_sxm4_40gb", power__limit="150 W", power__idle="60 W"))
    table = lower(graph, Runtime("compiled", "bf16", True, "gpu"))
    loose, tight = predict(table, 64, free), predict(table, 64, capped)
    assert not loose.operating.capped
    assert tight.operating.capped
    assert tight.operating.power_w == pytest.approx(150, rel=1e-3)
    assert tight.operating.clock_hz < loose.operating.clock_hz
    assert tight.latency_s > loose.latency_s


def test_a_locked_clock_slows_compute_and_saves_power() -> None:
    graph = vit(grid=28, heads=12, head_dim=64, batch=64)
    table = lower(graph, Runtime("eager", "bf16", True, "gpu"))
    fast = predict(table, 64, device_of(spec_of("a100_pcie_40gb")))
    slow = predict(table, 64, device_of(spec_of("a100_pcie_40gb", clock__lock="510 MHz")))
    assert slow.latency_s > fast.latency_s
    assert slow.operating.power_w < fast.operating.power_w


def test_an_eager_small_batch_is_bound_by_the_host() -> None:
    spec = spec_of("rtx4090", runtime__mode="eager", runtime__dispatch="100 us")
    table = lower(vit(), runtime_of(spec))
    run = predict(table, 1, device_of(spec))
    calls = sum(kernel.calls for kernel in table.kernels)
    assert run.latency_s == pytest.approx(calls * 1e-4, rel=0.02)


def test_a_device_without_calibration_says_so() -> None:
    arch = load_arch("h100_sxm5")
    from hwsim.backends.processor import Processor

    result = Processor().estimate(vit(), arch)
    assert isinstance(result, Estimate)
    assert "timing and power not measured on this device" in result.notes[0]


def test_an_unknown_calibration_names_those_that_exist() -> None:
    with pytest.raises(SpecError, match=r"calibration 'rtx409' does not exist: one of .*rtx4090"):
        device_of(spec_of("rtx4090", calibration="rtx409"))


@pytest.mark.parametrize("name", ["v100_sxm2", "t4"])
def test_bf16_without_bf16_units_runs_at_the_fp32_rate(name: str) -> None:
    machine = device_of(spec_of(name)).machine
    fp32, bf16, fp16 = (machine.matrix_flop_per_cycle[i] for i in (0, 3, 2))
    assert bf16 == fp32 < fp16
