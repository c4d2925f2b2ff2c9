"""Fit a processor's coefficients to measured rows: least squares on log time, then non-negative energies on power.

Few physical coefficients for a whole device, never one per model. Coefficients that the rows say nothing about stay at
their prior: a weak pull in log space does that and keeps folds of the cross-validation comparable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace

import numpy as np
import numpy.typing as npt

from hwsim.backends.processor.kernels import Columns, KernelTable
from hwsim.backends.processor.power import Electrics, PowerCoefficients, activity_of, idle_w
from hwsim.backends.processor.timing import Demand, Machine, TimingCoefficients, Work, demand_of, work_of
from hwsim.core.errors import UsageError

Column = npt.NDArray[np.float64]

#: (low, high) of each timing coefficient: fractions of a peak end at 1, costs at what is physical.
BOUNDS: Mapping[str, tuple[float, float]] = {
    "matrix": (0.3, 1.0), "batched": (0.05, 1.0), "conv": (0.1, 1.0), "grouped": (0.02, 1.0), "depthwise": (0.01, 1.0),
    "attention": (0.1, 1.0), "masked_attention": (0.05, 1.0), "simd_matmul": (0.1, 1.0), "memory": (0.3, 0.98),
    "copy": (0.1, 0.98), "gather": (0.01, 0.98), "conv_memory": (0.1, 0.98), "simd": (0.01, 1.0),
    "cache_bytes_per_cycle": (8.0, 200.0), "resident": (0.01, 2.0), "tile_cycles": (100.0, 20000.0),
    "start_s": (2e-7, 2e-5), "latency_s": (5e-9, 2e-6), "dispatch_s": (5e-7, 6e-5), "overlap": (1.2, 12.0),
}  # fmt: skip
#: Weight of the pull to the prior, per unit of log coefficient, against a row's log error.
PRIOR_WEIGHT = 0.05
#: Steps of a fit; from a neighbouring fit a few are enough.
MAX_STEPS = 40
#: Relative change of the loss, or of a log coefficient, at which a fit ends: far below what the rows decide.
TOLERANCE = 1e-4
#: Errors beyond this count linearly: a few rows of another software state must not decide the fit.
SOFT = 0.1


@dataclass(frozen=True)
class Observations:
    """Measured rows of one device as stacked kernels; `row` says which row each kernel belongs to."""

    machine: Machine
    work: Work
    counts: Column
    row: npt.NDArray[np.int64]
    clock_hz: Column
    latency_s: Column
    groups: npt.NDArray[np.str_]
    power_w: Column | None = None

    def totals(self, per_kernel: Column) -> Column:
        """Sum over each row's launches."""
        return np.bincount(self.row, per_kernel * self.counts, len(self.latency_s)).astype(np.float64)


@dataclass(frozen=True)
class Fitted:
    """A coefficient with its 95 % interval from the curvature of the fit; equal ends where the rows do not decide."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class TimingFit:
    coefficients: TimingCoefficients
    fitted: Mapping[str, Fitted]


def stack(
    rows: Sequence[tuple[KernelTable, float]], machine: Machine, latency_s: Column, groups: Sequence[str],
    clock_hz: Column | None = None, power_w: Column | None = None,
) -> Observations:  # fmt: skip
    """Rows of (kernels, batch) as one set of columns."""
    if not rows:
        raise UsageError("no measured row to fit")
    parts = [table.distinct for table, _ in rows]
    row = np.concatenate([np.full(len(part.kind), index) for index, part in enumerate(parts)])
    joined = Columns(
        **{field.name: np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Columns)}
    )
    batch = np.array([batch for _, batch in rows], dtype=np.float64)
    clock = np.full(len(rows), machine.clock_hz) if clock_hz is None else clock_hz
    return Observations(
        machine, work_of(joined, batch[row]), joined.count, row, clock, latency_s, np.asarray(groups), power_w
    )


def latency_of(seen: Observations, coefficients: TimingCoefficients) -> tuple[Column, Column, Demand]:
    """(latency, device-busy time, demand) of every row: the slower of the device and its host (A6)."""
    demand = demand_of(seen.work, seen.machine, coefficients)
    busy = seen.totals(demand.seconds(seen.clock_hz[seen.row]))
    host = seen.totals(seen.work.calls) * coefficients.dispatch_s
    return np.maximum(busy, host), busy, demand


def fit_timing(
    seen: Observations, prior: TimingCoefficients, names: Sequence[str], rows: npt.NDArray[np.bool_] | None = None,
    near: TimingCoefficients | None = None,
) -> TimingFit:  # fmt: skip
    """Coefficients `names` that minimise the rows' log errors; the rest keep the prior's values.

    `near` is where the search starts (the prior by default); the pull is to the prior in either case.
    """
    from scipy.optimize import least_squares

    keep = np.ones(len(seen.latency_s), dtype=np.bool_) if rows is None else rows
    low, high = (np.log([BOUNDS[name][side] for name in names]) for side in (0, 1))
    start = np.log([getattr(prior, name) for name in names])

    def coefficients(x: Column) -> TimingCoefficients:
        return replace(prior, **dict(zip(names, np.exp(x).tolist(), strict=True)))

    def residuals(x: Column) -> Column:
        errors = np.log(latency_of(seen, coefficients(x))[0][keep] / seen.latency_s[keep])
        return np.concatenate([errors, PRIOR_WEIGHT * (x - start)])

    first = start if near is None else np.log([getattr(near, name) for name in names])
    inside = np.clip(first, low + 1e-4, high - 1e-4)
    found = least_squares(
        residuals,
        inside,
        bounds=(low, high),
        loss="soft_l1",
        f_scale=SOFT,
        max_nfev=MAX_STEPS,
        ftol=TOLERANCE,
        xtol=TOLERANCE,
    )
    spread = _half_widths(found.jac, found.fun, len(names))
    fitted = {
        name: Fitted(float(np.exp(x)), float(np.exp(max(x - s, l))), float(np.exp(min(x + s, h))))
        for name, x, s, l, h in zip(names, found.x, spread, low, high, strict=True)
    }
    return TimingFit(coefficients(found.x), fitted)


def _half_widths(jacobian: Column, residuals: Column, count: int) -> Column:
    """1.96 standard errors of each parameter: the inverse normal matrix times the residual variance."""
    variance = float(residuals @ residuals) / max(len(residuals) - 2 * count, 1)
    covariance = np.linalg.pinv(jacobian.T @ jacobian) * variance
    return 1.96 * np.sqrt(np.maximum(np.diag(covariance), 0.0))


def cross_validate(
    seen: Observations, start: TimingFit, names: Sequence[str], prior: TimingCoefficients
) -> tuple[Column, Mapping[str, TimingCoefficients]]:
    """Latency of each row from a fit that saw no row of its group, and those fits, by group.

    `start`, the fit to all rows, is only where each search begins: its end is decided by the other groups' rows.
    """
    latency = np.zeros(len(seen.latency_s))
    fits: dict[str, TimingCoefficients] = {}
    for group in np.unique(seen.groups):
        out = seen.groups == group
        fits[str(group)] = fit_timing(_without(seen, out), prior, names, near=start.coefficients).coefficients
        latency[out] = latency_of(seen, fits[str(group)])[0][out]
    return latency, fits


def _without(seen: Observations, out: npt.NDArray[np.bool_]) -> Observations:
    """The rows that are not in `out`, renumbered."""
    keep = ~out[seen.row]
    number = np.cumsum(~out) - 1
    work = Work(**{field.name: getattr(seen.work, field.name)[keep] for field in fields(Work)})
    return replace(
        seen, work=work, counts=seen.counts[keep], row=number[seen.row[keep]], clock_hz=seen.clock_hz[~out],
        latency_s=seen.latency_s[~out], groups=seen.groups[~out],
        power_w=None if seen.power_w is None else seen.power_w[~out],
    )  # fmt: skip


_POWER_TERMS = (
    "matrix_j_per_flop", "fp32_j_per_flop", "simd_j_per_flop", "core_j_per_byte", "memory_j_per_byte", "active",
)  # fmt: skip


def fit_power(
    seen: Observations, timing: TimingCoefficients, electrics: Electrics, prior: PowerCoefficients,
    format_cost: Column, rows: npt.NDArray[np.bool_] | None = None, terms: Sequence[str] = _POWER_TERMS,
) -> PowerCoefficients:  # fmt: skip
    """Non-negative energies that explain the rows' power above idle, relative errors weighted alike."""
    from scipy.optimize import nnls

    if seen.power_w is None:
        raise UsageError("these rows hold no power to fit")
    keep = np.ones(len(seen.latency_s), dtype=np.bool_) if rows is None else rows
    columns = power_columns(seen, timing, electrics, prior, format_cost)
    idle = _idle(seen, electrics, prior, columns, None)
    for _ in range(3):  # leakage depends on the power: a few rounds settle it
        weight = 1 / seen.power_w
        table = np.stack([columns[term] for term in terms], axis=1)
        found, _ = nnls((table * weight[:, None])[keep], ((seen.power_w - idle) * weight)[keep])
        idle = _idle(seen, electrics, prior, columns, dict(zip(terms, found.tolist(), strict=True)))
    zero = dict.fromkeys(_POWER_TERMS, 0.0)
    return replace(prior, **{**zero, **dict(zip(terms, found.tolist(), strict=True))})


def power_columns(
    seen: Observations, timing: TimingCoefficients, electrics: Electrics, prior: PowerCoefficients, format_cost: Column
) -> Mapping[str, Column]:
    """Watts per unit of each coefficient, row by row, at the row's own predicted time and clock."""
    latency, busy, demand = latency_of(seen, timing)
    unit = replace(prior, **dict.fromkeys(_POWER_TERMS, 1.0))
    activity = activity_of(seen.work, demand, seen.machine.memory_bytes_per_s, unit, format_cost)
    square = np.array([electrics.voltage(clock) ** 2 for clock in seen.clock_hz])
    return {
        "matrix_j_per_flop": seen.totals(activity.matrix_j) * square / latency,
        "fp32_j_per_flop": seen.totals(activity.fp32_j) * square / latency,
        "simd_j_per_flop": seen.totals(activity.simd_j) * square / latency,
        "core_j_per_byte": seen.totals(activity.core_j) * square / latency,
        "memory_j_per_byte": seen.totals(activity.memory_j) / latency,
        "active": electrics.idle_w * np.minimum(busy, latency) / latency,
    }


def _idle(
    seen: Observations, electrics: Electrics, c: PowerCoefficients, columns: Mapping[str, Column],
    found: Mapping[str, float] | None,
) -> Column:  # fmt: skip
    dynamic = sum((columns[term] * value for term, value in (found or {}).items()), np.zeros(len(seen.latency_s)))
    warmer = electrics.kelvin_per_w * dynamic
    return np.array([idle_w(electrics, c, f, w) for f, w in zip(seen.clock_hz, warmer, strict=True)])


def power_of(
    seen: Observations, timing: TimingCoefficients, electrics: Electrics, c: PowerCoefficients, format_cost: Column
) -> Column:
    """Mean power of every row at its own clock (no cap: the row's clock is what the cap left)."""
    columns = power_columns(seen, timing, electrics, c, format_cost)
    values = {term: float(getattr(c, term)) for term in _POWER_TERMS}
    dynamic = sum((columns[term] * value for term, value in values.items()), np.zeros(len(seen.latency_s)))
    return _idle(seen, electrics, c, columns, values) + dynamic


def stored(part: TimingFit | PowerCoefficients) -> dict[str, dict[str, dict[str, float]]]:
    """The coefficients as a calibration file holds them."""
    if isinstance(part, TimingFit):
        values = {name: {"value": value} for name, value in asdict(part.coefficients).items()}
        for name, fitted in part.fitted.items():
            values[name] = {"value": fitted.value, "low": fitted.low, "high": fitted.high}
        return {"coefficients": values}
    return {"coefficients": {name: {"value": value} for name, value in asdict(part).items()}}
