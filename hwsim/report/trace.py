"""An estimate's timeline as a Chrome trace: open it in Perfetto or `chrome://tracing`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hwsim.core.errors import UsageError
from hwsim.core.results import Estimate

_MICRO = 1e6
_PROCESS = 1


def chrome_trace(estimate: Estimate) -> dict[str, Any]:
    """The trace event format (JSON object form): complete events in microseconds, a thread per track, counters.

    Source: "Trace Event Format", Google 2016, sections "Complete Events", "Counter Events", "Metadata Events".
    """
    tracks: dict[str, int] = {}
    for span in estimate.timeline():
        tracks.setdefault(span.track, len(tracks) + 1)
    return {
        "displayTimeUnit": "ns",
        "otherData": {"arch": estimate.arch, "workload": estimate.workload, "batch": str(estimate.batch)},
        "traceEvents": [*_names(estimate, tracks), *_events(estimate, tracks)],
    }


def _names(estimate: Estimate, tracks: dict[str, int]) -> Iterator[dict[str, Any]]:
    title = f"{estimate.workload} on {estimate.arch}"
    yield {"ph": "M", "pid": _PROCESS, "name": "process_name", "args": {"name": title}}
    for track, thread in tracks.items():
        yield {"ph": "M", "pid": _PROCESS, "tid": thread, "name": "thread_name", "args": {"name": track}}
        yield {"ph": "M", "pid": _PROCESS, "tid": thread, "name": "thread_sort_index", "args": {"sort_index": thread}}


def _events(estimate: Estimate, tracks: dict[str, int]) -> Iterator[dict[str, Any]]:
    ops = {op.name: op for op in estimate.ops}
    for span in estimate.timeline():
        event: dict[str, Any] = {
            "ph": "X",
            "pid": _PROCESS,
            "tid": tracks[span.track],
            "name": span.name,
            "ts": span.start_s * _MICRO,
            "dur": span.duration_s * _MICRO,
        }
        if (op := ops.get(span.name)) is not None:
            event["cat"] = op.kind
            event["args"] = {
                "macs": op.macs, "energy_j": op.energy_j, "bound_by": op.bound_by, "choice": op.choice,
                "utilization": op.utilization,
            }  # fmt: skip
        yield event
        for name, value in span.counters.items():
            yield {"ph": "C", "pid": _PROCESS, "name": name, "ts": span.start_s * _MICRO, "args": {"value": value}}


def write_trace(estimate: Estimate, path: Path) -> None:
    """Write the trace; UsageError if the file cannot be written."""
    text = json.dumps(chrome_trace(estimate), allow_nan=False)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"cannot write {path}: {error.strerror}", got=str(path), remedy="choose a folder you may write to"
        ) from error
