"""A loaded workload: its spec, and the transformed graph, captured when it is first needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from hwsim.core.errors import SpecError
from hwsim.graph.ir import WorkloadGraph
from hwsim.spec.files import find_spec
from hwsim.spec.overrides import override
from hwsim.spec.validate import validate
from hwsim.spec.workload import WORKLOAD_SCHEMA, WorkloadSpec
from hwsim.spec.yaml import Document, Tree, read_document
from hwsim.transforms.base import apply_all

#: A source names a model directly: `timm:deit_small_patch16_224`.
SOURCE_SCHEMES = ("timm", "zoo", "torch", "pt2", "gemm")


@dataclass(frozen=True, eq=False)
class Workload:
    """What runs: `spec` says it, `graph` is it (captured or read from the cache on first use)."""

    name: str
    spec: WorkloadSpec
    document: Document

    @cached_property
    def graph(self) -> WorkloadGraph:
        """The captured graph after its transforms, at the batch of `spec.input`."""
        from hwsim.graph.sources import load_source

        shape = self.spec.input.shape
        graph = load_source(self.spec.model, tuple(shape) if shape else None)
        graph = apply_all(graph, self.spec.transforms).with_batch(self.spec.input.batch)
        return replace(graph, name=self.name)

    def with_values(self, changes: Mapping[str, Tree], option: str = "--set") -> Workload:
        """The same workload with some values replaced, validated exactly as the file was."""
        if not changes:
            return self
        document = override(self.document, changes, option)
        return replace(self, spec=validate(WorkloadSpec, document), document=document)


def is_source(text: str) -> bool:
    """Whether a WORKLOAD argument is a model source and not the name of a file."""
    scheme, colon, rest = text.partition(":")
    return bool(colon and rest) and scheme in SOURCE_SCHEMES


def load_workload(name: str | Path, set: Mapping[str, Tree] | None = None) -> Workload:
    """Load a workload file (path or bare name) or a model source, with `set` replacing values by dotted path.

    Raises SpecError for anything the schema does not allow; capture errors come when `.graph` is first read.
    """
    text = str(name)
    if is_source(text):
        document = Document(text, [], {"schema": WORKLOAD_SCHEMA, "model": text})
        stem = text
    elif ":" in text and not Path(text).exists():
        raise SpecError(
            f"source scheme {text.partition(':')[0]!r} is not known",
            expected="one of " + ", ".join(f"{scheme}:" for scheme in SOURCE_SCHEMES),
        )
    else:
        file = find_spec(text, "workloads", "workload")
        document, stem = read_document(file), file.stem
    document = override(document, set or {})
    spec = validate(WorkloadSpec, document)
    return Workload(spec.name or stem, spec, document)
