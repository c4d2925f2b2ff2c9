"""Clusters of edge devices: networks, queues, splits, power and failures."""

from hwsim.backends.edge.network import NetworkModel, simulate_flows

__all__ = ["NetworkModel", "simulate_flows"]
