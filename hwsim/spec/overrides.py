"""`--set` and search values: the same tree, the same validation, another place in the error."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TypeVar

from pydantic import BaseModel

from hwsim.core.errors import Location, SpecError
from hwsim.spec.fields import yaml_name
from hwsim.spec.yaml import Document, Tree, YamlPath, parse_value

T = TypeVar("T")

#: Overrides that start with this reach the workload; all others reach the arch.
WORKLOAD_PREFIX = "workload."


def split_overrides(changes: Mapping[str, Tree]) -> tuple[dict[str, Tree], dict[str, Tree]]:
    """Overrides of the arch, and those of the workload with their `workload.` prefix removed."""
    of_workload = {k.removeprefix(WORKLOAD_PREFIX): v for k, v in changes.items() if k.startswith(WORKLOAD_PREFIX)}
    return {k: v for k, v in changes.items() if not k.startswith(WORKLOAD_PREFIX)}, of_workload


def split_path(path: str) -> YamlPath:
    """`memory.dram.size` -> its parts; digits index lists."""
    parts = path.split(".")
    if not path or any(not part for part in parts):
        raise SpecError(f"{path!r} is not a path", expected="names joined by dots, such as `array.rows`")
    return tuple(int(part) if part.isdigit() else part for part in parts)


def parse_assignment(text: str, option: str = "--set") -> tuple[str, Tree]:
    """`array.rows=64` -> (`array.rows`, 64); the value is read as YAML."""
    path, sign, value = text.partition("=")
    if not sign or not path.strip():
        raise SpecError(
            f"{option} {text!r} has no `=`", expected=f"{option} PATH=VALUE, such as `{option} array.rows=64`"
        )
    return path.strip(), parse_value(value.strip(), f"{option} {text}")


def override(document: Document, changes: Mapping[str, Tree], option: str = "--set") -> Document:
    """A copy of the document with values replaced; a replaced value's source is what replaced it."""
    if not changes:
        return document
    paths = {split_path(dotted): dotted for dotted in changes}
    changed = replace(
        document,
        tree=copy.deepcopy(document.tree),
        keys=_without(document.keys, paths),
        values=_without(document.values, paths),
        sources=_without(document.sources, paths),
    )
    for path, dotted in paths.items():
        _assign(changed.tree, path, changes[dotted], dotted, option)
        where = Location(f"{option} {dotted}={changes[dotted]}")
        changed.values[path] = changed.keys[path] = where
        for depth in range(1, len(path)):  # mappings that the path made on its way
            changed.keys.setdefault(path[:depth], where)
            changed.values.setdefault(path[:depth], where)
    return changed


def _without(table: Mapping[YamlPath, T], paths: Collection[YamlPath]) -> dict[YamlPath, T]:
    """The entries of a table that are not at or below one of the paths."""
    depths = {len(path) for path in paths}
    return {key: entry for key, entry in table.items() if not any(key[:depth] in paths for depth in depths)}


def _assign(tree: Tree, path: YamlPath, value: Tree, dotted: str, option: str) -> None:
    for depth, part in enumerate(path):
        last = depth == len(path) - 1
        if isinstance(tree, list):
            if not isinstance(part, int) or part >= len(tree):
                raise SpecError(
                    f"{option} {dotted}: {'.'.join(map(str, path[:depth]))} is a list of {len(tree)}",
                    got=part,
                    expected=f"an index from 0 to {len(tree) - 1}",
                )
            key: str | int = part
        elif isinstance(tree, dict):
            key = str(part)
        else:
            raise SpecError(f"{option} {dotted}: {'.'.join(map(str, path[:depth]))} is a value, not a mapping")
        if last:
            tree[key] = value
        else:
            if isinstance(tree, dict) and tree.get(key) is None:
                tree[key] = {}
            tree = tree[key]


def value_at(spec: object, path: str) -> object:
    """The validated (SI) value a dotted YAML path names; SpecError if there is none."""
    found: object = spec
    for part in split_path(path):
        found = _step(found, part, path)
    return found


def _step(found: object, part: str | int, path: str) -> object:
    if isinstance(found, BaseModel):
        name = field_name(type(found), str(part))
        if name is not None:
            return getattr(found, name)
    elif isinstance(found, Mapping) and str(part) in found:
        return found[str(part)]
    elif isinstance(found, (list, tuple)) and isinstance(part, int) and part < len(found):
        return found[part]
    raise SpecError(f"{path} is not a field of this spec", remedy="`hwsim show ARCH` lists its fields")


def field_name(model: type[BaseModel], key: str) -> str | None:
    """The Python name of the field that YAML calls `key`."""
    return next((n for n, f in model.model_fields.items() if (f.alias or yaml_name(n)) == key), None)


def with_columns(spec: BaseModel, columns: Mapping[str, object]) -> BaseModel:
    """A copy of a spec whose leaves at `columns` (path -> value or numpy array) are replaced without validation.

    This is how a sweep puts an array of designs where one design has a number; the values were validated one by one.
    """
    for path, value in columns.items():
        spec = _replaced(spec, split_path(path), value)
    return spec


def _replaced(spec: object, path: YamlPath, value: object) -> BaseModel:
    if not path:
        return value  # type: ignore[return-value]
    head, rest = path[0], path[1:]
    if isinstance(spec, BaseModel):
        name = field_name(type(spec), str(head))
        if name is None:
            raise SpecError(f"{head} is not a field of this spec")
        return spec.model_copy(update={name: _replaced(getattr(spec, name), rest, value)})
    if isinstance(spec, Mapping):
        return {**spec, str(head): _replaced(spec.get(str(head)), rest, value)}  # type: ignore[return-value]
    if isinstance(spec, (list, tuple)) and isinstance(head, int):
        return [_replaced(item, rest, value) if i == head else item for i, item in enumerate(spec)]  # type: ignore[return-value]
    raise SpecError(f"{head} is not a field of this spec")
