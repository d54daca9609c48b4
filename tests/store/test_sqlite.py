"""SQLite stores under processes that are killed, that compete, and that find what they cannot use."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from agenttts.budgets.cards import ModelCard
from agenttts.budgets.cost_model import CostModel
from agenttts.budgets.ledger import SpendingLedger
from agenttts.errors import StoreError
from agenttts.store.memory import MemoryStore
from agenttts.store.sql import SqlStore, open_store
from agenttts.testing.stores import bill, draw, keep, request_for

WRITER = Path(__file__).with_name("writer_process.py")
FOR_EVER = 10**9


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/samples.db"


def start_writer(url: str, prefix: str, n_streams: int, n: int) -> subprocess.Popen[str]:
    command = [sys.executable, str(WRITER), url, prefix, str(n_streams), str(n)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def promised_lines(process: subprocess.Popen[str], at_least: int) -> list[str]:
    """Read promises until there are enough, kill the process in full flow, and read what is left in the pipe."""
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(at_least)]
    process.send_signal(signal.SIGKILL)
    lines += process.stdout.readlines()
    assert process.wait() == -signal.SIGKILL
    return [line for line in lines if line.endswith("\n")]


async def test_everything_promised_is_there_after_kill_9(url: str) -> None:
    for round_number in range(3):
        prefix = f"r{round_number}s"
        promised: dict[str, int] = {}
        for line in promised_lines(start_writer(url, prefix, n_streams=8, n=FOR_EVER), at_least=200):
            name, index = line.split()
            promised[name] = max(promised.get(name, 0), int(index) + 1)
        store = open_store(url)
        for name, n in promised.items():
            held = await store.get(request_for(name), FOR_EVER)
            assert held == [draw(index) for index in range(len(held))]
            assert len(held) >= n
            # Draws and bills are of one transaction: neither without the other.
            assert [call.usage.decode_tokens for call in await store.paid(name)] == [
                (i + 1,) for i in range(len(held))
            ]
        await store.aclose()


async def test_the_total_paid_survives_kill_9(url: str) -> None:
    promised = promised_lines(start_writer(url, "s", n_streams=1, n=FOR_EVER), at_least=50)
    store = open_store(url)
    held = await store.get(request_for("s0"), FOR_EVER)
    card = ModelCard(name="some/model", source="tiny", parameters=10)
    ledger = SpendingLedger(CostModel({"some/model": card}), None, already=await store.paid("s0"))
    assert len(held) >= len(promised)
    assert ledger.n_calls == len(held)
    assert ledger.spent.decode_tokens == sum(range(1, len(held) + 1))
    assert ledger.spent.prefill_tokens == 7 * len(held)
    await store.aclose()


async def test_several_processes_share_a_file(url: str) -> None:
    # Two write the same streams, one its own.
    writers = [start_writer(url, prefix, 6, 25) for prefix in ("same", "same", "own")]
    for writer in writers:
        writer.communicate(timeout=120)
        assert writer.returncode == 0
    store = open_store(url)
    for name in [f"{prefix}{s}" for prefix in ("same", "own") for s in range(6)]:
        assert await store.get(request_for(name), 99) == [draw(index) for index in range(25)]
        assert len(await store.paid(name)) == (50 if name.startswith("same") else 25)
    await store.aclose()


async def test_a_writer_waits_for_another_process_that_holds_the_lock(url: str) -> None:
    store = open_store(url)
    blocker = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None, check_same_thread=False)
    blocker.execute("BEGIN IMMEDIATE")
    put = asyncio.create_task(keep(store, request_for("a"), draw(0)))
    await asyncio.sleep(0.3)
    assert not put.done()
    blocker.execute("COMMIT")
    await put
    assert await store.get(request_for("a"), 1) == [draw(0)]
    blocker.close()
    await store.aclose()


async def test_a_lock_held_for_long_is_an_error_with_a_remedy_and_passes(url: str) -> None:
    store = open_store(url, busy_timeout_s=0.2)
    blocker = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    with pytest.raises(
        StoreError, match=r"samples\.db: database is locked.\nAnother process has kept writing for 0.2 s"
    ):
        await keep(store, request_for("a"), draw(0))
    assert await store.get(request_for("a"), 1) == []  # reading goes on meanwhile
    blocker.execute("ROLLBACK")
    blocker.close()
    await keep(store, request_for("a"), draw(0))
    assert await store.get(request_for("a"), 1) == [draw(0)]
    assert await store.paid("study") == [bill([draw(0)])]
    await store.aclose()


async def test_a_newer_format_is_refused_with_the_remedy(url: str) -> None:
    await open_store(url).aclose()
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        connection.execute("UPDATE meta SET value = '7'")
    with pytest.raises(StoreError, match=r"format 7, written by a newer agenttts; .* up to 1\.\nUpgrade"):
        open_store(url)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.db").write_text("dear diary, " * 1000)
    with pytest.raises(StoreError, match=r"not a database.\nMove this file away"):
        open_store(f"sqlite:///{tmp_path}/notes.db")
    assert (tmp_path / "notes.db").read_text() == "dear diary, " * 1000


@pytest.mark.parametrize(
    "statement",
    ["CREATE TABLE samples (x)", "CREATE TABLE meta (key TEXT, value TEXT)"],
)
def test_tables_of_another_program_are_left_alone(tmp_path: Path, statement: str) -> None:
    with sqlite3.connect(tmp_path / "other.db") as connection:
        connection.execute(statement)
    with pytest.raises(StoreError, match="tables of another program"):
        open_store(f"sqlite:///{tmp_path}/other.db")


def test_a_folder_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"unable to open database file.\nCheck that the folder exists"):
        open_store(f"sqlite:///{tmp_path}")


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"folder .*file of the sample store cannot be made"):
        open_store(f"sqlite:///{tmp_path}/file/samples.db")


FILL_THE_DISK = """
import asyncio, resource, sys
from agenttts.errors import StoreError
from agenttts.store.sql import SqlStore, open_store
from agenttts.testing.stores import draw, keep, request_for

async def main():
    store = open_store(sys.argv[1])
    await keep(store, request_for("small"), draw(0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
    try:
        await keep(store, request_for("large"), draw(0, "x" * 1_000_000))
    except StoreError as error:
        print(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    await keep(store, request_for("large"), draw(0, "y"))
    print(len(await store.get(request_for("small"), 9)), (await store.get(request_for("large"), 9))[0].text)
    await store.aclose()

asyncio.run(main())
"""


def test_a_disk_that_takes_no_more_is_an_error_with_a_remedy_and_loses_nothing(url: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", FILL_THE_DISK, url]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    error, remedy, after = done.stdout.splitlines()
    assert "samples.db: " in error
    assert "The disk refuses to write" in remedy or "Free some space" in remedy
    assert after == "1 y"


@pytest.fixture
def statements() -> Iterator[list[str]]:
    """SQL statements sent, and commits, from here on."""
    seen: list[str] = []

    def on_execute(connection: object, cursor: object, statement: str, *_: object) -> None:
        seen.append(statement)

    def on_commit(connection: object) -> None:
        seen.append("COMMIT")

    sa.event.listen(sa.Engine, "before_cursor_execute", on_execute)
    sa.event.listen(sa.Engine, "commit", on_commit)
    yield seen
    sa.event.remove(sa.Engine, "before_cursor_execute", on_execute)
    sa.event.remove(sa.Engine, "commit", on_commit)


async def test_a_big_stream_is_one_query(url: str, statements: list[str]) -> None:
    store = open_store(url)
    await keep(store, request_for("a"), *(draw(i) for i in range(5000)))
    await store.aclose()
    store = open_store(url)
    statements.clear()
    assert len(await store.get(request_for("a"), 5000)) == 5000
    assert sum("SELECT" in statement for statement in statements) == 1
    await store.aclose()


async def test_puts_that_wait_together_share_a_transaction(url: str, statements: list[str]) -> None:
    store = open_store(url)
    statements.clear()
    await asyncio.gather(*(keep(store, request_for(f"{i}"), draw(0)) for i in range(500)))
    assert statements.count("COMMIT") < 50
    assert len(await store.paid("study")) == 500
    await store.aclose()


async def test_draws_read_again_need_no_query(url: str, statements: list[str]) -> None:
    store = open_store(url)
    await keep(store, request_for("a"), *(draw(i) for i in range(10)))
    first = await store.get(request_for("a"), 10)
    statements.clear()
    assert await store.get(request_for("a"), 10) == first
    assert await store.get(request_for("a"), 4) == first[:4]
    assert statements == []
    await store.aclose()


async def test_a_cancelled_put_is_written_all_the_same(url: str) -> None:
    store = open_store(url)
    put = asyncio.create_task(keep(store, request_for("a"), draw(0)))
    await asyncio.sleep(0)  # handed over, not yet written
    put.cancel()
    with pytest.raises(asyncio.CancelledError):
        await put
    await store.aclose()
    again = open_store(url)
    assert await again.get(request_for("a"), 1) == [draw(0)]
    await again.aclose()


@pytest.mark.parametrize("kind", ["sqlite", "memory"])
async def test_a_closed_store_says_so(url: str, kind: str) -> None:
    store = open_store(url if kind == "sqlite" else "memory:")
    await store.aclose()
    await store.aclose()
    with pytest.raises(StoreError, match="closed"):
        await keep(store, request_for("a"), draw(0))
    with pytest.raises(StoreError, match="closed"):
        await store.get(request_for("a"), 1)


def test_a_store_can_be_used_from_one_event_loop_after_another(url: str) -> None:
    store = open_store(url)
    for i in range(3):
        asyncio.run(keep(store, request_for("a"), draw(i)))
    assert len(asyncio.run(store.get(request_for("a"), 9))) == 3
    asyncio.run(store.aclose())


@pytest.mark.parametrize("url", ["memory:", "sqlite://", "sqlite:///:memory:"])
async def test_memory_urls_open_a_store_of_their_own(url: str) -> None:
    one, other = open_store(url), open_store(url)
    assert isinstance(one, MemoryStore)
    await keep(one, request_for("a"), draw(0))
    assert await other.get(request_for("a"), 1) == []


@pytest.mark.parametrize(
    "url", ["samples.db", "mysql://me:hidden@host/db", "postgresql://me:hidden@host:port/db", "redis:", ""]
)
def test_an_url_of_another_kind_is_refused_without_telling_passwords(url: str) -> None:
    with pytest.raises(StoreError, match=r"expected sqlite:///<path>") as caught:
        open_store(url)
    assert "hidden" not in str(caught.value)


def test_a_server_that_is_gone_is_an_error_with_a_remedy_and_without_the_password() -> None:
    with pytest.raises(
        StoreError, match=r"(?s)me:\*\*\*@127.0.0.1:9/db.*Check that the database server runs"
    ) as caught:
        open_store("postgresql://me:hidden@127.0.0.1:9/db", busy_timeout_s=1)
    assert "hidden" not in str(caught.value)


async def test_a_store_knows_which_endpoints_drew_from_a_model(url: str) -> None:
    store = open_store(url)
    assert isinstance(store, SqlStore)
    for endpoint in ("there", "here"):
        await keep(store, request_for("one", endpoint=endpoint), draw(0))
    await keep(store, request_for("two", model="other/model"), draw(0))
    assert await store.endpoints() == {"some/model": ["here", "there"], "other/model": ["here"]}
    await store.aclose()
