"""TPU v1's six applications as layers, from what Jouppi et al. (ISCA 2017) state about them.

Table 1 gives layers, weights, MACs per weight byte and batch; rows 1 and 2 of table 3 how full the 256 x 256 weight
tiles are on active cycles. A tile is read whole: section 7 counts 9 steps of 2 us, 64 KiB at 34 GB/s, for a matrix of
600 x 600. So a layer is built here with its sides rounded up to whole tiles, and only its own weights count as work:

- MLP0: 5 equal layers of 2000 x 2000, 20M weights. They fill 95 % of their tiles (table 3: 98 %).
- MLP1: 4 equal layers that hold 5M weights in 4 x 5 tiles each, the nearest near-square number to table 3's 89 %.
- LSTM0: 24 layers of 2048 x 1024, 50M of 52M weights: table 3 says no tile is partly filled.
- LSTM1: 94 matrices of 600 x 600, 34M weights: section 7 names the size. They fill 61 % (table 3: 60 %).
- CNN0: 256 channels at 19 x 19, its 2888 MACs per weight byte over batch 8, as AlphaGo's board has; no tile is partly
  filled (table 3). 13 layers of 3 x 3 and 3 of 1 x 1 are the mix of 16 nearest to 8M weights.
- CNN1: 72 convolutions of unstated depth, half of whose tiles are empty, and 4 dense layers of unstated size at batch
  32, which take a third of the cycles. Its shapes cannot be told; 76 equal layers say nothing and are kept apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt

from hwsim.backends.synthetic import GraphBuilder
from hwsim.graph.ir import WorkloadGraph

#: Side of a weight tile.
TILE = 256


@dataclass(frozen=True)
class Layer:
    """`count` equal layers of `rows` x `cols` weights, or of kernel x kernel times that many."""

    rows: int
    cols: int
    count: int = 1
    kernel: int = 1

    @property
    def weights(self) -> int:
        """Weights of all of them."""
        return self.rows * self.cols * self.kernel**2 * self.count


@dataclass(frozen=True)
class Application:
    """Layers, inputs that share each weight (batch, and positions of an image), and published tera-operations per s."""

    name: str
    layers: tuple[Layer, ...]
    batch: int
    side: int
    published_tops: float
    shapes_known: bool = True

    @property
    def macs(self) -> int:
        """MACs on weights that the application has; padding is not work."""
        return sum(layer.weights for layer in self.layers) * self.batch * self.side**2


APPLICATIONS = (
    Application("MLP0", (Layer(2000, 2000, 5),), 200, 1, 12.3),
    Application("MLP1", (Layer(1024, 1221, 2), Layer(1221, 1024, 2)), 168, 1, 9.7),
    Application("LSTM0", (Layer(2048, 1024, 12), Layer(1024, 2048, 12)), 64, 1, 3.7),
    Application("LSTM1", (Layer(600, 600, 94),), 96, 1, 2.8),
    Application("CNN0", (Layer(256, 256, 13, 3), Layer(256, 256, 3)), 8, 19, 86.0),
    Application("CNN1", (Layer(382, 382, 76, 3),), 32, isqrt(1750 // 32), 14.1, shapes_known=False),
)


def whole_tiles(size: int) -> int:
    """A side rounded up to whole weight tiles."""
    return -(-size // TILE) * TILE


def graph_of(application: Application) -> WorkloadGraph:
    """The application's layers one after another, padded to whole tiles, each with its nonlinear function."""
    builder = GraphBuilder(application.name, application.batch, "int8")
    first = whole_tiles(application.layers[0].rows)
    image = application.side > 1
    square = (application.side, application.side)
    x = builder.input((application.batch, first, *square) if image else (application.batch, first))
    for name, layer in _chain(application):
        cols = whole_tiles(layer.cols)
        y = (
            builder.conv(name, x, cols, layer.kernel, padding=layer.kernel // 2)
            if image
            else builder.linear(name, x, cols)
        )
        x = builder.pointwise(f"{name}.act", "activation", "relu", y)
    return builder.build()


def _chain(application: Application) -> list[tuple[str, Layer]]:
    """Single layers in an order in which each takes what the last one gives."""
    groups = [[layer] * layer.count for layer in application.layers]
    if all(layer.rows == layer.cols for layer in application.layers):
        chain = [layer for group in groups for layer in group]
    else:
        chain = [layer for turn in zip(*groups, strict=True) for layer in turn]
    return [(str(index), layer) for index, layer in enumerate(chain)]
