"""Star, chain and mesh: which links a message between two devices crosses."""

from __future__ import annotations

from dataclasses import dataclass, field

from hwsim.backends.edge.network import MODELS, Link, Route
from hwsim.backends.edge.program import Cluster, Device, Level, Radio, Thermal
from hwsim.backends.edge.spec import ClusterSpec, DeviceSpec


@dataclass
class Wiring:
    """Builds links and routes as they are asked for; a message to oneself has no route."""

    spec: ClusterSpec
    links: list[Link] = field(default_factory=list)
    routes: list[Route] = field(default_factory=list)
    link_index: dict[str, int] = field(default_factory=dict)
    route_index: dict[tuple[int, int], int] = field(default_factory=dict)
    stations: list[tuple[str, DeviceSpec]] = field(init=False)

    def __post_init__(self) -> None:
        self.stations = self.spec.instances()

    def route(self, sender: int, receiver: int) -> int | None:
        """Index of the route from one device to another; None to oneself."""
        if sender == receiver:
            return None
        if (sender, receiver) not in self.route_index:
            self.route_index[sender, receiver] = len(self.routes)
            self.routes.append(self._route(sender, receiver))
        return self.route_index[sender, receiver]

    def _route(self, sender: int, receiver: int) -> Route:
        network = self.spec.network
        if network.topology == "star":
            pairs = [(f"up {self._name(sender)}", sender), (f"down {self._name(receiver)}", receiver)]
        elif network.topology == "mesh":
            pairs = [(f"{self._name(sender)} to {self._name(receiver)}", sender)]
        else:
            step = 1 if receiver > sender else -1
            hops = range(sender, receiver, step)
            pairs = [(f"{self._name(hop)} to {self._name(hop + step)}", hop) for hop in hops]
        rates = tuple(self.stations[station][1].phy_rate_bytes_per_s or 0.0 for _, station in pairs)
        return Route(tuple(self._link(name) for name, _ in pairs), rates)

    def _name(self, device: int) -> str:
        return self.stations[device][0]

    def _link(self, name: str) -> int:
        network = self.spec.network
        shared = "channel" if network.sharing.startswith("wifi") else name
        if shared not in self.link_index:
            self.link_index[shared] = len(self.links)
            self.links.append(
                Link(shared, network.bandwidth_bytes_per_s, network.latency_s, network.sharing, network.loss)
            )
        return self.link_index[shared]

    def cluster(self) -> Cluster:
        """The simulated cluster with the links and routes asked for so far."""
        network = self.spec.network
        devices = tuple(simulated(name, spec) for name, spec in self.stations)
        return Cluster(devices, tuple(self.links), tuple(self.routes), MODELS[network.model], network.weighting)


def simulated(name: str, spec: DeviceSpec) -> Device:
    """A device of the file as the simulation sees it."""
    heat = spec.thermal
    radio = spec.radio
    return Device(
        name=name,
        idle_w=spec.idle_power_w,
        levels=(
            Level(1.0, spec.load_power_w),
            *(Level(level.clock, level.load_power_w) for level in spec.levels),
        ),
        batch=spec.batch,
        thermal=None if heat is None else Thermal(heat.resistance, heat.capacity, heat.ambient, heat.hot, heat.cool),
        battery_j=float("inf") if spec.battery_j is None else spec.battery_j,
        radio=Radio(radio.send, radio.receive, radio.send_frame_j, radio.receive_frame_j),
    )
