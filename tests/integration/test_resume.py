"""A run that is killed without warning and resumed ends as an uninterrupted one, and pays for nothing twice."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

from agenttts.models.base import Message, Request, SamplingParameters
from tests.integration.counting_server import CountingServer, Draw, counting_server
from tests.integration.test_http_equals_in_process import OPTIONS, optimize, trials


def start(folder: Path, server: CountingServer) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "agenttts", "optimize", "tiny", *OPTIONS, "--endpoint", server.url],
        cwd=folder,
        env={**os.environ, "OPENAI_API_KEY": "unused"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def kill_after(process: subprocess.Popen[bytes], server: CountingServer, n_requests: int) -> None:
    """Kill the process without warning once the server has seen so many more requests."""
    target = server.n_requests + n_requests
    deadline = time.monotonic() + 120
    while server.n_requests < target:
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=30)
    time.sleep(1.0)  # the server ends what it had begun


def held(folder: Path) -> dict[Draw, str]:
    """Return every draw in the store of a run, as the server would name it, with what was kept of it."""
    query = "SELECT model, request, idx, body FROM samples JOIN streams ON key = stream_key WHERE model != 'tiny/prm'"
    with closing(sqlite3.connect(folder / "runs" / "samples.sqlite")) as connection:
        rows = connection.execute(query).fetchall()
    return {_draw(model, json.loads(request), index): body for model, request, index, body in rows}


def _draw(model: str, request: dict[str, Any], index: int) -> Draw:
    messages = tuple(Message(role, content) for role, content in request["messages"])
    sampling = {
        key: tuple(value) if isinstance(value, list) else value for key, value in request["sampling"].items()
    }
    stream = Request(model, "", messages, SamplingParameters(**sampling))
    sent = [{"role": message.role, "content": message.content} for message in messages]
    return model, json.dumps(sent, sort_keys=True), stream.base_seed + index


def test_killed_run_resumes_without_paying_twice(tmp_path: Path) -> None:
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    straight.mkdir()
    killed.mkdir()
    with counting_server(delay_s=0.02) as server:
        expected = optimize(straight, "--endpoint", server.url)
        uninterrupted = Counter(server.draws)
    assert set(uninterrupted.values()) == {1}
    assert set(held(straight)) == set(uninterrupted)

    with counting_server(delay_s=0.02) as server:
        for n_requests in (15, 40, None):
            kept = held(killed) if n_requests != 15 else {}
            asked = Counter(server.draws)
            if n_requests is None:
                result = optimize(killed, "--endpoint", server.url)
            else:
                kill_after(start(killed, server), server, n_requests)
            # What the store held is not asked for again, and stays as it was. A reply that was still on its way when
            # the process died reached nobody; it is the only thing that may be paid for anew.
            assert not set(server.draws - asked) & set(kept)
            assert kept.items() <= held(killed).items()
        draws = Counter(server.draws)
        again_result = optimize(killed, "--endpoint", server.url)
        assert Counter(server.draws) == draws, "a finished run asks for nothing"

    assert set(draws) == set(uninterrupted)
    assert held(killed) == held(straight)
    assert trials(killed) == trials(straight)
    assert result["plan"]["allocation"] == expected["plan"]["allocation"]
    assert again_result["n_paid_now"] == 0
