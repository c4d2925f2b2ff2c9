"""Predicted against measured on small files, by command and by function."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from hwsim.cli.compare import run as compare_command
from hwsim.core.errors import UsageError
from hwsim.measure.compare import compare
from hwsim.report.comparison import write_page
from hwsim.spec.arch import load_arch

HEADER = "model,infer_img_size,infer_samples_per_sec,infer_step_time,infer_batch_size,param_count,infer_gmacs\n"


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    """One row of hwsim's own layout that can be predicted, and one whose workload does not exist."""
    products = tmp_path / "products.csv"
    products.write_text("name, M, N, K\nfirst, 8192, 4096, 4096\nsecond, 8192, 4096, 1024\n")
    rows = [
        {"workload": "products", "source": f"gemm:{products}", "latency_s": 2e-3, "energy_j": 0.5, "power_w": 250.0},
        {"workload": "gone", "source": "gemm:gone.csv", "latency_s": 1e-3, "energy_j": 0.2, "power_w": 200.0},
    ]
    shared = {"batch": 1, "precision": "fp16", "mode": "eager", "clock_hz": 2.5e9}
    path = tmp_path / "measured.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*rows[0], *shared])
        writer.writeheader()
        writer.writerows({**row, **shared} for row in rows)
    return path


def test_a_row_that_cannot_be_loaded_is_skipped_and_named(measured: Path) -> None:
    result = compare(load_arch("rtx4090"), measured)
    assert len(result.rows) == 1
    assert list(result.skipped) == ["gone"]
    (row,) = result.rows
    assert row.clock_hz <= 2.5e9
    assert row.dominant.startswith("first")
    assert row.dominant_share > 0.5
    power = result.summary("power")
    assert power is not None
    assert power.rows == 1


def test_the_command_prints_the_contract(measured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare_command("rtx4090", measured, format="json") == 0
    data = json.loads(capsys.readouterr().out)
    assert data["schema"] == "hwsim/compare/1"
    assert set(data) >= {"schema", "arch", "rows", "latency", "power", "energy", "worst"}
    assert data["latency"]["rows"] == 1
    assert data["latency"]["spearman"] is None  # one row has no rank


def test_the_page_is_whole_and_offline(measured: Path, tmp_path: Path) -> None:
    write_page(compare(load_arch("rtx4090"), measured), tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert "<svg" in text
    assert "src=" not in text
    assert "products" in text


def test_a_timm_row_names_its_source_and_size(tmp_path: Path) -> None:
    path = tmp_path / "benchmark-infer-x.csv"
    path.write_text(HEADER + "no_such_model,224,1,1,8,1,1\n")
    with pytest.raises(UsageError, match=r"no row of .* could be compared: .*no_such_model"):
        compare(load_arch("rtx4090"), path)


def test_only_a_processor_can_be_compared(measured: Path) -> None:
    with pytest.raises(UsageError, match="is a optical4f arch"):
        compare(load_arch("optical4f"), measured)
