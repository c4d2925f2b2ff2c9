"""Build the torch module of a source, and capture it. Imports torch; `sources.py` keeps it off the cached path."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hwsim.core import registry
from hwsim.core.errors import HwsimError, UsageError
from hwsim.core.names import nearest
from hwsim.graph.capture import capture
from hwsim.graph.ir import WorkloadGraph
from hwsim.graph.torch_env import import_timm


@dataclass(frozen=True)
class Built:
    """A module and the shape of one input sample, if the module says."""

    module: torch.nn.Module
    input_shape: tuple[int, ...] | None


def build(scheme: str, name: str, options: Mapping[str, Any], shape: tuple[int, ...] | None) -> Built:
    """The module of a source, in evaluation mode."""
    builders: dict[str, Callable[..., Built]] = {"timm": _timm, "zoo": _zoo, "torch": _torch}
    built = builders[scheme](name, options, shape)
    built.module.eval()
    return built


def capture_source(
    scheme: str, name: str, options: Mapping[str, Any], shape: tuple[int, ...] | None, batch: int
) -> WorkloadGraph:
    """Capture on meta tensors, which hold no data; where the module cannot be built so, on real ones."""
    try:
        with torch.device("meta"):
            return _capture(build(scheme, name, options, shape), name, shape, batch)
    except HwsimError:
        raise
    except Exception:  # noqa: BLE001
        return _capture(build(scheme, name, options, shape), name, shape, batch)


def _capture(built: Built, name: str, shape: tuple[int, ...] | None, batch: int) -> WorkloadGraph:
    sample = shape or built.input_shape
    if sample is None:
        raise UsageError(f"{name} does not say its input shape", remedy="give it, such as `--input 3x224x224`")
    return capture(built.module, input_shape=(batch, *sample), name=name)


def _timm(name: str, options: Mapping[str, Any], shape: tuple[int, ...] | None) -> Built:
    timm = import_timm()
    if not timm.is_model(name):
        raise UsageError(f"timm has no model {name!r}", got=name, remedy=nearest(name, timm.list_models(), "timm:"))
    module = timm.create_model(name, pretrained=False, **options)
    return Built(module, tuple(module.pretrained_cfg["input_size"]))


def _zoo(name: str, options: Mapping[str, Any], shape: tuple[int, ...] | None) -> Built:
    module = registry.load(registry.ZOO, name)(**options)
    return Built(module, getattr(module, "input_shape", None))


def _torch(name: str, options: Mapping[str, Any], shape: tuple[int, ...] | None) -> Built:
    raise UsageError(name)
