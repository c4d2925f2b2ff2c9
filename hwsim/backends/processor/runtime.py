"""How a graph is run: the part of a spec that decides which kernels there are."""

from __future__ import annotations

from dataclasses import dataclass

#: Widest head of the fused attention kernels (FlashAttention-2, arXiv:2307.08691, section 4).
MAX_HEAD = 256


@dataclass(frozen=True)
class Runtime:
    """Software on a processor: `mode` eager or compiled, `precision` as in the spec, `processor` gpu or cpu."""

    mode: str
    precision: str
    fused_attention: bool
    processor: str
    pytorch: tuple[int, int] = (2, 9)

    @property
    def widens_attention(self) -> bool:
        """Whether attention that no fused kernel takes computes in fp32 although its inputs are narrower (A7)."""
        on_gpu = self.processor == "gpu" and self.fused_attention
        return on_gpu and self.pytorch >= (2, 5) and self.precision not in ("fp32", "tf32")
