"""YAML 1.2 with a place for every key and value, so that an error can point at the spot.

Stock PyYAML follows YAML 1.1: `1e9` is a string there and `on` a boolean. This loader follows the core schema of
YAML 1.2.2 (section 10.3.2) and refuses duplicate keys, NaN and alias bombs.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from hwsim.core.errors import Location, SpecError

Key = str | int
YamlPath = tuple[Key, ...]
#: What a YAML document may hold.
Tree = Any

_MAX_NODES = 100_000
_SPECIAL_FLOATS = {".inf": math.inf, "-.inf": -math.inf, ".nan": math.nan}


class _Loader(yaml.SafeLoader):
    """PyYAML's parser with the scalars of YAML 1.2."""


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("int", r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$", "-+0123456789"),
    ("float", r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$", "-+.0123456789"),
    ("float", r"^(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$", "-+."),
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), list(_first))


@dataclass(frozen=True)
class Source:
    """Where a number comes from; `status` is checked, secondary, recalled or assumed."""

    source: str = ""
    status: str = ""
    note: str = ""


@dataclass
class Document:
    """A parsed file: plain data, the place of every key and value, and the sources of sourced values.

    A mapping of `value` with `source`, `status` or `note` is collapsed to its value; `sources` keeps the rest.
    """

    file: str
    lines: list[str]
    tree: Tree = None
    keys: dict[YamlPath, Location] = field(default_factory=dict)
    values: dict[YamlPath, Location] = field(default_factory=dict)
    sources: dict[YamlPath, Source] = field(default_factory=dict)

    def place(self, path: YamlPath, *, key: bool = False) -> Location:
        """The place of a path, or of its nearest enclosing node."""
        table = self.keys if key else self.values
        for end in range(len(path), -1, -1):
            if (found := table.get(path[:end]) or self.values.get(path[:end])) is not None:
                return found
        return Location(self.file)


_SOURCED = {"value", "source", "status", "note"}


def read_document(path: Path) -> Document:
    """Read a YAML file; SpecError names what is wrong and where."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SpecError(
            f"cannot read {path}: {error.strerror}", where=str(path), remedy="check the path and its permissions"
        ) from error
    except UnicodeDecodeError as error:
        raise SpecError(f"{path} is not UTF-8 text (byte {error.start})", where=str(path)) from error
    return parse_document(text, str(path))


def parse_document(text: str, file: str) -> Document:
    """Parse YAML text; `file` is the name that errors show."""
    document = Document(file, text.splitlines())
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            raise SpecError(f"{file} is empty", where=Location(file), expected="a YAML mapping")
        document.tree = _build(loader, node, (), document, [0])
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = _location(document, mark, 1) if mark else Location(file)
        raise SpecError(f"not valid YAML: {error.problem}", where=where) from error
    except yaml.reader.ReaderError as error:
        raise SpecError(f"not valid YAML: {error.reason} at position {error.position}", where=Location(file)) from error
    finally:
        if loader is not None:
            loader.dispose()
    return document


def parse_value(text: str, file: str) -> Tree:
    """One YAML value, as given on the command line: `[64, 128]`, `700 MHz`, `true`."""
    return parse_document(text, file).tree if text.strip() else None


def _location(document: Document, mark: yaml.Mark, width: int) -> Location:
    text = document.lines[mark.line] if mark.line < len(document.lines) else ""
    return Location(document.file, mark.line + 1, mark.column + 1, text, width)


def _place_node(document: Document, node: yaml.Node) -> Location:
    start, end = node.start_mark, node.end_mark
    width = end.column - start.column if end.line == start.line else 1
    return _location(document, start, width)


def _build(loader: _Loader, node: yaml.Node, path: YamlPath, document: Document, count: list[int]) -> Tree:
    count[0] += 1
    if count[0] > _MAX_NODES:
        raise SpecError(f"more than {_MAX_NODES} values", where=Location(document.file), remedy="aliases nest too deep")
    where = _place_node(document, node)
    document.values.setdefault(path, where)
    if isinstance(node, yaml.MappingNode):
        return _build_mapping(loader, node, path, document, count)
    if isinstance(node, yaml.SequenceNode):
        return [_build(loader, child, (*path, index), document, count) for index, child in enumerate(node.value)]
    value = _scalar(loader, node, where)
    if isinstance(value, float) and math.isnan(value):
        raise SpecError("NaN is not a value", where=where, got=value, remedy="give a number")
    return value


def _scalar(loader: _Loader, node: yaml.Node, where: Location) -> Tree:
    tag, text = node.tag.rsplit(":", 1)[-1], str(node.value)
    if tag == "int":
        return int(text, 0 if text.startswith(("0x", "0o")) else 10)
    if tag == "float":
        special = _SPECIAL_FLOATS.get(text.lower().lstrip("+"))
        return float(text) if special is None else special
    if tag in ("bool", "null"):
        return loader.construct_object(node)
    if tag == "str":
        return text
    raise SpecError(f"YAML tag {node.tag!r} is not allowed", where=where, expected="plain values only")


def _build_mapping(
    loader: _Loader, node: yaml.MappingNode, path: YamlPath, document: Document, count: list[int]
) -> Tree:
    tree: dict[str, Tree] = {}
    for key_node, value_node in node.value:
        where = _place_node(document, key_node)
        if not isinstance(key_node, yaml.ScalarNode):
            raise SpecError("a key must be a word", where=where)
        key = str(key_node.value)
        if key in tree:
            raise SpecError(f"key {key!r} is given twice", where=where, remedy="keep one of them")
        document.keys[*path, key] = where
        tree[key] = _build(loader, value_node, (*path, key), document, count)
    if "value" in tree and tree.keys() <= _SOURCED and not isinstance(tree["value"], dict):
        return _collapse(tree, path, document)
    return tree


def _collapse(tree: dict[str, Tree], path: YamlPath, document: Document) -> Tree:
    texts = {key: str(tree[key]) for key in ("source", "status", "note") if tree.get(key) is not None}
    document.sources[path] = Source(**texts)
    document.values[path] = document.values[*path, "value"]
    return tree["value"]
