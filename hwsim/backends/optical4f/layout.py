"""Samples on the real panel: where the tiles of a layer stand, and which camera pixels its outputs are read from."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor

from hwsim.backends.optical4f.tiles import Kept, Pair


@dataclass(frozen=True)
class PanelLayout:
    """A grid of tiles of `pitch` from the panel's corner; a rest narrower than a pitch stays dark (A1)."""

    plane: Pair
    pitch: Pair

    @property
    def grid(self) -> Pair:
        """Tiles per axis."""
        return self.plane[0] // self.pitch[0], self.plane[1] // self.pitch[1]

    @property
    def tiles(self) -> int:
        return self.grid[0] * self.grid[1]

    def frames(self, samples: int) -> int:
        """Input patterns that hold so many samples."""
        return ceil(samples / self.tiles)

    def place(self, maps: Tensor) -> Tensor:
        """Maps (B, H, W) on as few planes as hold them, row by row of tiles: (frames, *plane)."""
        count, height, width = maps.shape
        planes = maps.new_zeros(self.frames(count), *self.plane)
        frame, row, col = self._stand(count)
        rows = row[:, None, None] + torch.arange(height)[:, None]
        cols = col[:, None, None] + torch.arange(width)
        planes[frame[:, None, None], rows, cols] = maps
        return planes

    def read(self, planes: Tensor, count: int, kept: tuple[Kept, Kept]) -> Tensor:
        """Kept pixels (B, rows, cols) of the tiles of camera planes (frames, *plane)."""
        frame, row, col = self._stand(count)
        rows = (row[:, None, None] + kept[0].offsets()[:, None]) % self.plane[0]
        cols = (col[:, None, None] + kept[1].offsets()) % self.plane[1]
        return planes[frame[:, None, None], rows, cols]

    def _stand(self, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Frame, first row and first column of every sample's tile, each (count,)."""
        index = torch.arange(count)
        place = index % self.tiles
        return index // self.tiles, place // self.grid[1] * self.pitch[0], place % self.grid[1] * self.pitch[1]
