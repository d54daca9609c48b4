"""What becomes of the password in the URL of a store."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator

import pytest

from agenttts.errors import StoreError
from agenttts.store.sql import open_store, same_store, without_password

SSL_REQUEST, GSS_REQUEST = 80877103, 80877104


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("postgresql://me:hunter2@host/db", "postgresql+psycopg://me@host/db"),
        (
            "postgresql://me@host/db?password=hunter2&sslmode=require",
            "postgresql+psycopg://me@host/db?sslmode=require",
        ),
        ("postgres://host/db?sslpassword=hunter2", "postgresql+psycopg://host/db"),
        ("postgresql://me@host/db", "postgresql://me@host/db"),
        ("sqlite:///runs/samples.sqlite", "sqlite:///runs/samples.sqlite"),
        ("memory:", "memory:"),
    ],
)
def test_a_url_is_kept_without_its_password(url: str, kept: str) -> None:
    assert without_password(url) == kept
    assert same_store(url, kept)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("postgresql://me:hunter2@host/db", "postgresql://me:hunter2@host/other"),
        ("sqlite:///a.sqlite", "sqlite:///b.sqlite"),
        ("sqlite:///a.sqlite", "memory:"),
    ],
)
def test_another_database_is_another_store(one: str, other: str) -> None:
    assert not same_store(one, other)


@pytest.fixture
def server_that_wants_a_password() -> Iterator[int]:
    """The port of a server that speaks as much of PostgreSQL's protocol as it takes to ask for a password."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_ask_all, args=(listener,), daemon=True).start()
        yield listener.getsockname()[1]


def _ask_all(listener: socket.socket) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            _ask(connection)


def _ask(connection: socket.socket) -> None:
    while True:
        head = connection.recv(8)
        if len(head) < 8:
            return
        length, code = struct.unpack("!ii", head)
        if code in {SSL_REQUEST, GSS_REQUEST}:
            connection.sendall(b"N")
            continue
        connection.recv(length - 8)
        connection.sendall(b"R" + struct.pack("!ii", 8, 3))  # AuthenticationCleartextPassword
        connection.recv(100)
        return


def test_a_missing_password_is_told_with_the_ways_to_give_it(
    server_that_wants_a_password: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("psycopg")
    monkeypatch.delenv("PGPASSWORD", raising=False)
    with pytest.raises(StoreError, match=r"(?s)no password supplied.*by --store.*PGPASSWORD"):
        open_store(f"postgresql://me@127.0.0.1:{server_that_wants_a_password}/db")


def test_no_message_shows_a_password(server_that_wants_a_password: int) -> None:
    pytest.importorskip("psycopg")
    place = f"127.0.0.1:{server_that_wants_a_password}/db"
    with pytest.raises(StoreError) as told:
        open_store(f"postgresql://me@{place}?password=hunter2")
    assert place in str(told.value)
    assert "hunter2" not in str(told.value)
