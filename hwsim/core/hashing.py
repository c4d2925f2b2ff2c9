"""Content hashes: equal content, equal hash, on any machine and in any session."""

from __future__ import annotations

import hashlib
import json


def canonical_json(value: object) -> str:
    """JSON text with sorted keys and no spare white space; refuses NaN and infinity (ValueError)."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def content_hash(value: object) -> str:
    """SHA-256 (hexadecimal) of the canonical JSON of `value`."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()
