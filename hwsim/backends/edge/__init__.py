"""Clusters of edge devices: networks, queues, splits, power and failures."""

from hwsim.backends.edge.backend import Edge
from hwsim.backends.edge.network import NetworkModel, simulate_flows

__all__ = ["Edge", "NetworkModel", "simulate_flows"]
