"""Build the workload graph of a program: lower its calls, give ops their final names, write their calls as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

from hwsim.core.frozen import FrozenDict
from hwsim.graph.calls import call_json, renamed
from hwsim.graph.ir import Op, Tensor, WorkloadGraph
from hwsim.graph.lowering import Draft, Scope
from hwsim.graph.program import Program
from hwsim.graph.table import lower


def build_graph(
    program: Program,
    name: str,
    *,
    parameters: Mapping[str, Tensor],
    source: str = "",
    provenance: Mapping[str, object] | None = None,
) -> WorkloadGraph:
    """The workload graph of a program; `parameters` are all of the module's, those no op reads included."""
    drafts = _lowered(program)
    taken = {*program.leaves, *parameters}
    names = op_names(drafts, taken)
    final = {leaf: leaf for leaf in program.leaves}
    tensors = dict(parameters) | dict(program.leaves)
    ops: list[Op] = []
    for op_name, draft in zip(names, drafts, strict=True):
        single = len(draft.outputs) == 1
        for index, tensor in enumerate(draft.outputs):
            final[tensor.name] = op_name if single else f"{op_name}:{index}"
            tensors[final[tensor.name]] = replace(tensor, name=final[tensor.name])
        ops.append(_op(op_name, draft, final))
    return WorkloadGraph(
        name=name,
        tensors=FrozenDict(tensors),
        ops=tuple(ops),
        inputs=program.inputs,
        outputs=tuple(final[tensor] for tensor in program.outputs),
        batch=_batch(program),
        source=source,
        provenance=FrozenDict(provenance or {}),
    )


def _batch(program: Program) -> int:
    """The first size of the first input; 1 for a network without one."""
    shape = program.leaves[program.inputs[0]].shape if program.inputs else ()
    return shape[0] if shape else 1


def _lowered(program: Program) -> list[Draft]:
    scope = Scope(dict(program.leaves), set(program.inputs))
    drafts: list[Draft] = []
    for call in program.calls:
        for tensor in call.outputs:
            scope.tensors[tensor.name] = tensor
        for draft in lower(call, scope):
            scope.add(draft)
            drafts.append(draft)
    return drafts


def _op(name: str, draft: Draft, final: Mapping[str, str]) -> Op:
    return Op(
        name=name,
        kind=draft.kind,
        fn=draft.fn,
        inputs=tuple(final[tensor] for tensor in draft.inputs),
        outputs=tuple(final[tensor.name] for tensor in draft.outputs),
        dims=draft.dims,
        attrs=draft.attrs,
        module=draft.module,
        group=draft.group,
        call=call_json(
            draft.target,
            renamed(list(draft.args), final),
            {key: renamed(value, final) for key, value in draft.kwargs.items()},
        ),
    )


def op_names(drafts: Iterable[Draft], taken: Iterable[str]) -> list[str]:
    """A unique name per op: the module's path where a leaf module is one operator, else path and operator.

    The second op of a name gets `@1`, as torch.export marks the second call of a module.
    """
    drafts = list(drafts)
    leaf = _single_operator_modules(drafts)
    used, counts = set(taken), Counter[str]()
    names = []
    for draft in drafts:
        name = draft.module if draft.module in leaf and draft.kind != "view" else _join(draft)
        unique = name
        while unique in used:
            counts[name] += 1
            unique = f"{name}@{counts[name]}"
        used.add(unique)
        names.append(unique)
    return names


def _join(draft: Draft) -> str:
    word = draft.label or draft.fn.split(".")[1 if draft.kind == "unmodelled" and "." in draft.fn else 0]
    return f"{draft.module}.{word}" if draft.module else word


def _single_operator_modules(drafts: Iterable[Draft]) -> set[str]:
    """Modules without ops of child modules whose ops, views aside, are all the same operator."""
    operators: dict[str, set[str]] = {}
    parents: set[str] = set()
    for draft in drafts:
        if draft.module and draft.kind != "view":
            operators.setdefault(draft.module, set()).add(f"{draft.fn}/{draft.label}")
        path = draft.module
        while "." in path:
            path = path.rsplit(".", 1)[0]
            parents.add(path)
    return {module for module, found in operators.items() if len(found) == 1 and module not in parents}
