"""Studies: reproducible comparisons whose figures are committed, so that drift is seen.

A study is a folder `studies/NAME` with `study.py`, which defines `run(out: Path) -> Mapping[str, float]`: it writes its
tables and pictures into `out` and returns the figures it stands for. `figures.json` holds the committed figures with
the relative tolerance of each: `{"figures": {"name": {"value": 1.2, "rel": 0.01}}}`.
"""

from __future__ import annotations

import importlib.util
import json
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from hwsim.core.errors import SpecError
from hwsim.core.files import write_atomic
from hwsim.core.names import nearest

#: What a new figure may move by before it is called drift.
DEFAULT_REL = 1e-6


@dataclass(frozen=True)
class Figure:
    """One committed figure beside the one computed now; `value` is None if the study no longer gives it."""

    name: str
    expected: float | None
    value: float | None
    rel: float

    @property
    def ok(self) -> bool:
        if self.expected is None or self.value is None:
            return False
        return math.isclose(self.value, self.expected, rel_tol=self.rel, abs_tol=1e-300)


def list_studies() -> dict[str, Path]:
    """Name -> folder of every study in the working directory or beside the package."""
    roots = [Path("studies"), Path(__file__).resolve().parents[2] / "studies"]
    found: dict[str, Path] = {}
    for root in roots:
        for path in sorted(root.glob("*/study.py")):
            found.setdefault(path.parent.name, path.parent)
    return found


def find_study(name: str) -> Path:
    """The folder of a study; SpecError lists what exists."""
    known = list_studies()
    if name not in known:
        listed = "one of " + ", ".join(known) if known else "none found"
        raise SpecError(f"study {name!r} does not exist", expected=listed, remedy=nearest(name, known))
    return known[name]


def run_study(folder: Path, out: Path) -> dict[str, float]:
    """Run a study; its tables and pictures go to `out`."""
    out.mkdir(parents=True, exist_ok=True)
    return {name: float(value) for name, value in _module(folder).run(out).items()}


def compare(folder: Path, values: Mapping[str, float]) -> list[Figure]:
    """The committed figures beside `values`, and any that are new."""
    committed = _committed(folder)
    figures = [Figure(name, row["value"], values.get(name), row["rel"]) for name, row in committed.items()]
    return figures + [Figure(name, None, v, DEFAULT_REL) for name, v in values.items() if name not in committed]


def accept(folder: Path, values: Mapping[str, float]) -> None:
    """Commit `values` as the study's figures; tolerances stay."""
    committed = _committed(folder)
    rows = {name: {"value": v, "rel": committed.get(name, {}).get("rel", DEFAULT_REL)} for name, v in values.items()}
    write_atomic(folder / "figures.json", json.dumps({"figures": rows}, indent=1) + "\n")


def _committed(folder: Path) -> dict[str, dict[str, float]]:
    file = folder / "figures.json"
    if not file.exists():
        return {}
    figures: dict[str, dict[str, float]] = json.loads(file.read_text(encoding="utf-8"))["figures"]
    return figures


def _module(folder: Path) -> ModuleType:
    name = f"hwsim_study_{folder.name}"
    spec = importlib.util.spec_from_file_location(name, folder / "study.py")
    if spec is None or spec.loader is None:
        raise SpecError(f"{folder / 'study.py'} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    # Registered so that what the study defines can cross a process border.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
