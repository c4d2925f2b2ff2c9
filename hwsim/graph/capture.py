"""Capture a torch module as a workload graph with torch.export: no weights and no arithmetic needed."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from hwsim.core.errors import UsageError
from hwsim.graph.build import build_graph
from hwsim.graph.ir import Tensor, WorkloadGraph
from hwsim.graph.program import dtype_name, read_program
from hwsim.graph.table import TABLE

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram

_DROPOUT = ("aten.dropout.default", "aten.feature_dropout.default", "aten.alpha_dropout.default",
            "aten.feature_alpha_dropout.default")  # fmt: skip


def capture(
    module: torch.nn.Module,
    example_inputs: Sequence[Any] | None = None,
    name: str = "",
    *,
    input_shape: Sequence[int] | None = None,
    source: str = "",
    provenance: Mapping[str, object] | None = None,
) -> WorkloadGraph:
    """The workload graph of `module` at inference.

    Give `example_inputs`, or the `input_shape` of its only input; batch comes first in both. The inputs lie where the
    module's parameters do; meta tensors are enough. The module's training mode is put back afterwards. Raises
    UsageError if torch.export cannot read the module.
    """
    if example_inputs is None:
        if input_shape is None:
            raise UsageError("capture needs example_inputs or input_shape")
        example_inputs = (_example(module, input_shape),)
    names = _canonical_names(module)
    with _evaluating(module):
        program = inference_program(export(module, tuple(example_inputs)))
    return graph_of(
        program,
        name or type(module).__name__,
        module.named_parameters(),
        names,
        source=source,
        provenance=provenance,
    )


def graph_of(
    program: ExportedProgram,
    name: str,
    parameters: Iterable[tuple[str, torch.Tensor]],
    canonical: Mapping[str, str],
    *,
    source: str = "",
    provenance: Mapping[str, object] | None = None,
) -> WorkloadGraph:
    """The workload graph of an inference program; see `read_program` for `canonical`."""
    records = (Tensor(path, tuple(p.shape), dtype_name(p.dtype), "parameter") for path, p in parameters)
    return build_graph(
        read_program(program, canonical),
        name,
        parameters={record.name: record for record in records},
        source=source,
        provenance=provenance,
    )


def export(module: torch.nn.Module, example_inputs: tuple[Any, ...]) -> ExportedProgram:
    """torch.export of the module, by tracing Python as it runs or, where that fails, by reading its bytecode.

    Raises UsageError with the reason of both.
    """
    import torch

    reasons = []
    for strict in (False, True):
        try:
            with quiet(), torch.no_grad():
                return torch.export.export(module, example_inputs, strict=strict)
        except Exception as error:  # a module's forward may raise anything at all
            reasons.append(f"{'strict' if strict else 'non-strict'}: {_reason(error)}")
    raise UsageError(
        f"{type(module).__name__} cannot be exported by torch.export: " + "; ".join(reasons),
        remedy="check that the input shape is the one the model expects, and that its forward has a fixed control flow",
    )


def inference_program(program: ExportedProgram) -> ExportedProgram:
    """The program without in-place operators and dropout, with composite operators that the table lacks opened up.

    torch's own decompositions do both; what has neither a decomposition nor a row in the table stays as it is.
    """
    import torch

    _inline_no_grad(program)
    _remove_dropout(program)
    program.graph_module.recompile()
    with quiet(), torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        rules = {
            operator: rule
            for operator, rule in dict(torch.export.default_decompositions()).items()
            if not _is_modelled(operator)
        }
        opened: ExportedProgram = program.run_decompositions(rules)
    return opened


def _is_modelled(operator: torch._ops.OperatorBase) -> bool:
    import torch

    packet = str(operator).rsplit(".", 1)[0]
    return packet in TABLE or torch.Tag.pointwise in getattr(operator, "tags", ())


def _remove_dropout(program: ExportedProgram) -> None:
    """Dropout is the identity at inference; decomposing it would leave a copy that no device makes."""
    returned = program.graph.output_node().all_input_nodes
    for node in list(program.graph.nodes):
        if str(node.target) in _DROPOUT and node not in returned:
            node.replace_all_uses_with(node.args[0])
            program.graph.erase_node(node)


def _inline_no_grad(program: ExportedProgram) -> None:
    """Put the body of each `with torch.no_grad()` in its place: at inference the block means nothing."""
    import torch

    graph = program.graph
    for node in list(graph.nodes):
        if node.target is not torch.ops.higher_order.wrap_with_set_grad_enabled:
            continue
        _, body, *operands = node.args
        inner = getattr(program.graph_module, body.target).graph
        places = dict(zip((n for n in inner.nodes if n.op == "placeholder"), operands, strict=True))
        with graph.inserting_before(node):
            results = graph.graph_copy(inner, places)
        for user in list(node.users):
            user.replace_all_uses_with(results[user.args[1]])
            graph.erase_node(user)
        graph.erase_node(node)
        graph.erase_node(body)


def _example(module: torch.nn.Module, shape: Sequence[int]) -> torch.Tensor:
    """An input of that shape with the device and floating type of the module's parameters."""
    import torch

    parameter = next((p for p in module.parameters() if p.is_floating_point()), None)
    like = torch.empty(0) if parameter is None else parameter
    return torch.empty(tuple(shape), device=like.device, dtype=like.dtype)


def _canonical_names(module: torch.nn.Module) -> dict[str, str]:
    """Every name of a parameter or buffer -> the first name of the same tensor."""
    first: dict[int, str] = {}
    names: dict[str, str] = {}
    for named in (module.named_parameters(remove_duplicate=False), module.named_buffers(remove_duplicate=False)):
        for path, tensor in named:
            names[path] = first.setdefault(id(tensor), path)
    for path, part in module.named_modules():
        for attribute, value in vars(part).items():
            if hasattr(value, "dtype") and hasattr(value, "shape"):
                name = f"{path}.{attribute}" if path else attribute
                names[name] = first.setdefault(id(value), name)
    return names


@contextmanager
def _evaluating(module: torch.nn.Module) -> Iterator[None]:
    """The module in evaluation mode, each part's own mode restored at the end."""
    training = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, mode in training.items():
            part.training = mode


@contextmanager
def quiet() -> Iterator[None]:
    """torch.export warns and logs about its own internals, which tells a user nothing."""
    logger = logging.getLogger("torch")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _reason(error: Exception) -> str:
    """The first line of an error that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"
