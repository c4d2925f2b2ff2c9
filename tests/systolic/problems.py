"""Random machines and products for the tests, as the kernels' tuples."""

from __future__ import annotations

import random

from hwsim.backends.systolic.machine import Gemm, Machine

BASE = Machine(
    rows=4, cols=4, dataflow=0, exact=1, overlap=1, cores=1, shared=0, double=2, buffer_bytes=1 << 20, weight_bytes=0,
    accumulator_bytes=0, stage_bytes=0, dram_bytes_per_cycle=4.0, stage_bytes_per_cycle=8.0,
    read_bytes_per_cycle=1e30, write_bytes_per_cycle=1e30, latency_cycles=0.0, burst_bytes=1, dram_read_j=80e-12,
    dram_write_j=90e-12, stage_read_j=15e-12, stage_write_j=19e-12, buffer_read_j=2e-12, buffer_write_j=2.5e-12,
    weight_read_j=1e-12, weight_write_j=1.5e-12, accumulator_read_j=0.5e-12, accumulator_write_j=0.6e-12,
    register_j=0.05e-12, link_j=0.1e-12, mac_scale=1.0,
)  # fmt: skip
GEMM = Gemm(
    batch=1, M=8, N=8, K=8, a_bytes=1.0, b_bytes=1.0, o_bytes=1.0, acc_bytes=4.0, a_share=1.0, passes=1, a_kept=0,
    b_kept=0, o_kept=0, reserved_bytes=0.0, epilogue_cycles=0.0, mac_j=0.3e-12,
)  # fmt: skip


def random_machine(rng: random.Random) -> Machine:
    """A small machine: any dataflow, with or without each optional memory."""
    stage = rng.choice([0, 0, 1 << 12])
    return BASE._replace(
        rows=rng.choice([1, 2, 3, 4, 8]),
        cols=rng.choice([1, 2, 3, 4, 8]),
        dataflow=rng.randrange(3),
        exact=rng.choice([1, 1, 0]),
        overlap=rng.randrange(2),
        cores=rng.choice([1, 1, 1, 2, 4]),
        shared=0 if stage else rng.randrange(2),
        double=rng.choice([1, 2, 2]),
        buffer_bytes=rng.choice([24, 64, 160, 400, 4096]),
        weight_bytes=rng.choice([0, 0, 48, 512]),
        accumulator_bytes=rng.choice([0, 64, 1024]),
        stage_bytes=stage,
        dram_bytes_per_cycle=rng.choice([0.25, 1.0, 4.0, 32.0]),
        stage_bytes_per_cycle=rng.choice([4.0, 16.0]),
        read_bytes_per_cycle=rng.choice([1e30, 6.0]),
        latency_cycles=rng.choice([0.0, 10.0]),
        burst_bytes=rng.choice([1, 1, 8]),
    )


def random_gemm(rng: random.Random, most: int = 9) -> Gemm:
    """A small product, some of its operands on chip already."""
    return GEMM._replace(
        batch=rng.choice([1, 1, 1, 3]),
        M=rng.randint(1, most),
        N=rng.randint(1, most),
        K=rng.randint(1, most),
        b_bytes=rng.choice([0.5, 1.0]),
        o_bytes=rng.choice([1.0, 2.0]),
        a_share=rng.choice([1.0, 1.0, 0.4]),
        a_kept=rng.choice([0, 0, 1]),
        b_kept=rng.choice([0, 0, 0, 1]),
        o_kept=rng.choice([0, 0, 1]),
        epilogue_cycles=rng.choice([0.0, 50.0]),
    )
