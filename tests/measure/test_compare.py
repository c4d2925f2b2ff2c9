"""Predicted against measured on small files, by command and by function."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hwsim.cli.compare import run as compare_command
from hwsim.core.errors import UsageError
from hwsim.measure.compare import compare
from hwsim.report.comparison import write_page
from hwsim.spec.arch import load_arch

HEADER = "model,infer_img_size,infer_samples_per_sec,infer_step_time,infer_batch_size,param_count,infer_gmacs\n"
ROWS = "vit_tiny_patch16_224.augreg_in21k_ft_in1k,224,23699,43.2,1024,5.72,1.26\nno_such_model,224,1,1,8,1,1\n"


@pytest.fixture
def timm_file(tmp_path: Path) -> Path:
    path = tmp_path / "benchmark-infer-x.csv"
    path.write_text(HEADER + ROWS)
    return path


def test_a_row_that_cannot_be_loaded_is_skipped_and_named(timm_file: Path) -> None:
    result = compare(load_arch("rtx4090"), timm_file)
    assert len(result.rows) == 1
    assert list(result.skipped) == ["no_such_model"]
    (row,) = result.rows
    assert abs(row.latency_error) < 0.2
    assert row.dominant_share > 0
    assert result.summary("power") is None


def test_the_command_prints_the_contract(timm_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare_command("rtx4090", timm_file, format="json") == 0
    data = json.loads(capsys.readouterr().out)
    assert data["schema"] == "hwsim/compare/1"
    assert set(data) >= {"schema", "arch", "rows", "latency", "power", "energy", "worst"}
    assert data["latency"]["rows"] == 1
    assert data["power"] is None


def test_the_page_is_whole_and_offline(timm_file: Path, tmp_path: Path) -> None:
    write_page(compare(load_arch("rtx4090"), timm_file), tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert "<svg" in text
    assert "src=" not in text
    assert "vit_tiny_patch16_224" in text


def test_only_a_processor_can_be_compared(timm_file: Path) -> None:
    with pytest.raises(UsageError, match="is a optical4f arch"):
        compare(load_arch("optical4f"), timm_file)
