"""What `agenttts serve` does under load, and when its backend dies half way.

    python benchmarks/serve.py [--requests 2000] [--concurrency 200]     # prints; writes runs/benchmarks/serve.json

Three processes: a backend that answers chat completions after 50 ms, `agenttts serve` with a plan of two stages (three
samples, then one; two calls a request), and this one, which asks. The bare pipeline is the same plan in this process,
without HTTP in front. Figures are of a simulated backend: they are about overhead, not about models. On a busy machine
compare the processor time of a request, which does not depend on what else runs. Target: nothing lost, nothing hangs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp

OUT = Path(__file__).resolve().parent.parent / "runs" / "benchmarks" / "serve.json"
LATENCY_S = 0.05
LINES: list[str] = []
TASK = """
format: 1
name: load
data: {path: problems.jsonl, id: id}
splits: {search: {n: 2}}
models:
  simulated/small: {source: openai, base_url: "URL", parameters: 1.0e+9, max_n: 8, max_concurrency: 1000}
stages:
  think:
    prompt: {user: "Think: {{ problem.question }}"}
    models: [simulated/small]
    n_samples: 3
    parse: last_number
  answer:
    needs: [think]
    prompt: {user: "Answer {{ problem.question }} given {{ stages.think.answer }}"}
    models: [simulated/small]
    n_samples: 1
    parse: last_number
score: {verifier: numeric, gold: answer}
"""


# --- the backend


def backend_app() -> Any:
    """Return an ASGI application that repeats the number in a prompt after a while."""
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    async def chat(request: Request) -> JSONResponse:
        body = await request.json()
        await asyncio.sleep(LATENCY_S)
        number = re.findall(r"\d+", body["messages"][-1]["content"])[0]
        n = body.get("n") or 1
        choices = [
            {
                "index": i,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": f"It is {number}"},
            }
            for i in range(n)
        ]
        usage = {"prompt_tokens": 20, "completion_tokens": 5 * n, "total_tokens": 20 + 5 * n}
        head = {"id": "x", "object": "chat.completion", "created": 1, "model": body["model"]}
        return JSONResponse(head | {"choices": choices, "usage": usage})

    return Starlette(routes=[Route("/v1/chat/completions", chat, methods=["POST"])])


def run_backend(port: int) -> None:
    import uvicorn

    uvicorn.run(
        backend_app(), host="127.0.0.1", port=port, log_level="critical", access_log=False, backlog=4096
    )


def start_backend(port: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, __file__, "--backend", str(port)])


def start_server(plan: Path, port: int, concurrency: int, log: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "agenttts", "serve", str(plan), "--port", str(port)]
    command += ["--concurrency", str(concurrency), "--queue", str(concurrency), "--timeout", "60"]
    with log.open("wb") as file:
        return subprocess.Popen(command, stderr=file)


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# --- asking


async def until_up(session: aiohttp.ClientSession, url: str, **request: Any) -> None:
    for _ in range(300):
        try:
            async with session.request(url=url, **request) as reply:
                if reply.status < 500:
                    return
        except aiohttp.ClientError:
            pass
        await asyncio.sleep(0.1)
    raise SystemExit(f"{url} does not come up")


async def ask(session: aiohttp.ClientSession, url: str, number: int) -> tuple[str, float]:
    """Return what became of a request, and its seconds."""
    begun = time.perf_counter()
    body = {"model": "agenttts/load", "messages": [{"role": "user", "content": f"What is {number}?"}]}
    try:
        async with session.post(f"{url}/chat/completions", json=body) as reply:
            data = await reply.json()
            if reply.status != 200:
                outcome = f"{reply.status} {data['error']['code']}"
            else:
                right = data["choices"][0]["message"]["content"] == f"It is {number}"
                outcome = "answered" if right else "WRONG"
    except (aiohttp.ClientError, TimeoutError) as error:
        outcome = f"LOST {type(error).__name__}"
    return outcome, time.perf_counter() - begun


async def load(
    url: str, n: int, concurrency: int, at_half: Any = None
) -> tuple[list[tuple[str, float]], float]:
    """Ask `n` times, `concurrency` at a time; `at_half` is called when half of them are done."""
    made: list[tuple[str, float]] = []
    numbers = iter(range(n))

    async def worker(session: aiohttp.ClientSession) -> None:
        nonlocal at_half
        for number in numbers:
            made.append(await ask(session, url, number))
            if at_half is not None and len(made) >= n // 2:
                at_half, call = None, at_half
                call()

    connector, timeout = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(total=90)
    begun = time.perf_counter()
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        await asyncio.gather(*(worker(session) for _ in range(concurrency)))
    return made, time.perf_counter() - begun


async def bare(plan: Any, n: int, concurrency: int) -> tuple[list[float], float]:
    """Run the pipeline alone: the same problems, as many at a time."""
    from agenttts.models.clients import Clients

    clients, numbers, took = Clients(plan.task.cards), iter(range(n)), []

    async def worker() -> None:
        for number in numbers:
            begun = time.perf_counter()
            made = await plan.aanswer({"question": f"What is {number}?"}, clients=clients)
            assert made.text == f"It is {number}"
            took.append(time.perf_counter() - begun)

    await plan.aanswer({"question": "What is 0?"}, clients=clients)
    begun = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(concurrency)))
    elapsed = time.perf_counter() - begun
    await clients.aclose()
    return took, elapsed


# --- telling


def say(line: str) -> None:
    LINES.append(line)
    print(line, flush=True)


def memory_mib(pid: int, what: str) -> float:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(rf"{what}:\s+(\d+) kB", text)[0]) / 1024


def cpu_s(pid: int) -> float:
    """Return the processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def quantiles(took: list[float]) -> str:
    cuts = statistics.quantiles(took, n=100)
    return f"p50 {cuts[49] * 1000:.0f} ms, p99 {cuts[98] * 1000:.0f} ms, longest {max(took):.2f} s"


def outcomes(made: list[tuple[str, float]]) -> str:
    return ", ".join(f"{n} {outcome}" for outcome, n in sorted(Counter(o for o, _ in made).items()))


def make_plan(folder: Path, port: int) -> Any:
    from agenttts.pipeline.base import Allocation, StageChoice
    from agenttts.pipeline.plan import Plan
    from agenttts.task.task import Task

    rows = ({"id": str(i), "question": f"{i}?", "answer": i} for i in range(8))
    (folder / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "task.yaml").write_text(TASK.replace("URL", f"http://127.0.0.1:{port}/v1"))
    choices = (
        StageChoice("think", "simulated/small", 3, "majority"),
        StageChoice("answer", "simulated/small", 1, "first"),
    )
    plan = Plan(Task.load(folder / "task.yaml"), Allocation(choices))
    plan.save(folder / "plan.yaml")
    return plan


async def measure(folder: Path, n: int, concurrency: int) -> bool:
    back, front = free_port(), free_port()
    plan = make_plan(folder, back)
    backend = start_backend(back)
    server = start_server(folder / "plan.yaml", front, concurrency, folder / "log")
    url = f"http://127.0.0.1:{front}/v1"
    probe = {"model": "x", "messages": [{"role": "user", "content": "1"}]}
    back_url = f"http://127.0.0.1:{back}/v1/chat/completions"
    try:
        async with aiohttp.ClientSession() as session:
            await until_up(session, back_url, method="POST", json=probe)
            await until_up(session, f"{url}/models", method="GET")
        say(
            f"{n} requests, {concurrency} at a time; backend {LATENCY_S * 1000:.0f} ms a call, 2 calls a request"
        )
        used = time.process_time()
        took, elapsed = await bare(plan, n, concurrency)
        each_ms = (time.process_time() - used) / n * 1000
        say(
            f"bare pipeline   {n / elapsed:6.0f} requests/s, {each_ms:.1f} ms of processor each, {quantiles(took)}"
        )
        before = memory_mib(server.pid, "VmRSS")
        for turn in (1, 2, 3):
            used = cpu_s(server.pid)
            made, elapsed = await load(url, n, concurrency)
            each_ms = (cpu_s(server.pid) - used) / n * 1000
            say(
                f"serve, turn {turn}   {n / elapsed:6.0f} requests/s, {each_ms:.1f} ms of processor each, "
                f"{quantiles([t for _, t in made])}; {outcomes(made)}"
            )
        peak = memory_mib(server.pid, "VmHWM")
        say(
            f"memory          {before:.0f} MiB before, {memory_mib(server.pid, 'VmRSS'):.0f} after, {peak:.0f} at most"
        )
        fine = all(outcome == "answered" for outcome, _ in made)

        made, elapsed = await load(url, n, concurrency, at_half=backend.kill)
        say(f"backend killed  {outcomes(made)}; {elapsed:.1f} s in all, {quantiles([t for _, t in made])}")
        fine &= len(made) == n and not any(o.startswith(("LOST", "WRONG")) for o, _ in made)

        backend.wait()
        backend = start_backend(back)
        async with aiohttp.ClientSession() as session:
            await until_up(session, back_url, method="POST", json=probe)
            begun = time.perf_counter()
            await until_up(session, f"http://127.0.0.1:{front}/readyz", method="GET")
        ready_s = time.perf_counter() - begun
        made, _ = await load(url, concurrency, concurrency)
        say(f"backend back    ready after {ready_s:.1f} s; {outcomes(made)}")
        fine &= all(outcome == "answered" for outcome, _ in made)
        server.send_signal(signal.SIGTERM)
        say(f"ended with code {server.wait(30)}")
    finally:
        for process in (server, backend):
            process.kill()
            process.wait()
    return fine


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--concurrency", type=int, default=200)
    parser.add_argument("--backend", type=int, metavar="PORT", help="be the backend")
    given = parser.parse_args()
    if given.backend:
        run_backend(given.backend)
        return
    os.environ.pop("AGENTTTS_SERVE_KEY", None)
    with tempfile.TemporaryDirectory() as folder:
        fine = asyncio.run(measure(Path(folder), given.requests, given.concurrency))
    say("nothing was lost" if fine else "SOMETHING WAS LOST OR WRONG")
    facts = {"figures_from": "simulated backend", "cores": os.cpu_count(), "load_average": os.getloadavg()}
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(facts | {"python": platform.python_version(), "lines": LINES}, indent=1) + "\n")
    raise SystemExit(not fine)


if __name__ == "__main__":
    main()
