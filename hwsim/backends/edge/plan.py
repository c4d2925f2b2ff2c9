"""A plan: the program that a request runs on a cluster, and which op is done where in it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hwsim.backends.edge.machine import OpCost
from hwsim.backends.edge.program import Cluster, Compute, Task, Transfer
from hwsim.backends.edge.spec import ClusterSpec
from hwsim.backends.edge.topology import Wiring


@dataclass(frozen=True)
class Part:
    """`share` of an op, done in `task` from `offset_s` on for `seconds`."""

    op: str
    task: int
    device: int
    offset_s: float
    seconds: float
    share: float
    cost: OpCost


@dataclass(frozen=True)
class Plan:
    """The cluster, the program, what each op's parts are, the op that each transfer or staging is charged to."""

    cluster: Cluster
    tasks: tuple[Task, ...]
    parts: dict[str, tuple[Part, ...]]
    owner: dict[int, str]
    memory_bytes: dict[int, int]
    method: str
    notes: tuple[str, ...] = ()


@dataclass
class Drafting:
    """Collects tasks in order."""

    spec: ClusterSpec
    wiring: Wiring = field(init=False)
    tasks: list[Task] = field(default_factory=list)
    parts: dict[str, list[Part]] = field(default_factory=dict)
    owner: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.wiring = Wiring(self.spec)

    def compute(
        self, device: int, ops: list[tuple[str, OpCost, float]], after: tuple[int, ...], branch: int | None = None
    ) -> int:
        """A task that does shares of ops one after the other; returns its number."""
        task, at = len(self.tasks), 0.0
        for name, cost, share in ops:
            seconds = cost.seconds(share)
            self.parts.setdefault(name, []).append(Part(name, task, device, at, seconds, share, cost))
            at += seconds
        label = ops[0][0] if len(ops) == 1 else f"{ops[0][0]} .. {ops[-1][0]}" if ops else "end"
        self.tasks.append(Compute(label, device, at, after, branch=branch))
        return task

    def message(
        self, label: str, owner: str, sender: int, receiver: int, size_bytes: float, after: tuple[int, ...],
        branch: int | None = None,
    ) -> int:  # fmt: skip
        """A transfer, with what the runtimes at both ends spend on each message; returns its last task."""
        stations = self.wiring.stations
        if sender == receiver:
            return self._add(Transfer(label, None, 0.0, after, branch=branch), owner)
        overhead_s = stations[sender][1].staging.message_s + stations[receiver][1].staging.message_s
        route = self.wiring.route(sender, receiver)
        sent = self._add(Transfer(label, route, size_bytes, after, sender, receiver, branch), owner)
        if overhead_s == 0.0:
            return sent
        return self._add(Compute(f"{label} handled", receiver, overhead_s, (sent,), branch=branch), owner)

    def staged(self, owner: str, device: int, relayed_bytes: float, peers: int, after: tuple[int, ...]) -> int:
        """The root's staging of what it relays: a cost per byte and polled peer (A7)."""
        seconds = relayed_bytes * peers * self.wiring.stations[device][1].staging.stage
        return self._add(Compute("staging", device, seconds, after), owner)

    def resend(self, sent: Transfer, device: int) -> int:
        """A standby copy of a transfer, to another device."""
        sender = 0 if sent.sender is None else sent.sender
        route = self.wiring.route(sender, device)
        self.tasks.append(replace(sent, route=route, after=(), receiver=device, standby=True))
        return len(self.tasks) - 1

    def redirect(self, sent: Transfer, device: int, after: int) -> int:
        """A copy of a transfer that leaves from another device."""
        receiver = 0 if sent.receiver is None else sent.receiver
        self.tasks.append(replace(sent, route=self.wiring.route(device, receiver), after=(after,), sender=device))
        return len(self.tasks) - 1

    def _add(self, task: Task, owner: str) -> int:
        self.tasks.append(task)
        self.owner[len(self.tasks) - 1] = owner
        return len(self.tasks) - 1

    def plan(self, memory_bytes: dict[int, int], method: str, notes: tuple[str, ...]) -> Plan:
        """The finished plan."""
        parts = {name: tuple(parts) for name, parts in self.parts.items()}
        return Plan(self.wiring.cluster(), tuple(self.tasks), parts, self.owner, memory_bytes, method, notes)
