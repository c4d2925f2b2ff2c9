"""Samples and labels to execute on: `digits`, CIFAR, image folders, .npz, or random inputs without labels."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from hwsim.core.errors import CapabilityError, UsageError

#: Held-out part of `digits`, and the seed of the shuffle that picks it.
_DIGITS_TEST, _DIGITS_SEED = 360, 0
#: Mean and standard deviation of CIFAR-10's training pixels, per channel (public constants of the data set).
_CIFAR_MEAN, _CIFAR_STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
_IMAGES = (".jpeg", ".jpg", ".png", ".bmp", ".webp")


@dataclass(frozen=True)
class Data:
    """`count` samples; `batch(i, j)` gives inputs (batch, ...) in float32, `labels` their classes if there are any.

    `calibration` are inputs to calibrate on: training samples where the set has them.
    """

    name: str
    count: int
    batch: Callable[[int, int], Tensor]
    labels: Tensor | None
    calibration: Callable[[int], Tensor]


@dataclass(frozen=True)
class Preprocessing:
    """How a model wants images: shape (channels, rows, columns), normalisation, and the share of a centre crop."""

    shape: tuple[int, ...]
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)  # ImageNet's pixel statistics, as timm and torchvision state them
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    crop: float = 0.875


def load_data(name: str | None, preprocessing: Preprocessing, seed: int = 0) -> Data:
    """The data set called `digits` or `random`, or the one in a .npz file or folder.

    Raises CapabilityError if it is not on this machine, UsageError if it is not one of the known layouts or does not
    fit the model's input.
    """
    if name is None or name == "random":
        return _random(preprocessing.shape, seed)
    if name == "digits":
        return _checked(digits(), preprocessing)
    path = Path(name)
    if path.suffix == ".npz":
        return _checked(_npz(path), preprocessing)
    if not path.is_dir():
        raise CapabilityError(
            f"data {name!r} does not exist", got=name, expected="digits, random, a .npz file, or a folder of images"
        )
    if any(path.glob("data_batch_*")) or (path / "test").is_file():
        return _checked(_cifar(path), preprocessing)
    return _image_folder(path, preprocessing)


def _checked(data: Data, preprocessing: Preprocessing) -> Data:
    shape = tuple(data.batch(0, 1).shape[1:])
    if shape != preprocessing.shape:
        raise UsageError(
            f"data {data.name!r} has samples of shape {shape}", got=shape,
            expected=f"the model's {preprocessing.shape}", remedy="give the model an input size with --input",
        )  # fmt: skip
    return data


def _in_memory(name: str, x: Tensor, y: Tensor | None, calibration: Tensor) -> Data:
    return Data(name, len(x), lambda i, j: x[i:j], y, lambda count: calibration[:count])


def _random(shape: tuple[int, ...], seed: int) -> Data:
    """Standard normal inputs without labels; sample i is the same whatever the batch."""

    def batch(first: int, last: int) -> Tensor:
        draws = [torch.randn(shape, generator=torch.Generator().manual_seed(seed + i)) for i in range(first, last)]
        return torch.stack(draws)

    return Data("random", 1 << 30, batch, None, lambda count: batch(1 << 30, (1 << 30) + count))


def digits() -> Data:
    """scikit-learn's 8 x 8 handwritten digits in 0..1: 1437 to train and calibrate on, 360 held out, fixed split."""
    training, testing = digits_split()
    return _in_memory("digits", testing[0], testing[1], training[0])


def digits_split() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """((inputs, labels) to train on, (inputs, labels) held out) of `digits`."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise CapabilityError("data 'digits' needs scikit-learn", remedy="pip install 'hwsim[digits]'") from error
    held = load_digits()
    order = np.random.default_rng(_DIGITS_SEED).permutation(len(held.target))
    x = torch.from_numpy(held.images[order] / 16.0).float()[:, None]
    y = torch.from_numpy(held.target[order]).long()
    return (x[_DIGITS_TEST:], y[_DIGITS_TEST:]), (x[:_DIGITS_TEST], y[:_DIGITS_TEST])


def _npz(path: Path) -> Data:
    """Arrays `x` (sample, ...) and optionally `y`; never unpickles."""
    try:
        with np.load(path, allow_pickle=False) as held:
            arrays = {key: held[key] for key in held.files}
    except FileNotFoundError as error:
        raise CapabilityError(f"data file {path} does not exist") from error
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise UsageError(f"data file {path} cannot be read without running code: {error}") from error
    if "x" not in arrays or not len(arrays["x"]):
        raise UsageError(f"data file {path} has {', '.join(arrays) or 'nothing'}", expected="arrays x (and y)")
    x = torch.from_numpy(np.asarray(arrays["x"], dtype=np.float32))
    y = torch.from_numpy(arrays["y"].astype(np.int64)) if "y" in arrays else None
    if y is not None and len(y) != len(x):
        raise UsageError(f"data file {path} has {len(x)} samples and {len(y)} labels")
    return _in_memory(path.stem, x, y, x)


class _ArraysOnly(pickle.Unpickler):
    """Reads what CIFAR's files hold (dicts, lists, bytes, numpy arrays) and refuses every other name."""

    allowed: ClassVar = {
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        ("_codecs", "encode"),
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.allowed:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        # numpy 2 renamed the module that older pickles name.
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def read_cifar(path: Path) -> tuple[Tensor, Tensor]:
    """(images uint8 (sample, 3, 32, 32), labels) of one CIFAR-10 or CIFAR-100 python batch file.

    Raises UsageError for a file that is damaged or asks for anything but arrays.
    """
    try:
        held = _ArraysOnly(io.BytesIO(path.read_bytes()), encoding="bytes").load()
        images = np.asarray(held[b"data"], dtype=np.uint8).reshape(-1, 3, 32, 32)
        labels = np.asarray(held[b"labels"] if b"labels" in held else held[b"fine_labels"], dtype=np.int64)
    except (pickle.UnpicklingError, EOFError, KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
        raise UsageError(f"{path} is refused as a CIFAR batch: {error}") from error
    return torch.from_numpy(images.copy()), torch.from_numpy(labels)


def _cifar(path: Path) -> Data:
    training = sorted(path.glob("data_batch_*")) or [path / "train"]
    testing = path / "test_batch" if (path / "test_batch").is_file() else path / "test"
    for file in (training[0], testing):
        if not file.is_file():
            raise UsageError(f"{path} lacks {file.name}", expected="the python version of CIFAR-10 or CIFAR-100")
    mean, std = (torch.tensor(values).reshape(3, 1, 1) for values in (_CIFAR_MEAN, _CIFAR_STD))

    def normalised(images: Tensor) -> Tensor:
        return (images.float() / 255 - mean) / std

    images, labels = read_cifar(testing)
    return Data(
        path.name,
        len(images),
        lambda i, j: normalised(images[i:j]),
        labels,
        lambda count: normalised(read_cifar(training[0])[0][:count]),
    )


def _image_folder(path: Path, preprocessing: Preprocessing) -> Data:
    """A folder per class, classes in the order of their names, as ImageNet's validation set is kept."""
    classes = sorted(folder for folder in path.iterdir() if folder.is_dir())
    files = [(file, index) for index, folder in enumerate(classes) for file in sorted(folder.iterdir())
             if file.suffix.lower() in _IMAGES]  # fmt: skip
    if not files:
        raise UsageError(f"{path} holds no images", expected="a folder per class with " + ", ".join(_IMAGES))
    # One image of each class in turn, so that the first samples cover many classes.
    order = np.random.default_rng(0).permutation(len(files)).tolist()

    def batch(first: int, last: int) -> Tensor:
        return torch.stack([_image(files[order[i]][0], preprocessing) for i in range(first, min(last, len(files)))])

    labels = torch.tensor([files[i][1] for i in order])
    # Calibration takes the last samples, which an evaluation of fewer samples does not see.
    return Data(path.name, len(files), batch, labels, lambda count: batch(max(0, len(files) - count), len(files)))


def _image(file: Path, preprocessing: Preprocessing) -> Tensor:
    """An image as the model wants it: shorter side to size / crop, bicubic, centre crop, normalised (as timm does)."""
    from PIL import Image, UnidentifiedImageError

    channels, rows, columns = preprocessing.shape
    try:
        with Image.open(file) as opened:
            image = opened.convert("RGB" if channels == 3 else "L")
    except (UnidentifiedImageError, OSError) as error:
        raise UsageError(f"image {file} cannot be read: {error}") from error
    scale = max(rows / image.height, columns / image.width) / preprocessing.crop
    size = (max(columns, round(image.width * scale)), max(rows, round(image.height * scale)))
    image = image.resize(size, Image.Resampling.BICUBIC)
    left, top = (image.width - columns) // 2, (image.height - rows) // 2
    pixels = np.asarray(image.crop((left, top, left + columns, top + rows)), dtype=np.float32) / 255
    x = torch.from_numpy(pixels).reshape(rows, columns, channels).permute(2, 0, 1)
    mean, std = (torch.tensor(v[:channels]).reshape(-1, 1, 1) for v in (preprocessing.mean, preprocessing.std))
    return (x - mean) / std
