"""From operator calls to the kinds of the workload graph: one table, one small function per family.

Everything here is torch-free: a program is read into `Call` records first (`program.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from hwsim.core.frozen import EMPTY, FrozenDict
from hwsim.graph.calls import Argument, Call, references
from hwsim.graph.ir import Kind, Tensor


@dataclass(frozen=True)
class Draft:
    """An op before it has its final name. `label` tells apart ops that one call was split into."""

    kind: Kind
    fn: str
    target: str
    args: tuple[Argument, ...]
    kwargs: Mapping[str, Argument]
    inputs: tuple[str, ...]
    outputs: tuple[Tensor, ...]
    dims: FrozenDict[str, int]
    attrs: FrozenDict[str, object] = field(default=EMPTY)
    module: str = ""
    label: str = ""
    group: str | None = None


@dataclass
class Scope:
    """The tensors seen so far, and which of them depend on an input of the network."""

    tensors: dict[str, Tensor]
    dynamic: set[str]

    def shape(self, argument: Argument) -> tuple[int, ...]:
        return self.tensors[next(references(argument))].shape

    def dtype(self, argument: Argument) -> str:
        return self.tensors[next(references(argument))].dtype

    def is_dynamic(self, argument: Argument) -> bool:
        return any(name in self.dynamic for name in references(argument))

    def fresh(self, like: str, shape: tuple[int, ...], dtype: str) -> Tensor:
        """A new intermediate tensor, named after the tensor it leads to."""
        tensor = Tensor(f"{like}/{len(self.tensors)}", shape, dtype)
        self.tensors[tensor.name] = tensor
        return tensor

    def add(self, draft: Draft) -> None:
        """Record the draft's outputs."""
        for tensor in draft.outputs:
            self.tensors[tensor.name] = tensor
        if any(name in self.dynamic for name in draft.inputs):
            self.dynamic.update(tensor.name for tensor in draft.outputs)


def draft_of(
    call: Call,
    kind: Kind,
    dims: Mapping[str, int],
    fn: str | None = None,
    inputs: Iterable[str] | None = None,
    attrs: Mapping[str, object] = EMPTY,
) -> Draft:
    """One op that executes the call as it stands."""
    named = tuple(dict.fromkeys(references([call.args, dict(call.kwargs)]))) if inputs is None else tuple(inputs)
    return Draft(
        kind, fn or call.fn, call.target, call.args, call.kwargs, named, call.outputs,
        FrozenDict(dims), FrozenDict(attrs), call.module,
    )  # fmt: skip


def elements(call: Call) -> int:
    """Elements of all outputs."""
    return sum(tensor.elements for tensor in call.outputs)


def axis_of(index: int, rank: int) -> int:
    return index + rank if index < 0 else index
