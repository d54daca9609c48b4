"""Who is asked before anything is drawn, and what counts as nobody there."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agenttts.budgets.cards import ModelCard
from agenttts.errors import EndpointDownError
from agenttts.models import probe
from agenttts.models.probe import Probe, require_answering
from tests.models.local_server import closed_port_url


@contextmanager
def silent_server() -> Iterator[str]:
    """Give the base URL of a server that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/v1"


def card(name: str, url: str | None, source: str = "openai") -> ModelCard:
    more = {"reward": {"api": "vllm_pooling"}} if source == "reward" else {}
    return ModelCard.model_validate({"name": name, "source": source, "base_url": url, **more})


async def test_a_refused_connection_names_model_file_and_address() -> None:
    url = closed_port_url()
    with silent_server() as alive, pytest.raises(EndpointDownError) as caught:
        await require_answering(
            [card("a", alive), card("scorer", url)], {"scorer": Path("cards/scorer.yaml")}
        )
    said = str(caught.value)
    assert "\n" not in said
    assert f"nobody answers at {url} (connection refused), where scorer (cards/scorer.yaml)" in said
    assert caught.value.exit_code == 4


async def test_an_unknown_host_is_told() -> None:
    with pytest.raises(EndpointDownError, match="the host is unknown"):
        await require_answering([card("a", "http://no-such-host.invalid/v1")])


async def test_cards_of_one_address_are_told_together_and_without_secrets() -> None:
    url = closed_port_url().replace("http://", "http://me:secret@")
    with pytest.raises(EndpointDownError, match="where a, b would be asked") as caught:
        await require_answering([card("a", url), card("b", url)])
    assert "secret" not in str(caught.value)


async def test_a_server_that_says_nothing_is_alive() -> None:
    with silent_server() as url:
        await require_answering([card("a", url), card("r", url.removesuffix("/v1"), "embedding")])


async def test_a_server_that_accepts_no_more_connections_is_slow_and_not_dead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(probe, "TIMEOUT_S", 0.2)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        address = server.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:  # they fill its queue
            one.setblocking(False)
            one.connect_ex(address)
        await require_answering([card("a", f"http://127.0.0.1:{address[1]}/v1")])
        for one in waiting:
            one.close()


async def test_a_host_behind_a_proxy_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    await require_answering([card("a", "http://no-such-host.invalid/v1")])


async def test_models_without_an_address_need_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", closed_port_url())
    await require_answering(
        [
            ModelCard(name="tiny/s", source="tiny"),
            ModelCard(name="r", source="recorded", table="x"),
            ModelCard(name="l", source="litellm"),
        ]
    )


async def test_all_who_wait_for_one_look_meet_the_same_end() -> None:
    look = Probe([card("a", closed_port_url())], {})
    ends = await asyncio.gather(*(look() for _ in range(3)), return_exceptions=True)
    assert {type(end) for end in ends} == {EndpointDownError}
    await look.aclose()
