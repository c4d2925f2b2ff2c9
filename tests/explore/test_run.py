"""Whole explorations of the toy: what is written, what is resumed, what is refused, and that workers change nothing."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from hwsim.core.errors import HwsimError, UsageError
from hwsim.explore import run as run_module
from hwsim.explore.progress import Silent, Snapshot
from hwsim.explore.run import Interrupted, Run, explore, open_run
from hwsim.explore.store import JOURNAL, MANIFEST, Journal
from hwsim.spec.arch import Arch, load_arch
from hwsim.transforms.workload import Workload

from . import toy

WRITTEN = ("points.parquet", "pareto.csv", "spec.lock.yaml", "analysis.json")


class Recorder(Silent):
    """Keeps what an exploration says; `stop_at` raises Ctrl-C when so many designs are known."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.snapshots: list[Snapshot] = []
        self.notes: list[str] = []
        self.stop_at = stop_at

    def update(self, snapshot: Snapshot) -> None:
        self.snapshots.append(snapshot)
        if self.stop_at is not None and snapshot.designs >= self.stop_at:
            raise KeyboardInterrupt

    def note(self, text: str) -> None:
        self.notes.append(text)


def written(run: Run) -> dict[str, bytes]:
    return {name: (run.path / name).read_bytes() for name in WRITTEN}


def test_the_table_is_the_closed_form(arch: Arch, net: Workload, wide: Workload, tmp_path: Path) -> None:
    run = explore(arch, [net, wide], out=tmp_path / "run")
    frame = run.frame()
    assert len(frame) == 72 * 2
    assert run.manifest.identity.strategy == "grid"
    fits = frame[frame["resource"].isna()]
    deep = np.where(fits["array.pipeline"] == "deep", 2.0, 1.0)
    macs = fits["workload"].map({"gemm:net.csv": net.graph.macs, "gemm:wide.csv": wide.graph.macs})
    np.testing.assert_allclose(fits["latency_s"], macs / (fits["array.rows"] * fits["array.cols"] * 1e9 * deep))
    np.testing.assert_allclose(fits["energy_j"], macs * 1e-12 * deep + fits["memory.size"] * 1e-12)
    lacking = frame[frame["resource"].notna()]
    assert set(lacking["resource"]) == {"memory.size"}
    assert set(lacking["memory.size"]) == {128}  # both inputs, 256 B and 512 B, need more
    assert not lacking["pareto"].any()
    assert run.manifest.feasible == 48
    assert run.manifest.infeasible == {"memory.size": 24}


def test_the_front_holds_no_dominated_row(arch: Arch, net: Workload, wide: Workload, tmp_path: Path) -> None:
    run = explore(arch, [net, wide], out=tmp_path / "run")
    frame = run.frame()
    for name in ("gemm:net.csv", "gemm:wide.csv"):
        rows = frame[(frame["workload"] == name) & frame["resource"].isna()]
        front = run.pareto(name)
        assert front["latency_s"].is_monotonic_increasing
        for _, row in rows.iterrows():
            assert ((front["latency_s"] <= row["latency_s"]) & (front["energy_j"] <= row["energy_j"])).any()
    with pytest.raises(UsageError, match=r"workload 'other' is not in this run: one of gemm:net.csv, gemm:wide.csv"):
        run.pareto("other")


def test_maximised_and_derived_objectives(arch: Arch, net: Workload, tmp_path: Path) -> None:
    run = explore(arch, [net], objectives=["throughput_per_s", "edp_js", "area_mm2"], out=tmp_path / "run")
    front = run.pareto()
    assert front["throughput_per_s"].is_monotonic_decreasing
    np.testing.assert_allclose(front["edp_js"], front["energy_j"] * front["latency_s"])


@pytest.mark.parametrize("strategy", ["grid", "random", "sobol", "nsga2", "tpe"])
def test_any_number_of_workers_writes_the_same_bytes(
    strategy: str, arch: Arch, net: Workload, wide: Workload, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads stand for workers: they finish in any order, as workers do."""
    one = explore(arch, [net, wide], strategy=strategy, budget=40, jobs=1, out=tmp_path / "one")

    @contextmanager
    def threads(jobs: int | None, scheduler: str | None) -> Iterator[tuple[ThreadPoolExecutor, int]]:
        with ThreadPoolExecutor(3) as pool:
            yield pool, 6

    monkeypatch.setattr(run_module, "open_executor", threads)
    many = explore(arch, [net, wide], strategy=strategy, budget=40, jobs=3, out=tmp_path / "many")
    assert written(one) == written(many)
    assert one.manifest.designs == 40


def test_the_same_command_resumes_and_evaluates_nothing_twice(arch: Arch, net: Workload, tmp_path: Path) -> None:
    whole = explore(arch, [net], strategy="nsga2", budget=40, out=tmp_path / "whole")
    toy.COUNTED.clear()
    with pytest.raises(Interrupted, match=r"interrupted after \d+ of 40 designs; all are kept"):
        explore(arch, [net], strategy="nsga2", budget=40, out=tmp_path / "run", progress=Recorder(stop_at=20))
    assert json.loads((tmp_path / "run" / MANIFEST).read_text())["status"] == "interrupted"
    with pytest.raises(UsageError, match=r"is interrupted: \d+ of 40 designs"):
        open_run(tmp_path / "run")
    first = sum(toy.COUNTED)
    toy.COUNTED.clear()
    seen = Recorder()
    again = explore(arch, [net], strategy="nsga2", budget=40, out=tmp_path / "run", progress=seen)
    assert again.manifest.reused == first > 0
    assert again.manifest.designs == 40
    assert written(again) == written(whole)
    assert seen.snapshots[-1].reused == first


def test_a_finished_run_evaluates_nothing_again(arch: Arch, net: Workload, tmp_path: Path) -> None:
    run = explore(arch, [net], out=tmp_path / "run")
    again = explore(arch, [net], out=tmp_path / "run")
    assert again.manifest.reused == again.manifest.designs == 72
    assert written(run) == written(again)


def test_a_larger_budget_goes_on_where_the_smaller_ended(arch: Arch, net: Workload, tmp_path: Path) -> None:
    explore(arch, [net], strategy="sobol", budget=20, out=tmp_path / "run")
    run = explore(arch, [net], strategy="sobol", budget=50, out=tmp_path / "run")
    assert (run.manifest.designs, run.manifest.reused) == (50, 20)


def test_the_place_of_a_run_follows_from_what_it_is(
    arch: Arch, net: Workload, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first, second = explore(arch, [net], budget=80), explore(arch, [net], budget=80)
    other = explore(arch, [net], budget=80, sweeps={"array.rows": [8]})
    assert first.path == second.path != other.path
    assert first.path.parent == Path("runs")
    assert first.path.name.startswith("toy-")


def test_another_exploration_is_refused(arch: Arch, net: Workload, wide: Workload, tmp_path: Path) -> None:
    explore(arch, [net], out=tmp_path / "run")
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    with pytest.raises(UsageError, match=r"another exploration, which differs in workloads(?s:.*)--out"):
        explore(arch, [wide], out=tmp_path / "run")
    with pytest.raises(UsageError, match=r"differs in seed \(0 there, 1 here\)"):
        explore(arch, [net], out=tmp_path / "run", seed=1)
    with pytest.raises(UsageError, match=r"arch_hash"):
        explore(arch, [net], out=tmp_path / "run", sets={"mac": "2 pJ"})
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}


def test_a_folder_of_other_files_is_refused(arch: Arch, net: Workload, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match=r"holds other files \(thesis.tex\)"):
        explore(arch, [net], out=tmp_path / "run")


def test_a_place_that_cannot_be_written(arch: Arch, net: Workload, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot write .*toy.yaml/run: Not a directory(?s:.*)--out"):
        explore(arch, [net], out=tmp_path / "toy.yaml" / "run")


def test_a_directory_in_use_is_refused(arch: Arch, net: Workload, tmp_path: Path) -> None:
    run = explore(arch, [net], out=tmp_path / "run")
    journal = Journal(run.path, run.manifest.identity)
    try:
        with pytest.raises(UsageError, match=r"is in use by another exploration"):
            explore(arch, [net], out=tmp_path / "run")
    finally:
        journal.close()


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _overwrite(path: Path) -> None:
    path.write_bytes(b"not a database at all" * 99)


def _scribble(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-6000:-4000] = bytes(2000)
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("damage", [_truncate, _overwrite, _scribble])
def test_a_damaged_journal_is_recovered_as_far_as_it_is_whole(
    damage: Callable[[Path], None], arch: Arch, net: Workload, tmp_path: Path
) -> None:
    run = explore(arch, [net], strategy="random", budget=60, out=tmp_path / "run")
    before = written(run)
    damage(run.path / JOURNAL)
    broken = (run.path / JOURNAL).read_bytes()
    seen = Recorder()
    again = explore(arch, [net], strategy="random", budget=60, out=tmp_path / "run", progress=seen)
    assert written(again) == before
    assert again.manifest.reused < 60 or damage is _scribble
    assert "journal" in seen.notes[0]
    kept = list(run.path.glob("journal.damaged-*.sqlite"))
    assert not kept or kept[0].read_bytes() == broken


def test_a_record_that_was_changed_is_evaluated_again(arch: Arch, net: Workload, tmp_path: Path) -> None:
    run = explore(arch, [net], out=tmp_path / "run")
    before = written(run)
    with sqlite3.connect(run.path / JOURNAL) as connection:
        connection.execute("UPDATE points SET record = record || ' ' WHERE rowid < 4")
    connection.close()
    seen = Recorder()
    again = explore(arch, [net], out=tmp_path / "run", progress=seen)
    assert written(again) == before
    assert again.manifest.reused == 69
    assert seen.notes == ["3 journal records fail their checksum and are evaluated again"]


def read_everything(folder: Path) -> None:
    run = open_run(folder)
    run.frame()
    assert run.analysis


def test_damaged_files_of_a_finished_run(arch: Arch, net: Workload, tmp_path: Path) -> None:
    run = explore(arch, [net], out=tmp_path / "run")
    for name in ("points.parquet", "analysis.json", MANIFEST):
        copy = tmp_path / f"copy-{name}"
        shutil.copytree(run.path, copy)
        _truncate(copy / name)
        with pytest.raises(UsageError, match=rf"(?s){name}.*repeat the command"):
            read_everything(copy)
        assert written(explore(arch, [net], out=copy)) == written(run)
    with pytest.raises(UsageError, match=r"nowhere is not a run: it has no manifest.json"):
        open_run(tmp_path / "nowhere")


def test_a_failed_start_leaves_nothing(arch_text: str, net: Workload, tmp_path: Path) -> None:
    arch = load_arch(toy.write_arch(tmp_path, arch_text + 'constraints: ["array.rows > 99"]\n'))
    with pytest.raises(UsageError, match=r"no design meets the constraints: array.rows > 99"):
        explore(arch, [net], out=tmp_path / "deep" / "run")
    assert not (tmp_path / "deep").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objectives": ["latency"]}, r"objective 'latency' is not known(?s:.*)latency_s"),
        ({"objectives": ["energy_j", "energy_j"]}, r"given twice"),
        ({"strategy": "anneal"}, r"strategy 'anneal' is not known"),
        ({"budget": 0}, r"budget = 0"),
        ({"jobs": 0}, r"jobs = 0"),
        ({"scheduler": "tcp://127.0.0.1:1"}, r"no Dask scheduler answers at tcp://127.0.0.1:1"),
    ],
)
def test_options_that_cannot_be(
    options: dict[str, object], message: str, arch: Arch, net: Workload, tmp_path: Path
) -> None:
    with pytest.raises(HwsimError, match=message):
        explore(arch, [net], out=tmp_path / "run", **options)  # type: ignore[arg-type]
    assert not (tmp_path / "run").exists()


def test_no_workload_and_the_same_twice(arch: Arch, net: Workload) -> None:
    with pytest.raises(UsageError, match=r"toy names no workload"):
        explore(arch)
    with pytest.raises(UsageError, match=r"a workload is given twice"):
        explore(arch, [net, net])


def test_rules_between_fields_are_reasons(arch_text: str, net: Workload, tmp_path: Path) -> None:
    arch = load_arch(toy.write_arch(tmp_path, arch_text.replace("backend: toy", "backend: ruled")))
    run = explore(arch, [net], out=tmp_path / "run", sweeps={"array.rows": [8, 64], "memory.size": ["1 KiB"]})
    frame = run.frame()
    broken = frame[frame["resource"] == "spec"]
    assert set(broken["array.rows"]) == {64}
    assert set(broken["array.cols"]) == {8}
    assert broken["infeasible"].str.contains("at most 4 times as high as wide").all()
    assert len(frame[frame["resource"].isna()]) == 2 * 4 * 2 - 2


def test_a_backend_without_a_vectorised_sweep_gives_the_same(
    arch_text: str, arch: Arch, net: Workload, tmp_path: Path
) -> None:
    single = load_arch(toy.write_arch(tmp_path, arch_text.replace("backend: toy", "backend: single")))
    one, other = explore(arch, [net], out=tmp_path / "a"), explore(single, [net], out=tmp_path / "b")
    left, right = one.frame(), other.frame()
    assert left["resource"].isna().tolist() == right["resource"].isna().tolist()
    for name in ("latency_s", "energy_j"):
        np.testing.assert_allclose(left[name], right[name], rtol=1e-12)


def test_transform_axes_change_the_workload(arch: Arch, net: Workload, tmp_path: Path) -> None:
    work = net.with_values({"transforms": [{"quantize": {"activations": "int8"}}]})
    sweeps = {
        "workload.transforms.0.quantize.activations": ["int4", "float32"],
        "array.rows": [8],
        "memory.size": ["128 B", "1 KiB"],
    }
    frame = explore(arch, [work], out=tmp_path / "run", sweeps=sweeps).frame()
    fits = frame[frame["memory.size"] == 128].groupby("workload.transforms.0.quantize.activations")["resource"]
    assert fits.apply(lambda part: part.isna().all()).to_dict() == {"float32": False, "int4": True}


def test_the_lock_loads_to_the_same_spec_and_search(arch: Arch, net: Workload, tmp_path: Path) -> None:
    run = explore(arch, [net], out=tmp_path / "run", sweeps={"array.rows": [8]}, sets={"array.clock": "1.5 GHz"})
    locked = load_arch(run.path / "spec.lock.yaml")
    wanted = arch.with_values({"array.clock": "1.5 GHz"})
    assert locked.spec.model_copy(update={"search": wanted.spec.search}) == wanted.spec
    assert locked.spec.search["array.rows"] == [8]
    assert locked.sources["memory.size"].source == "a data sheet"


def test_no_pickle_in_the_run_directory(arch: Arch, net: Workload, tmp_path: Path) -> None:
    run = explore(arch, [net], out=tmp_path / "run")
    assert sorted(path.name for path in run.path.iterdir()) == sorted([*WRITTEN, MANIFEST, JOURNAL])


def test_the_next_command_carries_units(arch: Arch, net: Workload, tmp_path: Path) -> None:
    run = explore(arch, [net], out=tmp_path / "run")
    words = run.next_command()
    assert words.startswith("hwsim estimate ")
    assert "--set 'memory.size=1024 B'" in words


def test_per_sample_objectives_follow_a_searched_batch(arch: Arch, net: Workload, tmp_path: Path) -> None:
    sweeps = {"workload.input.batch": [1, 4], "memory.size": ["1 MiB"]}
    objectives = ["latency_s", "energy_per_sample_j"]
    run = explore(arch, [net], out=tmp_path / "run", objectives=objectives, sweeps=sweeps, strategy="grid")
    frame = run.frame()
    assert set(frame["workload.input.batch"]) == {1, 4}
    np.testing.assert_allclose(frame["energy_per_sample_j"], frame["energy_j"] / frame["workload.input.batch"])
    np.testing.assert_allclose(frame["throughput_per_s"], frame["workload.input.batch"] / frame["latency_s"])
    assert set(run.pareto()["workload.input.batch"]) == {1, 4}  # the larger batch shares the buffer's energy
