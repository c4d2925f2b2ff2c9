"""One mapping of one product: what must fit, what moves, how long it takes, what it burns.

The loops over tiles of M, N and K turn around the array. An operand's tile is fetched again whenever it changes; a
*held* operand instead keeps the whole panel that the loop it does not depend on would fetch again. Tiles of a
dimension are equal to within one unit (rows or columns of the array, or one step of time), so 197 tokens cost at most
their padding (A4). Transfers of the next tile and of the last result run beside the present tile's computation (A5).
"""

from __future__ import annotations

from math import ceil
from typing import NamedTuple

from hwsim.backends.systolic.machine import OS, WS, Gemm, Machine, Mapping
from hwsim.backends.systolic.timing import ceil_div


class Reuse(NamedTuple):
    """What a loop order and a choice of what is held mean for each operand.

    `a_m` and its like are 1 if a tile (or panel) of the operand spans that dimension whole, `a_again` and its like if
    each step of the loop that the operand does not depend on (N for a, M for b, K for sums) brings it again.
    """

    outer: int
    middle: int
    inner: int
    a_m: int
    a_k: int
    a_again: int
    b_n: int
    b_k: int
    b_again: int
    o_m: int
    o_n: int
    o_again: int


class Nest(NamedTuple):
    """A mapping worked out on one core: its share of the product, its tiles, and how often each operand changes.

    `_panel` sizes are elements of the largest tile or held panel, `_tiles` their number and `_fetches` how often each
    is brought in; `o_visits` is how often each tile of sums is worked on before it is complete (above 1 it leaves in
    between).
    """

    reuse: Reuse
    batch: int
    M: int
    N: int
    K: int
    tiles_m: int
    tiles_n: int
    tiles_k: int
    tile_m: int
    tile_n: int
    tile_k: int
    a_panel: int
    b_panel: int
    o_panel: int
    a_tiles: int
    b_tiles: int
    o_tiles: int
    a_fetches: int
    b_fetches: int
    o_visits: int


class Traffic(NamedTuple):
    """Bytes of one load or store of each operand, over all cores, and bytes of the whole op."""

    a_load: float
    b_load: float
    partial_load: float
    o_store: float
    a_total: float
    b_total: float
    partial_total: float
    o_total: float


def unit_of(dim: int, machine: Machine) -> int:
    """Smallest step of a tile along M (0), N (1) or K (2): the array's rows or columns, or 1 along time."""
    dataflow = machine.dataflow
    if dataflow == OS:
        return (machine.rows, machine.cols, 1)[dim]
    if dataflow == WS:
        return (1, machine.cols, machine.rows)[dim]
    return (machine.cols, 1, machine.rows)[dim]


def tile_size(extent: int, unit: int, tiles: int) -> int:
    """Largest of `tiles` tiles of `extent`, in whole units."""
    return min(extent, unit * ceil_div(ceil_div(extent, unit), tiles))


def collapsed_loops(apart: int, outer: int, middle: int, held: int) -> int:
    """Bits of the loops inside the loop `apart`, if the operand is held across it."""
    if held == 0:
        return 0
    if apart == outer:
        return 7 - (1 << outer)
    if apart == middle:
        return 7 - (1 << outer) - (1 << middle)
    return 0


def is_exposed(apart: int, outer: int, middle: int, tiles_m: int, tiles_n: int, tiles_k: int) -> int:
    """1 if loops inside `apart` turn, so that each of its steps finds another tile of the operand."""
    turning = (1 if tiles_m > 1 else 0) | (2 if tiles_n > 1 else 0) | (4 if tiles_k > 1 else 0)
    return 1 if turning & collapsed_loops(apart, outer, middle, 1) else 0


def reuse_of(mapping: Mapping) -> Reuse:
    """What a mapping's loops bring again and what they hold whole."""
    nm, nn, nk = mapping.tiles_m, mapping.tiles_n, mapping.tiles_k
    outer, middle, inner = mapping.outer, mapping.middle, mapping.inner
    a_whole = collapsed_loops(1, outer, middle, mapping.hold_a)
    b_whole = collapsed_loops(0, outer, middle, mapping.hold_b)
    o_whole = collapsed_loops(2, outer, middle, mapping.hold_o)
    return Reuse(
        outer, middle, inner,
        a_whole & 1, (a_whole >> 2) & 1, is_exposed(1, outer, middle, nm, nn, nk) * (1 - mapping.hold_a),
        (b_whole >> 1) & 1, (b_whole >> 2) & 1, is_exposed(0, outer, middle, nm, nn, nk) * (1 - mapping.hold_b),
        o_whole & 1, (o_whole >> 1) & 1, is_exposed(2, outer, middle, nm, nn, nk) * (1 - mapping.hold_o),
    )  # fmt: skip


def nest(machine: Machine, gemm: Gemm, mapping: Mapping) -> Nest:
    """The loops of a mapping on one core (the core with the largest share)."""
    M, N, K = ceil_div(gemm.M, mapping.cores_m), ceil_div(gemm.N, mapping.cores_n), gemm.K
    nm, nn, nk = mapping.tiles_m, mapping.tiles_n, mapping.tiles_k
    return nest_of(
        reuse_of(mapping), ceil_div(gemm.batch, mapping.cores_b), M, N, K, nm, nn, nk,
        tile_size(M, unit_of(0, machine), nm), tile_size(N, unit_of(1, machine), nn),
        tile_size(K, unit_of(2, machine), nk),
    )  # fmt: skip


def nest_of(
    reuse: Reuse, batch: int, M: int, N: int, K: int, nm: int, nn: int, nk: int, tile_m: int, tile_n: int, tile_k: int
) -> Nest:
    """The loops on one core, given its share of the product, the number of tiles and the largest tile."""
    return Nest(
        reuse, batch, M, N, K, nm, nn, nk, tile_m, tile_n, tile_k,
        (M if reuse.a_m else tile_m) * (K if reuse.a_k else tile_k),
        (N if reuse.b_n else tile_n) * (K if reuse.b_k else tile_k),
        (M if reuse.o_m else tile_m) * (N if reuse.o_n else tile_n),
        (1 if reuse.a_m else nm) * (1 if reuse.a_k else nk),
        (1 if reuse.b_n else nn) * (1 if reuse.b_k else nk),
        (1 if reuse.o_m else nm) * (1 if reuse.o_n else nn),
        nn if reuse.a_again else 1,
        nm if reuse.b_again else 1,
        nk if reuse.o_again else 1,
    )  # fmt: skip


def sums_held(machine: Machine, loops: Nest, tiles_k: int) -> int:
    """Elements of partial sums one core holds outside its PEs.

    Where K is not split, sums of one column of folds at a time are enough; os keeps them in the PEs altogether.
    """
    if tiles_k > 1:
        return loops.o_panel
    if machine.dataflow == OS:
        return 0
    if machine.dataflow == WS:
        return loops.tile_m * min(loops.tile_n, machine.cols)
    return loops.tile_n * min(loops.tile_m, machine.cols)


def results_waiting(machine: Machine, loops: Nest, tiles_k: int) -> int:
    """Elements of finished results one core holds on their way out."""
    if tiles_k == 1 and machine.dataflow == OS:
        return min(loops.tile_m, machine.rows) * min(loops.tile_n, machine.cols)
    return sums_held(machine, loops, tiles_k)


def weight_need(machine: Machine, gemm: Gemm, loops: Nest) -> float:
    """Bytes that b's tiles take on one core."""
    times = machine.double if loops.b_tiles * loops.batch > 1 else 1
    return float(loops.b_panel) * gemm.b_bytes * times


def accumulator_need(machine: Machine, gemm: Gemm, loops: Nest, tiles_k: int) -> float:
    """Bytes that partial sums take on one core."""
    times = machine.double if loops.o_tiles * loops.batch > 1 else 1
    return float(sums_held(machine, loops, tiles_k)) * gemm.acc_bytes * times


def buffer_need(machine: Machine, gemm: Gemm, mapping: Mapping, loops: Nest) -> float:
    """Bytes of the buffer that a mapping takes: of one core's, or of the shared one."""
    # What is kept on chip needs no tile of its own where the buffer is also where it is kept.
    in_place = 1 if machine.stage_bytes == 0 else 0
    m, n, b = mapping.cores_m, mapping.cores_n, mapping.cores_b
    shares_a = b * m if machine.shared else 1
    shares_b = b * n if machine.shared else 1
    shares_o = b * m * n if machine.shared else 1
    need = 0.0
    if not (gemm.a_kept and in_place):
        times = machine.double if loops.a_tiles * loops.batch > 1 else 1
        need += float(loops.a_panel) * gemm.a_share * gemm.a_bytes * times * shares_a
    if machine.weight_bytes == 0 and not (gemm.b_kept and in_place):
        need += weight_need(machine, gemm, loops) * shares_b
    if not (gemm.o_kept and in_place):
        times = machine.double if loops.o_tiles * loops.batch > 1 else 1
        need += float(results_waiting(machine, loops, mapping.tiles_k)) * gemm.o_bytes * times * shares_o
    if machine.accumulator_bytes == 0:
        need += accumulator_need(machine, gemm, loops, mapping.tiles_k) * shares_o
    return need + (gemm.reserved_bytes if in_place else 0.0)


def fits(machine: Machine, gemm: Gemm, mapping: Mapping, loops: Nest) -> int:
    """1 if a mapping's tiles fit every memory they live in."""
    if buffer_need(machine, gemm, mapping, loops) > machine.buffer_bytes:
        return 0
    b_in_place = gemm.b_kept and machine.stage_bytes == 0
    if machine.weight_bytes > 0 and not b_in_place and weight_need(machine, gemm, loops) > machine.weight_bytes:
        return 0
    if machine.accumulator_bytes > 0:
        return 1 if accumulator_need(machine, gemm, loops, mapping.tiles_k) <= machine.accumulator_bytes else 0
    return 1


def per_transfer(total_bytes: float, transfers: int, burst_bytes: int) -> float:
    """Mean bytes that cross the DRAM pins for each of `transfers` equal transfers: whole bursts."""
    return float(ceil(total_bytes / (float(transfers) * burst_bytes))) * burst_bytes


def traffic(machine: Machine, gemm: Gemm, mapping: Mapping, loops: Nest) -> Traffic:
    """Bytes that enter and leave the buffers, all cores together (A6).

    Cores with buffers of their own each fetch a copy of what they share; a shared buffer broadcasts it.
    """
    in_place = 1 if machine.stage_bytes == 0 else 0
    batch, burst = float(gemm.batch), machine.burst_bytes
    outputs = batch * gemm.M * gemm.N
    a_all = batch * gemm.M * gemm.K * gemm.a_share * gemm.a_bytes * (1 if machine.shared else mapping.cores_n)
    b_all = batch * gemm.K * gemm.N * gemm.b_bytes * (1 if machine.shared else mapping.cores_m)
    a_tiles, b_tiles, o_tiles = loops.batch * loops.a_tiles, loops.batch * loops.b_tiles, loops.batch * loops.o_tiles
    a_load = 0.0 if gemm.a_kept and in_place else per_transfer(a_all, a_tiles, burst)
    b_load = 0.0 if gemm.b_kept and in_place else per_transfer(b_all, b_tiles, burst)
    result = 0.0 if gemm.o_kept and in_place else per_transfer(outputs * gemm.o_bytes, o_tiles, burst)
    again = loops.o_visits - 1
    partial = per_transfer(outputs * gemm.acc_bytes, o_tiles, burst) if again > 0 else 0.0
    return Traffic(
        a_load,
        b_load,
        partial * again / loops.o_visits,
        (result + partial * again) / loops.o_visits,
        a_load * a_tiles * loops.a_fetches,
        b_load * b_tiles * loops.b_fetches,
        partial * o_tiles * again,
        result * o_tiles,
    )


def stage_fits(machine: Machine, gemm: Gemm) -> int:
    """1 if the global buffer holds all operands of the op beside what is kept there."""
    batch = float(gemm.batch)
    need = gemm.reserved_bytes
    need += 0.0 if gemm.a_kept else batch * gemm.M * gemm.K * gemm.a_share * gemm.a_bytes
    need += 0.0 if gemm.b_kept else batch * gemm.K * gemm.N * gemm.b_bytes
    need += 0.0 if gemm.o_kept else batch * gemm.M * gemm.N * gemm.o_bytes
    return 1 if need <= machine.stage_bytes else 0
