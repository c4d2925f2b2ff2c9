"""`hwsim doctor`: what this machine can do, and what each missing part disables."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from hwsim.cli.options import Format
from hwsim.cli.output import Row, console, print_csv, print_json, table

_PACKAGES = {
    "torch": "capture, execution",
    "torchvision": "timm",
    "timm": "timm: sources",
    "numba": "compiled mappers and event loops",
    "optuna": "explore",
    "pyarrow": "points.parquet",
    "plotly": "report.html",
    "matplotlib": "pareto.png",
    "safetensors": "weights of execute",
    "scikit-learn": "execute --data digits",
    "distributed": "explore --scheduler",
    "nvidia-ml-py": "measure",
}


def run(*, format: Format = "table") -> int:
    """Check the installation and say what each missing part disables."""
    rows = [_python(), *(_package(name, use) for name, use in _PACKAGES.items()), _torchvision(), _gpu(), _cache()]
    if format == "json":
        print_json(rows)
    elif format == "csv":
        print_csv(rows)
    else:
        columns = ["part", "state", "detail"]
        console().print(table("", columns, ([row[c] for c in columns] for row in rows)))
    return 0


def _row(part: str, ok: bool, detail: str) -> Row:
    return {"part": part, "state": "ok" if ok else "missing", "detail": detail}


def _python() -> Row:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return _row("python", True, f"{platform.python_version()} on {platform.machine()}, {cores} cores")


def _package(name: str, use: str) -> Row:
    try:
        return _row(name, True, version(name))
    except PackageNotFoundError:
        return _row(name, False, f"disables: {use}; pip install {name}")


def _torchvision() -> Row:
    if find_spec("torch") is None or find_spec("torchvision") is None:
        return _row("torchvision operators", False, "torch or torchvision is not installed")
    from hwsim.graph.torch_env import declare_torchvision_operators

    declared = declare_torchvision_operators() is not None
    text = (
        "declared by hwsim, as they do not load on this build: detection operators do not run" if declared else "loaded"
    )
    return _row("torchvision operators", True, text)


def _gpu() -> Row:
    import torch

    if torch.cuda.is_available():
        return _row("GPU", True, torch.cuda.get_device_name(0))
    return _row("GPU", False, "disables: measure; everything else runs on the CPU")


def _cache() -> Row:
    from hwsim.graph.cache import cache_dir

    folder = Path(cache_dir())
    parent = next(p for p in (folder, *folder.parents) if p.exists())
    writable = os.access(parent, os.W_OK)
    return _row(
        "graph cache", writable, str(folder) if writable else f"{folder} is not writable: graphs are recaptured"
    )
