"""Integer square roots: one that converges for every input, and I-ViT's ten fixed steps."""

from __future__ import annotations

import torch
from torch import Tensor


def integer_sqrt(value: Tensor) -> Tensor:
    """floor(sqrt(value)) for int64 value >= 0, by Newton's iteration from above, stopped when it no longer falls.

    The start is the power of two at or above the root. From above the iterate falls strictly until it reaches the
    floor of the root (Crandall and Pomerance, Prime Numbers, algorithm 9.2.11).
    """
    positive = value.clamp(min=1)
    _, bits = torch.frexp(positive.to(torch.float64))
    root = torch.ones_like(value) << ((bits.to(torch.int64) + 1) // 2).clamp(max=32)
    while True:
        lower = (root + positive // root) >> 1
        if not bool((lower < root).any()):
            return torch.where(value == 0, 0, root)
        root = torch.minimum(root, lower)


def ten_step_sqrt(value: Tensor) -> Tensor:
    """I-ViT's square root (zkkli/I-ViT@19d8f62): ten Newton steps from 2^16.

    It has not converged for small values (10 gives 64), and between n^2 - 1 and n^2 it may sit on n: reproduced as is.
    """
    root = torch.full_like(value, 1 << 16)
    for _ in range(10):
        root = (root + value // root) >> 1
    return root
