from __future__ import annotations

import csv
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from agenttts.models.base import Message, ModelClient, Request, SamplingParameters
from agenttts.models.clients import Clients
from agenttts.testing.clients import ModelClientContract
from tests.models.conftest import card
from tests.models.local_server import LocalServer

PROMPTS = ("solve: 24*7+13", "solve: 3*5-2", "solve: 12+30")


class _OverOurCards(ModelClientContract):
    @pytest.fixture
    async def clients(self, fields: dict[str, Any]) -> AsyncIterator[Clients]:
        clients = Clients({"m": card(**fields)})
        yield clients
        await clients.aclose()

    @pytest.fixture
    async def client(self, clients: Clients) -> ModelClient:
        return clients.client("m")

    @pytest.fixture
    def request_for(self, clients: Clients) -> Callable[[int], Request]:
        def make(number: int) -> Request:
            messages = [Message("user", PROMPTS[number])]
            sampling = SamplingParameters(max_tokens=40)
            return clients.request("m", messages, sampling, stage="solve", problem_id=f"p{number}")

        return make


class TestOpenAI(_OverOurCards):
    @pytest.fixture(params=[1, 4])
    def fields(self, server: LocalServer, request: pytest.FixtureRequest) -> dict[str, Any]:
        return {"base_url": server.url, "max_n": request.param}


class TestLiteLLM(_OverOurCards):
    @pytest.fixture(params=[1, 4])
    def fields(self, server: LocalServer, request: pytest.FixtureRequest) -> dict[str, Any]:
        return {"source": "litellm", "model_id": "openai/m", "base_url": server.url, "max_n": request.param}


class TestTiny(_OverOurCards):
    @pytest.fixture
    def fields(self) -> dict[str, Any]:
        return {"source": "tiny", "model_id": "tiny/xs", "token_counter": "tiny"}


class TestRecorded(_OverOurCards):
    @pytest.fixture
    def fields(self, tmp_path: Path) -> dict[str, Any]:
        with (tmp_path / "draws.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(
                ["stage", "model", "problem_id", "sample_index", "text", "prefill_tokens", "decode_tokens"]
            )
            table.writerows(
                ["solve", "m", f"p{problem}", i, f"text {problem} {i}", 9, 5 + i]
                for problem in range(3)
                for i in range(8)
            )
        return {"source": "recorded", "table": str(tmp_path / "draws.csv")}
