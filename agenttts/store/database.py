"""The blocking side of the SQL store: tables, statements, transactions, and what their errors mean.

One object belongs to one thread. SQLite and PostgreSQL differ in three places only: how a connection is set up, how the
creation of tables is serialised, and the dialect of `ON CONFLICT DO NOTHING`.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from agenttts.errors import StoreError
from agenttts.models.base import Request, Sample
from agenttts.store.base import PaidCall
from agenttts.store.codec import request_text, sample_body, sample_from, usage_from, usage_text

__all__ = ["FORMAT", "SECRET_SETTINGS", "Database", "Put"]

T = TypeVar("T")
Put = tuple[Request, Sequence[Sample], PaidCall]

FORMAT = 1
KEYS_PER_QUERY = 500
KNOWN_STREAMS = 200_000
SECRET_SETTINGS = ("password", "sslpassword")
"""Parts of a URL behind the `?` that are shown and kept nowhere."""
SETUP_LOCK = 7_212_160_813
"""Number of the PostgreSQL advisory lock that keeps two processes from creating the tables at once."""

tables = sa.MetaData()
meta = sa.Table(
    "meta",
    tables,
    sa.Column("key", sa.String(40), primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)
streams = sa.Table(
    "streams",
    tables,
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("endpoint", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("request", sa.Text, nullable=False),
)
samples = sa.Table(
    "samples",
    tables,
    sa.Column("stream_key", sa.String(64), primary_key=True),
    sa.Column("idx", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("prefill_tokens", sa.Integer, nullable=False),
    sa.Column("decode_tokens", sa.Integer, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sqlite_with_rowid=False,  # the rows of a stream lie side by side: reading one is a single range scan
)
calls = sa.Table(
    "calls",
    tables,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("token", sa.String(32), nullable=False, unique=True),  # makes a repeated write harmless
    sa.Column("study_id", sa.Text, nullable=False, index=True),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("purpose", sa.Text, nullable=False),
    sa.Column("usage", sa.Text, nullable=False),
    sa.Column("created", sa.Double, nullable=False),
)

_SELECT_SAMPLES = (
    sa.select(samples)
    .where(samples.c.stream_key.in_(sa.bindparam("keys", expanding=True)), samples.c.idx < sa.bindparam("n"))
    .order_by(samples.c.stream_key, samples.c.idx)
)
_SELECT_HELD = (
    sa.select(samples.c.stream_key, sa.func.count())
    .where(samples.c.stream_key.in_(sa.bindparam("keys", expanding=True)))
    .group_by(samples.c.stream_key)
)
_SELECT_ENDPOINTS = (
    sa.select(streams.c.model, streams.c.endpoint).distinct().order_by(streams.c.model, streams.c.endpoint)
)
_SELECT_CALLS = (
    sa.select(calls.c.study_id, calls.c.model, calls.c.purpose, calls.c.usage)
    .where(calls.c.study_id == sa.bindparam("study_id"))
    .order_by(calls.c.id)
)


class Database:
    """A database with our tables in it.

    Args:
        url: SQLAlchemy URL.
        busy_timeout_s: How long to wait for another process to finish writing (SQLite), or for a connection.

    Raises:
        StoreError: It cannot be opened, is not ours, or has a newer format.
    """

    def __init__(self, url: sa.URL, *, busy_timeout_s: float) -> None:
        self._place = url.difference_update_query(SECRET_SETTINGS).render_as_string(hide_password=True)
        self._busy_timeout_s = busy_timeout_s
        self._sqlite = url.get_backend_name() == "sqlite"
        insert: Callable[[sa.Table], Any] = sqlite_insert if self._sqlite else postgresql_insert
        self._insert = {
            table.name: insert(table).on_conflict_do_nothing() for table in (meta, streams, samples, calls)
        }
        self._known: set[str] = set()
        try:
            self._engine = _engine(url, busy_timeout_s)
            self._writer = self._engine.execution_options(agenttts_writes=True)
        except (SQLAlchemyError, ImportError) as error:
            raise self._translated(error) from error
        try:
            self._transact(self._writer, self._set_up)
        except BaseException:
            self.close()
            raise

    def write(self, puts: Sequence[Put]) -> bool:
        """Write draws and bills in one transaction; return whether every draw was new.

        Rows go in the order of their keys, so that two processes writing the same draws cannot deadlock.
        """
        stream_rows, sample_rows, call_rows = self._rows(puts)

        def insert(connection: sa.Connection) -> bool:
            self._insert_all(connection, streams, stream_rows)
            n_new = self._insert_all(connection, samples, sample_rows)
            self._insert_all(connection, calls, call_rows)
            return n_new == sum(len(drawn) for _, drawn, _ in puts)

        all_new = self._transact(self._writer, insert)
        self._remember(row["key"] for row in stream_rows)
        return all_new

    def read(self, keys: Sequence[str], n: int) -> dict[str, list[Sample]]:
        """Return the draws of streams with an index below `n`, in order."""
        found: dict[str, list[Sample]] = {key: [] for key in keys}

        def select(connection: sa.Connection) -> None:
            for chunk in _chunks(list(found)):
                for key, index, prefill, decode, body in connection.execute(
                    _SELECT_SAMPLES, {"keys": chunk, "n": n}
                ):
                    found[key].append(sample_from(index, prefill, decode, body))

        self._transact(self._engine, select)
        return found

    def held(self, keys: Sequence[str]) -> dict[str, int]:
        """Return how many draws of each stream there are."""
        found = dict.fromkeys(keys, 0)

        def select(connection: sa.Connection) -> None:
            for chunk in _chunks(list(found)):
                for key, count in connection.execute(_SELECT_HELD, {"keys": chunk}).all():
                    found[key] = count

        self._transact(self._engine, select)
        return found

    def paid(self, study_id: str) -> list[PaidCall]:
        """Return the bills of a study in the order of writing."""

        def select(connection: sa.Connection) -> list[PaidCall]:
            rows = connection.execute(_SELECT_CALLS, {"study_id": study_id})
            return [
                PaidCall(study, model, purpose, usage_from(usage)) for study, model, purpose, usage in rows
            ]

        return self._transact(self._engine, select)

    def endpoints(self) -> dict[str, list[str]]:
        """Return the endpoints that hold streams of each model, sorted."""

        def select(connection: sa.Connection) -> dict[str, list[str]]:
            found: dict[str, list[str]] = {}
            for model, endpoint in connection.execute(_SELECT_ENDPOINTS):
                found.setdefault(model, []).append(endpoint)
            return found

        return self._transact(self._engine, select)

    def close(self) -> None:
        """Let go of all connections."""
        self._engine.dispose()

    def _rows(
        self, puts: Sequence[Put]
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
        now = time.time()
        new_streams = {request.key: request for request, _, _ in puts if request.key not in self._known}
        stream_rows = [_stream_row(request) for _, request in sorted(new_streams.items())]
        # Sorted stably: of two draws with the same index the one put first comes first, and wins.
        sample_rows = [_sample_row(request.key, sample) for request, drawn, _ in puts for sample in drawn]
        sample_rows.sort(key=lambda row: (row["stream_key"], row["idx"]))
        return stream_rows, sample_rows, [_call_row(paid, now) for _, _, paid in puts]

    def _insert_all(self, connection: sa.Connection, table: sa.Table, rows: list[dict[str, Any]]) -> int:
        if not rows:
            return 0
        result = connection.execute(
            self._insert[table.name], rows, execution_options={"preserve_rowcount": True}
        )
        return int(result.rowcount)

    def _remember(self, keys: Iterator[str]) -> None:
        """Keep in mind which prompts are written, to spare sending them with every later draw."""
        if len(self._known) > KNOWN_STREAMS:
            self._known.clear()
        self._known.update(keys)

    def _transact(self, engine: sa.Engine, work: Callable[[sa.Connection], T]) -> T:
        """Do some work in one transaction; once more if the connection turns out to be lost."""
        for attempt in (1, 2):
            try:
                with engine.begin() as connection:
                    return work(connection)
            except DBAPIError as error:
                if not (error.connection_invalidated and attempt == 1):
                    raise self._translated(error) from error
            except SQLAlchemyError as error:
                raise self._translated(error) from error
        raise AssertionError("not reached")

    def _set_up(self, connection: sa.Connection) -> None:
        if not self._sqlite:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(SETUP_LOCK)))
        present = set(sa.inspect(connection).get_table_names()) & set(tables.tables)
        if not present:
            tables.create_all(connection)
            connection.execute(self._insert["meta"], {"key": "format", "value": str(FORMAT)})
        elif present != set(tables.tables):
            raise StoreError(
                f"{self._place} holds tables of another program. Give another place with --store."
            )
        else:
            self._check_format(connection)

    def _check_format(self, connection: sa.Connection) -> None:
        value = connection.scalar(sa.select(meta.c.value).where(meta.c.key == "format"))
        if value is None or not value.isdigit():
            raise StoreError(
                f"{self._place} is not a sample store of agenttts. Give another place with --store."
            )
        if int(value) > FORMAT:
            raise StoreError(
                f"{self._place} has format {value}, written by a newer agenttts; this one knows up to {FORMAT}.\n"
                "Upgrade with `pip install -U agenttts`, or give another place with --store."
            )

    def _translated(self, error: Exception) -> StoreError:
        cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
        first_line = (str(cause).strip().splitlines() or [type(cause).__name__])[0]
        for sign, remedy in _REMEDIES.items():
            if sign in str(cause):
                remedy = remedy.format(busy_timeout_s=self._busy_timeout_s)
                return StoreError(f"sample store {self._place}: {first_line}.\n{remedy}")
        return StoreError(f"sample store {self._place}: {first_line}")


_AGAIN = "Draws already stored are safe; then run the same command again."
_REMEDIES: Mapping[str, str] = {
    "no password supplied": "Passwords are not kept with a run: give the URL with its password again by --store, or "
    "set the environment variable PGPASSWORD. " + _AGAIN,
    "is locked": "Another process has kept writing for {busy_timeout_s:g} s. Let it finish or end it. "
    + _AGAIN,
    "disk is full": "Free some space, or give another place with --store. " + _AGAIN,
    "disk I/O error": "The disk refuses to write: check space, quota and limits on file sizes. " + _AGAIN,
    "No space left": "Free some space on the database server. " + _AGAIN,
    "unable to open database file": "Check that the folder exists and that you may write in it.",
    "readonly database": "Check that you may write to the file and its folder.",
    "not a database": "Move this file away, or give another place with --store.",
    "malformed": "The file is damaged: move it away, or give another place with --store.",
    "No module named": "Install the driver: pip install 'agenttts[postgres]'.",
    "resolve host": "Check the host in the URL given with --store.",
    "connection": "Check that the database server runs and that the URL given with --store is right.",
}


def _engine(url: sa.URL, busy_timeout_s: float) -> sa.Engine:
    # hide_parameters: prompts and completions have no place in error messages.
    if url.get_backend_name() != "sqlite":
        arguments = {"connect_timeout": max(1, int(busy_timeout_s))}
        return sa.create_engine(url, hide_parameters=True, pool_size=1, connect_args=arguments)
    engine = sa.create_engine(
        url, hide_parameters=True, pool_size=1, connect_args={"timeout": busy_timeout_s}
    )
    sa.event.listen(engine, "connect", lambda connection, _: _set_up_sqlite(connection, busy_timeout_s))
    sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def _set_up_sqlite(connection: Any, busy_timeout_s: float) -> None:
    connection.isolation_level = None  # transactions are begun by `_begin_sqlite`, not by the driver's guess
    connection.execute(
        "PRAGMA synchronous=NORMAL"
    )  # a killed process loses nothing, a power cut the last moments
    deadline = time.monotonic() + busy_timeout_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL").fetchall()
            return
        except Exception as error:  # sqlite3.OperationalError: this one pragma does not wait by itself
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _begin_sqlite(connection: sa.Connection) -> None:
    """Take the write lock at once: a transaction that begins by reading and then writes fails instead of waiting."""
    writes = connection.get_execution_options().get("agenttts_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _stream_row(request: Request) -> dict[str, Any]:
    return {
        "key": request.key,
        "endpoint": request.endpoint,
        "model": request.model,
        "request": request_text(request),
    }


def _sample_row(key: str, sample: Sample) -> dict[str, Any]:
    return {
        "stream_key": key,
        "idx": sample.index,
        "prefill_tokens": sample.prefill_tokens,
        "decode_tokens": sample.decode_tokens,
        "body": sample_body(sample),
    }


def _call_row(paid: PaidCall, now: float) -> dict[str, Any]:
    return {
        "token": uuid.uuid4().hex,
        "study_id": paid.study_id,
        "model": paid.model,
        "purpose": paid.purpose,
        "usage": usage_text(paid.usage),
        "created": now,
    }


def _chunks(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(keys), KEYS_PER_QUERY):
        yield keys[start : start + KEYS_PER_QUERY]
