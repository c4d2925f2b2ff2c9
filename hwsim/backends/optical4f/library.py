"""Masks computed once: what a kernel does on a panel, kept for every input and design that shows it again.

A bench computes its masks before the run (A8); a search over light, cameras and hosts runs the same masks many times.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import Tensor

from hwsim.backends.optical4f.chain import Chain, PreparedMask

# Values kept per process, and of one mask: 2^25 complex64 are 256 MiB.
_MAX_VALUES, _MAX_ONE = 1 << 25, 1 << 22
_kept: OrderedDict[str, PreparedMask] = OrderedDict()


def kept(kernel: Tensor, form: object, chain: Chain, make: Callable[[Tensor], PreparedMask]) -> PreparedMask:
    """`make(kernel)`, or the result of the last time. `form` is what besides kernel and chain decides it.

    Masks that flicker, that are learned, or that are too large to keep are made anew.
    """
    learned = kernel.requires_grad and torch.is_grad_enabled()
    if learned or not chain.steady or kernel.device.type != "cpu":
        return make(kernel)
    key = _key(kernel, form, chain)
    if key in _kept:
        _kept.move_to_end(key)
        return _kept[key]
    made = make(kernel)
    if made.response.numel() <= _MAX_ONE:
        _kept[key] = made
        while sum(mask.response.numel() for mask in _kept.values()) > _MAX_VALUES:
            _kept.popitem(last=False)
    return made


def _key(kernel: Tensor, form: object, chain: Chain) -> str:
    values = kernel.detach().contiguous()
    digest = hashlib.sha256(values.numpy().tobytes()).hexdigest()
    return f"{digest} {values.dtype} {tuple(values.shape)} {form} {chain.mask_identity}"
