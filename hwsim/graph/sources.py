"""Where a workload comes from: `timm:NAME`, `zoo:NAME`, `torch:package.module:callable`, `pt2:FILE`, `gemm:FILE.csv`.

Options follow a question mark: `timm:tiny_vit_5m_224?num_classes=1000`. Nothing here imports torch until a graph has
to be captured, so a cached workload is read in milliseconds.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, entry_points, version
from pathlib import Path
from typing import TYPE_CHECKING

from hwsim.core import registry
from hwsim.core.errors import UsageError
from hwsim.core.frozen import FrozenDict
from hwsim.core.names import nearest
from hwsim.graph import cache
from hwsim.graph.files import file_hash, imported_here, module_file
from hwsim.graph.gemm_csv import read_gemm_csv
from hwsim.graph.ir import WorkloadGraph

if TYPE_CHECKING:
    import torch

SCHEMES = ("timm", "zoo", "torch", "pt2", "gemm")
_FILE_SCHEMES = ("pt2", "gemm")


@dataclass(frozen=True)
class Source:
    """A parsed source: `timm:NAME?opt=val` has scheme `timm`, name `NAME` and options."""

    scheme: str
    name: str
    options: FrozenDict[str, object]

    @property
    def text(self) -> str:
        """The source with its options in order: equal sources have equal texts."""
        options = "&".join(f"{key}={_option_text(self.options[key])}" for key in sorted(self.options))
        return f"{self.scheme}:{self.name}" + (f"?{options}" if options else "")


def parse_source(text: str) -> Source:
    """Read `SCHEME:NAME?option=value&option=value`; values are Python literals or words.

    Raises UsageError for an unknown scheme or an option without a value.
    """
    scheme, colon, rest = text.partition(":")
    if not colon or scheme not in SCHEMES:
        raise UsageError(
            f"{text!r} is not a source",
            got=text,
            expected="one of " + ", ".join(f"{known}:..." for known in SCHEMES),
            remedy=nearest(scheme, SCHEMES),
        )
    name, _, query = (rest, "", "") if scheme in _FILE_SCHEMES else rest.partition("?")
    if not name:
        raise UsageError(f"source {text!r} names nothing after `{scheme}:`")
    options: dict[str, object] = {}
    for pair in filter(None, query.split("&")):
        key, equals, value = pair.partition("=")
        if not equals or not key.isidentifier():
            raise UsageError(f"option {pair!r} of source {text!r}", expected="`name=value`")
        options[key] = _option(value)
    return Source(scheme, name, FrozenDict(options))


def _option(value: str) -> object:
    words = {"true": True, "false": False, "null": None, "none": None}
    if value.lower() in words:
        return words[value.lower()]
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return value


def _option_text(value: object) -> str:
    return value if isinstance(value, str) else repr(value).replace(" ", "")


def load_source(text: str, input_shape: Sequence[int] | None = None, batch: int = 1) -> WorkloadGraph:
    """The workload graph of a source, from the cache if it was captured before.

    `input_shape` is one sample's, such as (3, 384, 384); by default the model's own. A `pt2:` archive keeps the shape
    it was exported with, and its batch unless `batch` asks for a multiple. Raises UsageError for a source that does
    not exist or cannot be captured.
    """
    source = parse_source(text)
    if batch < 1:
        raise UsageError(f"batch {batch}", got=batch, expected="a whole number, 1 or more")
    shape = None if input_shape is None else tuple(int(length) for length in input_shape)
    if source.scheme == "gemm":
        return read_gemm_csv(source.name).with_batch(batch)
    if source.scheme == "pt2":
        graph = _cached(source, None, None)
        _check_fixed_shape(source, graph, shape)
        return graph if batch == 1 else graph.with_batch(batch)
    return _cached(source, shape, batch)


def build_module(text: str, input_shape: Sequence[int] | None = None) -> torch.nn.Module:
    """The torch module of a source with real, initialised parameters, in evaluation mode.

    `values.fetch_values` takes from it what the graph's tensors hold. Raises UsageError for a `gemm:` source, which
    has none.
    """
    from hwsim.graph.builders import build
    from hwsim.graph.pt2 import load_pt2

    source = parse_source(text)
    if source.scheme == "gemm":
        raise UsageError(f"{text} is a list of matrix products, not a module")
    if source.scheme == "pt2":
        return load_pt2(source.name).module()
    return build(source.scheme, source.name, source.options, tuple(input_shape) if input_shape else None).module


def _check_fixed_shape(source: Source, graph: WorkloadGraph, shape: tuple[int, ...] | None) -> None:
    if shape is not None and shape != graph.input_shape[1:]:
        raise UsageError(
            f"{source.text} was exported for an input of {graph.input_shape[1:]}, not {shape}",
            remedy="export it again with the other shape",
        )


def _cached(source: Source, shape: tuple[int, ...] | None, batch: int | None) -> WorkloadGraph:
    file = source_file(source)
    key = {
        "source": source.text,
        "versions": versions(),
        "input_shape": None if shape is None else list(shape),
        "batch": batch,
        "content": None if file is None else file_hash(file),
    }
    found = cache.read(key)
    if found is None:
        found = replace(_captured(source, shape, batch), source=source.text, provenance=FrozenDict(versions()))
        cache.write(key, found, imported_here() if source.scheme == "torch" else {})
    return found


def source_file(source: Source) -> Path | None:
    """The file that a source names, whose content is part of what it means."""
    if source.scheme == "pt2":
        return Path(source.name)
    if source.scheme == "torch":
        return module_file(source.name.partition(":")[0])
    modules = (point.module for point in entry_points(group=registry.ZOO, name=source.name))
    return next(map(module_file, modules), None) if source.scheme == "zoo" else None


def _captured(source: Source, shape: tuple[int, ...] | None, batch: int | None) -> WorkloadGraph:
    from hwsim.graph.builders import build_without_weights
    from hwsim.graph.capture import capture
    from hwsim.graph.pt2 import capture_pt2

    if source.scheme == "pt2" or batch is None:
        return capture_pt2(source.name)
    built = build_without_weights(source.scheme, source.name, source.options, shape)
    sample = shape or built.input_shape
    if sample is None:
        raise UsageError(f"{source.text} does not say its input shape", remedy="give it, such as `--input 3x224x224`")
    return capture(built.module, input_shape=(batch, *sample), name=source.name)


def versions() -> dict[str, str]:
    """Versions of what shapes a captured graph, without importing any of it."""
    found = {}
    for package in ("hwsim", "torch", "timm"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "absent"
    return found
