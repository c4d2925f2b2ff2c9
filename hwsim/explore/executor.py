"""Where tasks run: here, in worker processes, or on a Dask cluster, behind `concurrent.futures.Executor`."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

from hwsim.core.errors import CapabilityError, HwsimError, UsageError

T = TypeVar("T")
R = TypeVar("R")

#: Starting workers costs about a second each (imports); what is done sooner than this needs none.
_PATIENCE_S = 2.0
#: Tasks in flight per worker: the next one waits at the worker, and an interrupt loses little.
_AHEAD = 2


class LazyPool(Executor):
    """Runs tasks in this process at first, and in worker processes once that has taken long enough to pay for them.

    Processes are spawned, not forked: torch and its threads do not survive a fork.
    """

    def __init__(self, jobs: int, patience_s: float = _PATIENCE_S) -> None:
        self.jobs = jobs
        self._left_s = patience_s if jobs > 1 else float("inf")
        self._pool: ProcessPoolExecutor | None = None

    def submit(self, fn: Callable[..., R], /, *args: Any, **kwargs: Any) -> Future[R]:
        """Run now or hand to a worker; the future of an inline task is already done."""
        if self._left_s <= 0:
            return self._workers().submit(fn, *args, **kwargs)
        begin = time.perf_counter()
        future: Future[R] = Future()
        future.set_result(fn(*args, **kwargs))
        self._left_s -= time.perf_counter() - begin
        return future

    def _workers(self) -> ProcessPoolExecutor:
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self.jobs, mp_context=context, initializer=_start_worker)
        return self._pool

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Wait for the tasks in hand and end the workers."""
        if self._pool is not None:
            self._pool.shutdown(wait=wait, cancel_futures=cancel_futures)


def _start_worker() -> None:
    """Ctrl-C reaches the whole process group; the parent alone decides what it means. One worker, one core."""
    os.environ["OMP_NUM_THREADS"] = "1"  # read by torch when it is first imported
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def worker_count(jobs: int | None) -> int:
    """Workers for `-j`; the processors this process may use by default. UsageError below 1."""
    if jobs is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if jobs < 1:
        raise UsageError(f"jobs = {jobs}", got=jobs, expected="a number of worker processes, 1 or more")
    return jobs


@contextmanager
def open_executor(jobs: int | None, scheduler: str | None) -> Iterator[tuple[Executor, int]]:
    """An executor and how many tasks to keep in flight; ended, with what waits cancelled, when the block is left."""
    if scheduler is not None:
        with _cluster(scheduler) as client:
            workers = sum(client.nthreads().values())
            yield client.get_executor(), _AHEAD * max(1, workers)
        return
    count = worker_count(jobs)
    pool = LazyPool(count)
    try:
        yield pool, _AHEAD * count
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _cluster(address: str) -> Iterator[Any]:
    try:
        from distributed import Client
    except ImportError as error:
        raise CapabilityError(
            "the Dask client is not installed", got=address, remedy="`pip install 'hwsim[cluster]'`, or use `-j N`"
        ) from error
    try:
        client: Any = Client(address, timeout=10)  # type: ignore[no-untyped-call]
    except (OSError, ValueError, TimeoutError) as error:
        raise UsageError(
            f"no Dask scheduler answers at {address}",
            got=address,
            expected="an address such as `tcp://host:8786`",
            remedy="start one with `dask scheduler`, or use `-j N`",
        ) from error
    try:
        yield client
    finally:
        client.close()


def completed(executor: Executor, ahead: int, fn: Callable[[T], R], tasks: Sequence[T]) -> Iterator[tuple[int, R]]:
    """(index, result) of every task as it ends, with at most `ahead` in flight.

    On an interrupt what is in flight is waited for and still yielded before KeyboardInterrupt is raised again, so
    that nothing evaluated is lost. Raises HwsimError if a worker process dies.
    """
    pending: dict[Future[R], int] = {}
    waiting = list(enumerate(tasks))[::-1]
    interrupted = False
    try:
        while waiting or pending:
            try:
                while waiting and len(pending) < ahead and not any(future.done() for future in pending):
                    index, task = waiting[-1]
                    pending[executor.submit(fn, task)] = index
                    waiting.pop()
                done, _ = wait(pending, return_when=FIRST_COMPLETED)
            except KeyboardInterrupt:
                if interrupted:
                    raise
                interrupted = True
                waiting.clear()
                for future in pending:
                    future.cancel()
                pending = {future: index for future, index in pending.items() if not future.cancelled()}
                continue
            for future in done:
                yield pending.pop(future), future.result()
    except BrokenProcessPool as error:
        raise HwsimError(
            "a worker process died",
            expected="memory for every worker, and a script whose start is guarded by `if __name__ == '__main__':`",
            remedy="`-j 1` evaluates without workers; the same command goes on where this one stopped",
        ) from error
    if interrupted:
        raise KeyboardInterrupt
