"""What a request does on a cluster: a graph of computations and transfers, and the devices that carry it out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from hwsim.backends.edge.network import Link, NetworkModel, Route, Weighting
from hwsim.core.errors import UsageError

Seconds = float


@dataclass(frozen=True)
class Level:
    """A DVFS state: clock as a fraction of the highest, and the power drawn when all cores work."""

    clock_ratio: float
    load_w: float


@dataclass(frozen=True)
class Thermal:
    """One thermal resistance to ambient and one heat capacity (A10); throttles at `hot_c`, recovers at `cool_c`."""

    resistance_k_per_w: float
    capacity_j_per_k: float
    ambient_c: float
    hot_c: float
    cool_c: float


@dataclass(frozen=True)
class Radio:
    """Energy of a network interface: per byte and per frame, sending and receiving (A9)."""

    send_j_per_byte: float = 0.0
    receive_j_per_byte: float = 0.0
    send_j_per_frame: float = 0.0
    receive_j_per_frame: float = 0.0
    frame_bytes: float = 1448.0  # TCP payload at MTU 1500 with timestamps

    def send_j(self, size_bytes: float) -> float:
        """Joules to send a message."""
        return self._energy_j(size_bytes, self.send_j_per_byte, self.send_j_per_frame)

    def receive_j(self, size_bytes: float) -> float:
        """Joules to receive a message."""
        return self._energy_j(size_bytes, self.receive_j_per_byte, self.receive_j_per_frame)

    def _energy_j(self, size_bytes: float, per_byte: float, per_frame: float) -> float:
        frames = -(-size_bytes // self.frame_bytes)
        return size_bytes * per_byte + frames * per_frame


@dataclass(frozen=True)
class Device:
    """A place where computations queue, first come first served, up to `batch` of one kind at a time."""

    name: str
    idle_w: float = 0.0
    levels: tuple[Level, ...] = (Level(1.0, 0.0),)
    batch: int = 1
    thermal: Thermal | None = None
    battery_j: float = float("inf")
    radio: Radio = field(default_factory=Radio)

    def __post_init__(self) -> None:
        where = f"device {self.name!r}"
        if not self.levels or self.batch < 1:
            raise UsageError("needs a DVFS level and a batch of 1 or more", where=where)
        for level in self.levels:
            if not 0.0 < level.clock_ratio <= 1.0:
                raise UsageError(f"clock ratio {level.clock_ratio:g}", where=where, expected="0 < ratio <= 1")
            if level.load_w < self.idle_w:
                raise UsageError(
                    f"draws {self.idle_w:g} W idle and {level.load_w:g} W at load",
                    where=where,
                    expected="idle <= load",
                    remedy="check units: idle power is in watts, not a fraction of load",
                )


@dataclass(frozen=True)
class Compute:
    """Work of `work_s` seconds at full clock on a device, plus `fixed_s` once per batch.

    `after` are the tasks it waits for. If its device is down: `spare` is the task that does the work instead, `join`
    the task that can go on without it, `branch` the number by which the log names the missing part.
    """

    name: str
    device: int
    work_s: Seconds
    after: tuple[int, ...] = ()
    fixed_s: Seconds = 0.0
    join: int | None = None
    spare: int | None = None
    branch: int | None = None


@dataclass(frozen=True)
class Transfer:
    """A message over a route of the cluster; None is a message to oneself, which takes no time.

    `sender` and `receiver` are the devices whose radios it costs. A `standby` transfer waits for nothing and begins
    only as the spare of a lost task.
    """

    name: str
    route: int | None
    size_bytes: float
    after: tuple[int, ...] = ()
    sender: int | None = None
    receiver: int | None = None
    branch: int | None = None
    standby: bool = False


Task = Compute | Transfer


@dataclass(frozen=True)
class Cluster:
    """Devices, one-way links, and the routes that transfers use."""

    devices: tuple[Device, ...]
    links: tuple[Link, ...]
    routes: tuple[Route, ...]
    model: NetworkModel = field(default_factory=NetworkModel)
    weighting: Weighting = "rtt"


def standby_tasks(tasks: Sequence[Task]) -> set[int]:
    """Tasks that run only in place of a lost one: spares and what follows only from them."""
    standby = {t for t, task in enumerate(tasks) if isinstance(task, Transfer) and task.standby}
    for t in topological(tasks):
        after = tasks[t].after
        if after and all(a in standby for a in after):
            standby.add(t)
    return standby


def topological(tasks: Sequence[Task]) -> list[int]:
    """Task indices in an order in which each comes after what it waits for. Raises UsageError for a cycle."""
    waits = [len(task.after) for task in tasks]
    followers: list[list[int]] = [[] for _ in tasks]
    for t, task in enumerate(tasks):
        for a in task.after:
            if not 0 <= a < len(tasks):
                raise UsageError(f"waits for task {a}", where=f"task {task.name!r}", expected=f"0 to {len(tasks) - 1}")
            followers[a].append(t)
    order = [t for t, count in enumerate(waits) if count == 0]
    for t in order:
        for f in followers[t]:
            waits[f] -= 1
            if waits[f] == 0:
                order.append(f)
    if len(order) < len(tasks):
        stuck = next(task.name for task, count in zip(tasks, waits, strict=True) if count > 0)
        raise UsageError("waits, in the end, for itself", where=f"task {stuck!r}")
    return order


def sink_of(tasks: Sequence[Task]) -> int:
    """The one task that nothing waits for: a request is done when it is. Raises UsageError unless there is one."""
    awaited = {a for task in tasks for a in task.after}
    sinks = [t for t in range(len(tasks)) if t not in awaited]
    if len(sinks) != 1:
        names = ", ".join(tasks[t].name for t in sinks) or "none"
        raise UsageError(f"{len(sinks)} last tasks ({names})", where="program", expected="one task that ends a request")
    return sinks[0]


def fork_join(
    inputs: Sequence[Transfer], computations: Sequence[Compute], outputs: Sequence[Transfer], fusion: Compute
) -> tuple[Task, ...]:
    """Branch i sends `inputs[i]`, computes, sends `outputs[i]`; the fusion waits for all branches.

    The `after`, `join` and `branch` fields are filled in here.
    """
    from dataclasses import replace

    tasks: list[Task] = []
    ends = tuple(3 * i + 2 for i in range(len(inputs)))
    sink = 3 * len(inputs)
    for i, (send, work, reply) in enumerate(zip(inputs, computations, outputs, strict=True)):
        tasks.append(replace(send, branch=i))
        tasks.append(replace(work, after=(3 * i,), join=sink, branch=i))
        tasks.append(replace(reply, after=(3 * i + 1,), branch=i))
    tasks.append(replace(fusion, after=ends))
    return tuple(tasks)
