"""Search of design spaces. The room is also the function: `hwsim.explore(arch, workloads)` is `hwsim.api.explore`.

Importing a submodule binds the name `hwsim.explore` to this module, so the module itself has to answer the call.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


class _Room(ModuleType):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return import_module("hwsim.api").explore(*args, **kwargs)


sys.modules[__name__].__class__ = _Room
