"""The ops of a graph that the mapper puts on the optics, as operators with torch's own signatures."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from hwsim.backends.optical4f.bench import bench_of
from hwsim.backends.optical4f.estimate import exposure_s
from hwsim.backends.optical4f.mapper import HOST, plan
from hwsim.backends.optical4f.operators import Operator
from hwsim.backends.optical4f.setup import READOUTS, Fault, chain_of, one_at_a_time
from hwsim.backends.optical4f.spec import Optical4fSpec
from hwsim.backends.optical4f.tiling import grid
from hwsim.backends.optical4f.work import work_of
from hwsim.core.formats import bits
from hwsim.graph.ir import Op, WorkloadGraph

#: Takes the arguments of an op's call, returns its output.
Call: TypeAlias = Callable[..., Tensor]


@dataclass(frozen=True)
class OpticalOp:
    """One op on the optics: the call that replaces torch's, and the operator that keeps its budget."""

    name: str
    call: Call
    operator: Operator

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        return self.call(*args, **kwargs)

    def measured(self) -> Mapping[str, float]:
        """Photons per MAC and per output, SNR and effective bits on the camera, and the share of pixels too bright.

        Noise that no pixel has is left out. Effective bits are log2 of the SNR.
        """
        budget, snr = self.operator.budget, self.operator.snr
        known = {"snr_db": 20 * math.log10(snr), "effective_bits": math.log2(snr)} if 0 < snr < math.inf else {}
        return {
            "photons_per_mac": budget.photons_per_mac,
            "photons_per_output": budget.photons_per_output,
            **known,
            "saturated_share": budget.saturated_share,
        }


def optical_ops(
    graph: WorkloadGraph, spec: Optical4fSpec, seed: int = 0, fault: Fault = "together"
) -> dict[str, OpticalOp]:
    """Name -> op for every op that the mapping runs on the optics and that is a product of real tensors.

    `fault` leaves one kind of fault of the bench (`setup.one_at_a_time`), `together` all of them.

    Each has the exposure, the light and the tiles that the estimate counts for it, its gain calibrated on known
    patterns, and one noise generator of `seed` for all. Ops that the mapping leaves to the host are absent.
    """
    generator, found = torch.Generator().manual_seed(seed), {}
    for op, operator in _operators(graph, spec, fault, generator):
        calibrated = operator.calibrated(seed)
        call = _call(op, calibrated)
        if call is not None:
            found[op.name] = OpticalOp(op.name, call, calibrated)
    return found


def identity(graph: WorkloadGraph, spec: Optical4fSpec, fault: Fault = "together") -> str:
    """All that decides what `optical_ops` compute: designs that share it give the same numbers, digit by digit."""
    return repr([(op.name, operator.identity) for op, operator in _operators(graph, spec, fault)])


def _operators(
    graph: WorkloadGraph, spec: Optical4fSpec, fault: Fault, generator: torch.Generator | None = None
) -> Iterator[tuple[Op, Operator]]:
    """The operator of every op on the optics, before calibration."""
    bench, work = bench_of(spec), work_of(graph)
    chosen, places = plan(bench, work), grid(bench, work)
    generator = torch.Generator() if generator is None else generator
    for index, op in enumerate(graph.ops):
        choice = int(chosen.choice[0, index])
        if choice == HOST or not op.call:
            continue
        layout = chosen.layouts[choice]
        real = chain_of(spec, _of(exposure_s(bench, layout), index), _of(layout.split, index))
        chain = one_at_a_time(real)[fault]
        yield (
            op,
            Operator(
                chain=chain,
                generator=generator,
                signs=READOUTS[spec.mapping.sign][1],
                bits=min(math.ceil(bits(graph.tensors[op.inputs[0]].dtype)), spec.precision.activations),
                slice_bits=bench.input.bits,
                guard=spec.mapping.guard_pixels,
                tiles=max(1, int(_of(places.tiles, index))),
                flat_field=spec.imperfections.flat_field,
                flat_field_error=_flat_field_error(spec, chain.camera.full_well_e),
            ),
        )


def _of(column: object, index: int) -> float:
    """The entry of one op in a column of one design."""
    flat = torch.as_tensor(column, dtype=torch.float64).flatten()
    return float(flat[index if len(flat) > 1 else 0])


def _flat_field_error(spec: Optical4fSpec, full_well_e: float) -> float:
    """RMS of the measured gain map: shot noise of the averaged white frames at half the full well."""
    if math.isinf(full_well_e):
        return 0.0
    return 1 / math.sqrt(spec.imperfections.flat_field_frames * full_well_e / 2)


def _call(op: Op, operator: Operator) -> Call | None:
    """The operator under the signature of the op's target; None for a form the optics has no layer for."""
    target = str(json.loads(op.call)["target"]).rsplit(".", 1)[0]
    calls: Mapping[str, Call] = {
        "aten.linear": operator.linear,
        "aten.conv2d": operator.conv2d,
        "aten.conv1d": operator.conv1d,
        "aten.mm": operator.matmul,
        "aten.bmm": operator.matmul,
        "aten.matmul": operator.matmul,
        "aten.addmm": lambda bias, a, b: operator.matmul(a, b) + bias,
    }
    return calls.get(target)
