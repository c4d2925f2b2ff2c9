"""The study's token-reduced network: what the paper counts, and the fused token by its definition."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hwsim.graph.sources import load_source

ROOT = Path(__file__).parents[2]


def test_evit_counts_what_its_paper_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """EViT (ICLR 2022), Table 1: DeiT-S at a keep rate of 0.7 has 22.1 M parameters and 3.0 GMACs."""
    monkeypatch.chdir(ROOT)
    graph = load_source("torch:studies.gpu_power.evit:deit_small")
    assert graph.params == pytest.approx(22.1e6, rel=0.01)
    assert graph.macs == pytest.approx(3.0e9, rel=0.02)


def test_tokens_not_kept_are_summed_by_their_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    from studies.gpu_power.evit import keep_attended

    x = torch.randn(2, 11, 5, dtype=torch.float64)
    attention = torch.rand(2, 10, dtype=torch.float64)
    got = keep_attended(x, attention, 0.65)
    assert got.shape == (2, 1 + 7 + 1, 5)
    for sample in range(2):
        order = attention[sample].argsort(descending=True)
        kept, rest = order[:7], order[7:]
        torch.testing.assert_close(got[sample, 0], x[sample, 0])
        torch.testing.assert_close(got[sample, 1:8], x[sample, 1:][kept])
        torch.testing.assert_close(got[sample, 8], (attention[sample, rest, None] * x[sample, 1:][rest]).sum(0))
