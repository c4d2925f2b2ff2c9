"""Tensor parallelism through a root device: bytes, messages, and the time that staging them takes.

The root broadcasts activations to its peers and gathers their slices, as distributed-llama does. Bytes follow from the
program; the time per byte is the wire's plus a staging cost at the root that grows with the number of peers it polls
(A7). Bytes over bandwidth alone would predict a speed-up that eight Raspberry Pis do not show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Collective:
    """One exchange of a layer. The root sends `broadcast_bytes` to each peer, and each peer its slice back.

    `scatter_bytes` is a vector of which every peer gets all but the slice that it made itself; of `gather_bytes` every
    peer sends its 1/n.
    """

    broadcast_bytes: float = 0.0
    scatter_bytes: float = 0.0
    gather_bytes: float = 0.0

    def relayed_bytes(self, devices: int) -> float:
        """Bytes through the root on `devices` devices, itself included."""
        peers, others = devices - 1, (devices - 1) / devices
        return peers * (self.broadcast_bytes + self.scatter_bytes * others) + self.gather_bytes * others


@dataclass(frozen=True)
class ShardedModel:
    """What a tensor-parallel step costs: sharded and root-only weight bytes, layers, exchanges of one layer."""

    sharded_bytes: float
    root_bytes: float
    layers: int
    exchanges: tuple[Collective, ...]

    def relayed_bytes(self, devices: int) -> float:
        """Bytes through the root for one step on `devices` devices."""
        return self.layers * sum(e.relayed_bytes(devices) for e in self.exchanges)


@dataclass(frozen=True)
class RootStaging:
    """What the devices take: weight-streaming rate, serial work per layer at the root, cost of a relayed byte.

    `relative_error` is the root mean square of leave-one-out errors of the total over the points it was fitted on.
    """

    weights_bytes_per_s: float
    layer_s: float
    stage_s_per_byte_per_peer: float
    relative_error: float = 0.0

    def compute_s(self, model: ShardedModel, devices: int) -> float:
        """Time of the root: its share of the weights streams from memory once, and the serial part of each layer."""
        streamed = model.sharded_bytes / devices + model.root_bytes
        return streamed / self.weights_bytes_per_s + self.layer_s * model.layers

    def sync_s(self, model: ShardedModel, devices: int, link_bytes_per_s: float) -> float:
        """Time of the exchanges on one full-duplex link at the root."""
        per_byte = 1.0 / link_bytes_per_s + self.stage_s_per_byte_per_peer * (devices - 1)
        return model.relayed_bytes(devices) * per_byte

    def step_s(self, model: ShardedModel, devices: int, link_bytes_per_s: float) -> float:
        """Compute and exchanges, one after the other: nothing overlaps in a blocking runtime."""
        return self.compute_s(model, devices) + self.sync_s(model, devices, link_bytes_per_s)


@dataclass(frozen=True)
class Measured:
    """A measured step: total and root compute time in s."""

    model: ShardedModel
    devices: int
    total_s: float
    compute_s: float


def llama_sharded(dim: int, hidden: int, layers: int, kv_dim: int, vocabulary: int) -> ShardedModel:
    """A Llama decoder as distributed-llama shards it: Q40 weights (18 B for 32), Q80 activations (34 B for 32).

    Per layer: broadcast x, gather q k v, broadcast attention, gather its projection, broadcast x, exchange the hidden
    slices, gather the output; the head runs on the root (b4rtaz/distributed-llama, transformer-tasks.cpp, Jan 2024).
    """
    weight, activation = 18.0 / 32.0, 34.0 / 32.0
    width = dim * activation
    return ShardedModel(
        sharded_bytes=layers * (2.0 * dim * dim + 2.0 * dim * kv_dim + 3.0 * dim * hidden) * weight,
        root_bytes=dim * vocabulary * weight,
        layers=layers,
        exchanges=(
            Collective(broadcast_bytes=width, gather_bytes=width + 2.0 * kv_dim * activation),
            Collective(broadcast_bytes=width, gather_bytes=width),
            Collective(broadcast_bytes=width, gather_bytes=hidden * activation),
            Collective(scatter_bytes=hidden * activation, gather_bytes=width),
        ),
    )


def fit(points: Sequence[Measured], link_bytes_per_s: float) -> RootStaging:
    """Least squares on relative errors: the compute rate and layer time on compute, then staging on totals.

    All three enter linearly, so each fit is exact; the error bar is from leaving out each point in turn.
    """
    whole = fit_once(points, link_bytes_per_s)
    errors = []
    for i, point in enumerate(points):
        rest = fit_once([*points[:i], *points[i + 1 :]], link_bytes_per_s)
        errors.append(rest.step_s(point.model, point.devices, link_bytes_per_s) / point.total_s - 1.0)
    error = float(np.sqrt(np.mean(np.square(errors))))
    return RootStaging(whole.weights_bytes_per_s, whole.layer_s, whole.stage_s_per_byte_per_peer, error)


def fit_once(points: Sequence[Measured], link_bytes_per_s: float) -> RootStaging:
    """The fit without its error bar."""
    rows = [[p.model.sharded_bytes / p.devices + p.model.root_bytes, p.model.layers] for p in points]
    design: NDArray[np.float64] = np.array(rows, dtype=np.float64) / np.array([[p.compute_s] for p in points])
    (per_byte, layer_s), *_ = np.linalg.lstsq(design, np.ones(len(points)), rcond=None)
    rough = RootStaging(1.0 / per_byte, float(layer_s), 0.0)
    slope = np.array([p.model.relayed_bytes(p.devices) * (p.devices - 1) / p.total_s for p in points])
    gap = np.array([1.0 - rough.step_s(p.model, p.devices, link_bytes_per_s) / p.total_s for p in points])
    return RootStaging(1.0 / per_byte, float(layer_s), float(slope @ gap / (slope @ slope)))
