"""One thread that does blocking work for coroutines, whole batches of waiting jobs at a time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

__all__ = ["BatchWorker", "Job", "WorkerStoppedError"]

JobT = TypeVar("JobT", bound="Job")
MAX_BATCH = 1000
"""Jobs handled together; bounds the length of a transaction."""


class WorkerStoppedError(RuntimeError):
    """A job was handed to a worker that has been stopped."""


@dataclass(eq=False)
class Job:
    """Something to do for a coroutine that waits; subclasses say what."""

    result: object = field(default=None, init=False)
    error: BaseException | None = field(default=None, init=False)
    _future: asyncio.Future[object] | None = field(default=None, init=False)

    def _deliver(self) -> None:
        future = self._future
        if future is None or future.done():  # done: the waiting task was cancelled; the work stands
            return
        if self.error is not None:
            future.set_exception(self.error)
        else:
            future.set_result(self.result)


class BatchWorker(Generic[JobT]):
    """Runs `handle` on everything that has queued up since the last time, in one thread.

    The more coroutines wait, the larger the batches, so that one commit serves many of them.

    Args:
        name: Name of the thread.
        handle: Fills in `result` or `error` of each job; what it raises becomes the error of all.
        finish: Called in the thread at the very end.
    """

    def __init__(
        self, name: str, handle: Callable[[Sequence[JobT]], None], finish: Callable[[], None] | None = None
    ) -> None:
        self._handle = handle
        self._finish = finish
        self._queue: SimpleQueue[JobT | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._stopped = False
        # A daemon: a program that forgets to close must still end. What was promised is on disk by then.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    async def do(self, job: JobT) -> object:
        """Queue a job and wait until it is done. A cancelled wait does not undo the job.

        Raises:
            WorkerStoppedError: The worker has been stopped.
        """
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        job._future = future
        with self._lock:
            if self._stopped:
                raise WorkerStoppedError("the worker has been stopped")
            self._queue.put(job)
        return await future

    def stop(self) -> None:
        """Do what is queued, then end the thread, and wait for that. May be called again."""
        with self._lock:
            if not self._stopped:
                self._stopped = True
                self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        going = True
        while going:
            batch, going = self._next_batch()
            if batch:
                self._do_batch(batch)
        if self._finish is not None:
            self._finish()

    def _next_batch(self) -> tuple[list[JobT], bool]:
        batch: list[JobT] = []
        job = self._queue.get()
        while job is not None:
            batch.append(job)
            if len(batch) >= MAX_BATCH:
                return batch, True
            try:
                job = self._queue.get_nowait()
            except Empty:
                return batch, True
        return batch, False

    def _do_batch(self, batch: Sequence[JobT]) -> None:
        try:
            self._handle(batch)
        except BaseException as error:  # the thread must live on; the waiting tasks get the error
            for job in batch:
                job.error = job.error or error
        for loop, jobs in _by_loop(batch).items():
            try:
                loop.call_soon_threadsafe(_deliver_all, jobs)
            except RuntimeError:  # the loop was closed: nobody waits any more
                continue


def _by_loop(batch: Sequence[JobT]) -> dict[asyncio.AbstractEventLoop, list[JobT]]:
    loops: dict[asyncio.AbstractEventLoop, list[JobT]] = {}
    for job in batch:
        if job._future is not None:
            loops.setdefault(job._future.get_loop(), []).append(job)
    return loops


def _deliver_all(jobs: Sequence[JobT]) -> None:
    for job in jobs:
        job._deliver()
