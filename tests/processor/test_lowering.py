"""Kernels of small torch modules: what a runtime really launches for them."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from hwsim.backends.processor.kernels import KernelTable, Kind
from hwsim.backends.processor.lower import lower
from hwsim.backends.processor.runtime import Runtime
from hwsim.graph.capture import capture
from hwsim.measure.fast_norm import fast_norms

EAGER, COMPILED = Runtime("eager", "amp_fp16", True, "gpu"), Runtime("compiled", "amp_fp16", True, "gpu")
ON_CPU = Runtime("compiled", "fp32", True, "cpu")


class Twice(torch.nn.Module):
    """Two attention calls in one module, as differential attention makes them."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = functional.scaled_dot_product_attention(x, x, x)
        return first - functional.scaled_dot_product_attention(x + 1, x, x)


class Rolled(torch.nn.Module):
    def __init__(self, shift: int) -> None:
        super().__init__()
        self.shift, self.layer = shift, torch.nn.Linear(16, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(torch.roll(x, (self.shift, self.shift), (1, 2)) if self.shift else x)


class Normed(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.layer = torch.nn.LayerNorm(16), torch.nn.Linear(16, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(self.norm(x))


def kernels(module: torch.nn.Module, shape: tuple[int, ...], runtime: Runtime, *low_norms: str) -> KernelTable:
    return lower(capture(module.eval(), input_shape=shape, name="net"), runtime, frozenset(low_norms))


def moved(table: KernelTable) -> float:
    return sum(kernel.read.sample + kernel.write.sample for kernel in table.kernels)


@pytest.mark.parametrize("runtime", [EAGER, COMPILED])
def test_two_attention_calls_of_one_module_are_two_fused_kernels(runtime: Runtime) -> None:
    table = kernels(Twice(), (1, 3, 50, 32), runtime)
    assert [kernel.kind for kernel in table.kernels].count(Kind.ATTENTION) == 2
    assert not any(kernel.kind in (Kind.MATMUL, Kind.SIMD_MATMUL) for kernel in table.kernels)


def test_a_cpus_compiled_roll_is_serial_in_its_elements() -> None:
    shape = (1, 6, 6, 16)
    assert sum(kernel.serial for kernel in kernels(Rolled(2), shape, ON_CPU).kernels) == 6 * 6 * 16
    assert sum(kernel.serial for kernel in kernels(Rolled(0), shape, ON_CPU).kernels) == 0
    assert sum(kernel.serial for kernel in kernels(Rolled(2), shape, COMPILED).kernels) == 0


def test_a_low_norm_moves_less_in_eager_mode() -> None:
    """fp32 norm: read 4, write 4, convert 4 + 2; low norm: convert 4 + 2, read 2, write 2 bytes per element."""
    shape, elements = (1, 50, 16), 50 * 16
    wide, low = (kernels(Normed(), shape, EAGER, *names) for names in ((), ("norm",)))
    assert moved(wide) - moved(low) == pytest.approx(4 * elements)


def test_timms_own_norms_are_known_by_their_class() -> None:
    assert "blocks.0.norm1" in fast_norms("timm:deit_tiny_patch16_224")
    assert not fast_norms("timm:swin_tiny_patch4_window7_224")  # torch's norms
