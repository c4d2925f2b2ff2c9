"""SCALE-Sim's GEMM topology files (`Layer, M, N, K,`) as workload graphs."""

from __future__ import annotations

from pathlib import Path

from hwsim.core.errors import Location, SpecError, SpecErrorGroup, UsageError
from hwsim.core.frozen import FrozenDict
from hwsim.graph.calls import Ref, call_json
from hwsim.graph.ir import Op, Tensor, WorkloadGraph

_COLUMNS = ("M", "N", "K")


def read_gemm_csv(path: str | Path, source: str = "") -> WorkloadGraph:
    """The GEMMs of a topology file as independent ops, each with an input a[M, K] and a parameter b[K, N].

    One layer a line: name, M, N, K and, as SCALE-Sim writes it, perhaps a trailing comma. A first line whose sizes
    are words is the header; empty lines and lines that begin with # are skipped. Raises SpecErrorGroup with every
    wrong line, UsageError if the file cannot be read.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"topology file {str(path)!r} cannot be read: {error}") from error
    layers, errors = _parse(text, str(path))
    if errors:
        raise SpecErrorGroup(errors)
    return _graph(file.stem, layers, source or f"gemm:{path}")


def _parse(text: str, file: str) -> tuple[dict[str, tuple[int, int, int]], list[SpecError]]:
    layers: dict[str, tuple[int, int, int]] = {}
    errors: list[SpecError] = []
    rows = [(number, line) for number, line in enumerate(text.splitlines(), 1) if _has_content(line)]
    for position, (number, line) in enumerate(rows):
        cells = _cells(line)
        if position == 0 and _is_header(cells):
            continue
        sizes, found = _sizes(cells, file, number, line)
        name = cells[0][0]
        if name in layers:
            found.append(_error(f"layer {name!r} appears twice", file, number, line, cells[0], "a name of its own"))
        errors += found
        if not found:
            layers[name] = sizes
    if not layers and not errors:
        errors.append(SpecError("no layer in the file", where=Location(file), expected="lines `name, M, N, K`"))
    return layers, errors


def _has_content(line: str) -> bool:
    return bool(line.strip(" \t,")) and not line.lstrip().startswith("#")


def _cells(line: str) -> list[tuple[str, int]]:
    """Each cell's text and 1-based column, without empty cells at the end of the line."""
    cells: list[tuple[str, int]] = []
    start = 0
    for part in line.split(","):
        cells.append((part.strip(), start + len(part) - len(part.lstrip()) + 1))
        start += len(part) + 1
    while cells and not cells[-1][0]:
        cells.pop()
    return cells


def _is_header(cells: list[tuple[str, int]]) -> bool:
    """Whether no cell after the first has a digit (`Layer, M, N, K`)."""
    return len(cells) > 1 and not any(character.isdigit() for text, _ in cells[1:] for character in text)


def _sizes(
    cells: list[tuple[str, int]], file: str, number: int, line: str
) -> tuple[tuple[int, int, int], list[SpecError]]:
    wanted = "`name, M, N, K`"
    if len(cells) != 4:
        message = f"{len(cells)} cells instead of 4"
        return (0, 0, 0), [_error(message, file, number, line, cells[min(4, len(cells) - 1)], wanted)]
    errors = [_error("the layer has no name", file, number, line, cells[0], wanted)] if not cells[0][0] else []
    sizes = []
    for axis, (text, column) in zip(_COLUMNS, cells[1:], strict=True):
        if not (text.isascii() and text.isdigit()) or int(text) < 1:
            errors.append(
                _error(f"{axis} = {text}", file, number, line, (text, column), "must be a whole number, 1 or more")
            )
        else:
            sizes.append(int(text))
    return (sizes[0], sizes[1], sizes[2]) if not errors else (0, 0, 0), errors


def _error(message: str, file: str, number: int, line: str, cell: tuple[str, int], expected: str) -> SpecError:
    where = Location(file, number, cell[1], line, max(1, len(cell[0])))
    return SpecError(message, where=where, got=cell[0], expected=expected)


def _graph(name: str, layers: dict[str, tuple[int, int, int]], source: str) -> WorkloadGraph:
    tensors: dict[str, Tensor] = {}
    ops = []
    for layer, (M, N, K) in layers.items():
        a, b = f"{layer}.a", f"{layer}.b"
        tensors |= {
            a: Tensor(a, (M, K), role="input"),
            b: Tensor(b, (K, N), role="parameter"),
            layer: Tensor(layer, (M, N)),
        }
        call = call_json("aten.mm.default", (Ref(a), Ref(b)), {})
        dims = FrozenDict({"M": M, "N": N, "K": K})
        ops.append(Op(layer, "gemm", "mm", (a, b), (layer,), dims, module=layer, call=call))
    inputs = tuple(f"{layer}.a" for layer in layers)
    return WorkloadGraph(name, FrozenDict(tensors), tuple(ops), inputs, tuple(layers), source=source)
