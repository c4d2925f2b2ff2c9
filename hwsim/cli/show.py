"""`hwsim show`: what an arch holds, or what a workload does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hwsim.cli.options import Batch, Format, Sets, overrides
from hwsim.cli.output import console, count, note, print_csv, print_json, table
from hwsim.core.errors import SpecError
from hwsim.spec.arch import NOT_HARDWARE, load_arch
from hwsim.spec.overrides import split_overrides
from hwsim.spec.yaml import Tree

if TYPE_CHECKING:
    from hwsim.graph.ir import WorkloadGraph
    from hwsim.spec.arch import Arch
    from hwsim.transforms.workload import Workload


def run(
    what: str,
    /,
    *,
    batch: Batch = None,
    input: str | None = None,
    set: Sets = (),
    sources: bool = False,
    depth: int = 2,
    schema: bool = False,
    format: Format = "table",
) -> int:
    """Show an arch's fields, or a workload's ops, MACs, params, bytes and intensity.

    Parameters
    ----------
    what
        An arch, a workload, or a source such as timm:deit_small_patch16_224.
    input
        Shape of one sample, such as 3x384x384.
    sources
        List where each number of an arch comes from, and which have no source.
    depth
        How many levels of modules the table shows.
    schema
        Print the JSON schema of the arch's file, for editors.
    """
    of_arch, of_workload = split_overrides(overrides(set))
    if _names_arch(what):
        arch = load_arch(what, of_arch)
        return _show_schema(arch) if schema else _show_arch(arch, sources, format)
    if sources or schema:
        raise SpecError(f"{what!r} is not an arch", remedy="`--sources` and `--schema` are about arch files")
    if of_arch:
        path = next(iter(of_arch))
        raise SpecError(f"--set {path} is not of a workload", remedy=f"write --set workload.{path}")
    work = load_work(what, of_workload, input)
    if batch is not None:
        work = work.with_values({"input.batch": batch}, "--batch")
    return _show_graph(work.graph, depth, format)


def load_work(name: str, changes: Mapping[str, Tree], input: str | None) -> Workload:
    """A workload with `--set workload.*` and `--input 3x384x384` applied."""
    from hwsim.transforms.workload import load_workload

    work = load_workload(name, changes)
    if input is None:
        return work
    parts = input.lower().split("x")
    if not all(part.isdigit() and int(part) > 0 for part in parts):
        raise SpecError(f"--input {input!r} is not a shape", expected="sizes joined by x, such as `3x384x384`")
    return work.with_values({"input.shape": [int(part) for part in parts]}, "--input")


def _names_arch(what: str) -> bool:
    from pathlib import Path

    from hwsim.spec.files import list_specs
    from hwsim.spec.yaml import read_document
    from hwsim.transforms.workload import is_source

    if is_source(what):
        return False
    if Path(what).is_file():
        tree = read_document(Path(what)).tree
        return not isinstance(tree, dict) or not str(tree.get("schema", "")).startswith("hwsim/workload")
    bare = what.removesuffix(".yaml").removeprefix("arch_specs/")
    names = list_specs("arch_specs")
    return bare in names or any(name.rsplit("/", 1)[-1] == bare for name in names)


def _show_schema(arch: Arch) -> int:
    print_json(type(arch.spec).model_json_schema(by_alias=True))
    return 0


def _show_arch(arch: Arch, sources: bool, format: str) -> int:
    rows = list(_fields(arch))
    if sources:  # numbers only, those without a source first
        rows = sorted((row for row in rows if row["value"][:1] in "+-.0123456789"), key=lambda row: row["status"] != "")
    if format == "json":
        print_json({"schema": "hwsim/arch/1", "name": arch.name, "backend": arch.backend, "fields": rows})
    elif format == "csv":
        print_csv(rows)
    else:
        columns = ["field", "value", *(["status", "source"] if sources else ["status"])]
        title = f"{arch.name} ({arch.backend}): {arch.spec.description}"
        console().print(table(title, columns, ([row[c] for c in columns] for row in rows)))
        unsourced = sum(not row["status"] for row in rows)
        assumed = sum(row["status"] == "assumed" for row in rows)
        note(f"{len(rows)} values: {unsourced} without a stated source, {assumed} assumed")
        if sources:
            _print_assumptions(arch)
    return 0


def _print_assumptions(arch: Arch) -> None:
    from hwsim.backends.base import backend_of

    rows = ((item.id, item.title) for item in backend_of(arch).assumptions())
    console().print(table(f"Assumptions of the {arch.backend} backend", ["id", "assumption"], rows))


def _fields(arch: Arch) -> list[dict[str, Any]]:
    """Every leaf value of the file's hardware part, with its source."""
    sources = arch.sources

    def leaves(tree: Tree, path: str) -> list[dict[str, Any]]:
        if isinstance(tree, dict):
            return [row for key, value in tree.items() for row in leaves(value, f"{path}.{key}" if path else key)]
        if isinstance(tree, list) and any(isinstance(item, dict) for item in tree):
            return [row for index, value in enumerate(tree) for row in leaves(value, f"{path}.{index}")]
        source = sources.get(path)
        status = (source.status or "sourced") if source else ""
        text = "; ".join(part for part in (source.source, source.note) if part) if source else ""
        return [{"field": path, "value": str(tree), "status": status, "source": text}]

    kept = {key: value for key, value in arch.document.tree.items() if key not in NOT_HARDWARE}
    return leaves(kept, "")


def _show_graph(graph: WorkloadGraph, depth: int, format: str) -> int:
    if format == "json":
        print_json(graph.to_json())
        return 0
    if format == "csv":
        data = graph.to_json()["ops"]
        print_csv([{key: row[key] for key in ("name", "kind", "fn", "macs", "params", "dims")} for row in data])
        return 0
    from hwsim.graph.summary import module_rows

    out = console()
    shape = "x".join(map(str, graph.input_shape))
    out.print(f"[bold]{graph.name}[/]   input {shape}   {len(graph.ops)} ops")
    out.print(f"{count(graph.params)} params   {count(graph.macs)} MACs\n")
    columns = ["module", "ops", "MACs", "share", "params", "bytes", "FLOP/byte"]
    rows = (
        (
            "  " * row.depth + row.name,
            row.ops,
            count(row.macs),
            f"{100 * row.macs / graph.macs:.1f} %" if graph.macs else "",
            count(row.params),
            count(row.size_bytes),
            f"{row.intensity_flop_per_byte:.1f}",
        )
        for row in module_rows(graph, depth)
    )
    out.print(table("", columns, rows, right=columns[1:]))
    for name, times in graph.unmodelled.items():
        note(f"warning: operator {name} ({times}x) is not modelled: only its bytes are counted")
    return 0
