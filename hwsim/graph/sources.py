"""Where a workload comes from: `timm:NAME`, `zoo:NAME`, `torch:package.module:callable`, `pt2:FILE`, `gemm:FILE.csv`.

Options follow a question mark: `timm:tiny_vit_5m_224?num_classes=1000`. Nothing here imports torch until a graph has
to be captured, so a cached workload is read in milliseconds.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from hwsim.core.errors import UsageError
from hwsim.core.frozen import FrozenDict
from hwsim.core.names import nearest
from hwsim.graph import cache
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

    `input_shape` is one sample's, such as (3, 384, 384); by default the model's own. Raises UsageError for a source
    that does not exist or cannot be captured.
    """
    source = parse_source(text)
    if batch < 1:
        raise UsageError(f"batch {batch}", got=batch, expected="a whole number, 1 or more")
    if source.scheme == "gemm":
        return read_gemm_csv(source.name, source.text).with_batch(batch)
    shape = None if input_shape is None else tuple(int(length) for length in input_shape)
    key = _cache_key(source, shape, batch)
    if key is None:
        return _captured(source, shape, batch)
    found = cache.read(key)
    if found is None:
        found = _captured(source, shape, batch)
        cache.write(key, found)
    return found


def build_module(text: str, input_shape: Sequence[int] | None = None) -> torch.nn.Module:
    """The torch module of a source with real, initialised parameters, in evaluation mode.

    `fetch_values` takes from it what the graph's tensors hold.
    """
    from hwsim.graph.builders import build

    source = parse_source(text)
    shape = None if input_shape is None else tuple(input_shape)
    return build(source.scheme, source.name, source.options, shape).module


def _captured(source: Source, shape: tuple[int, ...] | None, batch: int) -> WorkloadGraph:
    from hwsim.graph.builders import capture_source

    graph = capture_source(source.scheme, source.name, source.options, shape, batch)
    from dataclasses import replace

    return replace(graph, source=source.text, provenance=FrozenDict(versions()))


def _cache_key(source: Source, shape: tuple[int, ...] | None, batch: int) -> dict[str, object] | None:
    """Everything the graph depends on; None for a source whose files cannot be found, which is never cached."""
    from hwsim.graph.files import source_file

    key: dict[str, object] = {
        "source": source.text,
        "versions": versions(),
        "input_shape": None if shape is None else list(shape),
        "batch": batch,
    }
    if source.scheme in ("torch", "pt2"):
        file = source_file(source.scheme, source.name)
        if file is None:
            return None
        key["content"] = hashlib.sha256(file.read_bytes()).hexdigest()
    return key


def versions() -> dict[str, str]:
    """Versions of what shapes a captured graph, without importing any of it."""
    found = {}
    for package in ("hwsim", "torch", "timm"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "absent"
    return found
