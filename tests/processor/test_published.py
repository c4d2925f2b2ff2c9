"""The shipped calibrations against the published measurements of studies/gpu_power (provenance there).

These rows are in the fits: the bounds guard the model against drift. What unseen rows give is the study's business,
and of the slow tests below, which leave families and models out.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from hwsim.backends.processor.device import device_of
from hwsim.backends.processor.estimate import predict
from hwsim.measure.compare import processor_spec, spec_of_row
from hwsim.measure.kernel_lists import read_kernel_lists
from hwsim.measure.rows import read_measured
from hwsim.measure.statistics import ErrorSummary, summarize
from hwsim.spec.arch import load_arch

STUDY = Path(__file__).parents[2] / "studies" / "gpu_power"
sys.path.insert(0, str(STUDY))

import study  # noqa: E402
from timm_rows import FILES, read_rows  # noqa: E402


def shipped(name: str, mode: str) -> ErrorSummary:
    """The shipped calibration on every third row of a file."""
    rows = read_rows(name)[::3]
    device = device_of(processor_spec(load_arch(FILES[name].arch, {"runtime.mode": mode})))
    predicted = np.array([predict(row.table, float(row.measured.batch), device).latency_s for row in rows])
    return summarize(predicted, np.array([row.measured.latency_s for row in rows]))


@pytest.mark.parametrize(
    ("name", "mode", "bound_pct"),
    [("4090_compiled", "compiled", 9.0), ("4090_eager", "eager", 8.0), ("i7_compiled", "compiled", 11.0)],
)
def test_timm_latencies(name: str, mode: str, bound_pct: float) -> None:
    summary = shipped(name, mode)
    assert summary.rows > 50
    assert summary.mape_pct < bound_pct
    assert abs(summary.bias_pct) < 5
    assert summary.spearman > 0.97


def test_an_unseen_generation() -> None:
    """Swin and SwinV2 on a V100 in fp32 (microsoft/Swin-Transformer, MODELHUB.md), from other boards' coefficients."""
    assert study._unseen_generation([])["v100_eager_fp32.unseen_mape_pct"] < 10


def test_language_models_of_energaizer_from_their_kernel_lists() -> None:
    arch = load_arch("a100_pcie_40gb")
    folder = STUDY / "measured" / "energaizer"
    listed = read_kernel_lists(folder)
    rows = [r for r in read_measured(folder / "nvml_a100.csv") if r.source is None and r.workload in listed]
    runs = [predict(listed[row.workload], 1.0, device_of(spec_of_row(row, arch))) for row in rows]
    latency = summarize(np.array([run.latency_s for run in runs]), np.array([row.latency_s for row in rows]))
    energy = summarize(np.array([run.energy_j for run in runs]), np.array([row.energy_j for row in rows]))
    assert latency.rows == 94  # 72 in bf16, 22 in fp32
    assert latency.mape_pct < 8
    assert energy.mape_pct < 8


@pytest.mark.slow
def test_unseen_models_of_energaizer(tmp_path: Path) -> None:
    figures = study._energaizer(tmp_path, [])
    assert figures["a100.latency_mape_pct"] < 10
    assert figures["a100.power_mape_pct"] < 6
    assert figures["a100.energy_mape_pct"] < 10
    assert figures["a100 vision.latency_mape_pct"] < 12
    assert figures["a100 vision.power_mape_pct"] < 7
    assert figures["a100 vision.energy_mape_pct"] < 12
    assert figures["a100 clock sweep.energy_mape_pct"] < 7
    assert figures["a100 fp32.power_mape_pct"] < 6
    assert figures["a100 fp32.latency_mape_pct"] < 10


@pytest.mark.slow
def test_unseen_families_of_timm(tmp_path: Path) -> None:
    figures = study._timm("4090_compiled", tmp_path, [])
    assert figures["4090_compiled.mape_pct"] < 12
    assert figures["4090_compiled.plain_mape_pct"] < 8
    assert figures["4090_compiled.spearman"] > 0.99
