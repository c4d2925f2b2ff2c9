"""Files that are never half-written."""

from __future__ import annotations

import os
from pathlib import Path

from hwsim.core.errors import UsageError


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write a whole file or nothing: a temporary file beside it, then a rename.

    Raises UsageError naming the path if it cannot be written.
    """
    content = data.encode() if isinstance(data, str) else data
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True) if temporary.parent.is_dir() else None
        raise UsageError(f"cannot write {path}: {error.strerror}", remedy="choose a folder you may write to") from error
