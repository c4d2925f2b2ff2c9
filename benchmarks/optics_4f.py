"""Optical 4f: time and accuracy per image beside bare FFTs and the optics packages. One run prints all ratios.

    python benchmarks/optics_4f.py [--size 1024] [--batch 8] [--threads 2] [--peers PYTHON ...]

PYTHON is the interpreter of an environment that has some of prysm 0.21.1 (with setuptools below 81), hcipy 0.7.1,
LightPipes 2.1.5, torchoptics 1.0.2, chromatix 0.5.0 (Python 3.12); `optics_peers.py` says what is called of each. One
without an environment is reported as not measured. All take turns, one call each, so that a busy machine slows all of
them alike; the best of the calls counts, wall and CPU time apart. The image is random in the middle half, the kernel
7 x 7; the exact field is summed tap by tap in 80-bit floating point.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from hwsim.backends.optical4f.convolution import convolve_4f, convolve_prepared, kernel_spectrum

PEERS = {"prysm": "complex128", "HCIPy": "complex128", "LightPipes": "complex128", "TorchOptics": "complex128"}
PEERS |= {"chromatix": "complex64"}
SLOW_S = 2.0
Seconds: TypeAlias = tuple[float, float]
Timer: TypeAlias = Callable[[], Seconds]


def timed(call: Callable[[], object], images: int) -> Timer:
    def timer() -> Seconds:
        wall, cpu = time.perf_counter(), time.process_time()
        call()
        return (time.perf_counter() - wall) / images, (time.process_time() - cpu) / images

    return timer


def best_of(timers: dict[str, Timer], repeats: int) -> dict[str, Seconds]:
    """Best wall and best CPU seconds of each, taking turns; what needs seconds gets one turn."""
    best = {name: timer() for name, timer in timers.items()}
    for _ in range(repeats):
        for name, timer in timers.items():
            if best[name][0] < SLOW_S:
                wall, cpu = timer()
                best[name] = (min(best[name][0], wall), min(best[name][1], cpu))
    return best


class Peer:
    """A package at work in its own process, timing one call each time it is asked."""

    def __init__(self, name: str, pythons: list[str], file: Path, cores: set[int]) -> None:
        self.about: dict[str, str] = {"missing": "give --peers the interpreter of an environment that has it"}
        script = str(Path(__file__).with_name("optics_peers.py"))
        environment = {**os.environ, "OMP_NUM_THREADS": str(len(cores)), "PYTHONWARNINGS": "ignore"}
        for python in pythons:
            self.process = subprocess.Popen(
                ["taskset", "-c", ",".join(map(str, cores)), python, script, name, str(file)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env=environment,
            )
            self.about = json.loads(self._answer() or '{"missing": "it failed"}')
            if "missing" not in self.about:
                return

    def __call__(self) -> Seconds:
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        wall, cpu = map(float, self._answer().split())
        return wall, cpu

    def _answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()


def exact_field(images: NDArray[np.float64], kernel: NDArray[np.float64]) -> NDArray[np.float64]:
    """Circular convolution with a small centred kernel, tap by tap."""
    field = np.zeros(images.shape, np.longdouble)
    for (a, b), tap in np.ndenumerate(kernel):
        field += np.longdouble(tap) * np.roll(images, (a - kernel.shape[0] // 2, b - kernel.shape[1] // 2), (1, 2))
    return field.astype(np.float64)


def own_calls(images: NDArray[np.float64], grid: NDArray[np.float64]) -> dict[str, Callable[[], object]]:
    calls: dict[str, Callable[[], object]] = {}
    for real, width in ((torch.float64, "complex128"), (torch.float32, "complex64")):
        x, k = torch.from_numpy(images).to(real), torch.from_numpy(grid).to(real)
        dtype = getattr(torch, width)
        xc, kc = x.to(dtype), k.to(dtype)
        mask, spectrum = torch.fft.fft2(kc), kernel_spectrum(k)
        fx, fm = xc.numpy(), mask.numpy()
        calls |= {
            f"numpy fft2 x mask x ifft2, {width}": lambda x=fx, m=fm: np.fft.ifft2(np.fft.fft2(x) * m),
            f"torch fft2 x mask x ifft2, {width}": lambda x=xc, m=mask: torch.fft.ifft2(torch.fft.fft2(x) * m),
            f"torch fft2 x fft2 x ifft2, {width}": lambda x=xc, k=kc: torch.fft.ifft2(
                torch.fft.fft2(x) * torch.fft.fft2(k)
            ),
            f"hwsim convolve_prepared, {width}": lambda x=x, s=spectrum: convolve_prepared(x, s),
            f"hwsim convolve_4f, {width}": lambda x=x, k=k: convolve_4f(x, k),
        }
    return calls


def compare(size: int, batch: int, threads: int, options: argparse.Namespace, folder: Path) -> None:
    rng = np.random.default_rng(0)
    images = np.zeros((batch, size, size))
    middle = slice(size // 4, 3 * size // 4)
    images[:, middle, middle] = rng.random(images[:, middle, middle].shape)
    kernel = rng.standard_normal((7, 7))
    grid = np.zeros((size, size))
    grid[:7, :7] = kernel
    grid = np.roll(grid, (-3, -3), (0, 1))
    exact = exact_field(images, kernel)
    file = folder / f"case{batch}.npz"
    np.savez(file, images=images, mask=np.fft.fftshift(np.fft.fft2(grid)), field=exact)

    cores = set(sorted(os.sched_getaffinity(0))[:threads])
    peers = {name: Peer(name, options.peers, file, cores) for name in PEERS}
    calls = own_calls(images, grid)
    timers = {name: timed(call, batch) for name, call in calls.items()}
    timers |= {name: peer for name, peer in peers.items() if "missing" not in peer.about}
    best = best_of(timers, options.repeats)

    print(
        f"\n{size} x {size}, batch {batch}, {threads} threads: per image, best wall ms, best CPU ms, relative L2 error"
    )
    for name, (wall, cpu) in best.items():
        if name in calls:
            field = np.asarray(calls[name]())
            error = float(np.linalg.norm(field - exact) / np.linalg.norm(exact))
        else:
            error = float(peers[name].about["error"])
            name = f"{name} {peers[name].about['version']}: {peers[name].about['called']}"
        print(f"  {wall * 1e3:9.2f} {cpu * 1e3:9.2f}  {error:.1e}  {name}")
    for width in ("complex128", "complex64"):
        print_ratio(best, f"hwsim convolve_prepared, {width}", f"torch fft2 x mask x ifft2, {width}", "limit 1.1")
        print_ratio(best, f"hwsim convolve_4f, {width}", f"torch fft2 x fft2 x ifft2, {width}", "limit 1.1")
        print_ratio(best, f"hwsim convolve_4f, {width}", f"numpy fft2 x mask x ifft2, {width}", "limit 1.1")
    for name, peer in peers.items():
        if "missing" in peer.about:
            print(f"  {name}: not measured ({peer.about['missing']})")
        else:
            print_ratio(best, f"hwsim convolve_prepared, {PEERS[name]}", name, "below 1: faster")
            peer.process.kill()


def print_ratio(best: dict[str, Seconds], ours: str, other: str, note: str) -> None:
    wall, cpu = (a / b for a, b in zip(best[ours], best[other], strict=True))
    print(f"  {wall:9.3f} wall {cpu:9.3f} CPU  {ours} / {other} ({note})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--peers", nargs="*", default=[sys.executable], metavar="PYTHON")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as name:
        for batch in sorted({1, options.batch}):
            compare(options.size, batch, options.threads, options, Path(name))


if __name__ == "__main__":
    main()
