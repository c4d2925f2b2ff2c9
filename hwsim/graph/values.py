"""What a graph's parameters, buffers and constants hold, taken from the module that it was captured from.

Every such tensor is named by its place in the module: a parameter or buffer by its state-dict path, a tensor that is
a plain attribute by its attribute path. A constant that `forward` makes itself has no place in the module; capture
writes its values into the graph, as an op without inputs. So a graph and a module give everything an executor needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hwsim.core.errors import UsageError
from hwsim.graph.ir import WorkloadGraph

if TYPE_CHECKING:
    import torch

_HELD = ("parameter", "buffer", "constant")


def fetch_values(graph: WorkloadGraph, module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Name -> value of every parameter, buffer and constant that an op of the graph reads.

    Raises UsageError if the module lacks one or holds it in another shape.
    """
    read = {name for op in graph.ops for name in op.inputs} | set(graph.outputs)
    wanted = [t for t in graph.tensors.values() if t.role in _HELD and t.name in read]
    values = {}
    for tensor in wanted:
        value = _at(module, tensor.name)
        if value is None:
            raise UsageError(f"{type(module).__name__} holds no tensor {tensor.name!r}, which {graph.name} reads")
        if tuple(value.shape) != tensor.shape:
            raise UsageError(
                f"{tensor.name!r} has shape {tuple(value.shape)} in the module", expected=f"{tensor.shape}"
            )
        values[tensor.name] = value.detach()
    return values


def _at(module: torch.nn.Module, path: str) -> torch.Tensor | None:
    found: object = module
    for part in path.split("."):
        found = getattr(found, part, None)
    return found if hasattr(found, "detach") else None  # type: ignore[return-value]
