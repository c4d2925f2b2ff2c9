"""What a workload file claims beside what its graph counts."""

from __future__ import annotations

from hwsim.transforms.workload import Workload


def workload_row(name: str, workload: Workload) -> dict[str, object]:
    """The contract's row of `list workloads`: counted and published params and MACs, and how far apart they are."""
    graph, spec = workload.graph, workload.spec
    counted = {"params": graph.params, "macs": graph.macs / graph.batch}
    claims = spec.published.model_dump(exclude_none=True, exclude={"source", "status"}) if spec.published else {}
    published: dict[str, object] = dict(claims)
    if spec.published:
        published |= {"source": spec.published.source, "status": spec.published.status}
    deviation = {key: round(100 * (counted[key] / claims[key] - 1), 3) for key in counted if claims.get(key)}
    return {
        "name": name,
        "kind": spec.kind,
        "fidelity": spec.fidelity,
        "params": graph.params,
        "macs": graph.macs // graph.batch,
        "published": published,
        "deviation_pct": deviation,
    }
