"""The published oracles as fixtures."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.optical4f_physics.oracles import Golden

PUBLISHED = Path(__file__).parent / "published"


@pytest.fixture(scope="session")
def golden() -> Golden:
    given = np.load(PUBLISHED / "input_N512_padded.npz")
    exact = np.load(PUBLISHED / "expected_N512_exact.npz")
    finite = np.load(PUBLISHED / "expected_N512_finite.npz")
    return Golden(
        torch.from_numpy(given["image_u8"] / 255.0),
        {"k3": torch.from_numpy(given["K3"]), "k7": torch.from_numpy(given["K7"])},
        {name: torch.from_numpy(exact[f"field_{name}"]) for name in ("k3", "k7")},
        {name: torch.from_numpy(finite[name]).to(torch.complex128) for name in finite.files},
    )


@pytest.fixture(scope="session")
def closed_forms() -> dict[str, tuple[float, float]]:
    """Value and relative tolerance by id."""
    with (PUBLISHED / "closed_forms.csv").open() as file:
        return {row["id"]: (float(row["value"]), float(row["tolerance_rel"])) for row in csv.DictReader(file)}
