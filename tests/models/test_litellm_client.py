"""What is special about calls that go through litellm."""

from __future__ import annotations

import asyncio
import gc
import warnings

from agenttts.models.base import Message, SamplingParameters
from agenttts.models.clients import Clients
from tests.models.conftest import card
from tests.models.local_server import LocalServer


async def test_a_call_that_is_cancelled_while_it_is_prepared_leaves_nothing_behind(
    server: LocalServer,
) -> None:
    clients = Clients({"m": card(source="litellm", model_id="openai/m", base_url=server.url)})
    request = clients.request("m", [Message("user", "solve: 3*5-2")], SamplingParameters(max_tokens=40))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for turns in (1, 3, 10, 30):
            task = asyncio.create_task(clients.client("m").draw(request, 0, 4))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            await asyncio.sleep(0.05)  # a thread that was left behind would end here
            gc.collect()
    assert not [str(one.message) for one in told if "never awaited" in str(one.message)]
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    assert not [task for task in others if "acompletion" in repr(task)]
    await clients.aclose()
