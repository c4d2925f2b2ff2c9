"""What matters: elasticities of a design by finite differences, and what the sampled points say of each parameter."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from pydantic import BaseModel

from hwsim.backends.base import Backend
from hwsim.core.errors import SpecError
from hwsim.explore.domain import is_number
from hwsim.explore.objectives import Objective, columns
from hwsim.explore.pareto import Floats
from hwsim.explore.store import Record
from hwsim.graph.ir import WorkloadGraph
from hwsim.spec.arch import Arch, ArchSpec
from hwsim.spec.fields import as_si, yaml_name
from hwsim.spec.overrides import split_path
from hwsim.spec.validate import unit_at

#: Relative step of the finite difference: small against any knee of the model, large against rounding.
_STEP = 0.01
_BINS = 8


class Elasticity(Record):
    """d ln(objective) / d ln(field) at a design: by how many per cent an objective rises when a field rises by 1 %.

    `value` is the field's SI value. A field that counts whole things is stepped by one.
    """

    path: str
    value: float
    unit: str
    source: str
    status: str
    objectives: dict[str, float]


def elasticities(
    backend: Backend, arch: Arch, graph: WorkloadGraph, objectives: Sequence[Objective]
) -> list[Elasticity]:
    """The elasticity of each objective to every numeric field of an arch, largest first.

    Central differences in logarithms where both neighbours are legal and feasible, one-sided where one is; a field
    that is zero, or that neither neighbour allows, has none.
    """
    found = []
    for path, value in numeric_fields(arch.spec):
        slopes = _slopes(backend, arch, graph, objectives, path, value)
        if slopes is None:
            continue
        source = arch.sources.get(path)
        found.append(
            Elasticity(
                path=path,
                value=value,
                unit=unit_at(type(arch.spec), split_path(path)) or "",
                source=source.source if source else "",
                status=source.status if source else "",
                objectives=slopes,
            )
        )
    return sorted(found, key=lambda item: (-max(map(abs, item.objectives.values())), item.path))


def _slopes(
    backend: Backend, arch: Arch, graph: WorkloadGraph, objectives: Sequence[Objective], path: str, value: float
) -> dict[str, float] | None:
    step = max(1, round(value * _STEP)) if isinstance(value, int) else value * _STEP
    tried = [v for v in (value - step, value, value + step) if v == value or (v > 0 and _legal(arch, path, v))]
    if len(tried) < 2:
        return None
    sweep = backend.sweep(graph, arch, {path: tried})
    with np.errstate(all="ignore"):
        rows = columns(sweep.latency_s, sweep.energy_j, sweep.area_mm2, graph.batch)
    fits = [index for index in range(len(tried)) if index not in sweep.infeasible]
    if len(fits) < 2:
        return None
    low, high = fits[0], fits[-1]
    run = math.log(tried[high] / tried[low])
    slopes = {}
    for objective in objectives:
        begin, end = float(rows[objective.name][low]), float(rows[objective.name][high])
        slopes[objective.name] = math.log(end / begin) / run if begin > 0 and end > 0 else 0.0
    return slopes


def _legal(arch: Arch, path: str, value: float) -> bool:
    try:
        arch.with_values({path: as_si(value)})
    except SpecError:
        return False
    return True


def numeric_fields(spec: ArchSpec) -> Iterator[tuple[str, float]]:
    """Dotted path and SI value of every number of a spec that is not zero."""
    for path, value in _numbers(spec, ""):
        if value != 0 and path.split(".", 1)[0] not in ("search", "constraints"):
            yield path, value


def _numbers(value: object, path: str) -> Iterator[tuple[str, float]]:
    if is_number(value):
        yield path, value  # type: ignore[misc]
    elif isinstance(value, BaseModel):
        for name, info in type(value).model_fields.items():
            key = info.alias or yaml_name(name)
            yield from _numbers(getattr(value, name), f"{path}.{key}" if path else key)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _numbers(item, f"{path}.{key}")
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _numbers(item, f"{path}.{index}")


def importance(parameter: Sequence[object], values: Floats) -> float:
    """Share of the variance of `values` (designs) that a parameter explains on its own: its first-order effect.

    The correlation ratio over the parameter's values, or over bins of equal population where it has many, less what
    as many bins of noise would explain (epsilon squared; Kelley, PNAS 21(9), 1935). 0 for a parameter with one value.
    """
    groups = _groups(parameter)
    count, kinds = len(values), len(set(groups))
    if kinds < 2 or count <= kinds:
        return 0.0
    total = float(((values - values.mean()) ** 2).sum())
    if total <= 0:
        return 0.0
    within = sum(float(((part - part.mean()) ** 2).sum()) for part in _parts(values, groups))
    return max(0.0, 1.0 - (within / (count - kinds)) / (total / (count - 1)))


def _groups(parameter: Sequence[object]) -> list[object]:
    distinct = {repr(value): value for value in parameter}
    if len(distinct) <= _BINS or not all(is_number(value) for value in parameter):
        return [repr(value) for value in parameter]
    numbers = np.array(parameter, dtype=float)
    edges = np.quantile(numbers, np.linspace(0, 1, _BINS + 1)[1:-1])
    return [int(group) for group in np.searchsorted(edges, numbers, side="right")]


def _parts(values: Floats, groups: Sequence[object]) -> Iterator[Floats]:
    names = np.array([repr(group) for group in groups])
    for name in np.unique(names):
        yield values[names == name]
