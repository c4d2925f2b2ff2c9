"""The files behind a source, so that a cached graph goes when they change. Imports no code of the user's."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from pathlib import Path


def file_hash(path: Path) -> str | None:
    """SHA-256 of the file's content; None if it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None


def module_file(name: str) -> Path | None:
    """The file of a module by its dotted name, without importing it; None for one that is not a plain file."""
    relative = Path(*name.split("."))
    for root in (Path.cwd(), *map(Path, sys.path)):
        for candidate in (root / relative / "__init__.py", root / relative.with_suffix(".py")):
            if candidate.is_file():
                return candidate
    return None


def imported_here() -> dict[str, str]:
    """Files of the current directory that this process has imported, with their hashes.

    What a `torch:` source is made of, besides installed packages.
    """
    here = Path.cwd()
    found = {}
    for module in list(sys.modules.values()):
        origin = getattr(module, "__file__", None)
        path = Path(origin) if origin else None
        if path is None or not path.is_relative_to(here) or "site-packages" in path.parts:
            continue
        if digest := file_hash(path):
            found[str(path)] = digest
    return found


def unchanged(files: Mapping[str, str]) -> bool:
    return all(file_hash(Path(path)) == digest for path, digest in files.items())
