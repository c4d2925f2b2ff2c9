"""What a user gets wrong: each gives one clear error with the design's exit code, and loses nothing."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from .conftest import Command

ARCH = "optical4f"
WORK = "zoo:convsharevit"
EXPLORE = ("explore", ARCH, "-w", "gemm.csv", "-j", "1")

FILES = {
    "gemm.csv": "name, M, N, K\nfc1, 16, 32, 64,\n",
    "bad.csv": "name, M, N, K\nfc1, 16, x, 64,\n",
    "zero.csv": "name, M, N, K\nfc1, 16, 0, 64,\n",
    "empty.yaml": "",
    "broken.yaml": "schema: hwsim/arch/1\nbackend: [optical4f\n",
    "nan.yaml": "schema: hwsim/arch/1\nbackend: optical4f\ninput: {frame_rate: .nan}\n",
    "twice.yaml": "schema: hwsim/arch/1\nbackend: optical4f\nbackend: systolic\n",
    "list.yaml": "- 1\n- 2\n",
    "nobackend.yaml": "schema: hwsim/arch/1\n",
    "typo.yaml": "schema: hwsim/arch/1\nbackend: optical4\n",
    "unknown.yaml": "schema: hwsim/arch/1\nbackend: optical4f\nfrobnicate: 3\n",
    "work.yaml": "schema: hwsim/workload/1\nmodel: zoo:convsharevit\ntransforms: [{quantise: {}}]\n",
    "format.yaml": "schema: hwsim/workload/1\nmodel: gemm:gemm.csv\ntransforms: [{quantize: {weights: int99}}]\n",
    "option.yaml": "schema: hwsim/workload/1\nmodel: gemm:gemm.csv\ntransforms: [{quantize: {wieghts: int8}}]\n",
    "batch.yaml": "schema: hwsim/workload/1\nmodel: gemm:gemm.csv\ninput: {batch: 0}\n",
}

# (the command, its exit code, what stderr must say)
CASES: dict[str, tuple[tuple[str, ...], int, str]] = {
    "unknown command": (("estimat", ARCH, WORK), 2, r"estimat.*[Dd]id you mean.*estimate"),
    "missing argument": (("estimate", ARCH), 2, r"WORKLOAD|workload"),
    "unknown option": (("estimate", ARCH, WORK, "--bach", "2"), 2, r"--bach"),
    "bad choice": (("list", "arch"), 2, r"archs"),
    "bad format": (("list", "archs", "--format", "xml"), 2, r"xml.*table"),
    "batch is no number": (("estimate", ARCH, WORK, "--batch", "two"), 2, r"two.*int"),
    "batch below one": (
        ("estimate", ARCH, "gemm:gemm.csv", "--batch", "0"),
        2,
        r"--batch.*input.batch = 0: must be .*1 or more",
    ),
    "unknown arch": (("estimate", "optical4g", WORK), 2, r"arch 'optical4g' does not exist[\s\S]*optical4f"),
    "missing arch file": (("estimate", "no/such.yaml", WORK), 2, r"arch 'no/such.yaml' does not exist"),
    "arch is a folder": (("estimate", ".", WORK), 2, r"is a folder"),
    "empty file": (("estimate", "empty.yaml", WORK), 2, r"empty.yaml.*is empty"),
    "malformed YAML": (("estimate", "broken.yaml", WORK), 2, r"broken.yaml:\d+:\d+ .*not valid YAML"),
    "NaN": (("estimate", "nan.yaml", WORK), 2, r"nan.yaml:3:21 .*NaN is not a value"),
    "a key twice": (("estimate", "twice.yaml", WORK), 2, r"twice.yaml:3:1 .*'backend' is given twice"),
    "not a mapping": (("estimate", "list.yaml", WORK), 2, r"list.yaml.*is not an arch"),
    "no backend": (("estimate", "nobackend.yaml", WORK), 2, r"backend is missing.*optical4f"),
    "unknown backend": (
        ("estimate", "typo.yaml", WORK),
        2,
        r"typo.yaml:2:10 .*'optical4'[\s\S]*did you mean `optical4f`",
    ),
    "unknown key": (("estimate", "unknown.yaml", WORK), 2, r"unknown.yaml:3:1 .*frobnicate is not a known key"),
    "set without value": (("estimate", ARCH, WORK, "--set", "optics.laser_power"), 2, r"has no `=`"),
    "set of an unknown key": (
        ("estimate", ARCH, WORK, "--set", "hots.x.power=1 W"),
        2,
        r"--set hots.x.power=1 W .*hots is not a known key[\s\S]*did you mean `hosts`",
    ),
    "set twice": (("estimate", ARCH, WORK, "--set", "a=1", "--set", "a=2"), 2, r"--set a is given twice"),
    "unknown workload": (("estimate", ARCH, "deit_smal"), 2, r"workload 'deit_smal' does not exist[\s\S]*deit_small"),
    "unknown scheme": (("show", "tim:deit"), 2, r"scheme 'tim' is not known.*timm:"),
    "unknown timm model": (
        ("show", "timm:deit_smal_patch16_224"),
        2,
        r"deit_smal_patch16_224[\s\S]*deit_small_patch16_224",
    ),
    "retired timm model": (
        ("show", "timm:tv_resnet101"),
        2,
        r"timm has no model 'tv_resnet101'[\s\S]*did you mean `timm:",
    ),
    "unknown zoo model": (("show", "zoo:convshare"), 2, r"'convshare'[\s\S]*convsharevit"),
    "bad input shape": (("show", "gemm:gemm.csv", "--input", "3x224xA"), 2, r"--input '3x224xA' is not a shape"),
    "missing CSV": (("show", "gemm:none.csv"), 2, r"none.csv"),
    "bad cell in CSV": (("show", "gemm:bad.csv"), 2, r"bad.csv:2:10 .*N = x: must be a whole number"),
    "zero in CSV": (("show", "gemm:zero.csv"), 2, r"zero.csv:2:10 .*N = 0: must be"),
    "missing pt2": (("show", "pt2:none.pt2"), 2, r"none.pt2"),
    "unknown transform": (("show", "work.yaml"), 2, r"'quantise'[\s\S]*did you mean `quantize`"),
    "unknown number format": (("show", "format.yaml"), 2, r"int99.*not known"),
    "unknown transform option": (
        ("show", "option.yaml"),
        2,
        r"wieghts is not a known key[\s\S]*did you mean `weights`",
    ),
    "batch of zero in a file": (("show", "batch.yaml"), 2, r"batch.yaml:3:16 .*input.batch = 0: must be"),
    "unknown op": (("explain", ARCH, "gemm:gemm.csv", "fc2"), 2, r"no op 'fc2'[\s\S]*fc1"),
    "unknown objective": ((*EXPLORE, "--objectives", "latency,energy_j"), 2, r"latency[\s\S]*latency_s"),
    "unknown strategy": ((*EXPLORE, "--strategy", "anneal"), 2, r"anneal[\s\S]*nsga2"),
    "budget below one": ((*EXPLORE, "--budget", "0"), 2, r"budget.*0"),
    "absurdly large sweep": (
        (
            "explore",
            ARCH,
            "-w",
            "gemm:gemm.csv",
            "--strategy",
            "grid",
            "--sweep",
            "optics.laser_power={low: 1 W, high: 2 W, step: 1 nW}",
        ),
        2,
        r"designs",
    ),
    "sweep without values": ((*EXPLORE, "--sweep", "optics.laser_power="), 2, r"has no values"),
    "sweep of an unknown key": ((*EXPLORE, "--sweep", "hots.x.power=1 W,2 W"), 2, r"hots"),
    "sweep of a bad value": ((*EXPLORE, "--sweep", "optics.laser_power=1 W,2 kg"), 2, r"optics.laser_power.*2 kg"),
    "report of no run": (("report", "nowhere"), 2, r"nowhere"),
    "trace into a missing folder": (("estimate", ARCH, "gemm:gemm.csv", "--trace", "no/such/t.json"), 2, r"no/such"),
}


@pytest.fixture
def bad_files(hwsim: Command, tmp_path: Path) -> None:
    """The bad files, in the working directory of the command."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.usefixtures("bad_files")
def test_one_clear_error_and_nothing_lost(case: str, hwsim: Command, tmp_path: Path) -> None:
    words, code, pattern = CASES[case]
    words = tuple("gemm:gemm.csv" if word == "gemm.csv" else word for word in words)
    before = sorted(path.name for path in tmp_path.iterdir())
    outcome = hwsim(*words)
    flat = re.sub(r"\s*[│╭╮╰╯─]+\s*", " ", outcome.err)
    assert outcome.code == code, outcome
    assert re.search(pattern, flat), outcome.err
    assert "Traceback" not in outcome.err
    assert outcome.out == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == before, "a failed command must leave nothing behind"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
@pytest.mark.usefixtures("bad_files")
def test_unwritable_out_dir(hwsim: Command, tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    outcome = hwsim("explore", ARCH, "-w", "gemm:gemm.csv", "--budget", "4", "--out", str(locked / "run"))
    assert (outcome.code, outcome.out) == (2, "")
    assert "locked" in outcome.err


@pytest.mark.usefixtures("bad_files")
def test_out_dir_below_a_file(hwsim: Command, tmp_path: Path) -> None:
    outcome = hwsim(
        "explore", ARCH, "-w", "gemm:gemm.csv", "--budget", "4", "--out", str(tmp_path / "gemm.csv" / "run")
    )
    assert outcome.code == 2
    assert "gemm.csv" in outcome.err
    assert "Traceback" not in outcome.err
