"""Two published energy claims, under the accounting of their authors and under equal memory traffic.

ShiftAddViT (arXiv:2306.06446; GATECH-EIC/ShiftAddViT@47671cf, energy model): an Eyeriss-like array of 192 PEs with a
64 Ki-word buffer. Energy = operations x unit + accesses per level x unit, for the best tiling. Two of its rules favour
the replaced layers: additions pay no memory beyond the register file, and shifts move (16 + 5) // 2 = 10-bit words
where others move 32-bit ones. LPViT (ECCV 2024, arXiv:2407.02068): half of a DeiT-B's weight blocks are skipped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from math import ceil

from hwsim.backends.processor.device import device_of, runtime_of
from hwsim.backends.processor.estimate import predict
from hwsim.backends.processor.kernels import Bytes, Kernel, KernelTable, Kind
from hwsim.backends.processor.lower import lower
from hwsim.graph.ir import WorkloadGraph
from hwsim.graph.sources import load_source
from hwsim.measure.compare import processor_spec
from hwsim.spec.arch import load_arch

#: pJ per 32-bit operation, and per 16-bit word at each level (their cal_energy model; MAC = multiply + add).
OPERATION_PJ = {"mult": 3.7 + 0.9, "shift": 0.13 + 0.9, "add": 0.9}
DRAM_PJ, BUFFER_PJ, NOC_PJ, PSUM_NOC_PJ, RF_PJ, WEIGHT_RF_PJ = 200.0, 6 * 3.7, 2 * 3.7, 3.7, 3.7, 2 * 3.7
BUFFER_WORDS = 64 * 1024
#: 192 PEs as 12 rows (tokens) x 16 columns (outputs): an input feeds a row, a weight a column.
ROWS, COLUMNS = 12, 16
#: Bits that a shift layer's words are counted with, where all others are 32 bits.
SHIFT_BITS, BITS = 10, 32
#: Share of tokens that the router sends to the shift expert; the loads are not published, so half (assumed).
SHIFT_EXPERT = 0.5


@dataclass(frozen=True)
class Layer:
    """One product of M x N x K, `count` of them, and what replaces its multiplications."""

    m: int
    n: int
    k: int
    count: float
    kind: str


def layers_of(graph: WorkloadGraph) -> Iterator[Layer]:
    """The products of a transformer by ShiftAddViT's rules: attention products become additions, attention's linear
    layers shifts, and the MLP a mixture of a multiplying and a shifting expert. Other products stay."""
    for op in graph.ops:
        if op.kind == "matmul":
            yield Layer(op.dims["M"], op.dims["N"], op.dims["K"], op.dims["B"], "add")
        elif op.kind == "gemm":
            m, n, k = op.dims["M"], op.dims["N"], op.dims["K"]
            if ".mlp." in op.name:
                yield Layer(m, n, k, SHIFT_EXPERT, "shift")
                yield Layer(m, n, k, 1 - SHIFT_EXPERT, "mult")
            else:
                yield Layer(m, n, k, 1.0, "shift" if ".attn." in op.name else "mult")


def energy_pj(layer: Layer, *, equal_traffic: bool) -> float:
    """Energy of a layer at its best tiling; with `equal_traffic` every layer pays memory for 32-bit words."""
    macs = layer.m * layer.n * layer.k
    bits = SHIFT_BITS if layer.kind == "shift" and not equal_traffic else BITS
    words = bits / 16
    local = macs * words * (RF_PJ + WEIGHT_RF_PJ + 2 * RF_PJ)
    outside = 0.0 if layer.kind == "add" and not equal_traffic else words * _outside_pj(layer)
    return layer.count * (macs * OPERATION_PJ[layer.kind] + local + outside)


def _outside_pj(layer: Layer) -> float:
    """Register file outwards, per 16-bit word: the cheapest tile that fits the buffer, outputs kept over K."""
    return min(
        _tiling_pj(layer, tm, tn) for tm, tn in product(_sizes(layer.m), _sizes(layer.n)) if _fits(layer, tm, tn)
    )


def _sizes(length: int) -> list[int]:
    return sorted({min(length, 2**power) for power in range(13)})


def _fits(layer: Layer, tm: int, tn: int) -> bool:
    depth = min(layer.k, 16)
    return tm * depth + depth * tn + tm * tn <= BUFFER_WORDS


def _tiling_pj(layer: Layer, tm: int, tn: int) -> float:
    m, n, k = layer.m, layer.n, layer.k
    inputs, weights, outputs = m * k * ceil(n / tn), k * n * ceil(m / tm), m * n
    from_buffer = m * k * ceil(n / COLUMNS), k * n * ceil(m / ROWS), 2 * m * n
    dram = DRAM_PJ * (inputs + weights + outputs)
    buffer = BUFFER_PJ * (inputs + weights + outputs + sum(from_buffer))
    return dram + buffer + NOC_PJ * (from_buffer[0] + from_buffer[1]) + PSUM_NOC_PJ * from_buffer[2]


def shiftaddvit_saving(source: str, *, equal_traffic: bool) -> float:
    """Energy saved by ShiftAddViT's replacements against multiplications everywhere, as a fraction."""
    layers = list(layers_of(load_source(source)))
    replaced = sum(energy_pj(layer, equal_traffic=equal_traffic) for layer in layers)
    dense = sum(energy_pj(replace(layer, kind="mult"), equal_traffic=True) for layer in layers)
    return 1 - replaced / dense


def lpvit_ratios(density: float = 0.5, batch: int = 64) -> Mapping[str, float]:
    """Dense over block-sparse DeiT-B on an A100: latency and energy, with weights' and all traffic shrunk or kept.

    Perfect skipping of 32 x 32 blocks shortens the depth of each linear layer; what it cannot do is move fewer
    activations. `objective` is the authors' own count, weight blocks x activation tiles.
    """
    spec = processor_spec(load_arch("a100_pcie_40gb", {"runtime.mode": "compiled", "runtime.precision": "fp16"}))
    table = lower(load_source("timm:deit_base_patch16_224"), runtime_of(spec))
    device = device_of(spec)
    dense = predict(table, batch, device)
    ratios = {"lpvit.objective": 1 / density}
    for label, share in (("skipped", density), ("equal_traffic", 1.0)):
        sparse = predict(KernelTable(tuple(_sparse(k, density, share) for k in table.kernels)), batch, device)
        ratios[f"lpvit.{label}.latency"] = dense.latency_s / sparse.latency_s
        ratios[f"lpvit.{label}.energy"] = dense.energy_j / sparse.energy_j
        ratios[f"lpvit.{label}.power"] = dense.operating.power_w / sparse.operating.power_w
    return ratios


def _sparse(kernel: Kernel, density: float, share: float) -> Kernel:
    if kernel.kind is not Kind.GEMM or (".mlp." not in kernel.ops[0] and ".attn." not in kernel.ops[0]):
        return kernel
    read = Bytes(kernel.read.sample, kernel.read.fixed * share)
    return replace(kernel, k=kernel.k * density, read=read)


def figures() -> dict[str, float]:
    """Every figure of both claims."""
    found = dict(lpvit_ratios())
    for name in ("pvt_v2_b0", "pvt_v2_b1", "deit_tiny_patch16_224"):
        for label, equal in (("authors", False), ("equal_traffic", True)):
            saving = shiftaddvit_saving(f"timm:{name}", equal_traffic=equal)
            found[f"shiftaddvit.{name}.{label}_saving_pct"] = 100 * saving
    return found
