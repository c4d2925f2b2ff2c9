"""Predicted against measured: every row of a measured file beside the model's answer, and what that says of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hwsim.backends.processor.device import calibration_of, device_of, runtime_of
from hwsim.backends.processor.estimate import Prediction, predict
from hwsim.backends.processor.kernels import KernelTable
from hwsim.backends.processor.spec import ProcessorSpec
from hwsim.core.errors import HwsimError, UsageError
from hwsim.measure.kernel_lists import read_kernel_lists
from hwsim.measure.rows import MeasuredRow, read_measured
from hwsim.measure.statistics import ErrorSummary, summarize
from hwsim.measure.tables import table_of
from hwsim.spec.arch import Arch
from hwsim.spec.yaml import Tree

COMPARE_SCHEMA = "hwsim/compare/1"
#: How many of the rows with the largest error are shown.
WORST = 10
_QUANTITIES = ("latency", "power", "energy")


@dataclass(frozen=True)
class ComparedRow:
    """One measured row with its prediction; `dominant` is the kernel that takes the largest share of the time."""

    measured: MeasuredRow
    latency_s: float
    power_w: float
    energy_j: float
    clock_hz: float
    dominant: str
    dominant_share: float

    def pair(self, quantity: str) -> tuple[float, float] | None:
        """(predicted, measured) of `latency`, `power` or `energy`; None if the file does not hold it."""
        name = {"latency": "latency_s", "power": "power_w", "energy": "energy_j"}[quantity]
        measured = getattr(self.measured, name)
        return None if measured is None else (getattr(self, name), measured)

    @property
    def name(self) -> str:
        """The workload, with its input size where the file says one: models repeat at other sizes."""
        size = self.measured.input_size
        return self.measured.workload if size is None else f"{self.measured.workload}@{size}"

    @property
    def latency_error(self) -> float:
        return self.latency_s / self.measured.latency_s - 1


@dataclass(frozen=True)
class Comparison:
    """All compared rows, the rows that could not be (with why), and what the coefficients were fitted on."""

    arch: str
    rows: tuple[ComparedRow, ...]
    skipped: Mapping[str, str]
    fitted_on: str

    def summary(self, quantity: str) -> ErrorSummary | None:
        """Error statistics of a quantity over the rows that hold it; intervals treat a workload as one observation."""
        found = [(pair, row.measured) for row in self.rows if (pair := row.pair(quantity)) is not None]
        if not found:
            return None
        predicted, measured = (np.array([pair[side] for pair, _ in found]) for side in (0, 1))
        return summarize(predicted, measured, [row.source or row.workload for _, row in found])

    def worst(self) -> tuple[ComparedRow, ...]:
        return tuple(sorted(self.rows, key=lambda row: -abs(row.latency_error))[:WORST])

    def to_json(self) -> dict[str, Any]:
        """The contract's `hwsim/compare/1`."""
        summaries = {quantity: self.summary(quantity) for quantity in _QUANTITIES}
        return {
            "schema": COMPARE_SCHEMA,
            "arch": self.arch,
            "fitted_on": self.fitted_on,
            "rows": len(self.rows),
            **{name: _summary_json(summary) for name, summary in summaries.items()},
            "worst": [_worst_json(row) for row in self.worst()],
            "skipped": dict(self.skipped),
        }


def _summary_json(summary: ErrorSummary | None) -> dict[str, Any] | None:
    """The statistics; a correlation that is not defined is null."""
    if summary is None:
        return None
    return {key: None if value != value else value for key, value in asdict(summary).items()}


def _worst_json(row: ComparedRow) -> dict[str, Any]:
    return {
        "workload": row.measured.workload,
        "input_size": row.measured.input_size,
        "batch": row.measured.batch,
        "predicted_s": row.latency_s,
        "measured_s": row.measured.latency_s,
        "error_pct": 100 * row.latency_error,
        "dominant": row.dominant,
        "dominant_share": row.dominant_share,
    }


def compare(arch: Arch, path: Path, progress: Callable[[int, int], None] | None = None) -> Comparison:
    """Predict every row of a measured file on `arch`, each at its own batch, precision, mode and clock.

    What neither a row nor its file's name says is the arch's `runtime`. Rows whose workload cannot be loaded
    are skipped and named. Raises UsageError for a file of no known layout, or if nothing could be compared.
    """
    processor_spec(arch)
    rows = read_measured(path)
    listed = read_kernel_lists(path.parent)
    done: list[ComparedRow] = []
    skipped: dict[str, str] = {}
    for index, row in enumerate(rows):
        if progress is not None:
            progress(index, len(rows))
        try:
            done.append(_compared(row, arch, listed))
        except HwsimError as error:
            skipped[row.workload] = error.message
    if not done:
        reason = next(iter(skipped.values()))
        raise UsageError(f"no row of {path} could be compared: {reason}")
    fitted_on = calibration_of(spec_of_row(done[0].measured, arch)).source
    return Comparison(arch.name, tuple(done), skipped, fitted_on)


def processor_spec(arch: Arch) -> ProcessorSpec:
    """The arch's spec; UsageError if it is not a processor's."""
    if not isinstance(arch.spec, ProcessorSpec):
        raise UsageError(
            f"{arch.name} is a {arch.backend} arch", expected="a processor: measured files come from GPUs and CPUs"
        )
    return arch.spec


def _compared(row: MeasuredRow, arch: Arch, listed: Mapping[str, KernelTable]) -> ComparedRow:
    spec = spec_of_row(row, arch)
    table, batch = kernels_of_row(row, spec, listed)
    prediction = predict(table, batch, device_of(spec))
    name, share = _dominant(table, prediction)
    return ComparedRow(
        row, prediction.latency_s, prediction.operating.power_w, prediction.energy_j,
        prediction.operating.clock_hz, name, share,
    )  # fmt: skip


def spec_of_row(row: MeasuredRow, arch: Arch) -> ProcessorSpec:
    """The arch as the row was run on it. The measured mean clock is a lock: a cap has done its work already."""
    changes: dict[str, Tree] = {}
    if row.mode:
        changes["runtime.mode"] = row.mode
    if row.precision:
        changes["runtime.precision"] = row.precision
    if row.pytorch:
        changes["runtime.pytorch"] = row.pytorch
    if row.explicit_attention:
        changes["runtime.attention"] = "explicit"
    if row.clock_hz is not None:
        changes["clock.lock"] = f"{row.clock_hz!r} Hz"
    return processor_spec(arch.with_values(changes, "measured row"))


def kernels_of_row(
    row: MeasuredRow, spec: ProcessorSpec, listed: Mapping[str, KernelTable]
) -> tuple[KernelTable, float]:
    """The row's kernels and the batch to evaluate them at; UsageError if neither a source nor a list names them."""
    if row.source is not None:
        return table_of(row.source, row.input_size, runtime_of(spec), fast_norm=row.fast_norm), float(row.batch)
    if row.workload in listed:
        return listed[row.workload], 1.0
    raise UsageError(f"{row.workload} ({row.precision}) has no source and no kernel list")


def _dominant(table: KernelTable, prediction: Prediction) -> tuple[str, float]:
    """The distinct kernel with the largest total time, and its share of the device time."""
    totals = np.bincount(table.index, prediction.kernel_s)
    top = int(np.argmax(totals))
    kernel = table.kernels[int(np.flatnonzero(table.index == top)[0])]
    return f"{kernel.ops[0]} ({kernel.kind.name.lower()})", float(totals[top] / totals.sum())
