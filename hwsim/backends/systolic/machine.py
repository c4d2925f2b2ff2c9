"""The scalars that the cost kernels read: one machine, one matrix product, one mapping, one cost.

The kernels (`timing`, `tiling`, `mapper`) are plain functions of these tuples, written so that `compiled` can hand the
same source to numba: one estimate runs them as Python, a sweep runs them as machine code. There is one formula.
"""

from __future__ import annotations

from typing import NamedTuple

WS, OS, IS = 0, 1, 2
DATAFLOWS = ("ws", "os", "is")
LATENCY, ENERGY, EDP = 0, 1, 2
OBJECTIVES = ("latency", "energy", "edp")


class Machine(NamedTuple):
    """One design in the kernels' units: bytes, bytes per cycle, joules per byte.

    `exact` and `overlap` are flags (0 or 1): `array.timing: exact` and double-buffered stationary operands.
    `buffer_bytes` and the other sizes are per core, or of all cores together if `shared`; 0 means the part is absent
    and its operand lives in the buffer. `stage_bytes` is the global buffer between DRAM and the cores, 0 if absent.
    """

    rows: int
    cols: int
    dataflow: int
    exact: int
    overlap: int
    cores: int
    shared: int
    double: int
    buffer_bytes: int
    weight_bytes: int
    accumulator_bytes: int
    stage_bytes: int
    dram_bytes_per_cycle: float
    stage_bytes_per_cycle: float
    read_bytes_per_cycle: float
    write_bytes_per_cycle: float
    latency_cycles: float
    burst_bytes: int
    dram_read_j: float
    dram_write_j: float
    stage_read_j: float
    stage_write_j: float
    buffer_read_j: float
    buffer_write_j: float
    weight_read_j: float
    weight_write_j: float
    accumulator_read_j: float
    accumulator_write_j: float
    register_j: float
    link_j: float
    mac_scale: float


class Unit(NamedTuple):
    """The vector unit of one core: lanes, and cycles and joules of each primitive in one lane."""

    lanes: float
    cycles: tuple[float, ...]
    energy_j: tuple[float, ...]


class Product(NamedTuple):
    """A `Gemm` as a workload states it, before a design adds its vector unit and what of its memory is taken.

    `epilogue` counts the primitives that stream with the results; `mac_j` is at the anchor of `technology`.
    """

    batch: int
    M: int
    N: int
    K: int
    a_bytes: float
    b_bytes: float
    o_bytes: float
    acc_bytes: float
    a_share: float
    passes: int
    a_kept: int
    b_kept: int
    o_kept: int
    mac_j: float
    epilogue: tuple[float, ...]


class Move(NamedTuple):
    """A step of the vector unit or the DMA: primitives, and bytes from and to DRAM and from and to what is kept."""

    primitives: tuple[float, ...]
    dram_read_bytes: float
    dram_write_bytes: float
    kept_read_bytes: float
    kept_write_bytes: float


class MoveCost(NamedTuple):
    """What a `Move` costs."""

    cycles: float
    compute_cycles: float
    vector_j: float
    dram_j: float
    stage_j: float
    buffer_j: float


class Gemm(NamedTuple):
    """`batch` independent products out[M,N] = a[M,K] b[K,N], with bytes per element and what is already on chip.

    `a_share` is the part of a's M x K elements that are distinct (below 1 for a convolution read as im2col, A9).
    `passes` is how often the array runs for operands wider than its multipliers. `a_kept`, `b_kept`, `o_kept` flag
    operands that stay on chip; `reserved_bytes` of the on-chip memory are taken by these and other live tensors.
    """

    batch: int
    M: int
    N: int
    K: int
    a_bytes: float
    b_bytes: float
    o_bytes: float
    acc_bytes: float
    a_share: float
    passes: int
    a_kept: int
    b_kept: int
    o_kept: int
    reserved_bytes: float
    epilogue_cycles: float
    mac_j: float


class Mapping(NamedTuple):
    """How one product runs: cores along batch, M and N; tiles per core along M, N and K; loop order; what is held.

    `outer`, `middle`, `inner` are 0, 1, 2 for the loops over M, N, K. `hold_a` keeps a's whole panel on chip while the
    loop over N around it turns, `hold_b` likewise for b and M, `hold_o` keeps partial sums while K turns.
    """

    cores_b: int
    cores_m: int
    cores_n: int
    tiles_m: int
    tiles_n: int
    tiles_k: int
    outer: int
    middle: int
    inner: int
    hold_a: int
    hold_b: int
    hold_o: int


class Cost(NamedTuple):
    """What one mapping costs: cycles (stalls included), bytes that cross each border, joules of each component."""

    fits: int
    cycles: float
    compute_cycles: float
    transfer_cycles: float
    first_load_cycles: float
    last_store_cycles: float
    a_bytes: float
    b_bytes: float
    partial_bytes: float
    o_bytes: float
    port_bytes: float
    need_bytes: float
    dram_read_bytes: float
    dram_write_bytes: float
    dram_j: float
    stage_j: float
    buffer_j: float
    accumulator_j: float
    register_j: float
    link_j: float
    mac_j: float
