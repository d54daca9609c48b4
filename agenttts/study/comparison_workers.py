"""Worker processes that run the studies of a comparison, a study at a time each.

A worker that dies takes nothing with it but the study in work, which can be resumed; a main process that dies takes its
workers with it, so that nothing spends unseen. Ctrl-C reaches workers as a message, and studies end resumably.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Literal

from agenttts.errors import AgentTTSError

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

    from agenttts.study.result import ProgressEvent

__all__ = ["StudyJob", "WorkerReport", "run_jobs"]

PATIENCE_S = 30.0
"""How long a worker may take to end its study once it is told to stop."""


@dataclass(frozen=True)
class StudyJob:
    """One study to be begun or gone on with. Plain data, for it crosses to another process."""

    allocator: str
    seed: int
    folder: Path
    task: dict[str, Any]
    trust: bool
    options: dict[str, Any]
    pool_url: str
    payer: str
    claims: Path


@dataclass(frozen=True)
class WorkerReport:
    """What a worker says of the study in work."""

    kind: Literal["trial", "finished", "failed", "interrupted"]
    allocator: str
    seed: int
    trials_done: int = 0
    message: str = ""
    """Why it failed."""
    exit_code: int = 0
    """Of the error, as the command line would end with."""


def run_jobs(jobs: Sequence[StudyJob], n_workers: int, report: Callable[[WorkerReport], None]) -> None:
    """Run all jobs and return when the last has ended; each ends with a report of its own.

    Raises:
        KeyboardInterrupt: The workers have been told and have ended resumably.
    """
    crew = _Crew(deque(jobs), report)
    try:
        crew.run(min(n_workers, len(jobs)))
    finally:
        crew.stop()


@dataclass(eq=False)
class _Worker:
    process: SpawnProcess
    connection: Connection
    job: StudyJob | None = None


class _Crew:
    """The workers, seen from the main process."""

    def __init__(self, waiting: deque[StudyJob], report: Callable[[WorkerReport], None]) -> None:
        self._waiting = waiting
        self._report = report
        self._workers: list[_Worker] = []

    def run(self, n_workers: int) -> None:
        """Keep the workers busy until nothing is left to do."""
        for _ in range(n_workers):
            self._hire()
        while any(worker.job is not None for worker in self._workers):
            for ready in wait([worker.connection for worker in self._workers]):
                worker = next(worker for worker in self._workers if worker.connection is ready)
                self._hear(worker)

    def stop(self) -> None:
        """End all workers, politely first."""
        for worker in self._workers:
            with suppress(OSError):
                worker.connection.send(None)
        try:
            for worker in self._workers:
                worker.process.join(PATIENCE_S)
        finally:  # out of patience, or interrupted once more
            for worker in self._workers:
                if worker.process.is_alive():
                    worker.process.terminate()
                worker.process.join()
                worker.connection.close()

    def _hire(self) -> None:
        # A fork would inherit locks, threads and open databases.
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=work, args=(theirs,), daemon=True)
        with _ctrl_c_ignored():  # a worker inherits this, and so is deaf to it from its first moment
            process.start()
        theirs.close()  # else the death of the worker would not be seen
        worker = _Worker(process, ours)
        self._workers.append(worker)
        self._give(worker)

    def _give(self, worker: _Worker) -> None:
        worker.job = self._waiting.popleft() if self._waiting else None
        if worker.job is not None:
            with suppress(OSError):  # dead already: the next wait tells
                worker.connection.send(worker.job)

    def _hear(self, worker: _Worker) -> None:
        try:
            report: WorkerReport = worker.connection.recv()
        except (EOFError, OSError):
            self._bury(worker)
            return
        self._report(report)
        if report.kind != "trial":
            self._give(worker)

    def _bury(self, worker: _Worker) -> None:
        worker.process.join()
        worker.connection.close()
        self._workers.remove(worker)
        if worker.job is not None:
            message = (
                f"its process ended without a word (exit code {worker.process.exitcode}); "
                "run the same command again to go on with it"
            )
            self._report(WorkerReport("failed", worker.job.allocator, worker.job.seed, 0, message, 1))
        if self._waiting:
            self._hire()


@contextmanager
def _ctrl_c_ignored() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # signals can only be set in the main thread
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


# --- in the worker's process ---------------------------------------------------------------------------------------


def work(connection: Connection) -> None:
    """Run studies as they come, until told to stop or left alone."""
    # A terminal sends Ctrl-C to every process; the main process decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    desk = _Desk(connection)
    threading.Thread(target=desk.listen, daemon=True).start()
    while (job := desk.jobs.get()) is not None:
        desk.say(desk.run(job))


class _Desk:
    def __init__(self, connection: Connection) -> None:
        self.jobs: SimpleQueue[StudyJob | None] = SimpleQueue()
        self._connection = connection
        self._stopping = False
        self._lock = threading.Lock()
        self._running: tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]] | None = None

    def listen(self) -> None:
        """Take jobs; cancel the study in work when told to stop, or when the main process is gone."""
        while True:
            try:
                job = self._connection.recv()
            except (EOFError, OSError):
                job = None
            if job is None:
                break
            self.jobs.put(job)
        with self._lock:
            self._stopping = True
            if self._running is not None:
                loop, task = self._running
                loop.call_soon_threadsafe(task.cancel)
        self.jobs.put(None)

    def say(self, report: WorkerReport) -> None:
        with suppress(OSError):  # nobody is left to hear it
            self._connection.send(report)

    def run(self, job: StudyJob) -> WorkerReport:
        """Run one study to its end."""
        try:
            asyncio.run(self._study(job))
        except asyncio.CancelledError:
            return WorkerReport("interrupted", job.allocator, job.seed)
        except Exception as error:  # one study that fails is a result; the others go on
            if os.environ.get("AGENTTTS_DEBUG", "") not in {"", "0"}:
                traceback.print_exc()
            code = error.exit_code if isinstance(error, AgentTTSError) else 1
            message = str(error) if isinstance(error, AgentTTSError) else f"{type(error).__name__}: {error}"
            return WorkerReport("failed", job.allocator, job.seed, 0, message, code)
        return WorkerReport("finished", job.allocator, job.seed)

    async def _study(self, job: StudyJob) -> None:
        with self._lock:
            if self._stopping:
                raise asyncio.CancelledError
            task = asyncio.current_task()
            assert task is not None  # noqa: S101 - a coroutine that runs has a task
            self._running = asyncio.get_running_loop(), task
        try:
            await open_or_create(job).run(_Watcher(self, job))
        finally:
            with self._lock:
                self._running = None


class _Watcher:
    """Observer that passes on what the main process shows."""

    def __init__(self, desk: _Desk, job: StudyJob) -> None:
        self._desk, self._job = desk, job

    def on(self, event: ProgressEvent) -> None:
        """Take note of an event."""
        if event.kind == "trial":
            self._desk.say(WorkerReport("trial", self._job.allocator, self._job.seed, event.trials_done))


def open_or_create(job: StudyJob) -> Any:
    """Return the study of a job, drawing by way of the pool."""
    from agenttts.study.comparison_pool import PooledSessions
    from agenttts.study.result import StudyOptions
    from agenttts.study.study import Study
    from agenttts.task.task import Task

    sessions = PooledSessions(job.pool_url, job.payer, job.claims)
    if Study.exists(job.folder):
        return Study.open(job.folder, trust=job.trust, sessions=sessions)
    task = Task.from_json(job.task, trust=job.trust)
    own = f"sqlite:///{(job.folder / 'draws.sqlite').absolute()}"
    return Study.create(job.folder, task, StudyOptions.from_json(job.options), own, sessions=sessions)
