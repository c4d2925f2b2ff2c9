"""Bit-accurate execution against float: DeiT-S forward, softmax and GEMM carriers, as ratios of CPU time.

`python benchmarks/quantized_execution.py`: random weights, random images, torch fp32 on the same cores as the peer.
Runs alternate and the best of each counts, so that another process on the machine hurts both alike.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import torch

from hwsim.backends.execution.arithmetic import Arithmetic
from hwsim.backends.execution.program import run
from hwsim.backends.execution.run import prepare
from hwsim.graph.sources import build_module, load_source
from hwsim.graph.values import fetch_values
from hwsim.numerics.carriers import exact_matmul
from hwsim.numerics.softmax import softmax

MODEL, BATCH, ROUNDS = "timm:deit_small_patch16_224", 4, 7


def best_s(*functions: Callable[[], object]) -> list[float]:
    """Least CPU time of each function over alternating rounds, after one round to warm up."""
    for function in functions:
        function()
    best = [float("inf")] * len(functions)
    for _ in range(ROUNDS):
        for index, function in enumerate(functions):
            started = time.process_time()
            function()
            best[index] = min(best[index], time.process_time() - started)
    return best


def report(name: str, ours: float, peer: float, limit: float | None = None) -> None:
    """One line: both times and their ratio."""
    bound = "" if limit is None else f"   limit {limit:g}: {'met' if ours / peer <= limit else 'MISSED'}"
    print(f"{name:34s} {1e3 * ours:9.2f} ms   float {1e3 * peer:9.2f} ms   ratio {ours / peer:5.2f}{bound}")


def deit() -> None:
    """Integer-only forward by each rounding rule's cost class and function family, against the torch module."""
    graph = load_source(MODEL, None, BATCH)
    torch.manual_seed(0)
    module = build_module(MODEL)
    x = torch.randn(BATCH, *graph.input_shape[1:])
    for rounding, functions in (("onnx", "ibert"), ("half_even", "ibert"), ("half_even", "ivit")):
        arithmetic = Arithmetic(residual="int16", rounding=rounding, functions=functions)  # type: ignore[arg-type]
        compiled = prepare(graph, fetch_values(graph, module), arithmetic, [x]).compiled()
        assert all(step.form != "float" for step in compiled.steps)
        ours, peer = best_s(lambda c=compiled: run(c.steps, c.start(x)), lambda: module(x))
        report(f"DeiT-S x{BATCH}, {rounding}, {functions}", ours, peer, 1.5)


def softmaxes() -> None:
    """Integer softmax on the attention scores of DeiT-S."""
    codes = torch.round(torch.randn(4, 6, 197, 197) / 0.05).clamp(-128, 127)
    real = codes * 0.05
    for family in ("ibert", "ivit"):
        ours, peer = best_s(lambda f=family: softmax(codes, 0.05, f), lambda: torch.softmax(real, -1))
        report(f"softmax 4x6x197x197, {family}", ours, peer, 4.0)


def carriers() -> None:
    """Exact integer GEMM on float units against a plain fp32 GEMM: one chunk, split K, and fp64."""
    for k, bound in ((384, 1 << 14), (1536, 1 << 14), (1536, 1 << 24)):
        a, b = torch.randint(-127, 128, (788, k)).float(), torch.randint(-127, 128, (k, 384)).float()
        ours, peer = best_s(partial(exact_matmul, a, b, bound), partial(torch.matmul, a, b))
        report(f"GEMM 788x{k}x384, |ab| <= {bound}", ours, peer)


if __name__ == "__main__":
    with torch.no_grad():
        softmaxes()
        carriers()
        deit()
