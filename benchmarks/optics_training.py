"""Training through the optics: an epoch of the digits ConvShareViT beside the same epoch in plain torch.

    python benchmarks/optics_training.py [--batch 64] [--epochs 2] [--threads 1]

The bench has shot noise, read noise, a full well, a 12-bit ADC and 8-bit inputs; FatNet's simulator pays 268 times the
plain convolution (67 min against 15 s per epoch, as reported of its paper).
"""

from __future__ import annotations

import argparse
import time
from contextlib import nullcontext

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

from hwsim.backends.optical4f.camera import Camera
from hwsim.backends.optical4f.chain import Chain
from hwsim.backends.optical4f.modulators import AmplitudeModulator
from hwsim.backends.optical4f.operators import Operator, ThroughOptics
from hwsim.zoo.convsharevit import convsharevit


def bench() -> Operator:
    camera = Camera(8e-6, 1e-3, full_well_e=3e4, read_noise_e=1.4, bits=12)
    irradiance = 1e4 / camera.electrons_per_intensity(532e-9)
    chain = Chain(532e-9, 0.1, 8e-6, irradiance, camera, source=AmplitudeModulator(bits=8))
    return Operator(chain, torch.Generator().manual_seed(0))


def epoch_s(network: nn.Module, x: Tensor, y: Tensor, batch: int, operator: Operator | None) -> tuple[float, float]:
    """Wall and CPU seconds of one pass of training over the data."""
    optimiser = torch.optim.AdamW(network.parameters(), 1e-3)
    wall, cpu = time.perf_counter(), time.process_time()
    for chosen in torch.randperm(len(x)).split(batch):
        with nullcontext() if operator is None else ThroughOptics(lambda weight: operator):
            loss = functional.cross_entropy(network(x[chosen]), y[chosen])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    held = load_digits()
    x, y = torch.from_numpy(held.images / 16.0).float()[:, None], torch.from_numpy(held.target).long()
    network = convsharevit(img_size=8, patch_size=2, dim=48, depth=4, heads=3, mlp_ratio=4, classes=10, in_chans=1)
    operator = bench()
    # The two take turns, so that a busy machine slows both.
    runs = [[epoch_s(network, x, y, options.batch, way) for way in (None, operator)] for _ in range(options.epochs)]
    print(f"epoch of {len(x)} digits, batch {options.batch}, {options.threads} threads")
    for clock, name in enumerate(("wall", "CPU")):
        plain, optics = (min(run[way][clock] for run in runs) for way in (0, 1))
        print(f"  {name:4}  plain torch {plain:8.2f} s, optics {optics:8.2f} s: {optics / plain:.2f}x (limit 10)")


if __name__ == "__main__":
    main()
