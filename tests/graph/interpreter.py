"""A reference interpreter: runs a graph's calls one by one with torch, and nothing else of the module's code."""

from __future__ import annotations

import torch

from hwsim.graph.calls import operator_of, resolve
from hwsim.graph.ir import WorkloadGraph
from hwsim.graph.values import fetch_values


def run_graph(graph: WorkloadGraph, module: torch.nn.Module, *inputs: torch.Tensor) -> list[torch.Tensor]:
    """The graph's outputs for these inputs, parameters from the module."""
    values = fetch_values(graph, module) | dict(zip(graph.inputs, inputs, strict=True))
    for op in graph.ops:
        target, args, kwargs = resolve(op.call, values)
        result = operator_of(target)(*args, **kwargs)
        results = [result] if isinstance(result, torch.Tensor) else [r for r in result if r is not None]
        assert len(results) == len(op.outputs), op.name
        for name, value in zip(op.outputs, results, strict=True):
            assert tuple(value.shape) == graph.tensors[name].shape, (op.name, value.shape)
            assert str(value.dtype) == f"torch.{graph.tensors[name].dtype}", op.name
            values[name] = value
    return [values[name] for name in graph.outputs]
