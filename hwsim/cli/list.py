"""`hwsim list`: what there is to model, to run and to run on."""

from __future__ import annotations

from typing import Literal

from hwsim.cli.options import Format
from hwsim.cli.output import Row, console, print_csv, print_json, table

What = Literal["archs", "workloads", "models", "backends", "transforms"]


def run(what: What, /, *, filter: str = "*", format: Format = "table") -> int:
    """List archs, workloads, models, backends or transforms.

    Parameters
    ----------
    what
        What to list.
    filter
        Only names that match this pattern (`*deit*`).
    """
    from fnmatch import fnmatchcase

    rows = [row for row in _ROWS[what]() if fnmatchcase(str(row["name"]), filter)]
    if format == "json":
        print_json(rows)
    elif format == "csv":
        print_csv(rows)
    else:
        columns = list(rows[0]) if rows else ["name"]
        console().print(table("", columns, ([row[c] for c in columns] for row in rows)))
    return 0


def _archs() -> list[Row]:
    from hwsim.spec.files import list_specs
    from hwsim.spec.yaml import read_document

    rows: list[Row] = []
    for name, path in list_specs("arch_specs").items():
        tree = read_document(path).tree
        rows.append({"name": name, "backend": tree.get("backend"), "description": tree.get("description", "")})
    return rows


def _workloads() -> list[Row]:
    from hwsim.report.workloads import workload_row
    from hwsim.spec.files import list_specs
    from hwsim.transforms.workload import load_workload

    return [workload_row(name, load_workload(path)) for name, path in list_specs("workloads").items()]


def _models() -> list[Row]:
    from hwsim.core import registry
    from hwsim.graph.torch_env import import_timm

    zoo: list[Row] = [{"name": f"zoo:{name}"} for name in registry.names(registry.ZOO)]
    return zoo + [{"name": f"timm:{name}"} for name in import_timm().list_models()]


def _backends() -> list[Row]:
    from hwsim.core import registry

    rows: list[Row] = []
    for name in registry.names(registry.BACKENDS):
        kind = registry.load(registry.BACKENDS, name)
        summary = (kind.__doc__ or "").strip().splitlines()[0]
        rows.append({"name": name, "summary": summary, "assumptions": len(kind.assumptions())})
    return rows


def _transforms() -> list[Row]:
    from hwsim.core import registry

    rows: list[Row] = []
    for name in registry.names(registry.TRANSFORMS):
        kind = registry.load(registry.TRANSFORMS, name)
        rows.append({"name": name, "summary": kind.summary, "options": ", ".join(kind.model_fields)})
    return rows


_ROWS = {
    "archs": _archs,
    "workloads": _workloads,
    "models": _models,
    "backends": _backends,
    "transforms": _transforms,
}
