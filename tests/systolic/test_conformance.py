"""The systolic backend keeps what every backend keeps, on its arch files and around them."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from hypothesis import strategies as st

from hwsim.backends.conformance import BackendConformance
from hwsim.backends.synthetic import transformer
from hwsim.backends.systolic import Systolic
from hwsim.backends.systolic.spec import SystolicSpec
from hwsim.graph.ir import WorkloadGraph
from hwsim.spec.arch import Arch, load_arch
from hwsim.spec.yaml import Tree

CLUSTER = {
    "array.cores": 2,
    "memory.global_buffer": {"size": "4 MiB", "bandwidth": "100 GB/s"},
    "memory.buffer.read_bandwidth": "60 GB/s",
    "memory.buffer.write_bandwidth": "60 GB/s",
}


@functools.cache
def archs() -> Sequence[Arch]:
    # EDP may trade latency away as bandwidth grows (A10), so that only the other objectives are never slower.
    house = load_arch("systolic_int8", {"mapping.objective": "latency"})
    return (
        house,
        house.with_values({"mapping.search": "rule", "mapping.residency": 0.25, "array.transposer": False}),
        house.with_values({"array.timing": "scalesim", "memory.buffer.double_buffered": False}),
        house.with_values(CLUSTER),
        load_arch("tpu_v1"),
        load_arch("gemmini_16x16"),
    )


class TestSystolic(BackendConformance):
    backend = Systolic
    never_slower = (
        "memory.dram.bandwidth",
        "array.clock",
        "memory.global_buffer.bandwidth",
        "memory.buffer.read_bandwidth",
        "memory.buffer.write_bandwidth",
    )

    def archs(self) -> Sequence[Arch]:
        return archs()

    def variations(self, arch: Arch) -> st.SearchStrategy[dict[str, Tree]]:
        return st.fixed_dictionaries(
            {
                "array.rows": st.sampled_from([8, 16, 37]),
                "array.cols": st.sampled_from([8, 16, 33]),
                "array.dataflow": st.sampled_from(["ws", "os", "is"]),
                "array.double_buffered": st.booleans(),
                "array.clock": st.sampled_from(["100 MHz", "933 MHz"]),
                "precision.weights": st.sampled_from(["int4", "int8", "int16", "bf16", "mxfp4"]),
                "memory.buffer.size": st.sampled_from(["2 KiB", "24 KiB", "200 KiB", "3 MiB"]),
                "memory.dram.bandwidth": st.sampled_from(["50 MB/s", "2 GB/s", "90 GB/s"]),
                "vector.lanes": st.integers(1, 64),
                "technology.node": st.sampled_from([45, 28, 7]),
            }
        )

    def roofline_s(self, graph: WorkloadGraph, arch: Arch) -> float:
        """One MAC per PE and cycle, and every weight of a product across DRAM once."""
        spec = arch.spec
        assert isinstance(spec, SystolicSpec)
        array = spec.array
        products = [op for op in graph.ops if op.macs]
        weights = sum(graph.tensors[op.inputs[1]].elements for op in products if op.kind != "matmul") / 2
        return max(
            graph.macs / (array.rows * array.cols * array.cores * array.clock_hz),
            weights / spec.memory.dram.bandwidth_bytes_per_s,
        )

    def misfits(self) -> Sequence[tuple[WorkloadGraph, Arch]]:
        house, graph = archs()[0], transformer(grid=7, heads=3, head_dim=32)
        return [
            (graph, house.with_values({"memory.buffer.size": "1 KiB"})),
            (graph, house.with_values({"memory.accumulator.size": "64 B"})),
            (graph, house.with_values({"memory.weight_buffer": {"size": "100 B"}})),
            (graph, house.with_values({"memory.dram.size": "16 KiB"})),
        ]
