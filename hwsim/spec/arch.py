"""The described hardware: a YAML file to a validated, frozen, SI spec of its backend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from hwsim.core import registry
from hwsim.core.errors import SpecError
from hwsim.core.frozen import FrozenDict
from hwsim.core.hashing import content_hash
from hwsim.core.names import nearest
from hwsim.spec.fields import Spec
from hwsim.spec.files import find_spec
from hwsim.spec.overrides import override
from hwsim.spec.validate import dotted_path, validate
from hwsim.spec.yaml import Document, Source, Tree, read_document

ARCH_SCHEMA = "hwsim/arch/1"
#: Keys of an arch file that say which file it is, or that only `explore` reads.
NOT_HARDWARE = frozenset(
    {"schema", "backend", "name", "description", "search", "constraints", "objectives"}
    | {"workloads", "accuracy_workloads"}
)


class Range(Spec):
    """A numeric search axis: linear, logarithmic, or in whole steps."""

    low: Any
    high: Any
    log: bool = False
    step: Any = None


class ArchSpec(Spec):
    """What every arch file has; a backend's spec class adds its hardware."""

    schema_: Literal["hwsim/arch/1"] = Field(description="the version of this file's layout")
    backend: str
    name: str = ""
    description: str = ""
    search: dict[str, Annotated[list[Any], Field(min_length=1)] | Range] = Field(
        default={}, description="path -> list of choices, or {low, high, log, step}; only `explore` reads it"
    )
    constraints: list[str] = Field(default=[], description="comparisons between fields that a design must meet")
    objectives: list[str] = Field(default=["latency_s", "energy_j"], min_length=1)
    workloads: list[str] = Field(default=[], description="what `explore` runs when no --workload is given")
    accuracy_workloads: list[str] = Field(
        default=[], description="the same, for objectives that execute: workloads with trained weights and labels"
    )


@dataclass(frozen=True, eq=False)
class Arch:
    """A loaded arch: its spec, where each number comes from, and the document to vary it by."""

    name: str
    backend: str
    spec: ArchSpec
    document: Document

    @property
    def file(self) -> str:
        return self.document.file

    @property
    def sources(self) -> FrozenDict[str, Source]:
        """Dotted path -> source, for every sourced value of the file."""
        return FrozenDict({dotted_path(path): source for path, source in self.document.sources.items()})

    @cached_property
    def content_hash(self) -> str:
        """Hash of what decides a result: the hardware, not the search block or the texts."""
        skipped = NOT_HARDWARE - {"schema", "backend", "name"}
        return content_hash({key: _hashable(value) for key, value in self.document.tree.items() if key not in skipped})

    def with_values(self, changes: Mapping[str, Tree], option: str = "--set") -> Arch:
        """The same arch with some values replaced, validated exactly as the file was."""
        if not changes:
            return self
        document = override(self.document, changes, option)
        return replace(self, spec=validate(type(self.spec), document), document=document)


def _hashable(value: Tree) -> Tree:
    if isinstance(value, dict):
        return {key: _hashable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_hashable(item) for item in value]
    return repr(value) if isinstance(value, float) else value


def load_arch(path: str | Path, set: Mapping[str, Tree] | None = None) -> Arch:
    """Load an arch file (a path, or the bare name of a bundled one) with `set` replacing values by dotted path.

    Raises SpecError (a group of all errors of the file) for anything the backend's schema does not allow.
    """
    file = find_spec(str(path), "arch_specs", "arch")
    document = override(read_document(file), set or {})
    if not isinstance(document.tree, dict):
        raise SpecError(
            f"{file} is not an arch", where=document.place(()), expected=f"`schema: {ARCH_SCHEMA}` and a backend"
        )
    backend = document.tree.get("backend")
    known = registry.names(registry.BACKENDS)
    if backend not in known:
        raise SpecError(
            "backend is missing" if backend is None else f"backend = {backend!r}",
            where=document.place(("backend",)),
            expected="must be one of " + ", ".join(known),
            remedy=nearest(str(backend), known),
        )
    spec = validate(registry.load(registry.BACKENDS, backend).spec_model, document)
    return Arch(spec.name or file.stem, backend, spec, document)
