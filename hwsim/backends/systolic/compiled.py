"""The kernels as machine code: the same source, handed to numba when a sweep asks for it.

The kernels are plain functions of scalars. `compiled` follows the plain functions that one calls and compiles them
all, so that one estimate needs no numba (whose import alone would take most of its time) and a sweep runs at full
speed, from one text. numba's disk cache looks at one file only; the hash of all kernel sources in the function's name
keeps it from serving stale code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from importlib import resources
from types import FunctionType
from typing import Any

_PACKAGE = __name__.rpartition(".")[0]


@cache
def _digest() -> str:
    text = hashlib.sha256()
    for file in sorted(resources.files(_PACKAGE).iterdir(), key=lambda item: item.name):
        if file.name.endswith(".py"):
            text.update(file.read_bytes())
    return text.hexdigest()[:12]


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The numba version of a plain scalar function of this package, its callees compiled with it."""
    return _compiled(function, False)


@cache
def _compiled(function: Callable[..., Any], inner: bool) -> Callable[..., Any]:
    """The numba version of a function; an `inner` one is called by compiled code only."""
    import numba

    if not isinstance(function, FunctionType):
        raise TypeError(f"{function!r} is not a plain function")
    scope = dict(function.__globals__)
    for name in function.__code__.co_names:
        callee = scope.get(name)
        if isinstance(callee, FunctionType) and callee.__module__.startswith(_PACKAGE):
            scope[name] = _compiled(callee, True)
    twin = FunctionType(function.__code__, scope, function.__name__, function.__defaults__, function.__closure__)
    twin.__qualname__ = f"{function.__qualname__}_{'inner' if inner else 'entry'}_{_digest()}"
    twin.__module__ = function.__module__
    # Without inlining, each call would pass tuples of a hundred numbers through memory, at half the speed. Wrappers
    # that take such tuples apart for Python would be a third of all compilation.
    wrappers: dict[str, Any] = {"no_cpython_wrapper": inner, "no_cfunc_wrapper": True}
    decorate = numba.njit(cache=True, nogil=True, error_model="numpy", forceinline=True, **wrappers)
    result: Callable[..., Any] = decorate(twin)
    return result
