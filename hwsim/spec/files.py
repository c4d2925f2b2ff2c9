"""Where spec files are: the path a user gave, the working directory, or the files shipped with the package."""

from __future__ import annotations

from pathlib import Path

from hwsim.core.errors import SpecError
from hwsim.core.names import nearest

_PACKAGE = Path(__file__).resolve().parent.parent


def spec_roots(folder: str) -> list[Path]:
    """Folders searched for bare names: `./folder`, then the one shipped (beside the package in a checkout)."""
    candidates = [Path(folder), _PACKAGE / "_data" / folder, _PACKAGE.parent / folder]
    return [root for root in candidates if root.is_dir()]


def list_specs(folder: str) -> dict[str, Path]:
    """Bare name -> file of every shipped or local spec; nested folders are part of the name."""
    found: dict[str, Path] = {}
    for root in spec_roots(folder):
        for path in sorted(root.rglob("*.yaml")):
            found.setdefault(path.relative_to(root).with_suffix("").as_posix(), path)
    return found


def find_spec(name: str, folder: str, what: str) -> Path:
    """The file a user named: a path, or the bare name (with or without its sub-folder) of a known spec."""
    path = Path(name)
    if path.is_file():
        return path
    if path.is_dir():
        raise SpecError(f"{name} is a folder", expected=f"one {what} file", remedy=f"`hwsim list {what}s` lists them")
    known = list_specs(folder)
    bare = name.removesuffix(".yaml").removeprefix(f"{folder}/")
    matches = [key for key in known if key == bare or key.rsplit("/", 1)[-1] == bare]
    if len(matches) == 1 or bare in matches:
        return known[bare if bare in matches else matches[0]]
    if matches:
        raise SpecError(f"{what} {name!r} is ambiguous", expected="one of " + ", ".join(matches))
    remedy = nearest(bare, [*known, *(key.rsplit("/", 1)[-1] for key in known)])
    raise SpecError(f"{what} {name!r} does not exist", remedy=remedy or f"`hwsim list {what}s` lists what does")
