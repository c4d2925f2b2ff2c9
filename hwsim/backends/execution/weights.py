"""Weights from a file, read without running code from it and checked against the model."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from hwsim.core.errors import CapabilityError, UsageError
from hwsim.core.names import nearest

#: Keys under which training scripts wrap a state dict.
_WRAPPERS = ("state_dict", "model", "model_state_dict", "net")

#: What torch's unpickler raises on bytes that are no pickle, besides UnpicklingError.
_DAMAGED = (
    RuntimeError, EOFError, OSError, ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError,
    TypeError, ValueError, struct.error,
)  # fmt: skip


def read_weights(path: Path) -> dict[str, Tensor]:
    """A state dict from a safetensors file or a torch checkpoint, never running code from the file.

    Raises CapabilityError if the file is missing, UsageError if it is damaged, holds something other than tensors, or
    is a pickle that asks for code.
    """
    if not path.is_file():
        raise CapabilityError(f"weights file {path} does not exist")
    tensors = _read_safetensors(path) if path.suffix == ".safetensors" else _read_checkpoint(path)
    bad = [name for name, value in tensors.items() if value.is_floating_point() and not torch.isfinite(value).all()]
    if bad:
        raise UsageError(f"weights file {path}: {bad[0]!r} holds NaN or infinity", got=bad[0])
    return tensors


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise UsageError(f"weights file {path} is not a readable safetensors file: {error}") from error


def _read_checkpoint(path: Path) -> dict[str, Tensor]:
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UsageError(
            f"weights file {path} is refused: it is damaged, or asks for code to be run",
            expected="a state dict of tensors",
            remedy="save it with safetensors.torch.save_file, or torch.save(model.state_dict(), ...)",
        ) from error
    except _DAMAGED as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(f"weights file {path} cannot be read: {first}") from error
    for key in _WRAPPERS:
        if isinstance(held, Mapping) and isinstance(held.get(key), Mapping):
            held = held[key]
    if not isinstance(held, Mapping) or not held:
        raise UsageError(f"weights file {path} holds {type(held).__name__}", expected="a state dict of tensors")
    odd = [name for name, value in held.items() if not isinstance(value, Tensor)]
    if odd:
        raise UsageError(f"weights file {path}: {odd[0]!r} is no tensor", expected="a state dict of tensors")
    return {str(name).removeprefix("module."): value for name, value in held.items()}


def load_into(module: torch.nn.Module, weights: Mapping[str, Tensor], where: str) -> None:
    """Give the module the weights; every parameter must be there with its shape, and nothing else.

    Raises UsageError naming the first missing, unexpected or wrong-shaped tensor.
    """
    own = module.state_dict()
    missing = [name for name in own if name not in weights]
    unknown = [name for name in weights if name not in own]
    if missing or unknown:
        name = (missing or unknown)[0]
        word = "lacks" if missing else "has no place in the model for"
        counts = f"{len(missing)} missing, {len(unknown)} unexpected"
        others = unknown if missing else list(own)
        raise UsageError(f"{where} {word} {name!r} ({counts})", got=name, remedy=nearest(name, others))
    for name, value in own.items():
        if value.shape != weights[name].shape:
            got, expected = tuple(weights[name].shape), tuple(value.shape)
            raise UsageError(f"{where}: {name!r} has shape {got}", got=got, expected=f"the model's {expected}")
    module.load_state_dict(dict(weights))
