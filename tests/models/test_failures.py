"""What servers and transports say is passed on without keys, and named for what it is."""

from __future__ import annotations

import pytest

from agenttts.models.failures import clean, translate


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("Incorrect API key provided: sk-SECRET", "Incorrect API key provided: sk-***"),
        ("Incorrect API key provided: 0123abcd9999.", "Incorrect API key provided: ***"),
        ("api_key=abcdefghij", "api_key=***"),
        ("Authorization: Bearer abcdefghijkl", "Authorization: Bearer ***"),
        ("the key provided does not exist", "the key provided does not exist"),
        ("missing key: max_tokens", "missing key: max_tokens"),
    ],
)
def test_keys_are_hidden_and_words_are_not(said: str, shown: str) -> None:
    assert clean(said) == shown


def test_a_connection_that_is_closed_is_not_called_a_timeout() -> None:
    class ServerDisconnectedError(Exception):
        """As aiohttp's; the SDK wraps it as a timeout."""

    class APITimeoutError(Exception):
        """As the SDK's."""

    error = APITimeoutError("Request timed out.")
    error.__cause__ = ServerDisconnectedError("Server disconnected")
    failure = translate(error, model="m", model_id="m", endpoint="http://here/v1")
    assert failure.kind == "unavailable"
    assert str(failure) == "http://here/v1: the connection was closed before a reply: Server disconnected"
