"""`hwsim.explore` is a room and a function, in whatever order they are reached."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("first", ["", "import hwsim.explore.run", "from hwsim.explore import pareto", "hwsim.explore"])
def test_the_room_can_be_called(first: str) -> None:
    probe = f"""
import hwsim
from hwsim.core.errors import SpecError
{first}
try:
    hwsim.explore("no_such_arch")
except SpecError as error:
    assert "no_such_arch" in str(error)
else:
    raise AssertionError("no error")
import hwsim.explore.run
assert callable(hwsim.explore.run.explore)
"""
    subprocess.run([sys.executable, "-c", probe], check=True)
