"""What every transform is: a named, validated rewriting of a graph into a graph."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from hwsim.core import registry
from hwsim.graph.ir import WorkloadGraph
from hwsim.spec.fields import Spec
from hwsim.spec.validate import validate
from hwsim.spec.yaml import Document


class Transform(Spec, ABC):
    """Options are the fields; `apply` never changes its argument."""

    summary: ClassVar[str] = ""

    @abstractmethod
    def apply(self, graph: WorkloadGraph) -> WorkloadGraph:
        """The rewritten graph."""

    @classmethod
    def from_options(cls, options: Mapping[str, Any], where: str = "transforms") -> Self:
        """Validate options as YAML would give them; SpecError names each fault."""
        return validate(cls, Document(where, [], dict(options)))


def apply_all(graph: WorkloadGraph, entries: Sequence[str | Mapping[str, Mapping[str, Any] | None]]) -> WorkloadGraph:
    """Apply the transforms of a workload file in order."""
    for index, entry in enumerate(entries):
        name, options = (entry, None) if isinstance(entry, str) else next(iter(entry.items()))
        kind: type[Transform] = registry.load(registry.TRANSFORMS, name)
        graph = kind.from_options(options or {}, f"transforms.{index}.{name}").apply(graph)
    return graph
