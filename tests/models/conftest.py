from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from agenttts.budgets.cards import ModelCard
from agenttts.models.base import Message, Request, SamplingParameters
from agenttts.models.clients import Clients
from tests.models.local_server import LocalServer, local_server


@pytest.fixture
def server() -> Iterator[LocalServer]:
    with local_server() as running:
        yield running


def card(url: str | None = None, **more: Any) -> ModelCard:
    fields: dict[str, Any] = {"name": "m", "source": "openai", "base_url": url} | more
    return ModelCard(**fields)


def ask(clients: Clients, prompt: str = "hello", **sampling: Any) -> Request:
    return clients.request("m", [Message("user", prompt)], SamplingParameters(**sampling))
