"""A resolved spec as YAML: every default written out, in SI units, with its sources; loading it gives the same spec."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from hwsim.core.errors import SpecError
from hwsim.spec.arch import Arch
from hwsim.spec.fields import yaml_name
from hwsim.spec.validate import unit_at
from hwsim.spec.yaml import Document, Tree, YamlPath, parse_value


def locked_arch(arch: Arch, search: Mapping[str, Tree]) -> str:
    """YAML text of an arch with every default, and with the axes that were searched."""
    tree = resolved(arch.spec, arch.document)
    tree["name"] = arch.name
    tree["search"] = dict(search)
    return to_yaml(tree)


def resolved(spec: BaseModel, document: Document, at: YamlPath = ()) -> dict[str, Tree]:
    """The tree that would validate to `spec`: quantities as text with their SI unit, sourced where the file was."""
    tree: dict[str, Tree] = {}
    for name, info in type(spec).model_fields.items():
        key = info.alias or yaml_name(name)
        value = getattr(spec, name)
        if value is not None:
            tree[key] = _resolved(value, unit_at(type(spec), (key,)), document, (*at, key))
    return tree


def _resolved(value: Any, unit: str | None, document: Document, at: YamlPath) -> Tree:
    if isinstance(value, BaseModel):
        return resolved(value, document, at)
    if isinstance(value, Mapping):
        return {str(key): _resolved(item, unit, document, (*at, key)) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_resolved(item, unit, document, (*at, index)) for index, item in enumerate(value)]
    quantity = unit and isinstance(value, (int, float)) and not isinstance(value, bool)
    written = f"{value!r} {unit}" if quantity else value
    source = document.sources.get(at)
    if source is None:
        return written
    texts = {"source": source.source, "status": source.status, "note": source.note}
    return {"value": written} | {key: text for key, text in texts.items() if text}


def to_yaml(tree: Tree) -> str:
    """YAML 1.2 text of a tree; text that would read back as something else is quoted."""
    import yaml

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: object) -> bool:
            return True

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=None if _stays_text(value) else '"')

    Dumper.add_representer(str, text)
    return yaml.dump(tree, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=118)


def _stays_text(value: str) -> bool:
    try:
        return bool(parse_value(value, "text") == value)
    except SpecError:
        return True  # what is no value by itself is quoted by the dumper
