"""A two-stage plan on scripted models, served for real: uvicorn in a thread, HTTP on both sides."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from openai import OpenAI

from agenttts.budgets.cost import Budget, Cost, Unit
from agenttts.pipeline.base import Allocation, StageChoice
from agenttts.pipeline.plan import Plan
from agenttts.serve.app import ServeOptions, build_app, build_service
from agenttts.serve.logs import Log
from agenttts.serve.service import Limits, Service
from agenttts.task.task import Task
from tests.scripted_server import Asked, Reply, ScriptedServer, scripted_server

QUESTION = "What is 6 times 7?"
NAME = "agenttts/sums"
N_THINK = 3

TASK = """
format: 1
name: sums
data: {path: problems.jsonl, id: id}
splits: {search: {n: 2}}
models:
  small: {source: openai, base_url: "URL", parameters: 1.0e+6, max_attempts: 1, timeout_s: 20, max_concurrency: 256,
          price: {input_per_million_usd: 1, output_per_million_usd: 2}}
  large: {source: openai, base_url: "URL", parameters: 1.0e+7, max_attempts: 1, timeout_s: 20, max_concurrency: 256,
          price: {input_per_million_usd: 10, output_per_million_usd: 20}}
stages:
  think:
    prompt: {user: "Think: {{ problem.question }}FIELDS"}
    models: [small]
    n_samples: [1, 2, 3]
    sampling: {max_tokens: 50}
    parse: last_number
  answer:
    needs: [think]
    prompt: {user: "Answer {{ problem.question }} given {{ stages.think.answer }}"}
    models: [large]
    n_samples: [1, 2]
    sampling: {max_tokens: 50}
    parse: last_number
    select: [majority, {kind: best_of_n, verifier: {kind: judge, model: small}}]
score: {verifier: numeric, gold: answer}
"""


def script(asked: Asked) -> str | Reply:
    """Think 41, 42, 42; then answer 42 in a sentence."""
    if asked.prompt.startswith("Think:"):
        return ["It is 41", "It is 42", "It is 42"][asked.draw % 3]
    return "So it is 42."


def write_task(folder: Path, url: str, extra_field: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        {"id": f"p{i}", "question": f"{i}?", "answer": i, "context": "c", "split": "search"} for i in range(8)
    ]
    (folder / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = folder / "task.yaml"
    field = f" with {{{{ problem.{extra_field} }}}}" if extra_field else ""
    path.write_text(TASK.replace("URL", url).replace("FIELDS", field))
    return path


def plan_at(
    folder: Path, url: str, *, n_answer: int = 1, select: str = "first", extra_field: str = ""
) -> Plan:
    choices = (
        StageChoice("think", "small", N_THINK, "majority"),
        StageChoice("answer", "large", n_answer, select),
    )
    task = Task.load(write_task(folder, url, extra_field))
    measured = Cost(
        flops=2.46e9, linear_flops=2.46e9, usd=1.36e-3, prefill_tokens=200, decode_tokens=40, seconds=None
    )
    return Plan(task, Allocation(choices), Budget(10.0, Unit.GFLOPS), cost_per_problem=measured)


@dataclass
class Served:
    """A running server of a plan."""

    root: str
    service: Service
    log: StringIO

    @property
    def url(self) -> str:
        return f"{self.root}/v1"

    def client(self, **options: Any) -> OpenAI:
        return OpenAI(**{"base_url": self.url, "api_key": "none", "max_retries": 0, "timeout": 30} | options)

    def post(self, **fields: Any) -> httpx.Response:
        headers = fields.pop("headers", {})
        return httpx.post(f"{self.url}/chat/completions", json=body(**fields), headers=headers, timeout=30)

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of the series of a metric that have these labels."""
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        lines = httpx.get(f"{self.root}/metrics").text.splitlines()
        found = [
            line
            for line in lines
            if line.partition("{")[0].partition(" ")[0] == name and all(w in line for w in wanted)
        ]
        return sum(float(line.rpartition(" ")[2]) for line in found)


def body(**fields: Any) -> dict[str, Any]:
    return {"model": NAME, "messages": [{"role": "user", "content": QUESTION}]} | fields


@contextmanager
def serving(plan: Plan, **options: Any) -> Iterator[Served]:
    """Serve a plan in a thread."""
    log = StringIO()
    service = build_service(plan, ServeOptions(log=Log(log, requests=True), **options))
    config = uvicorn.Config(build_app(service), host="127.0.0.1", port=0, log_level="critical", lifespan="on")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), service.startup_error
        time.sleep(0.01)
    try:
        port = server.servers[0].sockets[0].getsockname()[1]
        yield Served(f"http://127.0.0.1:{port}", service, log)
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def backend() -> Iterator[ScriptedServer]:
    with scripted_server(script, names={"small": ["small"], "large": ["large"]}) as server:
        yield server


@pytest.fixture(scope="module")
def served(backend: ScriptedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(plan_at(tmp_path_factory.mktemp("sums"), backend.url)) as running:
        yield running


@contextmanager
def serving_on(
    folder: Path,
    said: Callable[[Asked], str | Reply],
    *,
    limits: Limits | None = None,
    n_answer: int = 1,
    select: str = "first",
    **options: Any,
) -> Iterator[tuple[Served, ScriptedServer]]:
    """Serve the plan on models of a script of its own."""
    with scripted_server(said, names={"small": ["small"], "large": ["large"]}) as backend:
        plan = plan_at(folder, backend.url, n_answer=n_answer, select=select)
        with serving(plan, limits=limits or Limits(), **options) as running:
            yield running, backend
