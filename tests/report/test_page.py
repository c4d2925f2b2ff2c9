"""The page, the picture, the tables and the trace."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from hwsim.core.errors import UsageError
from hwsim.core.frozen import FrozenDict
from hwsim.core.results import Estimate, OpEstimate, Span
from hwsim.explore.run import Run, open_run
from hwsim.report.html import page, write_report
from hwsim.report.tables import axis_table, evenly, infeasible_table, pareto_tables, short_names
from hwsim.report.trace import chrome_trace, write_trace

from .conftest import RunOf


def without_library(text: str) -> str:
    """The page without plotly's own source."""
    scripts = re.findall(r"<script>.*?</script>", text, flags=re.DOTALL)
    return text.replace(max(scripts, key=len), "")


def test_the_page_is_one_offline_file(run: Run) -> None:
    text = page(run)
    rest = without_library(text)
    assert not re.search(r"""(?:src|href)\s*=|@import|url\(|https?://""", rest)
    assert len(text) - len(rest) > 1_000_000  # plotly is inside
    assert text == page(run)


def test_the_page_says_what_the_run_says(run: Run) -> None:
    rest = without_library(page(run))
    for words in (
        "hwsim explore toy --set &#x27;a=&lt;b&gt;&#x27;",
        run.manifest.identity_hash,
        run.manifest.identity.arch_hash,
        "Every PE is busy",
        "the input does not fit the buffer",
        run.manifest.versions["numpy"],
        "array.pipeline",
    ):
        assert words in rest
    assert "<b>" in rest
    assert "a=<b>" not in rest


def test_every_figure_has_a_place(run: Run) -> None:
    rest = without_library(page(run))
    places = re.findall(r'<div class="figure" id="([^"]+)">', rest)
    drawn = re.findall(r'figures\.push\(\["([^"]+)"', rest)
    assert places == drawn
    assert len(set(places)) == len(places)
    assert {"front-0", "stack-0-0", "stack-1-3", "parallel-0", "importance-0", "elasticity-1", "progress"} <= set(
        places
    )


def test_the_report_of_a_run_directory(run: Run) -> None:
    write_report(open_run(run.path))
    assert (run.path / "pareto.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert (run.path / "report.html").read_text().startswith("<!doctype html>")


def test_a_run_in_which_nothing_fits_still_has_a_page(run_of: RunOf) -> None:
    run = run_of(sweeps={"memory.size": ["128 B"]})
    assert run.manifest.feasible == 0
    write_report(run)
    text = without_library((run.path / "report.html").read_text())
    assert "0 Pareto designs" in text
    assert "the input does not fit the buffer" in text


def test_a_run_of_one_design(run_of: RunOf) -> None:
    run = run_of(budget=1, strategy="random", objectives=["energy_j"])
    write_report(run)
    assert run.manifest.designs == 1


def test_pareto_tables(run: Run) -> None:
    net, wide = pareto_tables(run)
    front = run.pareto("gemm:net.csv")
    assert net.title == f"gemm:net.csv: {len(front)} Pareto designs"
    assert net.columns == ("design", "latency", "energy", "pipeline")
    assert net.rows[0][1] == "1.125 ns"
    assert "memory.size = 1 KiB" in net.note
    assert "pipeline" not in net.right
    assert len(wide.rows) == len(run.pareto("gemm:wide.csv"))


def test_a_long_front_is_thinned_evenly() -> None:
    assert evenly(10, 4) == [0, 3, 6, 9]
    assert evenly(5, 1) == [0]


def test_tables_of_the_search(run: Run) -> None:
    assert ("array.cols", "8 to 32 in steps of 8") in axis_table(run).rows
    ((resource, rows, share, reason),) = infeasible_table(run).rows
    assert (resource, rows, share) == ("memory.size", "48", "33.3%")
    assert reason == "the input does not fit the buffer"


def traced() -> Estimate:
    ops = (
        OpEstimate("a", "gemm", 10, 1e-6, FrozenDict(mac=1e-9), 0.0, "array", bound_by="compute"),
        OpEstimate("b", "softmax", 0, 2e-6, FrozenDict(), 1e-6, "vector", bound_by="memory"),
    )
    return Estimate("chip", "net", 1, 3e-6, 10, 0, ops)


def test_a_trace_has_a_track_per_unit_and_times_in_microseconds() -> None:
    events = chrome_trace(traced())["traceEvents"]
    names = {event["args"]["name"]: event["tid"] for event in events if event["name"] == "thread_name"}
    spans = {event["name"]: event for event in events if event["ph"] == "X"}
    assert set(names) == {"array", "vector"}
    assert (spans["b"]["ts"], spans["b"]["dur"]) == pytest.approx((1.0, 2.0))
    assert spans["b"]["tid"] == names["vector"]
    assert spans["a"]["args"]["energy_j"] == 1e-9


def test_counters_become_counter_events() -> None:
    spans = (Span("link", "send", 0.0, 1e-6, FrozenDict(queue_bytes=64.0)),)
    estimate = Estimate("chip", "net", 1, 1e-6, 0, 0, (), spans=spans)
    counters = [event for event in chrome_trace(estimate)["traceEvents"] if event["ph"] == "C"]
    assert counters == [{"ph": "C", "pid": 1, "name": "queue_bytes", "ts": 0.0, "args": {"value": 64.0}}]


def test_a_trace_file(tmp_path: Path) -> None:
    write_trace(traced(), tmp_path / "t.json")
    assert json.loads((tmp_path / "t.json").read_text())["displayTimeUnit"] == "ns"
    with pytest.raises(UsageError, match=r"cannot write .*no/t.json: No such file"):
        write_trace(traced(), tmp_path / "no" / "t.json")


def test_headings_are_the_shortest_endings_that_tell_paths_apart() -> None:
    names = short_names(["optics.laser_power", "link.bandwidth", "host.bandwidth", "input"])
    assert list(names.values()) == ["laser_power", "link.bandwidth", "host.bandwidth", "input"]
