"""Read a torch exported program into torch-free records: leaf tensors and operator calls."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hwsim.graph.calls import Argument, Call, Ref, tensor_literal
from hwsim.graph.ir import Role, Tensor

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram

#: Operators that return their first argument unchanged at inference.
_IDENTITY = ("aten.alias.default", "aten.detach.default", "aten.lift_fresh.default", "aten.lift_fresh_copy.default")
_CLONE = "aten.clone.default"


@dataclass(frozen=True)
class Program:
    """A network as leaves (inputs, parameters, buffers, constants) and calls in execution order."""

    leaves: Mapping[str, Tensor]
    calls: tuple[Call, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class _Reader:
    """Walks the nodes once; `values` maps a node's name to the tensors (or scalars) it stands for."""

    def __init__(self, program: ExportedProgram, canonical: Mapping[str, str], size: Callable[[Any], int]) -> None:
        self.program, self.canonical, self.size = program, canonical, size
        self.values: dict[str, Argument] = {}
        self.leaves: dict[str, Tensor] = {}
        self.constants: set[Argument] = set()
        self.calls: list[Call] = []
        self.inputs: list[str] = []

    def read(self) -> Program:
        outputs: list[str] = []
        for node in self.program.graph.nodes:
            if node.op == "placeholder":
                self._leaf(node)
            elif node.op == "get_attr":  # the body of a higher-order operator, such as torch.cond
                self.values[node.name] = str(node.target)
            elif node.op == "call_function":
                self._call(node)
            elif node.op == "output":
                outputs = [ref.name for ref in _flat(self._argument(node.args[0])) if isinstance(ref, Ref)]
        outputs = self._user_outputs(outputs)
        return Program(self.leaves, tuple(self.calls), tuple(self.inputs), tuple(dict.fromkeys(outputs)))

    def _user_outputs(self, names: list[str]) -> list[str]:
        """What the network returns, without the buffers that it updates on the side."""
        wanted = {name for name in self.program.graph_signature.user_outputs if isinstance(name, str)}
        found = [ref.name for name in wanted for ref in _flat(self.values.get(name)) if isinstance(ref, Ref)]
        return [name for name in names if name in found]

    def _leaf(self, node: torch.fx.Node) -> None:
        value: Any = node.meta.get("val")
        if not hasattr(value, "dtype"):
            self.values[node.name] = value if isinstance(value, int | float | bool | str) else None
            return
        name, role = self._origin(node.name)
        if role == "constant" and name not in self.canonical and self._literal(node.name, name, value):
            return
        if role == "input":
            self.inputs.append(name)
        if role == "constant":
            self.constants.add(Ref(name))
        self.leaves.setdefault(name, Tensor(name, self._shape(value), dtype_name(value.dtype), role))
        self.values[node.name] = Ref(name)

    def _origin(self, node: str) -> tuple[str, Role]:
        """The name and the role of a placeholder; a shared parameter has its first name."""
        signature = self.program.graph_signature
        tables: tuple[tuple[Mapping[str, str], Role], ...] = (
            (signature.inputs_to_parameters, "parameter"),
            (signature.inputs_to_buffers, "buffer"),
            (signature.inputs_to_lifted_tensor_constants, "constant"),
        )
        for table, role in tables:
            if node in table:
                return self.canonical.get(table[node], table[node]), role
        return node, "input"

    def _literal(self, node: str, name: str, value: Any) -> bool:
        """A constant made inside forward has no place in the module, so its values become an op; True if it did."""
        from torch._subclasses.fake_tensor import FakeTensor

        held = self.program.constants.get(name)
        if held is None or held.is_meta or isinstance(held, FakeTensor):
            return False
        tensor = Tensor(f"%{node}", self._shape(value), dtype_name(value.dtype))
        self.calls.append(Call(_CLONE, (tensor_literal(held),), {}, (tensor,)))
        self.values[node] = Ref(tensor.name)
        self.constants.add(Ref(tensor.name))
        return True

    def _call(self, node: torch.fx.Node) -> None:
        target = str(node.target)
        args, kwargs = self._argument(node.args), self._argument(node.kwargs)
        if node.target is operator.getitem:
            self.values[node.name] = args[0][args[1]] if isinstance(args[0], list) else args[0]
            return
        if target in _IDENTITY or (target == _CLONE and args[0] in self.constants):
            self.values[node.name] = args[0]
            return
        outputs, value = self._outputs(node)
        self.values[node.name] = value
        if not outputs:
            return  # an assertion, or arithmetic on sizes
        self.calls.append(
            Call(target, tuple(args), kwargs, outputs, module_of(node), _tagged(node.target, "pointwise"),
                 bool(getattr(node.target, "is_view", False)))
        )  # fmt: skip

    def _outputs(self, node: torch.fx.Node) -> tuple[tuple[Tensor, ...], Argument]:
        """The tensors a node makes, and the node's value: a Ref, a list of Refs, or a scalar."""
        value = node.meta.get("val")
        if isinstance(value, list | tuple):
            tensors = [self._tensor(f"%{node.name}.{index}", item) for index, item in enumerate(value)]
            return tuple(t for t in tensors if t), [Ref(t.name) if t else None for t in tensors]
        tensor = self._tensor(f"%{node.name}", value)
        if tensor is None:
            return (), self._argument(value)
        return (tensor,), Ref(tensor.name)

    def _tensor(self, name: str, value: Any) -> Tensor | None:
        return Tensor(name, self._shape(value), dtype_name(value.dtype)) if hasattr(value, "dtype") else None

    def _shape(self, value: Any) -> tuple[int, ...]:
        return tuple(self.size(length) for length in value.shape)

    def _argument(self, value: Any) -> Argument:
        """A node argument as JSON scalars, lists, Refs and one-key objects."""
        import torch

        if isinstance(value, torch.fx.Node):
            return self.values[value.name]
        if isinstance(value, list | tuple):
            return [self._argument(item) for item in value]
        if isinstance(value, Mapping):
            return {str(key): self._argument(item) for key, item in value.items()}
        if isinstance(value, torch.SymInt):
            return self.size(value)
        if isinstance(value, torch.dtype):
            return {"dtype": dtype_name(value)}
        if isinstance(value, torch.device):
            return {"device": None}
        if isinstance(value, torch.layout):
            return {"layout": str(value).removeprefix("torch.")}
        if isinstance(value, torch.memory_format):
            return {"memory_format": str(value).removeprefix("torch.")}
        if value is None or isinstance(value, bool | int | float | complex | str):
            return value
        return str(value)


def read_program(program: ExportedProgram, canonical: Mapping[str, str]) -> Program:
    """The program as torch-free records.

    `canonical` maps every name under which the module holds a parameter, buffer or tensor attribute to the first
    such name, so that what is shared has one.
    """
    return _Reader(program, canonical, _sizes(program)).read()


def _sizes(program: ExportedProgram) -> Callable[[Any], int]:
    """Sizes as whole numbers: a dynamic one has its example's, one that depends on data the largest it can be.

    One that depends on data without a bound counts as 1.
    """
    bounds = {str(symbol): limit.upper for symbol, limit in program.range_constraints.items()}

    def size(length: Any) -> int:
        if isinstance(length, int):
            return length
        if length.node.has_hint():
            return int(length.node.hint)
        expression = length.node.expr
        largest = {symbol: bounds.get(str(symbol), 1) for symbol in expression.free_symbols}
        finite = {symbol: limit if limit.is_finite and limit < 2**40 else 1 for symbol, limit in largest.items()}
        return int(expression.subs(finite))

    return size


def dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def module_of(node: torch.fx.Node) -> str:
    """Path of the innermost module that made the node (`blocks.3.attn.qkv`); empty for the root."""
    stack: Iterable[Any] = (node.meta.get("nn_module_stack") or {}).values()
    paths = [entry[0] for entry in stack]
    return clean_path(paths[-1]) if paths else ""


def clean_path(path: str) -> str:
    """A module path as `named_modules` spells it; strict export writes `__dict__['_modules']['blocks'].0.fc`."""
    if "[" not in path:
        return path
    words = re.findall(r"[^.\[\]']+", path.removeprefix("L['self']"))
    return ".".join(word for word in words if word not in ("__dict__", "_modules"))


def _tagged(target: Any, tag: str) -> bool:
    import torch

    return getattr(torch.Tag, tag) in getattr(target, "tags", ())


def _flat(value: Argument) -> Iterable[Argument]:
    if isinstance(value, list | tuple):
        for item in value:
            yield from _flat(item)
    else:
        yield value
