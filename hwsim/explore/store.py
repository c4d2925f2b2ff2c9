"""The run directory: a crash-safe journal while exploring, and open files, each written whole, at the end."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hwsim.core.errors import HwsimError, UsageError
from hwsim.core.hashing import content_hash
from hwsim.explore.evaluate import Point

JOURNAL_SCHEMA = "hwsim/journal/1"
JOURNAL = "journal.sqlite"
MANIFEST = "manifest.json"
LOCK = "spec.lock.yaml"
POINTS = "points.parquet"
PARETO = "pareto.csv"
ANALYSIS = "analysis.json"
#: Ctrl-C inside sqlite3 or a half-written page loses at most the chunk in hand: WAL frames carry checksums.
_PRAGMAS = ("PRAGMA locking_mode=EXCLUSIVE", "PRAGMA journal_mode=WAL", "PRAGMA synchronous=NORMAL")


class Record(BaseModel):
    """Base of the JSON files of a run."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class AxisRecord(Record):
    """An axis as it was searched; `values` are choices, `low` and `high` the bounds of a range (SI)."""

    path: str
    unit: str
    values: list[Any] | None = None
    low: float | None = None
    high: float | None = None
    step: float | None = None
    log: bool = False


class WorkloadRecord(Record):
    """A workload as it was run; `spec` is its resolved file."""

    name: str
    graph_hash: str
    macs: int
    params: int
    batch: int
    spec: dict[str, Any]


class Identity(Record):
    """What makes two commands the same exploration: all but the budget, the workers and the place."""

    arch: str
    arch_hash: str
    workloads: list[WorkloadRecord]
    axes: list[AxisRecord]
    constraints: list[str]
    objectives: list[str]
    strategy: str
    seed: int

    @property
    def hash(self) -> str:
        return content_hash(json.loads(self.model_dump_json()))

    def differences(self, other: Identity) -> list[str]:
        """What differs, with both values where they are short: `strategy (grid there, nsga2 here)`."""
        found = []
        for name in type(self).model_fields:
            here, there = getattr(self, name), getattr(other, name)
            if here != there:
                short = all(len(str(value)) <= 40 for value in (here, there))
                found.append(f"{name} ({there} there, {here} here)" if short else name)
        return found


class Manifest(Record):
    """`manifest.json`: what was run, with what, and how it ended."""

    schema_: Literal["hwsim/run/1"] = Field(default="hwsim/run/1", alias="schema")
    status: Literal["running", "interrupted", "finished"]
    command: str
    identity: Identity
    identity_hash: str
    arch_file: str
    workload_files: list[str]
    backend: str
    backend_hash: str
    budget: int
    versions: dict[str, str]
    started: str
    elapsed_s: float = 0.0
    designs: int = 0
    reused: int = 0
    feasible: int = 0
    infeasible: dict[str, int] = {}

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


def write_whole(path: Path, data: str | bytes) -> None:
    """Write a file whole or not at all: a temporary file beside it takes its place. UsageError if it cannot be."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise _cannot_write(path, error) from error


def _cannot_write(path: Path, error: OSError | sqlite3.Error) -> UsageError:
    reason = getattr(error, "strerror", None) or str(error)
    return UsageError(
        f"cannot write {path}: {reason}",
        got=str(path),
        remedy="choose a folder you may write to with `--out DIR`; what is evaluated is kept",
    )


def read_manifest(directory: Path) -> Manifest:
    """The manifest of a run directory; UsageError if there is none or it cannot be read."""
    path = directory / MANIFEST
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise UsageError(
            f"{directory} is not a run: it has no {MANIFEST}", remedy="`hwsim explore` makes one"
        ) from error
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except ValidationError as error:
        raise UsageError(
            f"{path} is damaged: {error.errors()[0]['msg']}",
            remedy="repeat the command that made the run: it writes the file anew from the journal",
        ) from error


@contextmanager
def claimed(directory: Path, identity: Identity) -> Iterator[Journal]:
    """The journal of this exploration in `directory`, made or resumed, and locked while the block runs.

    UsageError if the folder cannot be written, belongs to another exploration or holds other files. An error before
    the first point leaves no new folder behind.
    """
    made = [folder for folder in (directory, *directory.parents) if not folder.exists()]
    try:
        directory.mkdir(parents=True, exist_ok=True)
        strangers = [entry.name for entry in directory.iterdir() if not _ours(entry.name)]
        ours = (directory / JOURNAL).exists() or (directory / MANIFEST).exists()
    except OSError as error:
        raise _cannot_write(directory, error) from error
    if strangers and not ours:
        raise UsageError(
            f"{directory} holds other files ({', '.join(sorted(strangers)[:3])})",
            remedy="give a new or an empty folder with `--out DIR`",
        )
    journal = Journal(directory, identity)
    try:
        yield journal
    except HwsimError:
        empty = journal.empty
        journal.close()
        if empty:
            _discard(made)
        raise
    finally:
        journal.close()


def _discard(made: Sequence[Path]) -> None:
    """Remove the folders an exploration made before it failed, with its own empty files."""
    for folder in made:
        for entry in folder.iterdir():
            if entry.name.startswith("journal.") or entry.name == MANIFEST:
                entry.unlink()
        if any(folder.iterdir()):
            return
        folder.rmdir()


def _ours(name: str) -> bool:
    return name.startswith(("journal.", "."))


class Journal:
    """Points by key in one SQLite file; a transaction per chunk, so a crash loses at most the chunk in hand.

    Opening checks the whole file. What a damaged one still holds is copied to a new one, record by record against
    their checksums, and the damaged file is kept beside it; `notes` says so.
    """

    def __init__(self, directory: Path, identity: Identity) -> None:
        self.path = directory / JOURNAL
        self.notes: list[str] = []
        rescued = self._rescue() if self.path.exists() else {}
        try:
            self._connection = _connect(self.path)
            held = dict(self._connection.execute("SELECT name, value FROM meta"))
            self._refuse_other(directory, held.get("identity"), identity)
            with self._connection:
                meta = [("schema", JOURNAL_SCHEMA), ("identity", identity.model_dump_json())]
                self._connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", meta)
        except sqlite3.Error as error:
            raise _journal_fault(self.path, error) from error
        except UsageError:
            self._connection.close()
            raise
        if rescued:
            self.record(rescued.items())
        self.points = self._read()

    def _rescue(self) -> dict[str, Point]:
        """Empty if the file is whole; else what could be read of it, after moving it aside."""
        try:
            connection = _connect(self.path)
            try:
                faults = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            finally:
                connection.close()
            if faults == "ok":
                return {}
        except sqlite3.OperationalError as error:
            raise _journal_fault(self.path, error) from error
        except sqlite3.DatabaseError:
            pass  # damaged beyond the check: read what can be read
        aside = next(
            path
            for number in range(1, 1000)
            if not (path := self.path.with_name(f"journal.damaged-{number}.sqlite")).exists()
        )
        try:
            for suffix in ("", "-wal"):
                if (part := self.path.with_name(self.path.name + suffix)).exists():
                    part.replace(aside.with_name(aside.name + suffix))
        except OSError as error:
            raise _cannot_write(self.path, error) from error
        points = _salvage(aside)
        self.notes.append(
            f"the journal was damaged: {len(points)} evaluations recovered, the rest is evaluated again; "
            f"the damaged file is kept as {aside.name}"
        )
        return points

    def _refuse_other(self, directory: Path, held: str | None, identity: Identity) -> None:
        try:
            other = read_manifest(directory).identity if held is None else Identity.model_validate_json(held)
        except (UsageError, ValidationError):
            return  # nothing says that it is another's; points are found by content, so none can be wrong
        if names := identity.differences(other):
            raise UsageError(
                f"{directory} holds another exploration, which differs in {', '.join(names)}",
                got=str(directory),
                remedy="give another folder with `--out DIR`, or repeat its command to resume it",
            )

    def _read(self) -> dict[str, Point]:
        points, broken = {}, 0
        for key, record, checksum in self._connection.execute("SELECT key, record, checksum FROM points"):
            if checksum == _checksum(key, record):
                points[key] = Point.from_json(json.loads(record))
            else:
                broken += 1
        if broken:
            self.notes.append(f"{broken} journal records fail their checksum and are evaluated again")
        return points

    def record(self, points: Iterable[tuple[str, Point]]) -> None:
        """Add points, all or none."""
        rows = [(key, text, _checksum(key, text)) for key, p in points for text in (json.dumps(p.to_json()),)]
        try:
            with self._connection:
                self._connection.executemany("INSERT OR REPLACE INTO points VALUES (?, ?, ?)", rows)
        except sqlite3.Error as error:
            raise _journal_fault(self.path, error) from error

    @property
    def empty(self) -> bool:
        """Whether no point was ever recorded."""
        return self._connection.execute("SELECT 1 FROM points LIMIT 1").fetchone() is None

    def close(self) -> None:
        """Fold the write-ahead log into the file and release it."""
        self._connection.close()


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=1.0)
    for pragma in _PRAGMAS:
        connection.execute(pragma)
    with connection:
        connection.execute("CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL)")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS points (key TEXT PRIMARY KEY, record TEXT NOT NULL, checksum TEXT NOT NULL)"
        )
    return connection


def _journal_fault(path: Path, error: sqlite3.Error) -> UsageError:
    if "locked" in str(error):
        return UsageError(
            f"{path.parent} is in use by another exploration",
            remedy="wait for it, or give another folder with `--out DIR`",
        )
    return _cannot_write(path, error)


def _checksum(key: str, record: str) -> str:
    return hashlib.sha256(f"{key} {record}".encode()).hexdigest()[:16]


def _salvage(path: Path) -> dict[str, Point]:
    """Whole records of a damaged journal, read from both ends until the damage."""
    points: dict[str, Point] = {}
    for order in ("ASC", "DESC"):
        try:
            connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
            try:
                rows = connection.execute(f"SELECT key, record, checksum FROM points ORDER BY rowid {order}")
                for key, record, checksum in rows:
                    if checksum == _checksum(key, record):
                        points[key] = Point.from_json(json.loads(record))
            finally:
                connection.close()
        except (sqlite3.Error, TypeError):
            continue  # the damage begins here
    return points


def parquet_bytes(columns: Mapping[str, Sequence[object]]) -> bytes:
    """A parquet file of named columns; a column of mixed kinds is stored as text."""
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({name: _column(values) for name, values in columns.items()})
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def _column(values: Sequence[object]) -> Any:
    import pyarrow as pa

    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float} or (len(kinds) <= 1 and not kinds & {list, dict, tuple}):
        return pa.array([float(v) if isinstance(v, int) else v for v in values] if len(kinds) > 1 else values)
    return pa.array([v if isinstance(v, str) or v is None else json.dumps(v) for v in values])
