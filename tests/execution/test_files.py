"""Weights and data from files: what fits is read, what is damaged, malicious or of another shape is refused."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from hwsim.backends.execution.data import Preprocessing, digits_split, load_data, read_cifar
from hwsim.backends.execution.weights import load_into, read_weights
from hwsim.core.errors import CapabilityError, UsageError

RGB = Preprocessing((3, 32, 32))


class Malicious:
    """Asks the reader of its pickle to run a command."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


def test_weights_round_trip(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    state = model.state_dict()
    save_file(state, tmp_path / "w.safetensors")
    torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}}, tmp_path / "w.pt")
    for name in ("w.safetensors", "w.pt"):
        other = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
        load_into(other, read_weights(tmp_path / name), name)
        assert all(torch.equal(a, b) for a, b in zip(state.values(), other.state_dict().values(), strict=True))


def test_a_malicious_checkpoint_runs_nothing(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    for name, content in (("a.pt", {"w": Malicious(mark)}), ("b.pth", Malicious(mark))):
        torch.save(content, tmp_path / name)
        with pytest.raises(UsageError, match="refused: it is damaged, or asks for code"):
            read_weights(tmp_path / name)
    assert not mark.exists()


def test_damaged_and_missing_weights(tmp_path: Path) -> None:
    save_file(nn.Linear(30, 40).state_dict(), tmp_path / "w.safetensors")
    data = (tmp_path / "w.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(data[:-100])
    (tmp_path / "noise.safetensors").write_bytes(os.urandom(100))
    (tmp_path / "noise.pt").write_bytes(os.urandom(1000))
    (tmp_path / "empty.pt").write_bytes(b"")
    for name in ("cut.safetensors", "noise.safetensors", "noise.pt", "empty.pt"):
        with pytest.raises(UsageError, match=f"weights file .*{name}"):
            read_weights(tmp_path / name)
    with pytest.raises(CapabilityError, match=r"none\.pt does not exist"):
        read_weights(tmp_path / "none.pt")


def test_noise_of_any_kind_is_a_damaged_file(tmp_path: Path) -> None:
    """Random bytes are random opcodes: each seed ends in another corner of the unpickler."""
    noise, draw = tmp_path / "noise.pt", np.random.default_rng(0)
    for _ in range(400):
        noise.write_bytes(draw.bytes(1000))
        with pytest.raises(UsageError, match=r"weights file .*noise\.pt"):
            read_weights(noise)


def test_weights_that_do_not_fit(tmp_path: Path) -> None:
    model = nn.Linear(3, 4)
    with pytest.raises(UsageError, match=r"'weight' has shape \(4, 5\): the model's \(4, 3\)"):
        load_into(model, nn.Linear(5, 4).state_dict(), "w.pt")
    with pytest.raises(UsageError, match=r"w\.pt lacks 'bias' \(1 missing, 0 unexpected\)"):
        load_into(model, {"weight": model.weight.detach()}, "w.pt")
    with pytest.raises(UsageError, match="has no place in the model for 'extra'"):
        load_into(model, {**model.state_dict(), "extra": torch.zeros(1)}, "w.pt")
    torch.save({"weight": torch.tensor([float("nan")])}, tmp_path / "nan.pt")
    with pytest.raises(UsageError, match="'weight' holds NaN"):
        read_weights(tmp_path / "nan.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(UsageError, match="holds list: a state dict"):
        read_weights(tmp_path / "list.pt")


def cifar(folder: Path, **content: object) -> Path:
    batch = {
        "data": np.random.default_rng(0).integers(0, 256, (20, 3072), dtype=np.uint8),
        "labels": list(range(10)) * 2,
    }
    batch.update(content)
    for name in ("data_batch_1", "test_batch"):
        (folder / name).write_bytes(pickle.dumps({key.encode(): value for key, value in batch.items()}, protocol=2))
    return folder


def test_cifar_without_running_its_pickle(tmp_path: Path) -> None:
    data = load_data(str(cifar(tmp_path)), RGB)
    assert data.count == 20
    assert data.batch(3, 7).shape == (4, 3, 32, 32)
    assert data.labels is not None
    assert data.labels[:3].tolist() == [0, 1, 2]
    mark = tmp_path / "ran"
    cifar(tmp_path, labels=Malicious(mark))
    with pytest.raises(UsageError, match=r"refused as a CIFAR batch: it asks for (posix|nt)\.system"):
        read_cifar(tmp_path / "test_batch")
    assert not mark.exists()
    cifar(tmp_path, data=np.zeros((2, 7), np.uint8))
    with pytest.raises(UsageError, match="refused as a CIFAR batch"):
        read_cifar(tmp_path / "test_batch")


def test_image_folder(tmp_path: Path) -> None:
    for index, name in enumerate(("cat", "dog")):
        (tmp_path / name).mkdir()
        for copy in range(3):
            Image.new("RGB", (50, 40), (100 * index, 30, copy)).save(tmp_path / name / f"{copy}.png")
    data = load_data(str(tmp_path), RGB)
    assert data.count == 6
    assert data.labels is not None
    for image, label in zip(data.batch(0, 6), data.labels.tolist(), strict=True):
        red = float(image[0].mean()) * RGB.std[0] + RGB.mean[0]
        assert round(255 * red) == 100 * label
    (tmp_path / "cat" / "0.png").write_bytes(b"not an image")
    with pytest.raises(UsageError, match=r"image .*0\.png cannot be read"):
        data.batch(0, 6)


def test_npz(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.zeros((5, 3, 32, 32), np.uint8), y=np.arange(5))
    assert load_data(str(tmp_path / "d.npz"), RGB).count == 5
    with pytest.raises(UsageError, match=r"samples of shape \(3, 32, 32\): the model's \(1, 8, 8\)"):
        load_data(str(tmp_path / "d.npz"), Preprocessing((1, 8, 8)))
    np.savez(tmp_path / "o.npz", x=np.array([Malicious(tmp_path / "ran")], dtype=object))
    with pytest.raises(UsageError, match="cannot be read without running code"):
        load_data(str(tmp_path / "o.npz"), RGB)
    assert not (tmp_path / "ran").exists()
    np.savez(tmp_path / "z.npz", z=np.zeros(3))
    with pytest.raises(UsageError, match="has z: arrays x"):
        load_data(str(tmp_path / "z.npz"), RGB)
    with pytest.raises(CapabilityError, match="'nowhere' does not exist"):
        load_data("nowhere", RGB)


def test_random_samples_do_not_depend_on_the_batch() -> None:
    data = load_data(None, RGB)
    assert torch.equal(data.batch(0, 4)[2:], data.batch(2, 4))
    assert data.labels is None


def test_digits_split_is_fixed_and_disjoint() -> None:
    (x, y), (held, labels) = digits_split()
    assert (len(x), len(held)) == (1437, 360)
    assert labels[:8].tolist() == digits_split()[1][1][:8].tolist()
    assert float(x.min()) == 0.0
    assert float(x.max()) == 1.0
    assert len(y) == len(x)
