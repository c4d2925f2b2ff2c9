"""Greedy mixed precision: lower the layer that loses least per byte, until the weights fit a size.

The sensitivity of a layer is the noise its lower precision alone puts on the network's output (MPTQ-ViT, arXiv
2401.14895, and Q-HyViT, arXiv 2303.12557, choose bits greedily by accuracy and size; their chosen bits are not public).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from hwsim.backends.execution.arithmetic import Arithmetic
from hwsim.backends.execution.coding import MINMAX, Calibration
from hwsim.backends.execution.run import evaluate
from hwsim.backends.execution.session import Opened, calibrated
from hwsim.core.errors import UsageError
from hwsim.graph.ir import MAC_KINDS, WorkloadGraph
from hwsim.transforms.quantize import LayerFormats, Quantize


@dataclass(frozen=True)
class MixedPrecision:
    """Weight bits by layer, the size of all of them, and the transform that gives a graph these formats."""

    bits: Mapping[str, int]
    size_bytes: float
    transform: Quantize


def greedy_bits(
    opened: Opened,
    arithmetic: Arithmetic,
    size_bytes: float,
    choices: Sequence[int] = (8, 6, 4, 3, 2),
    samples: int = 64,
    calibration: Calibration = MINMAX,
) -> MixedPrecision:
    """Weight bits per layer, from `choices` in falling order, so that all products' weights take at most `size_bytes`.

    Every layer starts at the first choice. Each step lowers the layer with the least added output noise per byte saved;
    noises are measured one layer at a time and taken to add up. Activations keep the arithmetic's format. Raises
    UsageError if even the last choice everywhere is too large.
    """
    elements = weight_elements(opened.graph)
    smallest = sum(elements.values()) * choices[-1] / 8
    if smallest > size_bytes:
        raise UsageError(
            f"weights of {size_bytes:g} bytes",
            got=size_bytes,
            expected=f"at least {smallest:g}: {choices[-1]} bits each",
        )
    level = dict.fromkeys(elements, 0)
    noise = {(name, 0): 0.0 for name in elements}
    size = sum(elements.values()) * choices[0] / 8

    def added(name: str) -> float:
        """Further noise of lowering a layer by one choice, per byte."""
        key = (name, level[name] + 1)
        if key not in noise:
            noise[key] = _noise(opened, arithmetic, {name: choices[key[1]]}, choices[0], samples, calibration)
        saved = elements[name] * (choices[level[name]] - choices[key[1]]) / 8
        return (noise[key] - noise[name, level[name]]) / saved

    while size > size_bytes:
        name = min((n for n in elements if level[n] + 1 < len(choices)), key=added)
        size -= elements[name] * (choices[level[name]] - choices[level[name] + 1]) / 8
        level[name] += 1
    bits = {name: choices[index] for name, index in level.items()}
    return MixedPrecision(bits, size, _transform(arithmetic, bits, choices[0]))


def weight_elements(graph: WorkloadGraph) -> dict[str, int]:
    """Op name -> elements of the parameter that the product multiplies."""
    found = {}
    for op in graph.ops:
        weights = [n for n in op.inputs[:2] if graph.tensors[n].role == "parameter"] if op.kind in MAC_KINDS else []
        if weights:
            found[op.name] = graph.tensors[weights[0]].elements
    return found


def _transform(arithmetic: Arithmetic, bits: Mapping[str, int], default: int) -> Quantize:
    layers = {name: LayerFormats(weights=f"int{count}") for name, count in bits.items() if count != default}
    return Quantize(
        weights=f"int{default}", activations=arithmetic.activations, residual=arithmetic.residual, layers=layers
    )


def _noise(
    opened: Opened,
    arithmetic: Arithmetic,
    bits: Mapping[str, int],
    default: int,
    samples: int,
    calibration: Calibration,
) -> float:
    """Noise-to-signal ratio of the output with these weight bits, on calibration samples."""
    transform = _transform(arithmetic, bits, default)
    x = opened.data.calibration(samples)
    data = replace(opened.data, count=len(x), batch=lambda i, j: x[i:j], labels=None)
    lowered = replace(opened, graph_at=lambda size: transform.apply(opened.graph_at(size)), data=data)
    sqnr_db = evaluate(calibrated(lowered, arithmetic, calibration), data, len(x)).sqnr_db
    return 0.0 if sqnr_db is None else 10 ** (-sqnr_db / 10)
