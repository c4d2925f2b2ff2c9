"""Measured rows of the three layouts hwsim reads: its own CSV, timm's benchmark files and EnergAIzer's NVML tables."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from hwsim.core.errors import UsageError

#: EnergAIzer's file names: class, size, precision, batch and sequence length make the workload; then the run's setting.
_ENERGAIZER_NAME = re.compile(
    r"(?P<workload>(?P<model>[a-z0-9]+)_[a-z0-9.-]*_p(?P<precision>[a-z0-9]+)_b(?P<batch>\d+)(?:_s\d+)?)"
    r"\S*_freq(?P<mhz>\d+)_iter(?P<calls>\d+)\.csv"
)
#: timm names a file by precision, layout, PyTorch release (`pt291` is 2.9.1), device and `dynamo` if compiled.
_TIMM_NAME = re.compile(
    r"benchmark-infer-(?P<precision>amp|amp_bf16|fp32|fp16|bf16)-\w+-pt(?P<major>\d)(?P<minor>\d)\d-"
)
_TIMM_PRECISION = {"amp": "amp_fp16"}
#: Its vision models under the names hwsim can capture; its language models are known by their kernel lists alone.
_ENERGAIZER_SOURCES = {
    "vitmodel": "timm:vit_large_patch16_224",
    "mobilevitmodel": "timm:mobilevit_s",
    "resnet101": "timm:resnet101",
}
#: A run that ended before this is a failed one (facts of the artifact: out of memory, window under 3 s).
_ENERGAIZER_MIN_WINDOW_S = 3.0


@dataclass(frozen=True)
class MeasuredRow:
    """One measured workload; quantities that the file does not hold are None. `clock_hz` is the measured mean,
    `lock_hz` the clock that was set.

    `source` is a workload or graph source (`timm:NAME`) hwsim can load, or None where the layout names none;
    `fast_norm` says that timm's own norms ran in autocast's low format;
    `mode` and `precision` are empty where the file does not say.
    """

    workload: str
    source: str | None
    batch: int
    latency_s: float
    input_size: int | None = None
    energy_j: float | None = None
    power_w: float | None = None
    clock_hz: float | None = None
    lock_hz: float | None = None
    precision: str = ""
    mode: str = ""
    explicit_attention: bool = False
    fast_norm: bool = False
    pytorch: str = ""


@dataclass(frozen=True)
class Record:
    """One row of hwsim's own measurement file: the figures, their spread and their provenance.

    `input_size` is that of a square image where the workload chose it; None for the model's own.
    """

    workload: str
    source: str
    input_size: int | None
    batch: int
    precision: str
    mode: str
    latency_s: float
    latency_sd_s: float
    energy_j: float
    energy_sd_j: float
    power_w: float
    idle_w: float
    clock_hz: float
    temperature_c: float
    window_s: float
    repeats: int
    device: str
    driver: str
    power_limit_w: float
    energy_source: str
    software: str
    date: str
    workload_hash: str


OWN_COLUMNS = tuple(field.name for field in fields(Record))
_TIMM_COLUMNS = {"model", "infer_img_size", "infer_samples_per_sec", "infer_step_time", "infer_batch_size"}
_ENERGAIZER_COLUMNS = {"workload", "energy", "time", "avg_freq"}
_Parser = Callable[[Mapping[str, str]], "MeasuredRow | None"]


def write_records(path: Path, records: Iterable[Record]) -> None:
    """Write hwsim's measurement CSV, a header and one line per record."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, OWN_COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(record) for record in records)


def read_measured(path: Path) -> tuple[MeasuredRow, ...]:
    """Rows of a measured file, whichever of the layouts its header shows.

    Raises UsageError for an unreadable file, an unknown header, or a value that is not a number, with its line.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            header = tuple(reader.fieldnames or ())
            lines = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path} cannot be read as a measured file: {error}") from error
    parse = _layout(header, path)
    rows = []
    for number, line in enumerate(lines, start=2):
        try:
            row = parse(line)
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(f"{path}:{number}  row cannot be read: {error}") from error
        if row is not None:
            rows.append(row)
    if not rows:
        raise UsageError(f"{path} holds no measured row")
    return tuple(_named(row, path.name) for row in rows) if parse is _timm_row else tuple(rows)


def _named(row: MeasuredRow, name: str) -> MeasuredRow:
    """The row with what a timm file's name says of the software; unchanged if the name is not of that form."""
    match = _TIMM_NAME.match(name)
    if match is None:
        return row
    return replace(
        row,
        precision=_TIMM_PRECISION.get(match["precision"], match["precision"]),
        mode="compiled" if "dynamo" in name else "eager",
        fast_norm=match["precision"].startswith("amp"),
        pytorch=f"{match['major']}.{match['minor']}",
    )


def _layout(header: Sequence[str], path: Path) -> _Parser:
    names = set(header)
    if {"workload", "source", "latency_s", "power_w"} <= names:
        return _own_row
    if names >= _TIMM_COLUMNS:
        return _timm_row
    if names >= _ENERGAIZER_COLUMNS:
        return _energaizer_row
    raise UsageError(
        f"{path} has the columns {', '.join(header) or '(none)'}",
        expected="a file of `hwsim measure`, a timm benchmark-infer-*.csv or an EnergAIzer nvml_*.csv",
    )


def _positive(text: str, column: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise ValueError(f"{column} = {text}: must be a positive number")
    return value


def _own_row(line: Mapping[str, str]) -> MeasuredRow:
    return MeasuredRow(
        workload=line["workload"],
        source=line["source"] or None,
        batch=int(line["batch"]),
        input_size=int(line["input_size"]) if line.get("input_size") else None,
        latency_s=_positive(line["latency_s"], "latency_s"),
        energy_j=_positive(line["energy_j"], "energy_j"),
        power_w=_positive(line["power_w"], "power_w"),
        clock_hz=_positive(line["clock_hz"], "clock_hz"),
        precision=line["precision"],
        mode=line["mode"],
    )


def _timm_row(line: Mapping[str, str]) -> MeasuredRow:
    """`infer_step_time` is milliseconds per batch; the weights' tag after the dot does not change the network."""
    name = line["model"].partition(".")[0]
    return MeasuredRow(
        workload=line["model"],
        source=f"timm:{name}",
        batch=int(line["infer_batch_size"]),
        latency_s=_positive(line["infer_step_time"], "infer_step_time") / 1e3,
        input_size=int(line["infer_img_size"]),
    )


def _energaizer_row(line: Mapping[str, str]) -> MeasuredRow | None:
    """`time` is milliseconds and `energy` joules per iteration of a whole batch; a failed run gives None."""
    match = _ENERGAIZER_NAME.fullmatch(line["workload"])
    if match is None:
        raise ValueError(f"workload {line['workload']!r} is not named as EnergAIzer names its runs")
    latency_s, energy_j = _positive(line["time"], "time") / 1e3, _positive(line["energy"], "energy")
    if latency_s * int(match["calls"]) < _ENERGAIZER_MIN_WINDOW_S:
        return None
    return MeasuredRow(
        workload=match["workload"],
        source=_ENERGAIZER_SOURCES.get(match["model"]),
        batch=int(match["batch"]),
        latency_s=latency_s,
        energy_j=energy_j,
        power_w=energy_j / latency_s,
        clock_hz=_positive(line["avg_freq"], "avg_freq") * 1e6,
        lock_hz=float(match["mhz"]) * 1e6,
        precision=match["precision"],
        mode="eager",
        explicit_attention=True,
    )
