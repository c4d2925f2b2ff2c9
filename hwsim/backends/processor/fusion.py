"""Compiled execution: chains of elementwise work, norms and copies become one kernel between products.

The rules are those of a loop-fusing compiler (Inductor): products, convolutions and attention are library calls;
everything else fuses with its neighbours as long as the loops agree (A4).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from hwsim.backends.processor.formats import is_autocast, operand_bytes
from hwsim.backends.processor.kernels import Bytes, Kernel, Kind
from hwsim.backends.processor.loops import cast, copy, packed, simt_flops, stream
from hwsim.backends.processor.products import attention, product
from hwsim.backends.processor.runtime import Runtime
from hwsim.backends.processor.traffic import Traffic, total
from hwsim.graph.ir import MAC_KINDS, Op

#: Reads of another shape than the loop: their input must lie in memory first.
_WINDOWED = frozenset({"pool", "resize", "unfold", "fold", "scatter", "topk", "fft", "unmodelled"})
#: Shrinks its input: whoever reads the result runs another loop.
_SHRINKS = frozenset({"reduction", "topk", "fft", "scatter"})
_ROWWISE = frozenset({"norm", "softmax"})
#: Addresses are computed element by element, so that the whole loop is not vectorised.
_ADDRESSED = frozenset({"roll", "gather", "scatter", "topk"})
_MOVES = frozenset({"layout", "roll", "gather"})


def fused_kernels(
    traffic: Traffic, parts: Mapping[str | None, Sequence[Op]], skip: frozenset[str], runtime: Runtime
) -> Iterator[Kernel]:
    """Library calls and fused loops, in order of their first op."""
    clusters = _clusters(traffic, parts, skip)
    done: set[int | str | None] = set()
    for op in traffic.graph.ops:
        if op.group in parts:
            if op.group not in done:
                done.add(op.group)
                yield attention(parts[op.group], traffic)
        elif op.kind in MAC_KINDS:
            yield from _prepared(op, traffic, parts)
            yield product(op, traffic)
        elif op.name in clusters and clusters[op.name] not in done:
            number = clusters[op.name]
            done.add(number)
            loop = _fused([other for other in traffic.graph.ops if clusters.get(other.name) == number], traffic)
            yield replace(loop, serial=_rolled(loop, traffic)) if runtime.processor == "cpu" else loop


def _prepared(op: Op, traffic: Traffic, parts: Mapping[str | None, Sequence[Op]]) -> Iterator[Kernel]:
    """Conversions and copies of a product's operands that no loop before it can take over."""
    if op.name in traffic.wide:
        yield from (cast(op, traffic.size(name), traffic.size(name, 4.0)) for name in traffic.from_outside(op))
        return
    yield from _weight_casts(op, traffic)
    for name in packed(op, traffic):
        maker = traffic.maker(name)
        if maker is None or maker.kind in MAC_KINDS or maker.group in parts:
            yield copy(op, traffic.size(name), traffic)


def _weight_casts(op: Op, traffic: Traffic) -> Iterator[Kernel]:
    """Autocast converts fp32 weights in every call; activations are converted by the loop that makes them."""
    if not is_autocast(traffic.precision):
        return
    low = operand_bytes(traffic.precision)
    for name in dict.fromkeys(op.inputs):
        if traffic.maker(name) is None and traffic.widths[traffic.storage[name]] > low:
            yield cast(op, traffic.size(name), traffic.size(name, low))


def _clusters(traffic: Traffic, parts: Mapping[str | None, Sequence[Op]], skip: frozenset[str]) -> Mapping[str, int]:
    """Op -> number of its loop. Ops of one level that feed each other share a loop; a library call between two ops
    puts them on different levels, so that no loop waits for itself."""
    level: dict[str, int] = {}
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    for op in traffic.graph.ops:
        if op.kind == "view" or op.name in skip:
            continue
        library = op.kind in MAC_KINDS or op.group in parts
        makers = _makers(op, traffic, skip)
        steps = [level[m.name] + int(_separates(m, op, library, parts)) for m in makers]
        level[op.name] = max(steps, default=0)
        if library:
            continue
        parent[op.name] = op.name
        for maker, step in zip(makers, steps, strict=True):
            if maker.name in parent and step == level[op.name] == level[maker.name]:
                parent[root(maker.name)] = root(op.name)
    numbers: dict[str, int] = {}
    return {name: numbers.setdefault(root(name), len(numbers)) for name in parent}


def _makers(op: Op, traffic: Traffic, skip: frozenset[str]) -> list[Op]:
    """The ops whose results `op` reads, looking through copies that cost nothing."""
    found = []
    for name in dict.fromkeys(op.inputs):
        maker = traffic.maker(name)
        while maker is not None and maker.name in skip:
            maker = traffic.maker(maker.inputs[0])
        if maker is not None:
            found.append(maker)
    return found


def _separates(maker: Op, op: Op, library: bool, parts: Mapping[str | None, Sequence[Op]]) -> bool:
    """Whether `op` cannot share a loop with `maker`, whose result it reads."""
    if maker.kind in MAC_KINDS or maker.group in parts:
        return True
    if library:
        return False
    if op.kind in _WINDOWED or maker.kind in _SHRINKS:
        return True
    rowwise = maker.kind in _ROWWISE and maker.fn != "batch_norm"
    return rowwise and op.kind in _MOVES


def _fused(ops: Sequence[Op], traffic: Traffic) -> Kernel:
    """One loop over several ops: reads what comes from outside, writes what is read outside."""
    names = {op.name for op in ops}
    inside = {traffic.storage[output] for op in ops for output in op.outputs}
    outside = dict.fromkeys(name for op in ops for name in op.inputs if traffic.storage[name] not in inside)
    distinct = {(traffic.storage[name], traffic.elements(name)): name for name in outside}
    write = total(_stored(output, traffic, names) for op in ops for output in op.outputs)
    main = max(ops, key=lambda op: sum(traffic.graph.tensors[name].elements for name in op.outputs))
    kernel = stream(main, total(traffic.size(name) for name in distinct.values()), write, traffic)
    flops = sum(simt_flops(op, traffic) for op in ops)
    computed = any(op.kind in _ADDRESSED for op in ops)
    moved = kernel.kind is Kind.COPY and all(op.kind in _MOVES for op in ops)
    kind = Kind.GATHER if computed else kernel.kind if moved or kernel.kind is Kind.GATHER else Kind.STREAM
    return Kernel(
        (main.name, *(op.name for op in ops if op is not main)),
        kind,
        kernel.read,
        kernel.write,
        flops=flops,
        fixed=kernel.fixed,
    )


def _rolled(loop: Kernel, traffic: Traffic) -> float:
    """Elements per sample that a roll addresses one by one, with a remainder for each axis (A17)."""
    graph = traffic.graph
    rolls = [op for op in graph.ops if op.kind == "roll" and op.name in loop.ops]
    return sum(graph.tensors[op.outputs[0]].elements / (graph.batch if traffic.is_batched(op) else 1) for op in rolls)


def _stored(name: str, traffic: Traffic, inside: set[str]) -> Bytes:
    """Bytes written for one result: none if only this loop reads it; the product format if only products read it."""
    readers = [op for op in traffic.consumers.get(name, ()) if op.name not in inside]
    is_output = any(traffic.storage[output] == name for output in traffic.graph.outputs)
    if not readers and not is_output:
        return traffic.size(name, 0.0)
    products = [op for op in readers if op.kind in MAC_KINDS or op.group is not None]
    low = min(operand_bytes(traffic.precision), traffic.widths[name])
    parts = [traffic.size(name, low)] if products else []
    if is_output or len(products) < len(readers):
        wide = traffic.size(name)
        if not products or traffic.widths[name] > low:
            parts.append(wide)
    return total(parts)
