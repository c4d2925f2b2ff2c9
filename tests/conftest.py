"""Shared by all tests: one graph cache per session, so that nothing a user has decides a test."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session", autouse=True)
def graph_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A graph cache of this session's own, shared by its xdist workers and by the commands tests start."""
    folder = tmp_path_factory.getbasetemp()
    folder = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "graph-cache"
    os.environ["HWSIM_CACHE_DIR"] = str(folder)
    return folder
