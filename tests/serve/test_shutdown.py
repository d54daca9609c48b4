"""The command itself, as a process: how it starts, refuses to start, and ends without losing what was paid."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from agenttts.store.sql import open_store
from agenttts.task.task import Task
from tests.models.local_server import closed_port_url
from tests.scripted_server import Asked, Reply, scripted_server
from tests.serve.conftest import body, plan_at, script, write_task

NAMES = {"small": ["small"], "large": ["large"]}


@contextmanager
def process(plan: Path, *options: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run the command; give it and its address."""
    command = [sys.executable, "-m", "agenttts", "serve", str(plan), "--port", "0", *options]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=os.environ | environment
    ) as running:
        assert running.stderr is not None
        first = running.stderr.readline()
        assert first.startswith("Serving agenttts/sums at http://127.0.0.1:"), first + running.stderr.read()
        root = first.split(" at ")[1].split("/v1")[0]
        try:
            yield running, root
        finally:
            running.kill()


def test_the_start_tells_the_least_budget_of_a_request(tmp_path: Path):
    with scripted_server(script, names=NAMES) as backend:
        plan = plan_at(tmp_path, backend.url).save(tmp_path / "plan.yaml")
        with process(plan) as (running, _):
            lines = [running.stderr.readline() for _ in range(3)]
    assert re.search(r"x-agenttts-budget: [0-9.]+ GFLOPs or more", lines[-1])


def refused(plan: Path, *options: str, **environment: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "agenttts", "serve", str(plan), "--port", "0", *options]
    ended = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | environment, timeout=60, check=False
    )
    return ended.returncode, ended.stderr


def until_ready(root: str) -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        with suppress(httpx.TransportError):
            assert httpx.get(f"{root}/readyz").status_code == 200
            return
    raise AssertionError("the server is not ready after 20 s")


@contextmanager
def asking(root: str) -> Iterator[None]:
    """Send a request, and go away at the end of the block without having read anything."""
    host, _, port = root.removeprefix("http://").partition(":")
    data = json.dumps(body()).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    with socket.create_connection((host, int(port))) as caller:
        caller.sendall(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
        yield


def post(root: str) -> httpx.Response:
    return httpx.post(f"{root}/v1/chat/completions", json=body(), timeout=30)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_is_at_work_is_finished_and_what_waits_is_refused(tmp_path: Path, number: signal.Signals):
    at_work = threading.Event()

    def said(asked: Asked) -> str | Reply:
        if asked.prompt.startswith("Think"):
            return script(asked)
        at_work.set()
        return Reply("So it is 42.", after_s=1.5)

    with scripted_server(said, names=NAMES) as backend:
        plan = plan_at(tmp_path, backend.url).save(tmp_path / "plan.yaml")
        store = f"sqlite:///{tmp_path}/draws.sqlite"
        with process(plan, "--concurrency", "1", "--store", store) as (server, root):
            with ThreadPoolExecutor(2) as pool:
                first = pool.submit(post, root)
                assert at_work.wait(20)
                second = pool.submit(post, root)
                time.sleep(0.3)
                server.send_signal(number)
                assert second.result().status_code == 503
                assert second.result().json()["error"]["code"] == "shutdown"
                assert not first.done()
                assert first.result().json()["choices"][0]["message"]["content"] == "So it is 42."
            said_last = server.stderr.read()
            assert server.wait(10) == 0
        assert '"event": "draining", "running": 1' in said_last
        assert "Traceback" not in said_last
        assert (tmp_path / "draws.sqlite").stat().st_size > 0
        n_asked = len(backend.asked)
        with process(plan, "--store", store) as (_, root):  # all that was paid is there
            assert post(root).json()["usage"]["total_tokens"] == 0
        assert len(backend.asked) == n_asked


def test_what_takes_longer_than_the_drain_limit_is_told_so(tmp_path: Path):
    at_work = threading.Event()

    def said(asked: Asked) -> str | Reply:
        at_work.set()
        return Reply("42", after_s=10)

    with scripted_server(said, names=NAMES) as backend:
        plan = plan_at(tmp_path, backend.url).save(tmp_path / "plan.yaml")
        with process(plan, "--drain", "0.5") as (server, root), ThreadPoolExecutor(1) as pool:
            reply = pool.submit(post, root)
            assert at_work.wait(20)
            begun = time.monotonic()
            server.terminate()
            assert reply.result().status_code == 503
            assert server.wait(10) == 0
            assert time.monotonic() - begun < 6


def test_an_open_address_needs_a_key(tmp_path: Path):
    plan = plan_at(tmp_path, closed_port_url()).save(tmp_path / "plan.yaml")
    code, said = refused(plan, "--host", "0.0.0.0", AGENTTTS_SERVE_KEY="")
    assert code == 2
    assert "--api-key-env" in said
    code, said = refused(plan, "--api-key-env", "NOT_SET_ANYWHERE")
    assert (code, "NOT_SET_ANYWHERE is not set" in said) == (2, True)


def test_the_key_of_the_environment_is_asked_for(tmp_path: Path):
    plan = plan_at(tmp_path, closed_port_url()).save(tmp_path / "plan.yaml")
    with process(plan, AGENTTTS_SERVE_KEY="k-123") as (_, root):
        until_ready(root)
        assert httpx.get(f"{root}/v1/models").status_code == 401
        head = {"Authorization": "Bearer k-123"}
        assert httpx.get(f"{root}/v1/models", headers=head).status_code == 200


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--map", "question"), "expected FIELD=SOURCE"),
        (("--map", "question=nowhere"), "question"),
        (("--store", "nothing://x"), "nothing"),
    ],
)
def test_options_that_cannot_be_used_are_told_before_anything_is_served(
    tmp_path: Path, options: tuple[str, ...], said: str
):
    plan = plan_at(tmp_path, closed_port_url()).save(tmp_path / "plan.yaml")
    code, told = refused(plan, *options)
    assert code == 2
    assert said in told
    assert "Traceback" not in told


def test_a_missing_key_of_a_provider_is_told_at_the_start(tmp_path: Path):
    plan = plan_at(tmp_path, "https://api.invalid/v1")  # local ones need no key; nothing is sent
    keyed = {"api_key_env": "KEY_THAT_IS_NOT_SET"}
    cards = {name: card.model_copy(update=keyed) for name, card in plan.task.cards.items()}
    path = replace(plan, task=replace(plan.task, cards=cards)).save(tmp_path / "plan.yaml")
    code, told = refused(path)
    assert code == 4
    assert "KEY_THAT_IS_NOT_SET" in told
    assert "Traceback" not in told


def test_functions_of_a_task_need_trust(tmp_path: Path):
    (tmp_path / "steps.py").write_text("def read(text):\n    return text\n")
    path = write_task(tmp_path, closed_port_url())
    path.write_text(
        path.read_text().replace("parse: last_number", "parse: {rule: function, function: 'steps.py:read'}")
    )
    plan = replace(plan_at(tmp_path / "other", closed_port_url()), task=Task.load(path, trust=True))
    plan.save(tmp_path / "plan.yaml")
    code, told = refused(tmp_path / "plan.yaml")
    assert code == 2
    assert "--trust" in told
    with process(tmp_path / "plan.yaml", "--trust"):
        pass


def test_a_taken_port_is_told(tmp_path: Path):
    with scripted_server(script, names=NAMES) as backend:
        plan = plan_at(tmp_path, backend.url).save(tmp_path / "plan.yaml")
        port = backend.root.rpartition(":")[2]
        code, told = refused(plan, "--port", port)
    assert code == 2
    assert "cannot listen" in told


def test_the_store_keeps_draws_of_a_caller_who_went_away(tmp_path: Path):
    """Checked where it is kept: what has arrived is in the store."""

    def said(asked: Asked) -> str | Reply:
        return script(asked) if asked.prompt.startswith("Think") else Reply("42", after_s=5)

    with scripted_server(said, names=NAMES) as backend:
        plan = plan_at(tmp_path, backend.url).save(tmp_path / "plan.yaml")
        url = f"sqlite:///{tmp_path}/draws.sqlite"
        with process(plan, "--store", url) as (server, root):
            until_ready(root)
            with asking(root):
                until = time.monotonic() + 30
                while not backend.prompts("Answer") and time.monotonic() < until:
                    time.sleep(0.05)
            server.terminate()
            server.wait(10)

        assert asyncio.run(n_paid(url)) == 3


async def n_paid(url: str) -> int:
    store = open_store(url)
    paid = await store.paid("serve")
    await store.aclose()
    return len(paid)
