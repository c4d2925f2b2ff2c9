"""Kernel tables of measured workloads: lowered once per source, size and runtime, then read in a millisecond."""

from __future__ import annotations

import gzip
import json
import zlib
from contextlib import suppress
from dataclasses import asdict
from functools import cache, lru_cache
from importlib import resources
from pathlib import Path

from hwsim.backends.processor.kernels import KernelTable
from hwsim.backends.processor.lower import lower
from hwsim.backends.processor.runtime import Runtime
from hwsim.core.errors import UsageError
from hwsim.core.files import write_atomic
from hwsim.core.hashing import content_hash
from hwsim.graph.cache import cache_dir
from hwsim.graph.sources import load_source, parse_source, versions
from hwsim.measure.fast_norm import fast_norms


@lru_cache(maxsize=4096)
def table_of(source: str, input_size: int | None, runtime: Runtime, *, fast_norm: bool = False) -> KernelTable:
    """Kernels of one sample of `source` on a square image of `input_size` (its own size if None).

    `fast_norm` keeps the norms of timm's own classes in autocast's low format. Raises UsageError for a source that
    cannot be loaded.
    """
    shape = None if input_size is None else (3, input_size, input_size)
    if parse_source(source).scheme != "timm":  # the others read files that may change
        return lower(load_source(source, shape), runtime)
    path = table_path(source, input_size, runtime, fast_norm=fast_norm)
    found = _read(path)
    if found is None:
        found = lower(load_source(source, shape), runtime, fast_norms(source) if fast_norm else frozenset())
        write_table(path, found)
    return found


def table_path(source: str, input_size: int | None, runtime: Runtime, *, fast_norm: bool = False) -> Path:
    """Where the cache keeps a table: its name is the hash of everything the table depends on."""
    key = [source, input_size, asdict(runtime), fast_norm, versions(), _code_hash()]
    return cache_dir() / "kernels" / f"{content_hash(key)}.json.gz"


@cache
def _code_hash() -> str:
    """Hash of the code that decides a table: an entry never outlives a change of capture or lowering."""
    folders = (resources.files("hwsim.graph"), resources.files("hwsim.backends.processor"))
    files = sorted(
        (file.name, file.read_text("utf-8"))
        for folder in folders
        for file in folder.iterdir()
        if file.name.endswith(".py")
    )
    return content_hash(files)


def _read(path: Path) -> KernelTable | None:
    try:
        return KernelTable.from_json(json.loads(gzip.decompress(path.read_bytes())))
    except (OSError, EOFError, ValueError, KeyError, TypeError, IndexError, zlib.error):
        return None


def write_table(path: Path, table: KernelTable) -> None:
    """Keep the table; a cache that cannot be written costs time only."""
    with suppress(UsageError):
        write_atomic(path, gzip.compress(json.dumps(table.to_json()).encode(), mtime=0))
