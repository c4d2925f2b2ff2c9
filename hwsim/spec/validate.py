"""Documents to specs: all errors of a file at once, each at its place, with what is allowed and the nearest key."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar, get_args

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from hwsim.core.errors import HwsimError, SpecError, SpecErrorGroup
from hwsim.core.names import nearest
from hwsim.spec.fields import Quantity, yaml_name
from hwsim.spec.yaml import Document, Tree, YamlPath

ModelT = TypeVar("ModelT", bound=BaseModel)


def validate(model: type[ModelT], document: Document) -> ModelT:
    """A frozen spec from a document; SpecError or SpecErrorGroup with every fault of the file."""
    if not isinstance(document.tree, dict):
        raise SpecError(
            f"{document.file} holds {_shown(document.tree)}", where=document.place(()), expected="a mapping"
        )
    try:
        return model.model_validate(document.tree)
    except ValidationError as error:
        faults = [_spec_error(model, document, detail) for detail in error.errors(include_url=False)]
    raise faults[0] if len(faults) == 1 else SpecErrorGroup(sorted(faults, key=_order))


def _order(error: SpecError) -> tuple[int, int]:
    where = error.where
    return (getattr(where, "line", None) or 0, getattr(where, "column", None) or 0)


def _spec_error(model: type[BaseModel], document: Document, detail: ErrorDetails) -> SpecError:
    path = _existing_path(document.tree, detail["loc"])
    dotted = dotted_path(path)
    field = field_at(model, path)
    # What the user wrote, not what a converter made of it before the check.
    kind, got = detail["type"], _value_at(document.tree, path)
    if kind == "extra_forbidden":
        known = list(_keys_at(model, path[:-1]))
        near = nearest(str(path[-1]), known)
        return SpecError(
            f"{dotted} is not a known key",
            where=document.place(path, key=True),
            got=path[-1],
            expected=None if near else "known keys are " + ", ".join(known),
            remedy=near,
        )
    if kind == "missing":
        missing = str(detail["loc"][-1])
        full = dotted_path((*path, missing)) if path[-1:] != (missing,) else dotted
        allowed = _allowed(field_at(model, (*path, missing)), detail)
        return SpecError(f"{full} is missing", where=document.place(path), expected=allowed)
    cause = detail.get("ctx", {}).get("error")
    if isinstance(cause, HwsimError):
        expected = f"{cause.message}; write {cause.expected}" if cause.expected else cause.message
        remedy = cause.remedy
    elif kind in ("value_error", "assertion_error"):
        expected, remedy = str(cause), None
    else:
        expected, remedy = _allowed(field, detail), None
    if kind in ("literal_error", "enum") and isinstance(got, str):
        remedy = nearest(got, _literals(field))
    head = f"{dotted} = {_shown(got)}" if dotted else _shown(got)
    return SpecError(head, where=document.place(path), got=got, expected=expected, remedy=remedy)


def _existing_path(tree: Tree, loc: tuple[int | str, ...]) -> YamlPath:
    """The part of pydantic's location that exists in the file (tags of unions do not)."""
    path: list[int | str] = []
    for index, part in enumerate(loc):
        last = index == len(loc) - 1
        if isinstance(tree, dict) and part in tree:
            tree = tree[part]
        elif isinstance(tree, list) and isinstance(part, int) and part < len(tree):
            tree = tree[part]
        elif last and isinstance(tree, dict):
            break
        else:
            continue
        path.append(part)
    return tuple(path)


def _value_at(tree: Tree, path: YamlPath) -> Tree:
    for part in path:
        if isinstance(tree, dict):
            tree = tree.get(str(part))
        elif isinstance(tree, list) and isinstance(part, int) and part < len(tree):
            tree = tree[part]
        else:
            return None
    return tree


def dotted_path(path: YamlPath) -> str:
    """`memory.dram.size` from its parts."""
    return ".".join(str(part) for part in path)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)


def _children(model: type[BaseModel], key: str) -> Iterator[FieldInfo]:
    for name, field in model.model_fields.items():
        if (field.alias or yaml_name(name)) == key:
            yield field


def field_at(model: type[BaseModel], path: YamlPath) -> FieldInfo | None:
    """The field a path names, or None: through nested models, mappings and lists."""
    models, field = [model], None
    for part in path:
        if isinstance(part, int) or part.isdigit():
            continue
        found = next((f for m in models for f in _children(m, part)), None)
        if found is None:
            if field is None:
                return None
            continue  # a key of a mapping field: its values are of the mapping's models
        field, models = found, list(_models_in(found.annotation))
    return field


def unit_at(model: type[BaseModel], path: YamlPath) -> str | None:
    """The SI unit of the field a path names (`""` without dimension); None where there is no quantity."""
    field = field_at(model, path)
    return None if field is None else next((m.unit for m in _metadata(field) if isinstance(m, Quantity)), None)


def _keys_at(model: type[BaseModel], path: YamlPath) -> Iterator[str]:
    models = [model]
    for part in path:
        if isinstance(part, str) and not part.isdigit():
            fields = [f for m in models for f in _children(m, part)]
            models = [n for f in fields for n in _models_in(f.annotation)] or models
    for found in models:
        for name, field in found.model_fields.items():
            yield field.alias or yaml_name(name)


def _literals(field: FieldInfo | None) -> list[str]:
    def walk(annotation: Any) -> Iterator[str]:
        for argument in get_args(annotation):
            if isinstance(argument, str):
                yield argument
            else:
                yield from walk(argument)

    return list(walk(field.annotation)) if field else []


def _metadata(field: FieldInfo) -> list[Any]:
    """Constraints of a field, also where they sit inside `X | None` or `list[X]`."""

    def walk(annotation: Any) -> Iterator[Any]:
        for argument in get_args(annotation):
            yield from getattr(argument, "__metadata__", ())
            yield from walk(argument)

    found = list(field.metadata) + list(getattr(field.annotation, "__metadata__", ())) + list(walk(field.annotation))
    return [inner for item in found for inner in (item.metadata if isinstance(item, FieldInfo) else [item])]


def _allowed(field: FieldInfo | None, detail: ErrorDetails) -> str:
    """What a field takes, in words: its kind, its bounds with the unit, what it means."""
    if field is None:
        return str(detail["msg"])
    meta = _metadata(field)
    unit = next((item.unit for item in meta if isinstance(item, Quantity)), "")
    literals = _literals(field)
    if literals:
        text = "must be one of " + ", ".join(literals)
    else:
        text = f"must be {_noun(field, unit, detail)}"
        bounds = [bound for item in meta for bound in _bounds(item)]
        text += ", " + " and ".join(dict.fromkeys(bounds)) if bounds else ""
    return f"{text} ({field.description})" if field.description else text


def _noun(field: FieldInfo, unit: str, detail: ErrorDetails) -> str:
    shown = str(field.annotation)
    if "dict" in shown or list(_models_in(field.annotation)):
        return "a mapping" if "list" not in shown else "a list"
    if "list" in shown or "tuple" in shown:
        return "a list"
    if "bool" in shown:
        return "true or false"
    if "int" in shown:
        return f"a whole number of {unit}" if unit else "a whole number"
    if "float" in shown:
        return f"a number in {unit}" if unit else "a number"
    return "text" if "str" in shown else str(detail["msg"])


def _bounds(item: object) -> Iterator[str]:
    if isinstance(item, Ge):
        yield f"{item.ge} or more"
    elif isinstance(item, Gt):
        yield f"more than {item.gt}"
    elif isinstance(item, Le):
        yield f"{item.le} or less"
    elif isinstance(item, Lt):
        yield f"less than {item.lt}"


def _shown(value: object) -> str:
    text = "nothing" if value is None else repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."
