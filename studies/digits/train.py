"""Train the four small networks that hwsim ships: `python studies/digits/train.py [NAME ...]`.

AdamW with cosine decay and small random shifts, a fixed seed, minutes on two cores. Weights go to hwsim/zoo/weights
as safetensors, with seed, date and reached accuracy in the file's header and in weights/README.md.
"""

from __future__ import annotations

import sys
import time
from datetime import date
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from hwsim.backends.execution.data import digits_split
from hwsim.graph.sources import build_module
from hwsim.transforms.workload import load_workload

#: Network (a bundled workload) -> epochs. Same padding is slow to train: its kernels are as large as its images.
EPOCHS = {"digits_vit": 120, "digits_convsharevit_valid": 60, "digits_convsharevit_same": 30, "digits_hybrid": 60}
WEIGHTS = Path(__file__).resolve().parents[2] / "hwsim" / "zoo" / "weights"
SEED, BATCH = 0, 64
#: Peak learning rates. The few weights of same padding start small and are shared widely: they take larger steps.
RATES = {"digits_convsharevit_same": 1e-2}
RATE = 2e-3


def shifted(x: Tensor, generator: torch.Generator) -> Tensor:
    """Each image moved by -1, 0 or 1 pixel along both axes, zeros moving in."""
    padded = nn.functional.pad(x, (1, 1, 1, 1))
    moves = torch.randint(0, 3, (len(x), 2), generator=generator).tolist()
    return torch.stack([image[:, i : i + 8, j : j + 8] for image, (i, j) in zip(padded, moves, strict=True)])


def accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """Share of right classes in evaluation mode."""
    model.eval()
    with torch.no_grad():
        return float((model(x).argmax(1) == y).double().mean())


def train(name: str) -> tuple[nn.Module, float]:
    """The trained network of a workload and its accuracy on the held-out digits."""
    (x, y), held_out = digits_split()
    torch.manual_seed(SEED)
    generator = torch.Generator().manual_seed(SEED)
    spec = load_workload(name).spec
    model = build_module(spec.model, spec.input.shape)
    rate = RATES.get(name, RATE)
    steps = EPOCHS[name] * -(-len(x) // BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.1)
    for _ in range(EPOCHS[name]):
        model.train()
        for chosen in torch.randperm(len(x), generator=generator).split(BATCH):
            loss = nn.functional.cross_entropy(model(shifted(x[chosen], generator)), y[chosen], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model, accuracy(model, *held_out)


def main() -> None:
    """Train the named networks, or all of them, and write their weights."""
    WEIGHTS.mkdir(exist_ok=True)
    for name in sys.argv[1:] or EPOCHS:
        started = time.perf_counter()
        model, top1 = train(name)
        state = {key: value.contiguous() for key, value in model.state_dict().items()}
        header = {"seed": str(SEED), "date": date.today().isoformat(), "top1_digits": f"{top1:.4f}"}
        save_file(state, WEIGHTS / f"{name}.safetensors", header)
        size = (WEIGHTS / f"{name}.safetensors").stat().st_size
        print(f"{name}: top-1 {100 * top1:.2f} % of 360 held out, {size} bytes, {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
