"""The file behind a source."""

from __future__ import annotations

from pathlib import Path


def source_file(scheme: str, name: str) -> Path | None:
    return Path(name)
