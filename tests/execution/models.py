"""Small models and the way tests run them."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from hwsim.backends.execution.arithmetic import Arithmetic
from hwsim.backends.execution.coding import Calibration, Method
from hwsim.backends.execution.run import Session, prepare
from hwsim.graph.capture import capture
from hwsim.graph.values import fetch_values


class Wrapped(nn.Module):
    """A module from layers and a function of them."""

    def __init__(self, function: Callable[..., Tensor], *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, *self.layers)


def session(module: nn.Module, x: Tensor, arithmetic: Arithmetic | None = None, method: Method = "minmax") -> Session:
    """The module calibrated on x."""
    module.eval()
    graph = capture(module, (x,), "test")
    return prepare(graph, fetch_values(graph, module), arithmetic or Arithmetic(), [x], Calibration(method))
