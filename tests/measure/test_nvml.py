"""`measure` from end to end on a stand-in for NVML and CUDA: what runs on a GPU runs here, on the CPU in fake time."""

from __future__ import annotations

import itertools
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from hwsim.core.errors import CapabilityError, UsageError
from hwsim.measure import device as device_module
from hwsim.measure import run as run_module
from hwsim.measure.compare import compare
from hwsim.measure.device import NvmlDevice, PowerSampler
from hwsim.measure.rows import read_measured
from hwsim.measure.run import measure
from hwsim.spec.arch import load_arch

POWER_W, IDLE_W, CALL_S = 200.0, 60.0, 0.25

NET = """
import torch

class Net(torch.nn.Module):
    input_shape = (3, 8, 8)

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Conv2d(3, 4, 3)

    def forward(self, x):
        calls.append((x.shape, x.dtype))
        return self.layer(x).mean((2, 3))

class TooLarge(Net):
    def forward(self, x):
        if x.shape[0] > 1:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return super().forward(x)

calls = []
"""


class Board:
    """Fake time that work and sleep advance, and the energy that passes meanwhile."""

    def __init__(self) -> None:
        self.now_s = self.energy_j = 0.0
        self.pending = 0

    def work(self) -> None:
        self.pending += 1

    def synchronize(self, index: int) -> None:
        assert index == 0
        self._pass(self.pending * CALL_S, POWER_W)
        self.pending = 0

    def sleep(self, seconds: float) -> None:
        self._pass(seconds, IDLE_W)

    def _pass(self, seconds: float, power_w: float) -> None:
        self.now_s += seconds
        self.energy_j += power_w * seconds


class FakeNvml(types.ModuleType):
    """The calls of nvidia-ml-py that the device makes, by its names."""

    NVML_CLOCK_SM, NVML_TEMPERATURE_GPU, NVML_FI_DEV_POWER_INSTANT, NVML_DEVICE_MIG_ENABLE = 1, 0, 186, 1

    class NVMLError(Exception):
        pass

    class NVMLError_NotSupported(NVMLError):  # noqa: N801  (the package's own name)
        pass

    def __init__(self, board: Board, counter: bool = True, mig: int | None = 0) -> None:
        super().__init__("pynvml")
        self.board, self.counter, self.mig = board, counter, mig

    def nvmlInit(self) -> None: ...

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        if uuid != "GPU-1234":
            raise self.NVMLError("Not Found")
        return "handle"

    def nvmlDeviceGetMigMode(self, handle: str) -> tuple[int, int]:
        if self.mig is None:
            raise self.NVMLError_NotSupported("Not Supported")
        return self.mig, 0

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> int:
        if not self.counter:
            raise self.NVMLError_NotSupported("Not Supported")
        return round(self.board.energy_j * 1e3)

    def nvmlDeviceGetFieldValues(self, handle: str, fields: list[int]) -> list[types.SimpleNamespace]:
        assert fields == [self.NVML_FI_DEV_POWER_INSTANT]
        return [types.SimpleNamespace(value=types.SimpleNamespace(uiVal=150_000))]

    def nvmlDeviceGetClockInfo(self, handle: str, clock: int) -> int:
        return 1200

    def nvmlDeviceGetTemperature(self, handle: str, sensor: int) -> int:
        return 55

    def nvmlDeviceGetName(self, handle: str) -> str:
        return "NVIDIA Fake 100"

    def nvmlSystemGetDriverVersion(self) -> str:
        return "600.1"

    def nvmlDeviceGetEnforcedPowerLimit(self, handle: str) -> int:
        return 250_000


Install = Callable[..., Board]


def opened() -> NvmlDevice:
    """The board, as if CUDA were there; only while it opens, for capture must not believe it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: True)
        return NvmlDevice(0)


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Install:
    """Put the stand-ins in place; the module `fake_net` counts as work on the board whenever it runs."""

    def put(**options: object) -> Board:
        board = Board()
        monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(board, **options))  # type: ignore[arg-type]
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: types.SimpleNamespace(uuid="1234"))
        monkeypatch.setattr(torch.cuda, "synchronize", board.synchronize)
        monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
        monkeypatch.setattr(NvmlDevice, "place", lambda self: "cpu")
        monkeypatch.setattr(run_module, "open_device", lambda name: opened())
        clock = types.SimpleNamespace(perf_counter=lambda: board.now_s, sleep=board.sleep)
        monkeypatch.setattr(device_module, "time", clock)
        (tmp_path / "fake_net.py").write_text(NET)
        monkeypatch.chdir(tmp_path)
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.delitem(sys.modules, "fake_net", raising=False)
        import fake_net

        call = fake_net.Net.forward

        def counted(self: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
            board.work()
            result: torch.Tensor = call(self, x)
            return result

        monkeypatch.setattr(fake_net.Net, "forward", counted)
        return board

    return put


def test_a_torch_module_is_run_and_its_row_compared(install: Install, tmp_path: Path) -> None:
    install()
    out = tmp_path / "rows.csv"
    said: list[str] = []
    records = measure(
        ["torch:fake_net:Net"], out, batches=(1, 4), precisions=("fp32", "bf16", "amp_bf16"), progress=said.append
    )
    assert [(r.precision, r.batch) for r in records] == list(itertools.product(("fp32", "bf16", "amp_bf16"), (1, 4)))
    for record in records:
        assert record.latency_s == pytest.approx(CALL_S)
        assert record.power_w == pytest.approx(POWER_W, rel=1e-3)
        assert record.energy_j == pytest.approx(POWER_W * CALL_S, rel=1e-3)
        assert record.idle_w == pytest.approx(IDLE_W, rel=1e-3)
        assert (record.clock_hz, record.temperature_c, record.repeats) == (1.2e9, 55.0, 3)
        assert record.window_s >= 5
        assert record.energy_source == "nvmlDeviceGetTotalEnergyConsumption"
        assert (record.device, record.driver, record.power_limit_w) == ("NVIDIA Fake 100", "600.1", 250.0)
    import fake_net

    assert {(tuple(shape), dtype) for shape, dtype in fake_net.calls} >= {
        ((4, 3, 8, 8), torch.float32), ((4, 3, 8, 8), torch.bfloat16), ((1, 3, 8, 8), torch.float32),
    }  # fmt: skip
    rows = read_measured(out)
    assert [row.batch for row in rows] == [record.batch for record in records]
    result = compare(load_arch("a100_pcie_40gb"), out)
    assert len(result.rows) == len(records)
    assert result.summary("power") is not None


def test_a_batch_that_does_not_fit_is_said_and_skipped(install: Install, tmp_path: Path) -> None:
    install()
    said: list[str] = []
    records = measure(["torch:fake_net:TooLarge"], tmp_path / "r.csv", batches=(1, 4), progress=said.append)
    assert [record.batch for record in records] == [1]
    assert said[-1].endswith("batch 4, amp_fp16: does not fit in memory, skipped")


def test_fp32_convolves_as_pytorch_ships_it(install: Install, tmp_path: Path) -> None:
    install()
    measure(["torch:fake_net:Net"], tmp_path / "r.csv", precisions=("fp32",))
    assert torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32
    measure(["torch:fake_net:Net"], tmp_path / "r.csv", precisions=("tf32",))
    assert torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False


def test_without_a_counter_power_is_sampled_by_name(install: Install) -> None:
    install(counter=False)
    board = opened()
    assert board.identity().energy_source == "NVML_FI_DEV_POWER_INSTANT"
    with pytest.raises(UsageError, match="read only inside `sampling"):
        board.reading()
    with board.sampling() as sampler:
        assert isinstance(sampler, PowerSampler)
        assert board.reading().energy_j >= 0


@pytest.mark.parametrize("mig", [None, 0])
def test_a_whole_board_opens(install: Install, mig: int | None) -> None:
    install(mig=mig)
    assert opened().identity().name == "NVIDIA Fake 100"


def test_a_slice_of_a_board_is_refused(install: Install) -> None:
    install(mig=1)
    with pytest.raises(CapabilityError, match="split by MIG"):
        opened()


def test_a_board_nvml_does_not_know_is_named(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install()
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: types.SimpleNamespace(uuid="other"))
    with pytest.raises(CapabilityError, match="NVML cannot read cuda:0: Not Found"):
        opened()


def test_a_workload_with_transforms_is_sent_to_a_torch_module(install: Install, tmp_path: Path) -> None:
    install()
    (tmp_path / "int8.yaml").write_text(
        "schema: hwsim/workload/1\nmodel: timm:deit_tiny_patch16_224\n"
        "transforms: [{quantize: {weights: int8, activations: int8}}]\n"
    )
    with pytest.raises(UsageError, match="has transforms"):
        measure([str(tmp_path / "int8.yaml")], tmp_path / "r.csv")


def test_a_wrong_name_is_said_before_anything_is_measured(install: Install, tmp_path: Path) -> None:
    install()
    out = tmp_path / "new" / "r.csv"
    with pytest.raises(UsageError, match="no model 'deit_tinny'"):
        measure(["torch:fake_net:Net", "timm:deit_tinny"], out)
    assert not out.exists()
    (tmp_path / "products.csv").write_text("name, M, N, K\nfirst, 8, 8, 8\n")
    with pytest.raises(UsageError, match="is a list of matrix products"):
        measure([f"gemm:{tmp_path / 'products.csv'}"], out)
