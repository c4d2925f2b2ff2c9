"""Build the torch module of a source, with its parameters or without the memory for them.

Imports torch; `sources.py` keeps this module off the path of a cached workload.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.modules.module import register_module_parameter_registration_hook

from hwsim.core import registry
from hwsim.core.errors import HwsimError, UsageError
from hwsim.core.names import nearest
from hwsim.graph.torch_env import declare_torchvision_operators, import_timm

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Built:
    """A module in evaluation mode and the shape of one input sample, if the module says."""

    module: torch.nn.Module
    input_shape: Shape | None


def build(scheme: str, name: str, options: Mapping[str, Any], shape: Shape | None) -> Built:
    """The module of a `timm:`, `zoo:` or `torch:` source with real parameters.

    `shape` is that of one input sample where the caller chose it. Raises UsageError if there is no such model or its
    constructor fails.
    """
    builder: Callable[[str, Mapping[str, Any], Shape | None], Built] = _BUILDERS[scheme]
    try:
        built = builder(name, options, shape)
    except HwsimError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise UsageError(f"{scheme}:{name} cannot be built: {reason}", remedy=_options_remedy(options)) from error
    if not isinstance(built.module, torch.nn.Module):
        raise UsageError(f"{scheme}:{name} gives a {type(built.module).__name__}", expected="a torch.nn.Module")
    built.module.eval()
    return built


def build_without_weights(scheme: str, name: str, options: Mapping[str, Any], shape: Shape | None) -> Built:
    """The module with parameters that have a shape but no memory; buffers keep their values.

    A constructor that computes with its own parameters cannot run so: it is built with real ones.
    """
    try:
        with _meta_parameters():
            built = build(scheme, name, options, shape)
    except UsageError:
        built = build(scheme, name, options, shape)
    _fake_tensors(built.module)
    return built


@contextmanager
def _meta_parameters() -> Iterator[None]:
    """Every parameter goes to the meta device the moment a module registers it, before it is initialised."""

    def to_meta(module: torch.nn.Module, name: str, parameter: torch.nn.Parameter | None) -> Any:
        if parameter is None or parameter.is_meta or isinstance(parameter, torch.nn.UninitializedParameter):
            return None
        return torch.nn.Parameter(parameter.to("meta"), parameter.requires_grad)

    handle = register_module_parameter_registration_hook(to_meta)
    try:
        yield
    finally:
        handle.remove()


def _fake_tensors(module: torch.nn.Module) -> None:
    """Make every tensor on the meta device a fake one on the CPU, where a forward creates its own by default."""
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    made: dict[int, torch.Tensor] = {}

    def fake(tensor: torch.Tensor) -> torch.Tensor:
        if id(tensor) not in made:
            with mode:
                empty = torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu")
            is_parameter = isinstance(tensor, torch.nn.Parameter)
            made[id(tensor)] = torch.nn.Parameter(empty, tensor.requires_grad) if is_parameter else empty
        return made[id(tensor)]

    for part in list(module.modules()):
        places: tuple[dict[str, Any], ...] = (part._parameters, part._buffers, vars(part))
        for held in places:
            for name, tensor in held.items():
                if isinstance(tensor, torch.Tensor) and tensor.is_meta:
                    held[name] = fake(tensor)


def _options_remedy(options: Mapping[str, Any]) -> str | None:
    return "check the options " + ", ".join(f"`{key}={value}`" for key, value in options.items()) if options else None


def _timm(name: str, options: Mapping[str, Any], shape: Shape | None) -> Built:
    timm = import_timm()
    # A name that timm retired is still a model to it, but has no configuration.
    config = timm.get_pretrained_cfg(name) if timm.is_model(name) else None
    if config is None:
        known = timm.list_models()
        raise UsageError(f"timm has no model {name!r}", got=name, remedy=nearest(name, known, "timm:"))
    default = tuple(config.input_size)
    if "img_size" in options:
        size = options["img_size"]
        default = (default[0], *((size, size) if isinstance(size, int) else size))
    if shape is None or shape == default:
        return Built(timm.create_model(name, pretrained=False, **options), default)
    return Built(_timm_resized(timm, name, options, shape, default), shape)


def _timm_resized(timm: Any, name: str, options: Mapping[str, Any], shape: Shape, default: Shape) -> torch.nn.Module:
    """The model for another input; only models whose parameters depend on the image size take `img_size`."""
    options = {**({"in_chans": shape[0]} if shape[0] != default[0] else {}), **options}
    if shape[1:] == default[1:] or "img_size" in options:
        return timm.create_model(name, pretrained=False, **options)  # type: ignore[no-any-return]
    try:
        return timm.create_model(name, pretrained=False, img_size=shape[1:], **options)  # type: ignore[no-any-return]
    except TypeError:
        return timm.create_model(name, pretrained=False, **options)  # type: ignore[no-any-return]


def _zoo(name: str, options: Mapping[str, Any], shape: Shape | None) -> Built:
    declare_torchvision_operators()
    return _made_by(registry.load(registry.ZOO, name), options)


def _torch(name: str, options: Mapping[str, Any], shape: Shape | None) -> Built:
    path, colon, attribute = name.partition(":")
    if not colon or not attribute:
        raise UsageError(f"source `torch:{name}`", expected="`torch:package.module:callable`")
    declare_torchvision_operators()
    made_by: Any = _user_module(path)
    for part in attribute.split("."):
        if not hasattr(made_by, part):
            raise UsageError(f"{path} has no {attribute!r}", remedy=nearest(part, vars(made_by)))
        made_by = getattr(made_by, part)
    return _made_by(made_by, options)


def _made_by(callable_: Any, options: Mapping[str, Any]) -> Built:
    module = callable_ if isinstance(callable_, torch.nn.Module) else callable_(**options)
    shape = getattr(module, "input_shape", None) or getattr(callable_, "input_shape", None)
    return Built(module, tuple(shape) if shape else None)


def _user_module(path: str) -> Any:
    """Import a module of the user's, looked for in the current directory first, as `python -m` does."""
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as error:
        missing = error.name or path
        if path == missing or path.startswith(f"{missing}."):
            raise UsageError(
                f"module {path!r} cannot be found", expected="a module of the current directory or an installed one"
            ) from error
        raise
    finally:
        sys.path.remove(here)


_BUILDERS: dict[str, Callable[[str, Mapping[str, Any], Shape | None], Built]] = {
    "timm": _timm,
    "zoo": _zoo,
    "torch": _torch,
}
