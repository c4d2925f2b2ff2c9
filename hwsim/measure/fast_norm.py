"""timm's `--fast-norm`: norms of its own classes leave autocast and compute in the low format.

timm's benchmark files do not say their flags; their eager times do. With the flag the family of BiT hybrids, all group
norms, is predicted within a few percent, without it 30 % slow, and so on for each family that uses timm's own norms;
families that use torch's are the same either way (study gpu_power).
"""

from __future__ import annotations

from functools import lru_cache

from hwsim.core.errors import UsageError
from hwsim.graph.sources import parse_source


@lru_cache(maxsize=4096)
def fast_norms(source: str) -> frozenset[str]:
    """Paths of the modules of a `timm:` source whose norms keep the low format under the flag."""
    import torch

    from hwsim.graph.builders import build

    parsed = parse_source(source)
    try:
        with torch.device("meta"):
            module = build(parsed.scheme, parsed.name, parsed.options, None).module
    except UsageError:  # a constructor that computes with its own parameters
        module = build(parsed.scheme, parsed.name, parsed.options, None).module
    return frozenset(path for path, part in module.named_modules() if hasattr(part, "_fast_norm"))
