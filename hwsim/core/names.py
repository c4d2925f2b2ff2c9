"""Nearest names, for errors that help."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, known: Iterable[str], what: str = "") -> str | None:
    """`did you mean X?` for the closest known name, or None if nothing is close."""
    match = get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"did you mean `{what}{match[0]}`?" if match else None
