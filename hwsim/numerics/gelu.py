"""Integer GELU: I-BERT's second-order erf and I-ViT's ShiftGELU, exact in int64."""

from __future__ import annotations

from math import floor

import torch
from torch import Tensor

from hwsim.numerics.exponential import shift_exp
from hwsim.numerics.integer import Scaled

# erf(x) ~ sgn(x) (a (min(|x|, -b) + b)^2 + 1): I-BERT (arXiv 2101.01321) eq. 8; sqrt 2 as its code writes it.
_A, _B = -0.2888, -1.769
_SQRT2 = 1.4142
_ERF_SHIFT = 14
# x sigmoid(1.702 x): I-ViT (arXiv 2207.01405) eq. 13.
_SIGMOID = 1.702
_GELU_STEPS = 23


def ibert_gelu(x: Tensor, scale: float, erf_shift: int = _ERF_SHIFT) -> Scaled:
    """x (erf + 1) / 2 on int64 codes x (kssteven418/I-BERT@22e5b9b, IntGELU).

    The authors drop `erf_shift` = 14 bits of erf, which suits inputs of accumulator precision (scale below 1e-3); for
    8-bit codes that leaves nothing of it, and 0 is the right choice.
    """
    s = scale / _SQRT2
    b, c = floor(_B / s), floor(1.0 / _A / s**2)
    magnitude = torch.minimum(x.abs(), torch.full_like(x, -b)) + b
    erf = (torch.sign(x) * (magnitude * magnitude + c)) >> erf_shift
    erf_scale = _A * s**2 * (1 << erf_shift)
    return Scaled(x * (erf + floor(1.0 / erf_scale)), scale * erf_scale / 2)


def shift_gelu(x: Tensor, scale: float, bits: int = 8, peak: Tensor | None = None) -> Scaled:
    """x sigmoid(1.702 x) on int64 codes x, by shifts (zkkli/I-ViT@19d8f62, IntGELU).

    The exponentials are taken relative to the row maximum over the last axis (`peak` replaces it), so the result of
    one code depends on its row.
    """
    top = x.amax(-1, keepdim=True) if peak is None else peak
    s = scale * _SIGMOID
    e = shift_exp(x - top, s, _GELU_STEPS).codes
    # -max may be positive when the whole row is negative; the definition has no clamp there.
    total = (e + shift_exp(-top, s, _GELU_STEPS).codes).clamp(max=(1 << 31) - 1)
    factor = ((1 << 31) - 1) // total
    sigmoid = (e * factor) >> (32 - bits)
    return Scaled(x * sigmoid, scale / (1 << (bits - 1)))
