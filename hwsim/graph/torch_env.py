"""Make `import timm` work with a CPU-only torch, in one place.

timm imports torchvision. A torchvision wheel built for CUDA cannot load its compiled operators against the CPU build
of torch, and its import stops at `operator torchvision::nms does not exist`. Declaring the schemas of the operators
that its Python code registers fake kernels for is enough: only detection models ever call them.
"""

from __future__ import annotations

import importlib
import importlib.util
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from hwsim.core.errors import CapabilityError

if TYPE_CHECKING:
    import torch

_SCHEMAS = tuple(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor" for name in ("nms", "qnms"))


@cache
def declare_torchvision_operators() -> torch.library.Library | None:
    """Declare torchvision's operators where its compiled library does not load; None where nothing needed mending.

    Must run before the first import of torchvision or timm. The cache keeps the fragment alive: torch forgets the
    schemas when it is collected.
    """
    import torch

    if _operators_load():
        return None
    fragment = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for schema in _SCHEMAS:
        fragment.define(schema)  # type: ignore[no-untyped-call]
    return fragment


def _operators_load() -> bool:
    """Whether torchvision is absent (nothing to mend) or its own library loads against this torch."""
    import torch

    package = importlib.util.find_spec("torchvision")
    if package is None or package.origin is None:
        return True
    libraries = [str(path) for path in Path(package.origin).parent.glob("_C.*")]
    try:
        for path in libraries:
            torch.ops.load_library(path)  # type: ignore[no-untyped-call]
    except OSError:
        return False
    return bool(libraries)


def import_timm() -> ModuleType:
    """timm, importable whatever the build of torch; CapabilityError if it is not installed."""
    declare_torchvision_operators()
    try:
        return importlib.import_module("timm")
    except ImportError as error:
        raise CapabilityError(
            f"timm cannot be imported: {error}", remedy="install with the constraints file: `make setup`"
        ) from error
