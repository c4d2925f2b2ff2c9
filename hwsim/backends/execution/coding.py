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
class Calibration:
    """How codes are chosen from calibration samples.

    `method` sets the range of each tensor. `smoothing` is SmoothQuant's exponent: LayerNorm outputs are centred and
    scaled into the next weights first (equalize.smooth). `twin_gelu` gives outputs of GELU two regions of codes
    (TwinCoding). `bridges` chooses the codes between convolutions and transformer blocks by reconstruction of what
    reads them (Q-HyViT; reconstruction.reconstruct).
    """

    method: Method = "minmax"
    smoothing: float | None = None
    twin_gelu: bool = False
    bridges: bool = False


#: Each tensor's own range, nothing else.
MINMAX = Calibration()


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
class TwinCoding(Coding):
    """Two regions, each with half of the codes: negative reals in steps of `scale`, positive ones of 2^ratio scale.

    For outputs of GELU, whose negative side reaches -0.17 only (twin uniform quantization, PTQ4ViT, ECCV 2022; the
    ratio as a power of two chosen from data, MPTQ-ViT's OPT-m). Codes are in units of `scale`: a region bit and a
    shift by `ratio` in hardware.
    """

    ratio: int = 0

    def encode(self, x: Tensor) -> Tensor:
        """Codes of x, each region rounded to nearest even in its own step and clamped."""
        x = x.to(torch.float32) / self.scale
        step = float(1 << self.ratio)
        positive = torch.round(x / step).clamp(0, self.high // step) * step
        return torch.where(x < 0, torch.round(x).clamp(self.low, 0), positive)


def twin_coding(observed: Observed, fmt: IntFormat, power_of_two: bool = False) -> Coding:
    """The twin coding of least squared error on the kept sample, over ratios 2^0 .. 2^8; symmetric if it is no better.

    Each region has 2^(bits-1) codes; the positive one covers everything seen.
    """
    best = coding_for(observed, fmt, "minmax", power_of_two)
    error = _squared_error(best, observed.sample)
    if not fmt.signed or observed.high <= 0:
        return best
    codes = 1 << (fmt.bits - 1)
    for ratio in range(9):
        coarse = _coding(torch.zeros(()), torch.tensor(observed.high), IntFormat(fmt.bits), power_of_two).scale
        twin = TwinCoding(coarse / (1 << ratio), -codes, (codes - 1) << ratio, ratio)
        if (new := _squared_error(twin, observed.sample)) < error:
            best, error = twin, new
    return best


def _squared_error(coding: Coding, sample: Tensor) -> float:
    return float((coding.decode(coding.encode(sample)) - sample).square().sum())


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
        errors = [_squared_error(c, observed.sample) for c in tries]
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
