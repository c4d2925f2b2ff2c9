"""Integer softmax: I-BERT, I-ViT's Shiftmax and FQ-ViT's log-int-softmax, on codes and exact in integers."""

from __future__ import annotations

import torch
from torch import Tensor

from hwsim.numerics.exponential import ExpTable, Family, exp_table
from hwsim.numerics.integer import Scaled
from hwsim.numerics.kernels import over_rows, softmax_rows

_IBERT_EXP_BITS = 16
_INT32_MAX = float((1 << 31) - 1)


def softmax(x: Tensor, scale: float, family: Family, bits: int = 8) -> Scaled:
    """Softmax over the last axis of whole numbers x with real value x scale.

    I-BERT (kssteven418/I-BERT@22e5b9b): F = floor(2^32 / sum e), out = floor(e F / 2^(32 - bits)), unit 2^-bits.
    I-ViT (zkkli/I-ViT@19d8f62): F = floor((2^31 - 1) / sum e) with the sum clamped to 2^31 - 1, unit 2^-(bits-1). Both
    floors make rows sum to less than 1. Codes are whole numbers in float32; products are formed in float64, where they
    stay below 2^53, so all is exact.
    """
    table = exp_table(family, scale, _IBERT_EXP_BITS if family == "ibert" else None)
    numerator, largest_sum, fraction_bits = (
        (float(1 << 32), torch.inf, bits) if family == "ibert" else (_INT32_MAX, _INT32_MAX, bits - 1)
    )
    unit = 0.5 ** (32 - bits)
    if x.device.type == "cpu":
        codes, _ = over_rows(softmax_rows, x, table.values.numpy(), numerator, largest_sum, unit)
    else:
        codes = _softmax(x, table, numerator, largest_sum, unit)
    return Scaled(codes, 0.5**fraction_bits)


def _softmax(x: Tensor, table: ExpTable, numerator: float, largest_sum: float, unit: float) -> Tensor:
    """The definition as tensor operations, for any device."""
    e = table.lookup(x, x.amax(-1, keepdim=True))
    factor = torch.floor(numerator / e.sum(-1, keepdim=True).clamp(max=largest_sum))
    return torch.floor(e * factor * unit).to(torch.float32)


def log_int_softmax(x: Tensor, scale: float, bits: int = 4) -> Tensor:
    """FQ-ViT's log-int-softmax (megvii-research/FQ-ViT@5bc4e4f): log2 codes of softmax(x scale), last axis, int64.

    r = rne(sum e / e), u = floor(log2 r) rounded up from 1.5 times a power of two; codes min(u, 2^bits - 1), and
    2^bits, which stands for zero, where u >= 2^bits. I-BERT's exponential without its 16-bit step.
    """
    e = exp_table("ibert", scale).lookup(x, x.amax(-1, keepdim=True))
    ratio = torch.round(e.sum(-1, keepdim=True) / e)
    # frexp: ratio = f 2^k with 0.5 <= f < 1, so floor(log2) = k - 1 and 1.5 x 2^(k-1) is f = 0.75.
    fraction, exponent = torch.frexp(ratio)
    code = exponent.to(torch.int64) - 1 + (fraction >= 0.75).to(torch.int64)
    zero = 1 << bits
    code = torch.where(torch.isinf(ratio), zero, code)
    return torch.where(code >= zero, zero, code)
