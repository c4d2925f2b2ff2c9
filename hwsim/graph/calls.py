"""Calls of operators: the torch-free record that capture reads a program into, and the JSON that executes one.

An argument is a JSON scalar, a list, a `Ref` to a tensor, or a one-key object for what JSON lacks:
`{"$": tensor}`, `{"dtype": "float32"}`, `{"layout": "strided"}`, `{"memory_format": "contiguous_format"}`,
`{"device": null}` (wherever the executor runs), `{"float": "-inf"}`, `{"complex": [re, im]}`, and
`{"tensor": base64, "dtype": .., "shape": [..]}` for a literal.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hwsim.core.errors import UsageError
from hwsim.core.hashing import canonical_json
from hwsim.graph.ir import Tensor

if TYPE_CHECKING:
    import torch

#: A decoded argument: scalars, lists, Refs and one-key objects (see the module's text).
Argument = Any


@dataclass(frozen=True)
class Ref:
    """A tensor as an argument, by name."""

    name: str


@dataclass(frozen=True)
class Call:
    """One operator call of a program: `target` is `aten.linear.default`, `outputs` the tensors it makes.

    `pointwise` and `view` are what torch's operator registry says of the operator.
    """

    target: str
    args: tuple[Argument, ...]
    kwargs: Mapping[str, Argument]
    outputs: tuple[Tensor, ...]
    module: str = ""
    pointwise: bool = False
    view: bool = False

    @property
    def packet(self) -> str:
        """The operator without its overload: `aten.linear`."""
        return self.target.rsplit(".", 1)[0]

    @property
    def fn(self) -> str:
        """The operator's plain name: `linear`."""
        return self.packet.rsplit(".", 1)[-1].strip("_")

    def argument(self, index: int, name: str, default: Argument = None) -> Argument:
        """The argument at a position or of that name."""
        if index < len(self.args):
            return self.args[index]
        return self.kwargs.get(name, default)


def references(argument: Argument) -> Iterator[str]:
    """Names of the tensors in an argument, in order."""
    if isinstance(argument, Ref):
        yield argument.name
    elif isinstance(argument, list | tuple):
        for item in argument:
            yield from references(item)
    elif isinstance(argument, Mapping):
        for item in argument.values():
            yield from references(item)


def renamed(argument: Argument, names: Mapping[str, str]) -> Argument:
    """The same argument with its tensors renamed."""
    if isinstance(argument, Ref):
        return Ref(names[argument.name])
    if isinstance(argument, list | tuple):
        return [renamed(item, names) for item in argument]
    return argument


def call_json(target: str, args: Argument, kwargs: Mapping[str, Argument]) -> str:
    """`Op.call` of a call."""
    body = {
        "target": target,
        "args": [_to_json(item) for item in args],
        "kwargs": {key: _to_json(item) for key, item in kwargs.items()},
    }
    return canonical_json(body)


def _to_json(argument: Argument) -> object:
    if isinstance(argument, Ref):
        return {"$": argument.name}
    if isinstance(argument, list | tuple):
        return [_to_json(item) for item in argument]
    if isinstance(argument, float) and not math.isfinite(argument):
        return {"float": str(argument)}
    if isinstance(argument, complex):
        return {"complex": [argument.real, argument.imag]}
    return argument


def resolve(
    call: str, values: Mapping[str, torch.Tensor], device: str = "cpu"
) -> tuple[str, list[Argument], dict[str, Argument]]:
    """Target and arguments of `Op.call`, ready for torch, with its tensors taken from `values`.

    Raises UsageError if a tensor has no value.
    """
    body = json.loads(call)
    args = [_from_json(item, values, device) for item in body["args"]]
    kwargs = {key: _from_json(item, values, device) for key, item in body["kwargs"].items()}
    return body["target"], args, kwargs


def operator_of(target: str) -> Callable[..., Any]:
    """The torch operator of a target such as `aten.linear.default`; UsageError if this torch has none."""
    import torch

    namespace, packet, overload = target.split(".", 2)
    try:
        return getattr(getattr(getattr(torch.ops, namespace), packet), overload)  # type: ignore[no-any-return]
    except AttributeError as error:
        raise UsageError(f"operator {target!r} is not known to torch {torch.__version__}") from error


def _from_json(argument: Argument, values: Mapping[str, torch.Tensor], device: str) -> Argument:
    if isinstance(argument, list):
        return [_from_json(item, values, device) for item in argument]
    if not isinstance(argument, dict):
        return argument
    if "$" in argument:
        if argument["$"] not in values:
            raise UsageError(f"tensor {argument['$']!r} has no value", expected="every input, parameter and constant")
        return values[argument["$"]]
    return _literal(argument, device)


def _literal(item: Mapping[str, Any], device: str) -> Argument:
    import torch

    if "tensor" in item:
        raw = bytearray(base64.b64decode(item["tensor"]))
        flat = torch.frombuffer(raw, dtype=getattr(torch, item["dtype"])) if raw else torch.empty(0)
        return flat.to(getattr(torch, item["dtype"])).reshape(item["shape"]).to(device)
    (kind, value), *_ = item.items()
    if kind == "float":
        return float(value)
    if kind == "complex":
        return complex(*value)
    if kind == "device":
        return torch.device(device)
    return getattr(torch, value)


def tensor_literal(value: torch.Tensor) -> dict[str, object]:
    """A literal argument that holds the tensor's values."""
    import torch

    flat = value.detach().cpu().contiguous().reshape(-1)
    raw = flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""
    return {
        "tensor": base64.b64encode(raw).decode("ascii"),
        "dtype": str(value.dtype).removeprefix("torch."),
        "shape": list(value.shape),
    }
