"""Measure workloads on a real board: build, warm up, run in fixed windows, write one row each."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from hwsim.core.errors import UsageError
from hwsim.core.hashing import content_hash
from hwsim.graph.sources import parse_source
from hwsim.measure.device import Device, open_device
from hwsim.measure.rows import Record, write_records
from hwsim.measure.window import Measured, Protocol, measure_work
from hwsim.transforms.workload import Workload, load_workload

PRECISIONS = ("fp32", "tf32", "fp16", "bf16", "amp_fp16", "amp_bf16")
MODES = ("eager", "compiled")


def measure(
    workloads: Sequence[str], out: Path, device: str = "cuda:0", batches: Sequence[int] = (1,),
    precisions: Sequence[str] = ("amp_fp16",), mode: str = "eager", protocol: Protocol | None = None,
    progress: Callable[[str], None] | None = None,
) -> list[Record]:  # fmt: skip
    """Measure every workload at every batch and precision; `out` is rewritten after each row, so a stop loses nothing.

    A batch that does not fit in memory is skipped and said to `progress`. Raises CapabilityError (exit 4) without a
    GPU, UsageError for a precision, mode or device that is not known or a workload with transforms.
    """
    _check(precisions, mode)
    board = open_device(device)  # before anything is built: a machine without a GPU says so at once
    say = progress or (lambda text: None)
    _make_folder(out)
    loaded = [_loaded(name) for name in workloads]  # a wrong last name must not cost the measurements before it
    records: list[Record] = []
    for name, workload in zip(workloads, loaded, strict=True):
        for precision in precisions:
            for batch in batches:
                say(f"{name}, batch {batch}, {precision}")
                measured = _on_board(workload, board, batch, precision, mode, protocol or Protocol())
                if measured is None:
                    say(f"{name}, batch {batch}, {precision}: does not fit in memory, skipped")
                    continue
                records.append(record_of(workload, measured, board, batch, precision, mode, software_versions()))
                write_records(out, records)
    return records


def _make_folder(out: Path) -> None:
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{out.parent} cannot be made: {error}") from error


def _loaded(name: str) -> Workload:
    """The workload with its graph captured, which its record needs."""
    workload = load_workload(name)
    if workload.spec.transforms:
        raise UsageError(
            f"{name} has transforms",
            expected="a model as torch runs it",
            remedy="write the changed model as a module and name it `torch:package.module:callable`",
        )
    if parse_source(workload.spec.model).scheme == "gemm":
        raise UsageError(f"{name} is a list of matrix products", expected="a model that torch can run")
    _ = workload.graph
    return workload


def _check(precisions: Sequence[str], mode: str) -> None:
    for precision in precisions:
        if precision not in PRECISIONS:
            raise UsageError(f"precision {precision!r}", got=precision, expected="one of " + ", ".join(PRECISIONS))
    if mode not in MODES:
        raise UsageError(f"mode {mode!r}", got=mode, expected="one of " + ", ".join(MODES))


def record_of(
    workload: Workload, measured: Measured, device: Device, batch: int, precision: str, mode: str, software: str
) -> Record:
    """The row of a measurement: figures, spread and provenance."""
    identity = device.identity()
    graph = workload.graph
    return Record(
        workload=workload.name, source=workload.spec.model, input_size=_chosen_size(workload), batch=batch,
        precision=precision, mode=mode,
        latency_s=measured.latency_s, latency_sd_s=measured.latency_sd_s, energy_j=measured.energy_j,
        energy_sd_j=measured.energy_sd_j, power_w=measured.power_w, idle_w=measured.idle_w,
        clock_hz=measured.clock_hz, temperature_c=measured.temperature_c,
        window_s=sum(window.seconds for window in measured.windows) / len(measured.windows),
        repeats=len(measured.windows), device=identity.name, driver=identity.driver,
        power_limit_w=identity.power_limit_w, energy_source=identity.energy_source, software=software,
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        workload_hash=content_hash([graph.name, graph.macs, graph.params, list(graph.input_shape)]),
    )  # fmt: skip


def _chosen_size(workload: Workload) -> int | None:
    return workload.spec.input.shape[-1] if workload.spec.input.shape else None


def software_versions() -> str:
    """What ran the model: hwsim, torch and its CUDA."""
    from importlib.metadata import version

    import torch

    return f"hwsim {version('hwsim')}, torch {torch.__version__}, CUDA {torch.version.cuda}"


def _on_board(
    workload: Workload, board: Device, batch: int, precision: str, mode: str, protocol: Protocol
) -> Measured | None:
    """Build the model on the board and measure its forward pass; None if it does not fit in memory."""
    import torch

    try:
        return measure_work(board, _forward(workload, board.place(), batch, precision, mode), protocol)
    except torch.cuda.OutOfMemoryError:
        return None
    finally:
        torch.cuda.empty_cache()


def _forward(workload: Workload, place: str, batch: int, precision: str, mode: str) -> Callable[[], object]:
    """One forward pass on random data in the given precision, without gradients."""
    import torch

    from hwsim.graph.sources import build_module

    shape = workload.graph.input_shape[1:]
    module = build_module(workload.spec.model, shape).to(place)
    kind = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(precision, torch.float32)
    module = module.to(kind)
    data = torch.randn((batch, *shape), device=place, dtype=kind)
    model = torch.compile(module) if mode == "compiled" else module
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = True  # as PyTorch ships it: fp32 products stay in fp32, convolutions do not
    torch.backends.cudnn.benchmark = True  # the same kernels in every window

    def forward() -> object:
        with torch.inference_mode(), _autocast(place, precision):
            return model(data)

    return forward


def _autocast(place: str, precision: str) -> AbstractContextManager[object]:
    import torch

    if not precision.startswith("amp_"):
        return nullcontext()
    return torch.autocast(place.partition(":")[0], {"amp_fp16": torch.float16, "amp_bf16": torch.bfloat16}[precision])
