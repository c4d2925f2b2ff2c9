"""A backend's drawings of the knee reach the page; a backend without any adds nothing."""

from __future__ import annotations

from pathlib import Path

from hwsim.api import explore
from hwsim.explore.run import Run
from hwsim.report.html import page
from hwsim.report.knee import knee_pictures


def test_a_backend_that_draws_nothing_adds_nothing(run: Run) -> None:
    assert knee_pictures(run) == ()
    assert "<object" not in page(run)


def test_the_optical_layout_is_drawn(tmp_path: Path) -> None:
    run = explore("optical4f", ["convsharevit_cifar"], budget=3, out=tmp_path / "run", seed=0)
    (picture,) = knee_pictures(run)
    assert picture.png.startswith(b"\x89PNG")
    assert "Optical layout" in page(run)
    assert "data:image/png;base64," in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
