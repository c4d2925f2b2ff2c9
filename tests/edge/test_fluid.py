"""The fluid network against a solver that recomputes everything at every event, and against hand-made cases."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hwsim.backends.edge import NetworkModel, simulate_flows
from hwsim.core.errors import UsageError

Columns = dict[str, list[object]]
LV08 = NetworkModel(13.01, 0.97, 20537.0, 4194304.0)


def plain_rates(
    capacity: NDArray[np.float64], uses: NDArray[np.float64], weight: NDArray[np.float64], cap: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Progressive filling by the definition: raise the level of all that are not frozen until something binds."""
    rate, open_flows = np.zeros(weight.size), np.ones(weight.size, bool)
    while open_flows.any():
        demand = uses[:, open_flows] @ weight[open_flows]
        left = capacity - uses[:, ~open_flows] @ rate[~open_flows]
        levels = np.divide(left, demand, out=np.full(capacity.size, np.inf), where=demand > 0)
        level = min(levels.min(), (cap / weight)[open_flows].min())
        bound = open_flows & ((uses[levels <= level * (1 + 1e-12)] > 0).any(axis=0) | (cap / weight <= level))
        rate[bound] = level * weight[bound]
        open_flows &= ~bound
    return rate


def plain_finish(links: Columns, flows: Columns, weighting: str, model: NetworkModel) -> NDArray[np.float64]:
    names = list(links["link"])
    bandwidth, latency = np.array(links["bandwidth_Bps"], float), np.array(links["latency_s"], float)
    routes = [[names.index(n) for n in str(r).split(";")] for r in flows["route"]]
    uses = np.zeros((len(names), len(routes)))
    for f, route in enumerate(routes):
        uses[route, f] = 1.0
    rtt = uses.T @ (latency + model.weight_bytes / bandwidth)
    weight = np.ones(len(routes)) if weighting == "equal" else 1.0 / rtt
    cap = model.gamma_bytes / (2 * (uses.T @ latency)) if model.gamma_bytes else np.full(len(routes), np.inf)
    entry = np.array(flows["start_s"], float) + model.latency_factor * (uses.T @ latency)
    left, finish, now = np.array(flows["bytes"], float), np.full(len(routes), np.nan), 0.0
    while np.isnan(finish).any():
        waiting = np.isnan(finish) & (entry > now)
        moving = np.isnan(finish) & ~waiting
        rate = np.zeros(len(routes))
        if moving.any():
            rate[moving] = plain_rates(model.bandwidth_factor * bandwidth, uses[:, moving], weight[moving], cap[moving])
        ends = np.divide(left, rate, out=np.full(len(routes), np.inf), where=rate > 0)
        step = min(ends.min(), (entry[waiting] - now).min(initial=np.inf))
        left = left - rate * step
        now += step
        finish[moving & (ends <= step * (1 + 1e-12))] = now
        now = max(now, min(entry[waiting].min(initial=np.inf), now)) if step == 0 else now
    return finish


@st.composite
def scenarios(draw: st.DrawFn) -> tuple[Columns, Columns]:
    seed, link_count, flow_count = draw(st.tuples(st.integers(0, 10**6), st.integers(1, 8), st.integers(1, 25)))
    rng = np.random.default_rng(seed)
    spread = draw(st.sampled_from([0.0, 1.0, 3.0]))
    links: Columns = {
        "link": [f"l{i}" for i in range(link_count)],
        "bandwidth_Bps": list(1e6 * 10 ** rng.uniform(0, spread, link_count)),
        "latency_s": list(1e-4 * 10 ** rng.uniform(0, spread, link_count)),
    }
    flows: Columns = {
        "flow": list(range(flow_count)),
        "start_s": list(rng.uniform(0, draw(st.sampled_from([0.0, 0.1, 1.0])), flow_count)),
        "bytes": list(10 ** rng.uniform(2, 6, flow_count)),
        "route": [
            ";".join(f"l{i}" for i in rng.choice(link_count, rng.integers(1, link_count + 1), replace=False))
            for _ in range(flow_count)
        ],
    }
    return links, flows


@given(scenarios(), st.sampled_from(["rtt", "equal"]), st.sampled_from([NetworkModel(), LV08]))
@settings(max_examples=150, deadline=None)
def test_equals_the_plain_solver(scenario: tuple[Columns, Columns], weighting: str, model: NetworkModel) -> None:
    got = simulate_flows(*scenario, weighting, model=model)  # type: ignore[arg-type]
    assert got == pytest.approx(plain_finish(*scenario, weighting, model), rel=1e-9)


@given(scenarios(), st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_order_of_flows_does_not_matter(scenario: tuple[Columns, Columns], seed: int) -> None:
    links, flows = scenario
    order = np.random.default_rng(seed).permutation(len(flows["flow"]))
    shuffled = {name: [values[i] for i in order] for name, values in flows.items()}
    assert simulate_flows(links, shuffled) == pytest.approx(simulate_flows(links, flows)[order], rel=1e-9)


def one_link(**columns: object) -> Columns:
    return {"link": ["L"], "bandwidth_Bps": [1e6], "latency_s": [0.0], **{k: [v] for k, v in columns.items()}}


def test_a_thousand_flows_of_one_route_share_it_equally() -> None:
    flows: Columns = {"flow": list(range(1000)), "start_s": [0.0] * 1000, "bytes": [1e3] * 1000, "route": ["L"] * 1000}
    assert simulate_flows(one_link(), flows, "equal") == pytest.approx(np.full(1000, 1.0), rel=1e-12)


def test_wifi_gives_equal_throughput_to_unequal_stations() -> None:
    """The performance anomaly: x = 1 / sum(1/r). Stations at 6 and 1 MB/s each get 6/7 MB/s."""
    flows: Columns = {
        "flow": [0, 1],
        "start_s": [0, 0],
        "bytes": [6e6 / 7, 6e6 / 7],
        "route": ["L", "L"],
        "phy_rate_Bps": [6e6, 1e6],
    }
    assert simulate_flows(one_link(sharing="wifi"), flows, "equal") == pytest.approx([1.0, 1.0], rel=1e-12)


def test_wifi_with_equal_airtime_halves_each_station() -> None:
    flows: Columns = {
        "flow": [0, 1],
        "start_s": [0, 0],
        "bytes": [3e6, 0.5e6],
        "route": ["L", "L"],
        "phy_rate_Bps": [6e6, 1e6],
    }
    assert simulate_flows(one_link(sharing="wifi_airtime"), flows, "equal") == pytest.approx([1.0, 1.0], rel=1e-12)


def test_retransmission_costs_capacity() -> None:
    """With a loss of 1/4 each byte is sent 4/3 times."""
    flows: Columns = {"flow": [0], "start_s": [0], "bytes": [0.75e6], "route": ["L"]}
    assert simulate_flows(one_link(loss=0.25), flows, "equal") == pytest.approx([1.0], rel=1e-12)


def test_a_fatpipe_is_not_shared() -> None:
    flows: Columns = {"flow": [0, 1], "start_s": [0, 0], "bytes": [1e6, 2e6], "route": ["L", "L"]}
    assert simulate_flows(one_link(sharing="fatpipe"), flows, "equal") == pytest.approx([1.0, 2.0], rel=1e-12)


def test_tcp_window_caps_a_long_route() -> None:
    links: Columns = {"link": ["L"], "bandwidth_Bps": [1e9], "latency_s": [0.1]}
    flows: Columns = {"flow": [0], "start_s": [0], "bytes": [2e6], "route": ["L"]}
    capped = simulate_flows(links, flows, gamma_bytes=2e5)  # 2e5 / (2 x 0.1 s) = 1 MB/s
    assert capped == pytest.approx([2.1], rel=1e-12)


def test_empty_messages_take_the_latency_and_no_flows_take_nothing() -> None:
    links: Columns = {"link": ["L"], "bandwidth_Bps": [1e6], "latency_s": [0.1]}
    flows: Columns = {"flow": [0], "start_s": [1.0], "bytes": [0], "route": ["L"]}
    assert simulate_flows(links, flows) == pytest.approx([1.1])
    nothing: Columns = {"flow": [], "start_s": [], "bytes": [], "route": []}
    assert simulate_flows(links, nothing).size == 0


@pytest.mark.parametrize(
    ("links", "flows", "message"),
    [
        ({"bandwidth_Bps": [-1.0]}, {}, "bandwidth -1 B/s"),
        ({"latency_s": [-1.0]}, {}, "latency -1 s"),
        ({"loss": [1.0]}, {}, "loss 1: a probability"),
        ({"sharing": ["token ring"]}, {}, "sharing 'token ring'"),
        ({}, {"route": ["L;M"]}, "link 'M' is not in links"),
        ({}, {"bytes": [-5]}, "bytes = -5"),
        ({}, {"start_s": [float("nan")]}, "start_s = nan"),
        ({"bandwidth_Bps": ["fast"]}, {}, "column 'bandwidth_Bps'"),
    ],
)
def test_says_what_is_wrong(links: Columns, flows: Columns, message: str) -> None:
    base_links: Columns = {"link": ["L"], "bandwidth_Bps": [1e6], "latency_s": [0.1]}
    base_flows: Columns = {"flow": [0], "start_s": [0.0], "bytes": [1.0], "route": ["L"]}
    with pytest.raises(UsageError, match=message):
        simulate_flows(base_links | links, base_flows | flows)


def test_refuses_to_weigh_a_route_without_latency_beside_others() -> None:
    links: Columns = {"link": ["L", "M"], "bandwidth_Bps": [1e6, 1e6], "latency_s": [0.0, 0.1]}
    flows: Columns = {"flow": [0, 1], "start_s": [0, 0], "bytes": [1, 1], "route": ["L", "L;M"]}
    with pytest.raises(UsageError, match="no 1/RTT weight"):
        simulate_flows(links, flows)
    assert np.isfinite(simulate_flows(links, flows, "equal")).all()
