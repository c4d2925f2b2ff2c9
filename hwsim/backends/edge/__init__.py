"""Clusters of edge devices: networks, queues, splits, power and failures."""

from hwsim.backends.edge.network import Link, NetworkModel, Route, simulate_flows
