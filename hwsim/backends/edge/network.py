"""Links, routes and flows: validation, the fluid model's constants, and `simulate_flows`.

The model is flow-level (A1): a flow first waits for the latency of its route, then its bytes move at its weighted
max-min fair rate, which changes only when some flow enters or ends (facts of the SimGrid CM02 and LV08 models:
Casanova & Marchal 2002; Velho & Legrand, SIMUTools 2009).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hwsim.core.errors import UsageError

if TYPE_CHECKING:
    from hwsim.backends.edge.fluid import Network

Weighting = Literal["rtt", "equal"]
# How a link divides its bandwidth: among all flows; not at all (each flow may have it all); or, on a Wi-Fi channel,
# airtime with equal chances to send (DCF: equal throughput) or with equal airtime for each flow.
SHARING = ("shared", "fatpipe", "wifi", "wifi_airtime")


@dataclass(frozen=True)
class NetworkModel:
    """Constants of the fluid model.

    A route's latency is `latency_factor` times the sum of its links'; a link gives flows `bandwidth_factor` of its
    bandwidth. A flow's weight is 1 / (sum L + sum `weight_bytes` / B) with unscaled L and B. `gamma_bytes` is the TCP
    window: a flow's rate is at most gamma / (2 sum L); 0 means no window.
    """

    latency_factor: float = 1.0
    bandwidth_factor: float = 1.0
    weight_bytes: float = 0.0
    gamma_bytes: float = 0.0


# CM02: the plain fluid model. LV08: factors fitted to TCP Reno on packet-level simulation, Velho & Legrand 2009;
# the values of SimGrid 3.32.
MODELS: Mapping[str, NetworkModel] = {
    "cm02": NetworkModel(),
    "lv08": NetworkModel(latency_factor=13.01, bandwidth_factor=0.97, weight_bytes=20537.0, gamma_bytes=4194304.0),
}


@dataclass(frozen=True)
class Link:
    """A one-way link. `loss` is the probability that a frame is lost; the link layer sends it again (A4).

    On a Wi-Fi channel `bandwidth_bytes_per_s` is the PHY rate of a station that states none of its own.
    """

    name: str
    bandwidth_bytes_per_s: float
    latency_s: float
    sharing: str = "shared"
    loss: float = 0.0


@dataclass(frozen=True)
class Route:
    """The links that a flow crosses in order, by index, and the PHY rate of the station that sends or receives on
    each (none, or 0: the link's own)."""

    links: tuple[int, ...]
    phy_bytes_per_s: tuple[float, ...] = ()


class Frame(Protocol):
    """What a pandas DataFrame and a mapping of columns have in common."""

    def __getitem__(self, column: str, /) -> ArrayLike: ...

    def __contains__(self, column: object, /) -> bool: ...


def model_named(model: NetworkModel | str) -> NetworkModel:
    """The model itself, or a preset by name: `cm02`, `lv08`. Raises UsageError for another name."""
    if isinstance(model, NetworkModel):
        return model
    if model.lower() not in MODELS:
        raise UsageError(f"network model {model!r}", got=model, expected="one of " + ", ".join(MODELS))
    return MODELS[model.lower()]


def check_links(links: Sequence[Link]) -> None:
    """Raises UsageError unless names are unique, rates positive, latencies not negative, 0 <= loss < 1."""
    seen: set[str] = set()
    for link in links:
        where = f"link {link.name!r}"
        if link.name in seen:
            raise UsageError("named twice", where=where, remedy="give each link one row")
        seen.add(link.name)
        if not 0.0 < link.bandwidth_bytes_per_s < np.inf:
            rate = link.bandwidth_bytes_per_s
            raise UsageError(f"bandwidth {rate:g} B/s", where=where, got=rate, expected="a positive number of B/s")
        if not 0.0 <= link.latency_s < np.inf:
            raise UsageError(f"latency {link.latency_s:g} s", where=where, got=link.latency_s, expected="0 s or more")
        if not 0.0 <= link.loss < 1.0:
            raise UsageError(f"loss {link.loss:g}", where=where, got=link.loss, expected="a probability, 0 <= loss < 1")
        if link.sharing not in SHARING:
            expected = "one of " + ", ".join(SHARING)
            raise UsageError(f"sharing {link.sharing!r}", where=where, got=link.sharing, expected=expected)


def hop_rates(links: Sequence[Link], route: Route) -> list[tuple[Link, float]]:
    """Each link of the route, with the B/s at which this route's station drives it when alone on it."""
    own = route.phy_bytes_per_s or (0.0,) * len(route.links)
    return [
        (links[i], rate if links[i].sharing.startswith("wifi") and rate > 0.0 else links[i].bandwidth_bytes_per_s)
        for i, rate in zip(route.links, own, strict=True)
    ]


def route_latency_s(links: Sequence[Link], route: Route, model: NetworkModel) -> float:
    """Seconds before the first byte of a flow on `route` counts."""
    return model.latency_factor * sum(links[i].latency_s for i in route.links)


def route_weight(links: Sequence[Link], route: Route, weighting: Weighting, model: NetworkModel) -> float:
    """Weight in the max-min problem; 0 marks a route of no round-trip time, which 1/RTT cannot weigh."""
    if weighting == "equal":
        weight = 1.0
    else:
        rtt = sum(link.latency_s + model.weight_bytes / rate for link, rate in hop_rates(links, route))
        weight = 1.0 / rtt if rtt > 0.0 else 0.0
    for link, rate in hop_rates(links, route):
        if link.sharing == "wifi_airtime":  # equal airtime is a rate in proportion to the PHY rate
            weight *= rate
    return weight


def route_cap(links: Sequence[Link], route: Route, model: NetworkModel) -> float:
    """B/s that one flow on `route` may reach: the TCP window, and each link that is not shared."""
    cap = np.inf
    latency = sum(links[i].latency_s for i in route.links)
    if model.gamma_bytes > 0.0 and latency > 0.0:
        cap = model.gamma_bytes / (2.0 * latency)
    for i in route.links:
        if links[i].sharing == "fatpipe":
            cap = min(cap, model.bandwidth_factor * links[i].bandwidth_bytes_per_s * (1.0 - links[i].loss))
    return float(cap)


def route_weights(
    links: Sequence[Link], routes: Sequence[Route], weighting: Weighting, model: NetworkModel
) -> NDArray[np.float64]:
    """Weight of each route. Where no route has a round-trip time they are all equal (A2).

    Raises UsageError where only some have none: they would take everything.
    """
    if weighting not in ("rtt", "equal"):
        raise UsageError(f"weighting {weighting!r}", got=weighting, expected="'rtt' or 'equal'")
    weights = np.array([route_weight(links, route, weighting, model) for route in routes])
    crossing = np.array([len(route.links) > 0 for route in routes], dtype=bool)
    instant = crossing & (weights == 0.0)
    if instant.any() and not np.array_equal(instant, crossing):
        route = routes[int(np.argmax(instant))]
        raise UsageError(
            "a route without latency has no 1/RTT weight beside routes that have latency",
            where="route " + ";".join(links[i].name for i in route.links),
            remedy="give one of its links a latency, or use weighting='equal'",
        )
    return np.where(weights == 0.0, 1.0, weights)


def compile_network(
    links: Sequence[Link], routes: Sequence[Route], weighting: Weighting, model: NetworkModel
) -> Network:
    """The solver's network: a class of flows for each route. Capacities are B/s; on Wi-Fi, seconds of airtime per s."""
    from hwsim.backends.edge import fluid

    hops = [[i for i in route.links if links[i].sharing != "fatpipe"] for route in routes]
    link_table = np.zeros(len(links), fluid.LINK)
    link_table["capacity"] = [
        model.bandwidth_factor * (1.0 if link.sharing.startswith("wifi") else link.bandwidth_bytes_per_s)
        for link in links
    ]
    lengths = np.array([len(h) for h in hops], dtype=np.int64)
    classes = np.zeros(len(routes), fluid.FLOW_CLASS)
    classes["weight"] = route_weights(links, routes, weighting, model)
    classes["cap"] = [route_cap(links, route, model) for route in routes]
    classes["latency_s"] = [route_latency_s(links, route, model) for route in routes]
    classes["end_hop"] = np.cumsum(lengths)
    classes["first_hop"] = classes["end_hop"] - lengths
    hop_table = np.zeros(int(lengths.sum()), fluid.HOP)
    hop_table["flow_class"] = np.repeat(np.arange(len(routes)), lengths)
    hop_table["link"] = [i for h in hops for i in h]
    hop_table["load"] = [
        (1.0 / rate if link.sharing.startswith("wifi") else 1.0) / (1.0 - link.loss)
        for route in routes
        for link, rate in hop_rates(links, route)
        if link.sharing != "fatpipe"
    ]
    return fluid.new_network(link_table, classes, hop_table)


def links_of(frame: Frame) -> list[Link]:
    """Links of a frame with columns link, bandwidth_Bps, latency_s and, if given, sharing and loss."""
    names = column(frame, "link", "links", str)
    count = names.size
    sharing = column(frame, "sharing", "links", str) if "sharing" in frame else np.full(count, "shared")
    loss = column(frame, "loss", "links", float) if "loss" in frame else np.zeros(count)
    rows = zip(
        names.tolist(),
        column(frame, "bandwidth_Bps", "links", float).tolist(),
        column(frame, "latency_s", "links", float).tolist(),
        sharing.tolist(),
        loss.tolist(),
        strict=True,
    )
    links = [Link(*row) for row in rows]
    check_links(links)
    return links


def column(frame: Frame, name: str, table: str, kind: type[str] | type[float]) -> NDArray[np.generic]:
    """A column as an array of `kind`; raises UsageError where it is missing or not of that kind."""
    if name not in frame:
        raise UsageError(f"no column {name!r}", where=table, expected="the columns of the documentation")
    try:
        return np.asarray(frame[name]).astype(kind)
    except ValueError as error:
        raise UsageError(f"column {name!r}: {error}", where=table, expected=f"{kind.__name__} values") from error


def routes_of(frame: Frame, links: Sequence[Link]) -> list[Route]:
    """The route of each row: link names joined by `;` (or a sequence of names), and phy_rate_Bps if given."""
    index = {link.name: i for i, link in enumerate(links)}
    if "route" not in frame:
        raise UsageError("no column 'route'", where="flows", expected="the columns of the documentation")
    phy = column(frame, "phy_rate_Bps", "flows", float) if "phy_rate_Bps" in frame else None
    routes = []
    cells: Sequence[object] = list(np.asarray(frame["route"], dtype=object))
    for row, cell in enumerate(cells):
        names = [name.strip() for name in cell.split(";") if name.strip()] if isinstance(cell, str) else list(cell)  # type: ignore[call-overload]
        unknown = [name for name in names if name not in index]
        if unknown:
            raise UsageError(f"link {unknown[0]!r} is not in links", where=f"flows row {row}", got=unknown[0])
        rates = () if phy is None else (float(np.nan_to_num(float(phy[row]))),) * len(names)
        routes.append(Route(tuple(index[name] for name in names), rates))
    return routes


def simulate_flows(
    links: Frame,
    flows: Frame,
    weighting: Weighting = "rtt",
    *,
    model: NetworkModel | str = "cm02",
    latency_factor: float | None = None,
    bandwidth_factor: float | None = None,
    weight_bytes: float | None = None,
    gamma_bytes: float | None = None,
) -> NDArray[np.float64]:
    """Finish time in seconds of each flow, in the order of `flows`, under weighted max-min fair sharing.

    `links` has columns link, bandwidth_Bps, latency_s and optionally sharing (`shared`, `fatpipe`, `wifi`,
    `wifi_airtime`) and loss; `flows` has flow, start_s, bytes, route (link names joined by `;`, in order) and
    optionally phy_rate_Bps, the rate of the flow's station on Wi-Fi links. Either may be a DataFrame or a mapping of
    columns. `weighting` is 1/RTT or equal; `model` is `cm02` (default), `lv08` or a NetworkModel, and the keywords
    after it replace single constants of it: phi_L, phi_B, S and gamma. A flow that never ends finishes at infinity.

    Raises UsageError for a missing column, an unknown link, a value out of range, or a route that 1/RTT cannot weigh.
    """
    given = {
        "latency_factor": latency_factor,
        "bandwidth_factor": bandwidth_factor,
        "weight_bytes": weight_bytes,
        "gamma_bytes": gamma_bytes,
    }
    chosen = replace(model_named(model), **{name: value for name, value in given.items() if value is not None})
    link_list = links_of(links)
    routes = routes_of(flows, link_list)
    start = column(flows, "start_s", "flows", float).astype(np.float64)
    size = column(flows, "bytes", "flows", float).astype(np.float64)
    for name, values in (("start_s", start), ("bytes", size)):
        bad = ~(np.isfinite(values) & (values >= 0.0))
        if bad.any():
            row = int(np.argmax(bad))
            raise UsageError(
                f"{name} = {values[row]:g}", where=f"flows row {row}", expected="a finite number, 0 or more"
            )
    return finish_times(link_list, routes, start, size, weighting, chosen)


def finish_times(
    links: Sequence[Link],
    routes: Sequence[Route],
    start_s: NDArray[np.float64],
    size_bytes: NDArray[np.float64],
    weighting: Weighting,
    model: NetworkModel,
) -> NDArray[np.float64]:
    """Finish time of flow i on `routes[i]`, started at `start_s[i]` with `size_bytes[i]`."""
    from hwsim.backends.edge import agenda, fluid

    class_of_route: dict[Route, int] = {}
    class_of = np.array([class_of_route.setdefault(r, len(class_of_route)) for r in routes], dtype=np.int64)
    network = compile_network(links, list(class_of_route), weighting, model)
    entry_s = start_s + network.classes["latency_s"][class_of]
    finish_s = np.full(start_s.size, np.inf)
    fluid.run_flows(
        network,
        np.zeros(start_s.size, fluid.FLOW),
        agenda.new_agenda(len(class_of_route)),
        np.argsort(entry_s, kind="stable"),
        entry_s,
        class_of,
        size_bytes,
        finish_s,
    )
    return finish_s
