"""Executors: inline first, spawned workers after, nothing lost on Ctrl-C."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from hwsim.core.errors import HwsimError, UsageError
from hwsim.explore.executor import LazyPool, completed, worker_count


def square(number: int) -> int:
    return number * number


def process(number: int) -> int:
    return os.getpid()


def die(number: int) -> int:
    os._exit(3)


def test_little_work_needs_no_worker() -> None:
    with LazyPool(2, patience_s=60.0) as pool:
        assert dict(completed(pool, 2, process, range(3))) == dict.fromkeys(range(3), os.getpid())


def test_long_work_goes_to_workers() -> None:
    with LazyPool(2, patience_s=0.0) as pool:
        pids = dict(completed(pool, 4, process, range(6)))
    assert set(pids) == set(range(6))
    assert os.getpid() not in pids.values()


def test_a_worker_that_dies_is_a_clear_error() -> None:
    with LazyPool(2, patience_s=0.0) as pool, pytest.raises(HwsimError, match=r"a worker process died(?s:.*)-j 1"):
        list(completed(pool, 2, die, range(2)))


class Interrupting(ThreadPoolExecutor):
    """Presses Ctrl-C when the third task is handed in."""

    submitted = 0

    def submit(self, fn, /, *args, **kwargs):  # type: ignore[no-untyped-def]
        self.submitted += 1
        if self.submitted == 3:
            raise KeyboardInterrupt
        return super().submit(fn, *args, **kwargs)


def test_what_is_in_flight_at_an_interrupt_still_arrives() -> None:
    arrived = []
    with Interrupting(2) as pool, pytest.raises(KeyboardInterrupt):  # noqa: PT012
        for index, value in completed(pool, 8, square, range(8)):
            arrived.append((index, value))
    assert sorted(arrived) == [(index, index * index) for index in range(len(arrived))]
    assert len(arrived) <= 2


def test_worker_counts() -> None:
    assert worker_count(3) == 3
    assert worker_count(None) >= 1
    with pytest.raises(UsageError, match=r"jobs = -2: a number of worker processes, 1 or more"):
        worker_count(-2)
