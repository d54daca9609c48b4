"""The contract of sample stores, over every store there is."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from agenttts.store.base import SampleStore
from agenttts.store.memory import MemoryStore
from agenttts.store.sql import SqlStore, open_store
from agenttts.testing.stores import DurableSampleStoreContract, SampleStoreContract

Opener = Callable[[], SampleStore]


class TestMemoryStore(SampleStoreContract):
    @pytest.fixture
    def opener(self) -> Opener:
        return MemoryStore


class TestSqliteStore(DurableSampleStoreContract):
    @pytest.fixture
    def opener(self, tmp_path: Path) -> Opener:
        return lambda: open_store(f"sqlite:///{tmp_path}/deep/er/samples.db")


class TestSqliteStoreWithoutCache(DurableSampleStoreContract):
    @pytest.fixture
    def opener(self, tmp_path: Path) -> Opener:
        return lambda: SqlStore(sa.make_url(f"sqlite:///{tmp_path}/samples.db"), cache_bytes=0)


@pytest.fixture
def postgres_url() -> Iterator[str]:
    """A fresh database of the server named by AGENTTTS_TEST_POSTGRES."""
    server = os.environ.get("AGENTTTS_TEST_POSTGRES")
    if not server:
        pytest.skip("AGENTTTS_TEST_POSTGRES is not set; tools/with_postgres.sh starts a server and sets it")
    name = f"agenttts_{uuid.uuid4().hex}"
    url = sa.make_url(server).set(drivername="postgresql+psycopg")
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
        yield url.set(database=name).render_as_string(hide_password=False)
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    engine.dispose()


class TestPostgresStore(DurableSampleStoreContract):
    @pytest.fixture
    def opener(self, postgres_url: str) -> Opener:
        return lambda: open_store(postgres_url)


async def test_a_lost_connection_is_made_anew(postgres_url: str) -> None:
    from agenttts.testing.stores import draw, keep, request_for

    store = open_store(postgres_url)
    await keep(store, request_for("a"), draw(0))
    engine = sa.create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        others = "datname = current_database() AND pid <> pg_backend_pid()"
        connection.exec_driver_sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")  # noqa: S608
    engine.dispose()
    await keep(store, request_for("a"), draw(1))
    assert await store.get(request_for("a"), 2) == [draw(0), draw(1)]
    assert len(await store.paid("study")) == 2
    await store.aclose()
