"""Optical 4f: time and accuracy per image beside bare FFTs, and prysm where it is installed. One run prints ratios.

    python benchmarks/optics_4f.py [--size 1024] [--batch 8] [--threads 2]

Peers: numpy's FFT convolution and torch's bare transforms with a precomputed mask, prysm's focus(Q=1) both ways.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable

import numpy as np
import torch

from hwsim.backends.optical4f.convolution import apply_mask, convolve_4f, half_transfer_function


def timed(calls: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Best of `repeats` per call, in seconds; the calls take turns, so that a busy machine slows all of them."""
    best = dict.fromkeys(calls, float("inf"))
    for call in calls.values():
        call()
    for _ in range(repeats):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            best[name] = min(best[name], time.perf_counter() - start)
    return best


def contestants(size: int, batch: int) -> dict[str, Callable[[], object]]:
    rng = np.random.default_rng(0)
    image, kernel = rng.random((batch, size, size)), rng.standard_normal((size, size))
    mask = np.fft.fft2(kernel)
    wide, tap = torch.from_numpy(image), torch.from_numpy(kernel)
    narrow, narrow_tap = wide.float(), tap.float()
    half, narrow_half = half_transfer_function(tap), half_transfer_function(narrow_tap)
    full, narrow_complex = torch.from_numpy(mask), narrow.to(torch.complex64)
    calls: dict[str, Callable[[], object]] = {
        "numpy fft2 x mask x ifft2, complex128": lambda: np.fft.ifft2(np.fft.fft2(image) * mask),
        "torch fft2 x mask x ifft2, complex128": lambda: torch.fft.ifft2(torch.fft.fft2(wide.to(full.dtype)) * full),
        "torch fft2 x mask x ifft2, complex64": lambda: torch.fft.ifft2(
            torch.fft.fft2(narrow_complex) * full.to(torch.complex64)
        ),
        "hwsim convolve_4f (mask made each call), complex128": lambda: convolve_4f(wide, tap),
        "hwsim apply_mask, complex128": lambda: apply_mask(wide, half),
        "hwsim convolve_4f (mask made each call), complex64": lambda: convolve_4f(narrow, narrow_tap),
        "hwsim apply_mask, complex64": lambda: apply_mask(narrow, narrow_half),
    }
    if importlib.util.find_spec("prysm") is not None:
        from prysm.propagation import focus

        shifted = np.fft.fftshift(mask)
        calls["prysm focus(Q=1) x mask x focus, complex128"] = lambda: focus(focus(image, 1) * shifted, 1)
    return calls


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for batch in sorted({1, options.batch}):
        best = timed(contestants(options.size, batch), options.repeats)
        print(f"\n{options.size} x {options.size}, batch {batch}, {options.threads} threads: ms per image")
        for name, seconds in best.items():
            print(f"  {seconds / batch * 1e3:9.2f}  {name}")
        for width in ("complex128", "complex64"):
            ours = best[f"hwsim convolve_4f (mask made each call), {width}"]
            bare = best[f"torch fft2 x mask x ifft2, {width}"]
            print(f"  {ours / bare:9.2f}  x torch's bare transforms, {width} (limit 1.1 at batch 1)")
        ours = best["hwsim convolve_4f (mask made each call), complex128"]
        for name, seconds in best.items():
            if not name.startswith(("hwsim", "torch")):
                print(f"  {ours / seconds:9.2f}  x {name}")


if __name__ == "__main__":
    main()
