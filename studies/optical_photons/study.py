"""Shot-noise-limited accuracy of a small ConvShareViT on digits against detected photons per multiply-accumulate.

The network is trained in float, then every dense layer and convolution runs through a bench whose only fault is shot
noise, at falling light; then it is fine-tuned at one light level with that noise in its training, and measured again.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

from hwsim.backends.optical4f.camera import Camera
from hwsim.backends.optical4f.chain import Chain
from hwsim.backends.optical4f.layers import Signs
from hwsim.backends.optical4f.operators import Operator, ThroughOptics
from hwsim.zoo.convsharevit import convsharevit

WAVELENGTH_M, PITCH_M = 532e-9, 8e-6
#: Electrons that a fully open input collects through an open mask.
LEVELS_E = (1e6, 1e5, 3e4, 1e4, 3e3, 1e3, 300.0, 100.0)
TUNED_AT_E = 300.0
EPOCHS, TUNING_EPOCHS, BATCH = 40, 4, 64
#: Draws of the noise that an accuracy is the mean of.
DRAWS = 2


@dataclass(frozen=True)
class Digits:
    """Images in 0..1 and labels, to train on and held out."""

    x: Tensor
    y: Tensor
    test_x: Tensor
    test_y: Tensor


def run(out: Path) -> Mapping[str, float]:
    """Write curve.csv and curve.png into `out`; return the accuracies."""
    digits = _digits()
    network = _trained(digits)
    accuracy = _accuracy(network, digits)
    curves: dict[str, list[tuple[float, float]]] = {
        "two frames, signed inputs split": [_point(network, digits, level, "split") for level in LEVELS_E],
        "two frames, inputs offset": [_point(network, digits, level, "offset") for level in LEVELS_E],
    }
    noisy = _bench(TUNED_AT_E, "split", seed=99)
    with ThroughOptics(lambda weight: noisy):
        _train(network, digits, TUNING_EPOCHS, 5e-4)
    tuned = [_point(network, digits, level, "split") for level in LEVELS_E]
    curves[f"split, fine-tuned with the noise of {TUNED_AT_E:g} e-"] = tuned
    _write(out / "curve.csv", curves, accuracy)
    _draw(out / "curve.png", curves, accuracy)
    dim = LEVELS_E.index(TUNED_AT_E)
    split, offset = curves["two frames, signed inputs split"], curves["two frames, inputs offset"]
    return {
        "top1_float": accuracy,
        "top1_split_brightest": split[0][1],
        "top1_offset_brightest": offset[0][1],
        f"top1_split_{TUNED_AT_E:g}e": split[dim][1],
        f"top1_split_{TUNED_AT_E:g}e_tuned": tuned[dim][1],
        f"photons_per_mac_{TUNED_AT_E:g}e": split[dim][0],
    }


def _digits() -> Digits:
    held = load_digits()
    order = np.random.default_rng(0).permutation(len(held.target))
    x = torch.from_numpy(held.images[order] / 16.0).float()[:, None]
    y = torch.from_numpy(held.target[order]).long()
    return Digits(x[360:], y[360:], x[:360], y[:360])


def _trained(digits: Digits) -> nn.Module:
    torch.manual_seed(0)
    network = convsharevit(img_size=8, patch_size=2, dim=36, depth=2, heads=3, mlp_ratio=2, classes=10, in_chans=1)
    _train(network, digits, EPOCHS, 3e-3)
    return network


def _train(network: nn.Module, digits: Digits, epochs: int, peak_rate: float) -> None:
    optimiser = torch.optim.AdamW(network.parameters(), peak_rate, weight_decay=0.01)
    steps = epochs * -(-len(digits.x) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, peak_rate, total_steps=steps)
    shuffle = torch.Generator().manual_seed(0)
    network.train()
    for _ in range(epochs):
        for chosen in torch.randperm(len(digits.x), generator=shuffle).split(BATCH):
            loss = functional.cross_entropy(network(digits.x[chosen]), digits.y[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    network.eval()


def _accuracy(network: nn.Module, digits: Digits) -> float:
    with torch.no_grad():
        return float((network(digits.test_x).argmax(1) == digits.test_y).float().mean())


def _bench(level_e: float, signs: Signs, seed: int) -> Operator:
    camera = Camera(PITCH_M, 1e-3)
    irradiance = level_e / camera.electrons_per_intensity(WAVELENGTH_M)
    chain = Chain(WAVELENGTH_M, 0.1, PITCH_M, irradiance, camera)
    return Operator(chain, torch.Generator().manual_seed(seed), signs)


def _point(network: nn.Module, digits: Digits, level_e: float, signs: Signs) -> tuple[float, float]:
    """Photons per MAC and accuracy at one light level."""
    accuracies, photons = [], []
    for draw in range(DRAWS):
        operator = _bench(level_e, signs, draw)
        with ThroughOptics(lambda weight, chosen=operator: chosen):
            accuracies.append(_accuracy(network, digits))
        photons.append(operator.budget.photons_per_mac)
    return float(np.mean(photons)), float(np.mean(accuracies))


def _write(file: Path, curves: Mapping[str, list[tuple[float, float]]], accuracy: float) -> None:
    with file.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(("curve", "full_scale_e", "photons_per_mac", "top1", "top1_float"))
        for name, points in curves.items():
            writer.writerows((name, level, *point, accuracy) for level, point in zip(LEVELS_E, points, strict=True))


def _draw(file: Path, curves: Mapping[str, list[tuple[float, float]]], accuracy: float) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 4.0), constrained_layout=True)
    for (name, points), colour in zip(curves.items(), ("#0072B2", "#E69F00", "#009E73"), strict=True):
        photons, top1 = zip(*points, strict=True)
        axes.plot(photons, [100 * share for share in top1], "o-", color=colour, markersize=4, label=name)
    axes.axhline(100 * accuracy, color="#1f2933", linewidth=1, linestyle="--", label="float")
    axes.set(xscale="log", xlabel="detected photons per MAC", ylabel="top-1 on digits, %", ylim=(0, 102))
    axes.set_title("Small ConvShareViT, all products on the optics, shot noise only", fontsize=10)
    axes.legend(fontsize=8, frameon=False, loc="lower right")
    figure.savefig(file, dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    for name, value in run(Path(sys.argv[1] if len(sys.argv) > 1 else ".")).items():
        print(f"{name:40s} {value:.6g}")
