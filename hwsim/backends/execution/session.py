"""From a workload to an execution: capture at the batch that runs, find weights and data, calibrate, evaluate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from pathlib import Path

import torch

from hwsim.backends.execution.arithmetic import Arithmetic
from hwsim.backends.execution.coding import MINMAX, Calibration
from hwsim.backends.execution.data import Data, Preprocessing, load_data
from hwsim.backends.execution.program import OwnOperator
from hwsim.backends.execution.result import Execution
from hwsim.backends.execution.run import Progress, Session, evaluate, in_formats, named, prepare
from hwsim.backends.execution.weights import load_into, read_weights
from hwsim.core.errors import CapabilityError, UsageError
from hwsim.graph.ir import WorkloadGraph
from hwsim.graph.sources import build_module, load_source, parse_source
from hwsim.graph.values import fetch_values
from hwsim.spec.precision import Rounding
from hwsim.transforms.base import apply_all
from hwsim.transforms.workload import Workload

#: Samples that calibration runs on; the spread of post-training results over draws of 32 images is below 0.1 points.
_CALIBRATION, _CALIBRATION_BATCH = 64, 16
PRETRAINED = "pretrained"


def run_workload(
    workload: Workload,
    arithmetic: Arithmetic,
    *,
    weights: str | Path | None = None,
    data: str | Path | None = None,
    samples: int = 256,
    batch: int = 16,
    calibration: Calibration = MINMAX,
    compare_rounding: Rounding | None = None,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress | None = None,
    operators: Callable[[WorkloadGraph], Mapping[str, OwnOperator]] | None = None,
) -> Execution:
    """Execute `samples` of the data in the arithmetic; see `hwsim.api.execute` for the options.

    `operators` gives, for the graph as it runs, the ops that the hardware computes in a way of its own.
    """
    if samples < 1 or batch < 1:
        raise UsageError(f"samples {samples} in batches of {batch}", expected="whole numbers, 1 or more")
    batch = min(batch, samples)
    opened = open_workload(workload, batch, weights=weights, data=data, seed=seed, device=device)
    session = calibrated(opened, arithmetic, calibration, device)
    if operators is not None:
        session = replace(session, operators=operators(session.graphs(session.batch)))
    execution = evaluate(session, opened.data, samples, compare_rounding, progress)
    return named(execution, workload.name, opened.weights, opened.data.name)


@dataclass(frozen=True)
class Opened:
    """A workload with its graph at any batch, the batch that runs, its module with its weights, and its data."""

    graph_at: Callable[[int], WorkloadGraph]
    batch: int
    module: torch.nn.Module
    weights: str
    data: Data

    @property
    def graph(self) -> WorkloadGraph:
        """The graph at the batch that runs."""
        return self.graph_at(self.batch)


def open_workload(
    workload: Workload,
    batch: int,
    *,
    weights: str | Path | None = None,
    data: str | Path | None = None,
    seed: int = 0,
    device: str = "cpu",
) -> Opened:
    """Capture the workload at `batch` and load its weights and data."""
    shape = tuple(workload.spec.input.shape) if workload.spec.input.shape else None

    @cache
    def graph_at(size: int) -> WorkloadGraph:
        return apply_all(load_source(workload.spec.model, shape, size), workload.spec.transforms)

    torch.manual_seed(seed)
    module = build_module(workload.spec.model, shape)
    chosen = str(weights or workload.spec.weights or "random")
    if chosen == PRETRAINED:
        load_into(module, _pretrained(workload.spec.model), f"pretrained weights of {workload.spec.model}")
    elif chosen != "random":
        file = find_weights(chosen)
        load_into(module, read_weights(file), f"weights file {file}")
    held = load_data(str(data or workload.spec.data or "random"), _preprocessing(module, graph_at(batch)), seed)
    return Opened(graph_at, batch, module.to(device).eval(), chosen, held)


def calibrated(
    opened: Opened, arithmetic: Arithmetic, calibration: Calibration = MINMAX, device: str = "cpu"
) -> Session:
    """The opened workload calibrated on its data's calibration samples, in batches of one size whatever will run."""
    graph = opened.graph_at(_CALIBRATION_BATCH)
    values = {name: value.to(device) for name, value in fetch_values(graph, opened.module).items()}
    x = opened.data.calibration(_CALIBRATION)
    # Too few samples are repeated to fill a batch, which changes no range.
    x = x.repeat(-(-_CALIBRATION_BATCH // len(x)), *[1] * (x.dim() - 1)) if len(x) < _CALIBRATION_BATCH else x
    whole = x[: len(x) - len(x) % _CALIBRATION_BATCH].tensor_split(len(x) // _CALIBRATION_BATCH)
    session = prepare(graph, values, arithmetic, whole, calibration, device)
    return replace(session, graphs=lambda size: in_formats(opened.graph_at(size), arithmetic), batch=opened.batch)


def find_weights(name: str) -> Path:
    """A weights file by path, or a bundled one by name."""
    path = Path(name)
    if path.suffix and path.is_file():
        return path
    bundled = resources.files("hwsim.zoo") / "weights" / f"{name}.safetensors"
    if isinstance(bundled, Path) and bundled.is_file():
        return bundled
    raise CapabilityError(
        f"weights {name!r} do not exist", got=name, expected="a file, a bundled name, or `pretrained`"
    )


def _pretrained(source: str) -> dict[str, torch.Tensor]:
    """timm's weights for a `timm:` source, from its cache or the network."""
    from hwsim.graph.torch_env import import_timm

    parsed = parse_source(source)
    if parsed.scheme != "timm":
        raise UsageError(f"pretrained weights of {source!r}", expected="a timm: source")
    try:
        model = import_timm().create_model(parsed.name, pretrained=True, **dict(parsed.options))
    except (OSError, RuntimeError, ValueError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CapabilityError(f"pretrained weights of {source} are not on this machine: {first}") from error
    state: dict[str, torch.Tensor] = model.state_dict()
    return state


def _preprocessing(module: torch.nn.Module, graph: WorkloadGraph) -> Preprocessing:
    """Normalisation and crop as the model's configuration states them, ImageNet's by default."""
    shape = tuple(graph.input_shape[1:])
    config = getattr(module, "pretrained_cfg", None) or {}
    keys = {"mean": "mean", "std": "std", "crop_pct": "crop"}
    found = {ours: config[theirs] for theirs, ours in keys.items() if config.get(theirs)}
    return Preprocessing(shape, **found)
