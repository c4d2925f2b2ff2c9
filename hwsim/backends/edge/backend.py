"""The edge backend: a cluster file and a graph to a plan and its cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from hwsim.backends.base import Backend, Picture, Placement
from hwsim.backends.edge import mapper
from hwsim.backends.edge.plan import Plan
from hwsim.backends.edge.spec import ClusterSpec
from hwsim.core.errors import UsageError
from hwsim.core.results import Estimate, Infeasible
from hwsim.graph.ir import WorkloadGraph
from hwsim.spec.arch import Arch, ArchSpec


class Edge(Backend):
    """Clusters of edge devices under real networks, load and failures."""

    name: ClassVar[str] = "edge"
    spec_model: ClassVar[type[ArchSpec]] = ClusterSpec

    def plan(self, graph: WorkloadGraph, arch: Arch) -> Plan | Infeasible:
        """The program of one request on this cluster, or what does not fit."""
        return mapper.plan(graph, cluster_spec(arch))

    def map(self, graph: WorkloadGraph, arch: Arch) -> Sequence[Placement] | Infeasible:
        """The devices of every op, and why."""
        plan = self.plan(graph, arch)
        if isinstance(plan, Infeasible):
            return plan
        return [placement(op.name, plan) for op in graph.ops]

    def estimate(self, graph: WorkloadGraph, arch: Arch) -> Estimate | Infeasible:
        """One request on an idle cluster; with `load`, its notes tell of many."""
        from hwsim.backends.edge.estimate import estimate

        plan = self.plan(graph, arch)
        if isinstance(plan, Infeasible):
            return plan
        return estimate(graph, arch.name, cluster_spec(arch), plan)

    def pictures(self, graph: WorkloadGraph, arch: Arch) -> Sequence[Picture]:
        """The cluster: who works how long, holds how much, and what flows between them."""
        from io import BytesIO

        from hwsim.backends.edge.drawing import draw

        plan = self.plan(graph, arch)
        if isinstance(plan, Infeasible):
            return ()
        png = BytesIO()
        draw(plan, cluster_spec(arch).network.topology, png, f"{graph.name} on {arch.name}")
        text = "One request: devices coloured by the time they work, lines as wide as what they carry."
        return (Picture("Cluster", text, png.getvalue()),)


def cluster_spec(arch: Arch) -> ClusterSpec:
    """The arch's spec as what it is."""
    if not isinstance(arch.spec, ClusterSpec):
        raise UsageError(f"{arch.name} is a {arch.backend}, not a cluster", expected="backend: edge")
    return arch.spec


def placement(op: str, plan: Plan) -> Placement:
    """Where an op is done."""
    parts = plan.parts[op]
    names = [plan.cluster.devices[part.device].name for part in parts]
    reasons = {
        "single": "everything on one device",
        "branches": "its sub-model was assigned there",
        "pipeline": "the slowest stage is fastest with this cut",
        "tensor": "weights are split over all devices",
        "sequence": "rows are split over all devices",
    }
    share = max(part.share for part in parts)
    return Placement(op, ", ".join(names), f"{plan.method}, {share:.4g} of it each", reasons[plan.method])
