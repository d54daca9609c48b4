"""Stores in SQLite or PostgreSQL, opened by URL: the asynchronous side. SQLAlchemy loads when the first one opens."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from agenttts.errors import StoreError
from agenttts.models.base import Request, Sample
from agenttts.store.base import PaidCall, SampleStore
from agenttts.store.cache import StreamCache
from agenttts.store.memory import MemoryStore
from agenttts.store.worker import BatchWorker, Job, WorkerStoppedError

if TYPE_CHECKING:
    import sqlalchemy as sa

    from agenttts.store.database import Database

__all__ = ["SqlStore", "is_memory", "open_store", "same_store", "what_is_kept", "without_password"]

CACHE_BYTES = 128 * 2**20


def open_store(url: str, *, busy_timeout_s: float = 30.0) -> SampleStore:
    """Open a store, creating it where there is none.

    Args:
        url: `sqlite:///runs/samples.db` (relative), `sqlite:////abs/samples.db`, `postgresql://user:key@host/name`,
            or `memory:` for one that ends with the process.
        busy_timeout_s: How long to wait for another process that is writing.

    Raises:
        StoreError: It cannot be opened, belongs to something else, or has a newer format.
    """
    if is_memory(url):
        return MemoryStore()
    parsed = _parse(url)
    if parsed.get_backend_name() == "sqlite":
        _make_folder(Path(str(parsed.database)))
    return SqlStore(parsed, busy_timeout_s=busy_timeout_s)


def is_memory(url: str) -> bool:
    """Return whether a store of this URL ends with its process.

    Raises:
        StoreError: The URL cannot be read.
    """
    if url == "memory:":
        return True
    parsed = _parse(url)
    return parsed.get_backend_name() == "sqlite" and parsed.database in {None, "", ":memory:"}


def what_is_kept(url: str) -> str:
    """Return, for people, what a run that goes on later finds again: the end of a sentence.

    Raises:
        StoreError: The URL cannot be read.
    """
    if is_memory(url):
        return "finished trials are kept, but a store in memory has forgotten its draws, so new trials pay for theirs"
    return "every draw that arrived is kept, and none of them is paid twice"


def without_password(url: str) -> str:
    """Return a URL as it may be written down; it opens the store where the server knows the password otherwise.

    Raises:
        StoreError: The URL cannot be read.
    """
    if is_memory(url):
        return url
    parsed = _parse(url)
    bare = _bare(parsed)
    # One that holds no password stays as it was typed.
    return url if bare == parsed else bare.render_as_string(hide_password=False)


def same_store(one: str, other: str) -> bool:
    """Return whether two URLs name the same database; passwords have no say.

    Raises:
        StoreError: One of them cannot be read.
    """
    return one == other or (
        not is_memory(one) and not is_memory(other) and _bare(_parse(one)) == _bare(_parse(other))
    )


def _bare(url: sa.URL) -> sa.URL:
    from agenttts.store.database import SECRET_SETTINGS

    # `set(password=None)` would leave the password as it is.
    return url._replace(password=None).difference_update_query(SECRET_SETTINGS)


def _parse(url: str) -> sa.URL:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:  # not shown: the URL may hold a password
        raise StoreError(f"the URL of the sample store cannot be read; {_EXPECTED}") from error
    if parsed.drivername in {"postgres", "postgresql", "postgresql+psycopg"}:
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername in {"sqlite", "sqlite+pysqlite"}:
        return parsed
    raise StoreError(f"sample store: unknown kind {parsed.drivername!r}; {_EXPECTED}")


_EXPECTED = "expected sqlite:///<path>, postgresql://<user>@<host>/<database> or memory:"


def _make_folder(file: Path) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"the folder {file.parent} of the sample store cannot be made: {error.strerror}"
        ) from error


@dataclass(eq=False)
class _Put(Job):
    request: Request
    samples: Sequence[Sample]
    paid: PaidCall


@dataclass(eq=False)
class _Get(Job):
    key: str
    n: int


@dataclass(eq=False)
class _Ask(Job):
    question: Callable[[Database], object]


class SqlStore:
    """A store in a SQL database.

    All work of the database is done by one thread. Puts that wait at the same moment share one transaction, and so do
    gets; beginnings of streams that were read or written lately are answered from memory.

    Args:
        url: SQLAlchemy URL.
        busy_timeout_s: How long to wait for another process that is writing.
        cache_bytes: Memory for draws used lately, roughly; 0 for none.

    Raises:
        StoreError: See `open_store`.
    """

    def __init__(self, url: sa.URL, *, busy_timeout_s: float = 30.0, cache_bytes: int = CACHE_BYTES) -> None:
        from agenttts.store.database import Database

        self._database = Database(url, busy_timeout_s=busy_timeout_s)
        self._cache = StreamCache(cache_bytes)
        self._worker: BatchWorker[Job] = BatchWorker("agenttts-store", self._handle, self._database.close)

    async def get(self, request: Request, n: int) -> list[Sample]:
        """See `SampleStore.get`.

        Raises:
            StoreError: The database cannot be read, or the store is closed.
        """
        if n < 1:
            return []
        cached = self._cache.get(request.key, n)
        if cached is not None:
            return cached
        return cast("list[Sample]", await self._do(_Get(request.key, n)))

    async def put(self, request: Request, samples: Sequence[Sample], paid: PaidCall) -> None:
        """See `SampleStore.put`.

        Raises:
            StoreError: The database cannot be written, or the store is closed.
        """
        await self._do(_Put(request, tuple(samples), paid))

    async def n_held(self, keys: Sequence[str]) -> dict[str, int]:
        """See `SampleStore.n_held`.

        Raises:
            StoreError: The database cannot be read, or the store is closed.
        """
        wanted = tuple(keys)
        return cast("dict[str, int]", await self._do(_Ask(lambda database: database.held(wanted))))

    async def paid(self, study_id: str) -> list[PaidCall]:
        """See `SampleStore.paid`.

        Raises:
            StoreError: The database cannot be read, or the store is closed.
        """
        return cast("list[PaidCall]", await self._do(_Ask(lambda database: database.paid(study_id))))

    async def endpoints(self) -> dict[str, list[str]]:
        """Return the endpoints that hold streams of each model: a look at every stream, for people who ask.

        Raises:
            StoreError: The database cannot be read, or the store is closed.
        """
        return cast("dict[str, list[str]]", await self._do(_Ask(lambda database: database.endpoints())))

    async def aclose(self) -> None:
        """Write what is still to be written and let go of the database."""
        await asyncio.to_thread(self._worker.stop)
        self._cache.clear()

    async def _do(self, job: Job) -> object:
        try:
            return await self._worker.do(job)
        except WorkerStoppedError as error:
            raise StoreError("the sample store is closed") from error

    def _handle(self, jobs: Sequence[Job]) -> None:
        """Do a batch of jobs, in the worker's thread: first what must be kept, then what is asked."""
        self._write([job for job in jobs if isinstance(job, _Put)])
        self._read([job for job in jobs if isinstance(job, _Get)])
        for job in jobs:
            if isinstance(job, _Ask):
                self._ask(job)

    def _write(self, puts: Sequence[_Put]) -> None:
        if not puts:
            return
        try:
            all_new = self._database.write([(put.request, put.samples, put.paid) for put in puts])
        except Exception as error:
            _fail(puts, error)
            return
        if all_new:  # else a draw of another process won, and only the database knows which
            for put in puts:
                self._cache.keep(put.request.key, put.samples)

    def _read(self, gets: Sequence[_Get]) -> None:
        by_n: defaultdict[int, list[_Get]] = defaultdict(list)
        for get in gets:
            by_n[get.n].append(get)
        for n, group in by_n.items():
            try:
                found = self._database.read([get.key for get in group], n)
            except Exception as error:
                _fail(group, error)
                continue
            for get in group:
                get.result = list(found[get.key])
                self._cache.keep(get.key, found[get.key])

    def _ask(self, job: _Ask) -> None:
        try:
            job.result = job.question(self._database)
        except Exception as error:
            _fail([job], error)


def _fail(jobs: Sequence[Job], error: Exception) -> None:
    """Give each waiting task an error of its own: a shared one would collect the tracebacks of all."""
    for job in jobs:
        job.error = StoreError(str(error))
        job.error.__cause__ = error
