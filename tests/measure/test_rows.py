"""Measured files: three layouts read, anything else refused with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from hwsim.core.errors import UsageError
from hwsim.measure.device import Identity, ReplayDevice
from hwsim.measure.rows import read_measured, write_records
from hwsim.measure.run import record_of
from hwsim.measure.window import Protocol, measure_work
from hwsim.transforms.workload import load_workload

MEASURED = Path(__file__).parents[2] / "studies" / "gpu_power" / "measured"


def test_energaizer_rows_are_counted_without_the_failed_runs() -> None:
    rows = read_measured(MEASURED / "energaizer" / "nvml_a100.csv")
    assert len(rows) == 132
    assert len(read_measured(MEASURED / "energaizer" / "nvml_dvfs.csv")) == 207
    vit = next(row for row in rows if row.workload == "vitmodel_large_pbf16_b32")
    assert vit.latency_s == pytest.approx(65.18e-3, rel=1e-3)
    assert vit.energy_j == pytest.approx(10.66, rel=1e-3)
    assert vit.power_w == pytest.approx(163.6, rel=1e-3)
    assert (vit.batch, vit.precision, vit.mode, vit.source) == (32, "bf16", "eager", "timm:vit_large_patch16_224")


def test_timm_times_are_per_batch_and_tags_do_not_change_the_network() -> None:
    rows = read_measured(MEASURED / "timm" / "benchmark-infer-amp-nchw-pt291-cu128-4090-dynamo.csv")
    row = next(r for r in rows if r.workload == "vit_base_patch16_224" and r.input_size == 224)
    assert row.batch / row.latency_s == pytest.approx(3376, rel=0.02)
    assert row.source == "timm:vit_base_patch16_224"
    assert (row.mode, row.precision, row.pytorch) == ("compiled", "amp_fp16", "2.9")


def test_a_timm_file_of_another_name_leaves_the_software_open(tmp_path: Path) -> None:
    path = tmp_path / "my_results.csv"
    path.write_text("model,infer_img_size,infer_samples_per_sec,infer_step_time,infer_batch_size\nvit,224,1000,8,8\n")
    (row,) = read_measured(path)
    assert (row.mode, row.precision, row.pytorch) == ("", "", "")


def test_own_rows_round_trip_with_their_provenance(tmp_path: Path) -> None:
    device = ReplayDevice(Identity("Board", "555.1", 300.0, "replay"), [(0.0, 80.0, 1.2e9, 55.0)], 0.02)
    measured = measure_work(device, device.work, Protocol())
    products = tmp_path / "products.csv"
    products.write_text("name, M, N, K\nfc, 64, 64, 64\n")
    workload = load_workload(f"gemm:{products}")
    record = record_of(workload, measured, device, 8, "amp_fp16", "eager", "test")
    path = tmp_path / "m.csv"
    write_records(path, [record])
    (row,) = read_measured(path)
    assert (row.batch, row.precision, row.mode) == (8, "amp_fp16", "eager")
    assert row.latency_s == pytest.approx(0.02)
    assert row.power_w == pytest.approx(80.0)
    text = path.read_text()
    assert "555.1" in text
    assert "replay" in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", r"has the columns a, b"),
        ("model,infer_img_size,infer_samples_per_sec,infer_step_time,infer_batch_size\n", "holds no measured row"),
        (
            "model,infer_img_size,infer_samples_per_sec,infer_step_time,infer_batch_size\nvit,224,1,zero,8\n",
            r"m\.csv:2  row cannot be read",
        ),
        (
            "model,infer_img_size,infer_samples_per_sec,infer_step_time,infer_batch_size\nvit,224,1,-3,8\n",
            r"infer_step_time = -3: must be a positive number",
        ),
        ("workload,energy,time,avg_freq,temp\nnonsense,1,1,1,1\n", "is not named as EnergAIzer names its runs"),
    ],
)
def test_what_is_not_a_measured_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "m.csv"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        read_measured(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"gone\.csv cannot be read"):
        read_measured(tmp_path / "gone.csv")
