"""Where accuracy is lost on a bench: a workload executed with one kind of fault at a time, and the light it took."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from hwsim.backends.base import Sheet
from hwsim.backends.execution.arithmetic import Arithmetic
from hwsim.backends.execution.result import Execution
from hwsim.backends.execution.run import evaluate
from hwsim.backends.execution.session import calibrated, open_workload
from hwsim.backends.optical4f.execute import identity, optical_ops
from hwsim.backends.optical4f.setup import FAULTS, Fault
from hwsim.backends.optical4f.spec import Optical4fSpec
from hwsim.transforms.workload import Workload

#: Columns of the budget: what `OpticalOp.measured` calls it, how it is headed, and its unit.
_BUDGET = (
    ("photons_per_mac", "photons per MAC", ""),
    ("photons_per_output", "photons per output", ""),
    ("snr_db", "camera SNR", "dB"),
    ("effective_bits", "effective bits", ""),
    ("saturated_share", "saturated", "%"),
)


def executed_faults(
    workload: Workload, spec: Optical4fSpec, arithmetic: Arithmetic, samples: int
) -> dict[Fault, Execution]:
    """The workload on `samples` of its data with each kind of fault alone, by name; `together` has all.

    A kind that this bench does not have computes what another does, and is not run again.
    """
    opened = open_workload(workload, samples)
    session = calibrated(opened, arithmetic)
    known: dict[str, Execution] = {}
    found: dict[Fault, Execution] = {}
    for fault in FAULTS:
        key = identity(workload.graph, spec, fault)
        if key not in known:
            operators = optical_ops(workload.graph, spec, fault=fault)
            known[key] = evaluate(replace(session, operators=operators), opened.data, samples)
        found[fault] = known[key]
    return found


def budget_sheet(result: Execution) -> Sheet:
    """Photons, SNR and effective bits on the camera, and the ratio that reaches each layer's output."""
    layers = [layer for layer in result.layers if layer.measured]
    return Sheet(
        title="Light of every layer",
        text=(
            "Photons that the camera detected over all frames, per multiply-accumulate and per output; signal over "
            "noise of its pixels (effective bits: log2 of it); and what of the layer's output is signal, with the "
            "noise of all layers before it."
        ),
        columns=("layer", *(heading for _, heading, _ in _BUDGET), "output SNR"),
        units=("", *(unit for _, _, unit in _BUDGET), "dB"),
        rows=tuple(
            (
                layer.name,
                *(_percent(layer.measured.get(name), unit) for name, _, unit in _BUDGET),
                layer.sqnr_db,
            )
            for layer in layers
        ),
    )


def fault_sheet(results: Mapping[Fault, Execution]) -> Sheet:
    """Accuracy with one kind of fault at a time, and with all of them."""
    some = next(iter(results.values()))
    return Sheet(
        title="Where accuracy is lost",
        text=(
            f"{some.samples} samples through the bench with one kind of fault at a time and no other: the mask's "
            "encoding, levels of panels and ADC, noise of the camera, wavefront and clipped spectrum, fields between "
            "pixels, and position. A kind that this bench does not have loses what the ideal bench loses."
        ),
        columns=("fault", "top-1", "as the float network", "output SNR", "effective bits of the output"),
        units=("", "%", "%", "dB", ""),
        rows=tuple(
            (fault, _percent(r.top1, "%"), _percent(r.agreement, "%"), r.sqnr_db, effective_bits(r.sqnr_db))
            for fault, r in results.items()
        ),
    )


def effective_bits(sqnr_db: float | None) -> float | None:
    """Bits of an ideal quantizer with this ratio of signal to noise, (dB - 1.76) / 6.02."""
    return None if sqnr_db is None else max(0.0, (sqnr_db - 1.76) / 6.02)


def _percent(value: float | None, unit: str) -> float | None:
    """A share as the per cent its column is in."""
    return value if value is None or unit != "%" or math.isnan(value) else 100 * value
