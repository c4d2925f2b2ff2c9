"""Which integers stand for a tensor: codes less their zero point, so that real = scale x code everywhere.

The zero point z of an affine format moves the range of the codes, low - z .. high - z, and nothing else: products,
pads and norms see real zero as 0 (E1).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from hwsim.backends.execution.program import Step, Values, check_finite, walk
from hwsim.core.errors import UsageError
from hwsim.numerics.affine import affine_from_range
from hwsim.numerics.integer import IntFormat

Method = Literal["minmax", "percentile", "mse"]
#: Values kept per tensor for the percentile and MSE methods; a stride through the tensor picks them.
_SAMPLE = 1 << 14
_PERCENTILE = 0.9999
#: Fractions of the full range that the MSE method tries.
_SHRINKS = torch.linspace(0.3, 1.0, 36)


@dataclass(frozen=True)
class Coding:
    """real = scale x code, low <= code <= high; `scale` is a float32 number."""

    scale: float
    low: int
    high: int

    @property
    def max_abs(self) -> int:
        """The largest magnitude of a code."""
        return max(-self.low, self.high)

    def encode(self, x: Tensor) -> Tensor:
        """The codes of x, whole numbers in float32: rne(x / scale), clamped."""
        return torch.round(x.to(torch.float32) / self.scale).clamp(self.low, self.high)

    def decode(self, codes: Tensor) -> Tensor:
        """The real numbers of codes, float32."""
        return codes * self.scale


@dataclass(frozen=True)
class Observed:
    """What calibration saw of a tensor: its range, and some of its values."""

    low: float
    high: float
    sample: Tensor

    def merged(self, other: Observed) -> Observed:
        """Both observations together."""
        sample = torch.cat([self.sample, other.sample])
        return Observed(min(self.low, other.low), max(self.high, other.high), sample)


def observe(steps: Iterable[Step], batches: Iterable[Values]) -> dict[str, Observed]:
    """Run the float steps on each batch of input values and record every floating tensor they make or read.

    Raises UsageError naming the layer that produces NaN or infinity.
    """
    seen: dict[str, Observed] = {}
    steps = list(steps)
    for values in batches:
        for name, value in values.items():
            _record(seen, name, value)
        for step in walk(steps, values):
            check_finite(step, values)
            for name in step.op.outputs:
                _record(seen, name, values[name])
    return seen


def _record(seen: dict[str, Observed], name: str, value: Tensor) -> None:
    if not value.is_floating_point() or value.numel() == 0:
        return
    flat = value.detach().flatten()
    low, high = flat.aminmax()
    if not bool(torch.isfinite(low)):
        # Masked scores: minus infinity is outside every range and is clamped to its end.
        finite = flat[torch.isfinite(flat)]
        low, high = finite.aminmax() if finite.numel() else (torch.zeros(()), torch.zeros(()))
    new = Observed(float(low), float(high), flat[:: max(1, flat.numel() // _SAMPLE)].clone())
    seen[name] = seen[name].merged(new) if name in seen else new


def coding_for(observed: Observed, fmt: IntFormat, method: Method = "minmax", power_of_two: bool = False) -> Coding:
    """The coding of a tensor in `fmt`: signed formats symmetric, unsigned ones affine with a zero point.

    `minmax` covers everything seen; `percentile` cuts 0.01 % of the values on each side; `mse` takes the range,
    between 30 and 100 % of the full one, with the least squared error on the kept sample.
    """
    low, high = torch.tensor(observed.low), torch.tensor(observed.high)
    if method == "percentile":
        tail = torch.quantile(observed.sample.float(), torch.tensor([1 - _PERCENTILE, _PERCENTILE]))
        low, high = tail[0], tail[1]
    if method == "mse":
        tries = [_coding(low * shrink, high * shrink, fmt, power_of_two) for shrink in _SHRINKS]
        errors = [float((c.decode(c.encode(observed.sample)) - observed.sample).square().sum()) for c in tries]
        return tries[errors.index(min(errors))]
    return _coding(low, high, fmt, power_of_two)


def _coding(low: Tensor, high: Tensor, fmt: IntFormat, power_of_two: bool) -> Coding:
    affine = affine_from_range(low, high, fmt, symmetric=fmt.signed, power_of_two=power_of_two)
    zero = int(affine.zero_point)
    return Coding(float(affine.scale), fmt.low - zero, fmt.high - zero)


def integer_format(dtype: str) -> IntFormat | None:
    """The integer format a tensor's dtype names, or None for floats; plain integers and booleans are indices."""
    try:
        return IntFormat.parse(dtype)
    except UsageError:
        return None


def codings(
    observed: Mapping[str, Observed], formats: Mapping[str, IntFormat], method: Method, power_of_two: bool
) -> dict[str, Coding]:
    """The coding of every observed tensor that has an integer format."""
    return {
        name: coding_for(observed[name], fmt, method, power_of_two) for name, fmt in formats.items() if name in observed
    }
