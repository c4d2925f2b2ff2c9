"""One optics package on the circular convolution by a 4f system; run by `optics_4f.py` in that package's environment.

    python benchmarks/optics_peers.py PEER FILE.npz

FILE holds `images` (B, N, N), `mask` (N, N), the kernel's transform with zero frequency at N/2, and the exact `field`
(B, N, N). Lenses and mask are built outside the timing. The first line printed is JSON: what is called, its version,
its relative L2 error over the best orientation and complex scalar, or why it cannot run. Then each line read from
standard input is answered with the wall and CPU seconds per image of one call.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
import time
from collections.abc import Callable

import numpy as np

WAVELENGTH_M, FOCAL_M, PITCH_M = 532e-9, 0.1, 8e-6
Call = Callable[[], object]


def prysm(images, mask):  # type: ignore[no-untyped-def]
    from prysm.propagation import focus

    return lambda: focus(focus(images, 1) * mask, 1)


def hcipy(images, mask):  # type: ignore[no-untyped-def]
    from hcipy import Field, FraunhoferPropagator, Wavefront, make_fft_grid, make_pupil_grid

    samples = images.shape[-1]
    panel = make_pupil_grid(samples, samples * PITCH_M)
    fourier = make_fft_grid(panel).scaled(WAVELENGTH_M * FOCAL_M / (2 * np.pi))
    first, second = FraunhoferPropagator(panel, fourier, FOCAL_M), FraunhoferPropagator(fourier, panel, FOCAL_M)
    flat = mask.ravel()

    def one(image):  # type: ignore[no-untyped-def]
        inside = first.forward(Wavefront(Field(image.ravel().astype(complex), panel), WAVELENGTH_M))
        inside.electric_field *= flat
        return np.asarray(second.forward(inside).electric_field).reshape(samples, samples)

    return lambda: np.stack([one(image) for image in images])


def lightpipes(images, mask):  # type: ignore[no-untyped-def]
    from LightPipes import Begin, PipFFT

    samples = images.shape[-1]
    empty = Begin(samples * PITCH_M, WAVELENGTH_M, samples)

    def one(image):  # type: ignore[no-untyped-def]
        empty.field = image.astype(complex)
        inside = PipFFT(empty)
        inside.field = inside.field * mask
        return PipFFT(inside).field

    return lambda: np.stack([one(image) for image in images])


def torchoptics(images, mask):  # type: ignore[no-untyped-def]
    import torch
    from torchoptics import Field
    from torchoptics.elements import Lens

    samples = images.shape[-1]
    fields = torch.from_numpy(images[:1]).to(torch.complex128)
    # Its planes share one pitch: the mask is read at u = (j - N/2) p, not at the DFT's bins.
    bins = (np.arange(samples) - samples / 2) * PITCH_M / (WAVELENGTH_M * FOCAL_M / (samples * PITCH_M)) + samples / 2
    nearest = np.clip(np.rint(bins).astype(int), 0, samples - 1)
    plate = torch.from_numpy(mask[np.ix_(nearest, nearest)])
    shape = (samples, samples)
    lenses = [Lens(shape, FOCAL_M, z=z * FOCAL_M, spacing=PITCH_M) for z in (1, 3)]

    def call():  # type: ignore[no-untyped-def]
        light = Field(fields, WAVELENGTH_M, spacing=PITCH_M)
        light = lenses[0](light.propagate(shape, FOCAL_M, PITCH_M)).propagate(shape, 2 * FOCAL_M, PITCH_M)
        light = lenses[1](light.modulate(plate).propagate(shape, 3 * FOCAL_M, PITCH_M))
        return light.propagate(shape, 4 * FOCAL_M, PITCH_M).data.detach().numpy()

    return call


def chromatix(images, mask):  # type: ignore[no-untyped-def]
    import jax
    import jax.numpy as jnp
    from chromatix import ScalarField
    from chromatix.functional import ff_lens

    plate, given = jnp.asarray(mask.astype(np.complex64)), jnp.asarray(images.astype(np.complex64))

    def one(image):  # type: ignore[no-untyped-def]
        light = ScalarField.build(image, PITCH_M, WAVELENGTH_M)
        return ff_lens(ff_lens(light, FOCAL_M, 1.0) * plate, FOCAL_M, 1.0).u

    system = jax.jit(jax.vmap(one))
    return lambda: np.asarray(system(given).block_until_ready())


PEERS = {
    "prysm": (prysm, "prysm", "focus(Q=1), mask, focus(Q=1) on the stack, complex128"),
    "HCIPy": (hcipy, "hcipy", "FraunhoferPropagator, mask, FraunhoferPropagator per image, complex128"),
    "LightPipes": (lightpipes, "LightPipes", "PipFFT, mask, PipFFT per image, complex128"),
    "chromatix": (chromatix, "chromatix", "ff_lens, mask, ff_lens, jit and vmap on the stack, complex64"),
    "TorchOptics": (torchoptics, "torchoptics", "propagate and Lens, 4 gaps, one image, complex128"),
}


def relative_error(field: np.ndarray, exact: np.ndarray) -> float:
    """Relative L2 after the best complex scalar and orientation: as it is, turned about N/2 or about (N - 1)/2."""
    turned = field[..., ::-1, ::-1]
    errors = []
    for x in (field, np.roll(turned, (1, 1), axis=(-2, -1)), turned):
        scalar = np.vdot(x, exact) / np.vdot(x, x)
        errors.append(float(np.linalg.norm(scalar * x - exact) / np.linalg.norm(exact)))
    return min(errors)


def main() -> None:
    build, package, called = PEERS[sys.argv[1]]
    given = np.load(sys.argv[2])
    try:
        call: Call = build(given["images"], given["mask"])
        field = np.asarray(call())
        error = relative_error(field, given["field"][: len(field)])
    except ImportError as reason:
        print(json.dumps({"missing": str(reason)}), flush=True)
        return
    version = importlib.metadata.version(package)
    print(json.dumps({"called": called, "version": version, "error": error}), flush=True)
    for _ in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        call()
        print((time.perf_counter() - wall) / len(field), (time.process_time() - cpu) / len(field), flush=True)


if __name__ == "__main__":
    main()
