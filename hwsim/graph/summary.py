"""What `hwsim show` prints of a graph, as rows of numbers: by module (a tree), by kind of op, and op by op.

Bytes are those of an unfused run: every op reads its distinct inputs and writes its outputs once; a view moves none.
Arithmetic intensity is FLOP per byte, with 1 MAC = 2 FLOP.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from hwsim.graph.ir import Op, WorkloadGraph


@dataclass(frozen=True)
class Row:
    """Totals of a part of the graph; `params` counts each parameter once, also where no op reads it."""

    name: str
    depth: int
    ops: int
    macs: int
    params: int
    read_bytes: int
    written_bytes: int

    @property
    def size_bytes(self) -> int:
        return self.read_bytes + self.written_bytes

    @property
    def intensity_flop_per_byte(self) -> float:
        return 2 * self.macs / self.size_bytes if self.size_bytes else 0.0


@dataclass
class _Sum:
    ops: int = 0
    macs: int = 0
    params: int = 0
    read_bytes: int = 0
    written_bytes: int = 0

    def add(self, graph: WorkloadGraph, op: Op) -> None:
        read, written = traffic_bytes(graph, op)
        self.ops += 1
        self.macs += op.macs
        self.read_bytes += read
        self.written_bytes += written

    def row(self, name: str, depth: int) -> Row:
        return Row(name, depth, self.ops, self.macs, self.params, self.read_bytes, self.written_bytes)


def traffic_bytes(graph: WorkloadGraph, op: Op) -> tuple[int, int]:
    """Bytes the op reads and writes when nothing is fused; a view neither."""
    if op.kind == "view":
        return 0, 0
    return graph.operand_bytes(op, ("input", "parameter", "buffer", "constant", "activation")), graph.output_bytes(op)


def module_rows(graph: WorkloadGraph, depth: int | None = None) -> tuple[Row, ...]:
    """A row per module down to `depth` (the whole model is 0), children after their parent in order of execution."""
    sums: dict[str, _Sum] = {"": _Sum()}
    for op in graph.ops:
        for path in _ancestors(op.module):
            sums.setdefault(path, _Sum()).add(graph, op)
    for tensor in graph.tensors.values():
        if tensor.role == "parameter":
            for path in _ancestors(tensor.name.rpartition(".")[0]):
                sums.setdefault(path, _Sum()).params += tensor.elements
    rows = (sums[path].row(path or graph.name, _depth(path)) for path in _tree(sums))
    return tuple(row for row in rows if depth is None or row.depth <= depth)


def kind_rows(graph: WorkloadGraph) -> tuple[Row, ...]:
    """A row per kind of op, the most multiply-accumulates first, then the most bytes."""
    sums: dict[str, _Sum] = {}
    for op in graph.ops:
        found = sums.setdefault(op.kind, _Sum())
        found.add(graph, op)
        found.params += graph.op_params(op)
    rows = (total.row(kind, 0) for kind, total in sums.items())
    return tuple(sorted(rows, key=lambda row: (-row.macs, -row.size_bytes, row.name)))


def op_rows(graph: WorkloadGraph, ops: Iterable[Op] | None = None) -> tuple[Row, ...]:
    """A row per op, in order of execution."""
    rows = []
    for op in graph.ops if ops is None else ops:
        total = _Sum(params=graph.op_params(op))
        total.add(graph, op)
        rows.append(total.row(op.name, _depth(op.module)))
    return tuple(rows)


def _ancestors(path: str) -> Iterator[str]:
    """The root and every prefix of a module's path, the path included."""
    yield ""
    parts = path.split(".") if path else []
    for end in range(1, len(parts) + 1):
        yield ".".join(parts[:end])


def _depth(path: str) -> int:
    return path.count(".") + 1 if path else 0


def _tree(paths: Iterable[str]) -> Iterator[str]:
    """Paths depth first, siblings in the order they came."""
    children: dict[str, list[str]] = {}
    for path in paths:
        if path:
            children.setdefault(path.rpartition(".")[0], []).append(path)
    pending = [""]
    while pending:
        path = pending.pop()
        yield path
        pending.extend(reversed(children.get(path, [])))
