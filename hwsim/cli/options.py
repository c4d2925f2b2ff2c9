"""Options that several commands share, spelled once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from cyclopts import Parameter

from hwsim.core.errors import SpecError
from hwsim.spec.overrides import parse_assignment
from hwsim.spec.yaml import Tree

Format = Annotated[
    Literal["table", "json", "csv"], Parameter(name="--format", help="Shape of what is written to stdout.")
]
Sets = Annotated[
    tuple[str, ...],
    Parameter(
        name="--set", negative=(), help="PATH=VALUE: replace a value of the arch, or of the workload (workload.PATH)."
    ),
]
Batch = Annotated[int | None, Parameter(name="--batch", help="Samples per run; the workload's own by default.")]


def overrides(sets: Sequence[str]) -> dict[str, Tree]:
    """`--set` texts as path -> value; SpecError if one path is set twice."""
    found: dict[str, Tree] = {}
    for text in sets:
        path, value = parse_assignment(text)
        if path in found:
            raise SpecError(f"--set {path} is given twice", remedy="keep one of them")
        found[path] = value
    return found
