"""What a design can be judged by: what a sweep returns, and what follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hwsim.core.errors import UsageError
from hwsim.core.names import nearest

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Column = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Objective:
    """A figure of merit; `unit` is SI, `maximise` its sense.

    `measured` objectives come from executing the workload in the design's arithmetic; the others are closed forms.
    `log` ones are compared in decades, the others (fractions, decibels) as they are.
    """

    name: str
    label: str
    unit: str
    maximise: bool = False
    measured: bool = False
    log: bool = True

    def to_cost(self, values: Column) -> Column:
        """Values on the scale on which designs are compared, lower is better."""
        import numpy as np

        with np.errstate(divide="ignore"):
            scaled = np.log10(np.maximum(values, 1e-300)) if self.log else values
        return np.asarray(-scaled if self.maximise else scaled)

    def from_cost(self, cost: float) -> float:
        """The value behind a cost."""
        scaled = -cost if self.maximise else cost
        return float(10.0**scaled) if self.log else scaled


OBJECTIVES: dict[str, Objective] = {
    item.name: item
    for item in (
        Objective("latency_s", "latency", "s"),
        Objective("energy_j", "energy", "J"),
        Objective("area_mm2", "area", "mm^2"),
        Objective("power_w", "power", "W"),
        Objective("energy_per_sample_j", "energy per sample", "J"),
        Objective("edp_js", "energy-delay product", "J s"),
        Objective("throughput_per_s", "throughput", "/s", maximise=True),
        Objective("top1", "top-1 accuracy", "", maximise=True, measured=True, log=False),
        Objective("sqnr_db", "output SQNR", "dB", maximise=True, measured=True, log=False),
    )
}


def find_objectives(names: Sequence[str]) -> tuple[Objective, ...]:
    """The objectives of those names, in their order; UsageError for an unknown or repeated one."""
    for index, name in enumerate(names):
        if name not in OBJECTIVES:
            raise UsageError(
                f"objective {name!r} is not known",
                got=name,
                expected="one or more of " + ", ".join(OBJECTIVES),
                remedy=nearest(name, OBJECTIVES),
            )
        if name in names[:index]:
            raise UsageError(f"objective {name!r} is given twice", got=name, remedy="name each once")
    return tuple(OBJECTIVES[name] for name in names)


def columns(latency_s: Column, energy_j: Column, area_mm2: Column, batch: Column | int) -> dict[str, Column]:
    """Every closed-form objective of designs of one workload; NaN stays NaN.

    Power is the mean over the run; throughput is `batch` samples per latency (no overlap between runs).
    """
    return {
        "latency_s": latency_s,
        "energy_j": energy_j,
        "area_mm2": area_mm2,
        "power_w": energy_j / latency_s,
        "energy_per_sample_j": energy_j / batch,
        "edp_js": energy_j * latency_s,
        "throughput_per_s": batch / latency_s,
    }
