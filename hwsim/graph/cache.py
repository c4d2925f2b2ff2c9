"""A cache of captured graphs on disk: gzipped JSON, read without torch.

An entry's file name is the hash of everything the graph depends on, so an entry never goes stale; a file that cannot
be read is rebuilt. A directory that cannot be written costs time, never a failure.
"""

from __future__ import annotations

import gzip
import json
import os
import tempfile
import zlib
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path

from hwsim.core.errors import UsageError
from hwsim.core.hashing import canonical_json, content_hash
from hwsim.graph.files import file_hash, unchanged
from hwsim.graph.ir import WorkloadGraph


def cache_dir() -> Path:
    """`HWSIM_CACHE_DIR`, else `hwsim` under `XDG_CACHE_HOME`, else `~/.cache/hwsim`."""
    if own := os.environ.get("HWSIM_CACHE_DIR"):
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "hwsim"


def entry_path(key: Mapping[str, object]) -> Path:
    return cache_dir() / "graphs" / f"{content_hash({**key, 'code': _code_hash()})}.json.gz"


@cache
def _code_hash() -> str:
    """The code that captures and lowers, which shapes a graph as much as any library does."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return content_hash([file_hash(path) for path in files])


def read(key: Mapping[str, object]) -> WorkloadGraph | None:
    """The graph of that key, or None if it is not there, cannot be read, or a file it was made of has changed."""
    try:
        entry = json.loads(gzip.decompress(entry_path(key).read_bytes()))
        return WorkloadGraph.from_json(entry["graph"]) if unchanged(entry["files"]) else None
    except (OSError, EOFError, ValueError, KeyError, TypeError, IndexError, AttributeError, zlib.error, UsageError):
        return None


def write(key: Mapping[str, object], graph: WorkloadGraph, files: Mapping[str, str]) -> bool:
    """Keep the graph and the hashes of the files it was made of; False if the directory cannot be written.

    A reader sees the whole entry or none.
    """
    path = entry_path(key)
    entry = {"files": dict(files), "graph": graph.to_json()}
    data = gzip.compress(canonical_json(entry).encode(), compresslevel=6, mtime=0)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    except OSError:
        return False
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(temporary, path)
    except OSError:
        with suppress(OSError):
            os.unlink(temporary)
        return False
    return True
