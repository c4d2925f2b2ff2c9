"""The properties that every backend keeps, on clusters of each topology and split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from hypothesis import strategies as st

from hwsim.backends.base import Backend
from hwsim.backends.conformance import BackendConformance
from hwsim.backends.edge import Edge
from hwsim.backends.edge.spec import ClusterSpec
from hwsim.backends.synthetic import transformer
from hwsim.graph.ir import WorkloadGraph
from hwsim.spec.arch import Arch, load_arch
from hwsim.spec.fields import SI
from hwsim.spec.yaml import Tree

CLUSTER = "arch_specs/edge/raspberry_pi_4_cluster.yaml"


class TestEdge(BackendConformance):
    backend: ClassVar[type[Backend]] = Edge
    never_slower: ClassVar[Sequence[str]] = ("network.bandwidth", "devices.0.compute.memory_bandwidth")

    def archs(self) -> Sequence[Arch]:
        return [
            load_arch(CLUSTER, {"devices.0.count": 4, "network.topology": topology}) for topology in ("star", "mesh")
        ]

    def variations(self, arch: Arch) -> st.SearchStrategy[dict[str, Tree]]:
        return st.fixed_dictionaries(
            {
                "split.method": st.sampled_from(["single", "branches", "pipeline", "tensor", "sequence"]),
                "split.devices": st.integers(1, 4),
                "network.bandwidth": st.floats(1e5, 1e8).map(SI),
                "network.sharing": st.sampled_from(["shared", "wifi", "wifi_airtime"]),
                "devices.0.memory": st.integers(513 * 2**20, 2**33).map(SI),
            }
        )

    def roofline_s(self, graph: WorkloadGraph, arch: Arch) -> float:
        spec = arch.spec
        assert isinstance(spec, ClusterSpec)
        compute = spec.devices[0].compute
        assert compute is not None
        return graph.macs / (max(compute.throughput.values()) * spec.devices[0].count)

    def misfits(self) -> Sequence[tuple[WorkloadGraph, Arch]]:
        big = transformer(grid=14, heads=12, head_dim=64, depth=12)
        return [
            (big, load_arch(CLUSTER, {"split.method": method, "devices.0.memory": SI(530 * 2**20)})) for method in
            ("single", "pipeline", "tensor", "sequence")
        ] + [(big, load_arch(CLUSTER, {"split.method": "single", "devices.0.storage": SI(10**6)}))]  # fmt: skip
