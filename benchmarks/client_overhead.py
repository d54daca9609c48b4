"""What a call costs in CPU: ours against the bare clients it stands on, on a local server that answers at once.

    python benchmarks/client_overhead.py            # table, and runs/benchmarks/client_overhead.json
    python benchmarks/client_overhead.py --quick    # a few seconds, for a look

The server is a separate process. Only the CPU time of this process counts, so the figures hold on a busy machine too.
Repetitions of all clients are interleaved; the median of each is shown. Ours can be below the openai client it stands
on: it uses that client's connections, headers and errors, and reads the JSON of the reply itself. Target: ours at most 1.25 times
the client it stands on; and 5,000 calls in flight without growth in memory per call finished.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

from agenttts.budgets.cards import ModelCard
from agenttts.budgets.cost_model import CostModel
from agenttts.budgets.ledger import SpendingLedger
from agenttts.models.base import Message, SamplingParameters
from agenttts.models.clients import Clients
from agenttts.models.litellm_client import quiet_litellm
from agenttts.models.sampler import StoredSampler
from agenttts.store.sql import open_store

OUT = Path(__file__).resolve().parent.parent / "runs" / "benchmarks" / "client_overhead.json"
TARGET = 1.25
STANDS_ON = {
    "ours (openai)": "openai, aiohttp",
    "ours (openai), store and ledger": "openai, aiohttp",
    "ours (litellm)": "litellm",
}
PROMPT = "Ann has 24 boxes of 7 pens each and gives 13 away. How many pens are left? " * 4
TEXT = "24*7=168;168-13=155;155 " * 8
Call = Callable[[int], Awaitable[Any]]
CLOSE: list[Callable[[], Awaitable[Any]]] = []


# --- the server, in its own process ---------------------------------------------------------------------------


def reply_bytes(n: int) -> bytes:
    choices = [
        {
            "index": j,
            "finish_reason": "stop",
            "logprobs": None,
            "message": {"role": "assistant", "content": TEXT},
        }
        for j in range(n)
    ]
    usage = {"prompt_tokens": 80, "completion_tokens": 60 * n, "total_tokens": 80 + 60 * n}
    body = json.dumps(
        {
            "id": "x",
            "object": "chat.completion",
            "created": 1,
            "model": "m",
            "choices": choices,
            "usage": usage,
        }
    ).encode()
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    )


async def serve() -> None:
    """Answer every POST at once (`/v1`) or after two seconds (`/slow/v1`); GET returns the most at once."""
    ready = {n: reply_bytes(n) for n in (1, 16)}
    at_once = most = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal at_once, most
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if head.startswith(b"GET"):
                    said = str(most).encode()
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(said) + said)
                    continue
                length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                body = await reader.readexactly(length)
                at_once += 1
                most = max(most, at_once)
                if head.startswith(b"POST /slow"):
                    await asyncio.sleep(2)
                at_once -= 1
                writer.write(ready[json.loads(body).get("n") or 1])
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, backlog=8192)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


# --- the clients ----------------------------------------------------------------------------------------------


class Ours:
    """A client of ours with everything on: limits, deadline, retries, numbered draws, usage."""

    def __init__(self, url: str, source: str, *, stored: bool = False, max_concurrency: int = 64) -> None:
        name = "m" if source == "openai" else "openai/m"
        fields: dict[str, Any] = {"name": "m", "model_id": name, "source": source, "base_url": url}
        self.card = ModelCard(**fields, max_n=16, max_concurrency=max_concurrency, parameters=1e9)
        self.clients = Clients({"m": self.card})
        self.store = open_store("memory:")
        ledger = SpendingLedger(CostModel({"m": self.card}), None)
        self.sampler = StoredSampler(self.clients, self.store, ledger, "benchmark") if stored else None
        self.n_calls = 0
        CLOSE.append(self.clients.aclose)

    async def call(self, n: int) -> None:
        self.n_calls += 1
        messages = [Message("user", PROMPT)]
        seed = self.n_calls if self.sampler else 0  # another stream each time, else the store would answer
        request = self.clients.request("m", messages, SamplingParameters(max_tokens=64, seed=seed))
        if self.sampler is not None:
            drawn: Any = (await self.sampler.sample(request, n)).samples
        else:
            drawn = await self.clients.client("m").draw(request, 0, n)
        assert len(drawn) == n
        assert drawn[-1].text == TEXT


FIELDS: dict[str, Any] = {"model": "m", "temperature": 0.8, "max_tokens": 64, "seed": 1}


def check(choices: list[Any], n: int) -> None:
    assert len(choices) == n
    assert choices[-1].message.content == TEXT


def bare_openai(url: str, *, aiohttp: bool) -> Call:
    import httpx2
    import openai

    limits = httpx2.Limits(max_connections=64, max_keepalive_connections=64)
    make = openai.DefaultAioHttpClient if aiohttp else openai.DefaultAsyncHttpxClient
    client = openai.AsyncOpenAI(api_key="none", base_url=url, max_retries=0, http_client=make(limits=limits))

    CLOSE.append(client.close)

    async def call(n: int) -> None:
        messages: Any = [{"role": "user", "content": PROMPT}]
        reply = await client.chat.completions.create(messages=messages, n=n, **FIELDS)
        check(reply.choices, n)

    return call


def bare_litellm(url: str) -> Call:
    litellm = quiet_litellm()

    async def call(n: int) -> None:
        fields = FIELDS | {"model": "openai/m", "n": n}
        messages = [{"role": "user", "content": PROMPT}]
        reply = await litellm.acompletion(
            messages=messages, api_base=url, api_key="none", max_retries=0, num_retries=0, **fields
        )
        check(reply.choices, n)

    return call


def bare_aiohttp(url: str) -> Call:
    import aiohttp

    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=64))
    CLOSE.append(session.close)

    async def call(n: int) -> None:
        body = FIELDS | {"n": n, "messages": [{"role": "user", "content": PROMPT}]}
        async with session.post(f"{url}/chat/completions", json=body) as reply:
            choices = (await reply.json())["choices"]
        assert len(choices) == n
        assert choices[-1]["message"]["content"] == TEXT

    return call


# --- measuring ------------------------------------------------------------------------------------------------


async def measure(call: Call, n: int, n_calls: int, in_flight: int) -> tuple[float, float]:
    """Return CPU seconds and wall seconds per call."""
    left = iter(range(n_calls))

    async def worker() -> None:
        for _ in left:
            await call(n)

    gc.collect()
    cpu, wall = time.process_time(), time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(in_flight)))
    return (time.process_time() - cpu) / n_calls, (time.perf_counter() - wall) / n_calls


async def compare(url: str, *, n_calls: int, repetitions: int, in_flight: int) -> list[dict[str, Any]]:
    ours = {source: Ours(url, source) for source in ("openai", "litellm")}
    calls: dict[str, Call] = {
        "bare aiohttp loop": bare_aiohttp(url),
        "openai, httpx2": bare_openai(url, aiohttp=False),
        "openai, aiohttp": bare_openai(url, aiohttp=True),
        "ours (openai)": ours["openai"].call,
        "ours (openai), store and ledger": Ours(url, "openai", stored=True).call,
        "litellm": bare_litellm(url),
        "ours (litellm)": ours["litellm"].call,
    }
    rows = []
    for n in (1, 16):
        seen: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
        for call in calls.values():
            await measure(call, n, in_flight * 2, in_flight)
        for repetition in range(repetitions):
            order = list(calls) if repetition % 2 == 0 else list(reversed(calls))
            for name in order:
                seen[name].append(await measure(calls[name], n, n_calls, in_flight))
        cpu = {name: statistics.median(value for value, _ in values) for name, values in seen.items()}
        for name, values in seen.items():
            base = STANDS_ON.get(name)
            rows.append(
                {
                    "client": name,
                    "n": n,
                    "cpu_ms_per_call": 1e3 * cpu[name],
                    "cpu_ms_per_call_all": [1e3 * value for value, _ in values],
                    "draws_per_s": n / statistics.median(value for _, value in values),
                    "stands_on": base,
                    "cpu_ratio": cpu[name] / cpu[base] if base else None,
                }
            )
    return rows


def rss_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


async def in_flight_memory(url: str, *, in_flight: int, waves: int) -> dict[str, Any]:
    """Keep `in_flight` calls open at once, wave after wave, and look at the memory between the waves."""
    ours = Ours(f"{url.removesuffix('/v1')}/slow/v1", "openai", max_concurrency=in_flight)
    between = []
    for _ in range(waves):
        await asyncio.gather(*(ours.call(1) for _ in range(in_flight)))
        gc.collect()
        between.append(rss_mb())
    most = await asyncio.to_thread(most_at_once, url)
    settled = between[1:]  # the first wave opens the connections
    growth = (settled[-1] - settled[0]) * 1e6 / (in_flight * (len(settled) - 1))
    return {
        "calls_in_flight": in_flight,
        "most_at_once_seen_by_server": most,
        "rss_mb_after_each_wave": between,
        "growth_bytes_per_call_finished": growth,
    }


def most_at_once(url: str) -> int:
    with urllib.request.urlopen(url) as reply:
        return int(reply.read())


def raise_file_limit() -> int:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard if hard != resource.RLIM_INFINITY else 1 << 20


def show(rows: list[dict[str, Any]], memory: dict[str, Any] | None) -> None:
    print(f"{'client':34}{'n':>4}{'CPU ms/call':>13}{'draws/s':>10}{'ratio':>8}  stands on")
    for row in rows:
        ratio = f"{row['cpu_ratio']:.2f}" if row["cpu_ratio"] else "-"
        figures = f"{row['cpu_ms_per_call']:>13.3f}{row['draws_per_s']:>10.0f}{ratio:>8}"
        print(f"{row['client']:34}{row['n']:>4}{figures}  {row['stands_on'] or ''}")
    if memory is not None:
        print(
            f"\n{memory['most_at_once_seen_by_server']} calls in flight at once; memory after each wave of "
            f"{memory['calls_in_flight']}: {', '.join(f'{mb:.0f}' for mb in memory['rss_mb_after_each_wave'])} MB; "
            f"growth per call finished: {memory['growth_bytes_per_call_finished']:.0f} bytes"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer calls, nothing written")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    n_files = raise_file_limit()
    if options.serve:
        asyncio.run(serve())
        return 0
    server = subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        url = f"http://127.0.0.1:{int(server.stdout.readline())}/v1"
        rows, memory = asyncio.run(_run(url, options.quick, n_files))
    finally:
        server.terminate()
        server.wait()
    show(rows, memory)
    missed = [row for row in rows if row["cpu_ratio"] and row["cpu_ratio"] > TARGET]
    if not options.quick:
        report = {
            "target_cpu_ratio": TARGET,
            "target_met": not missed,
            "rows": rows,
            "in_flight": memory,
            "python": platform.python_version(),
            "machine": platform.machine(),
            "packages": {name: version(name) for name in ("openai", "litellm", "aiohttp", "httpx2")},
        }
        OUT.parent.mkdir(parents=True, exist_ok=True)
        OUT.write_text(json.dumps(report, indent=1) + "\n")
    return 1 if missed else 0


async def _run(url: str, quick: bool, n_files: int) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    try:
        return await _measure_all(url, quick, n_files)
    finally:
        for close in CLOSE:
            await close()


async def _measure_all(
    url: str, quick: bool, n_files: int
) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    rows = await compare(url, n_calls=100 if quick else 400, repetitions=3 if quick else 9, in_flight=32)
    if quick:
        return rows, None
    return rows, await in_flight_memory(url, in_flight=min(5000, n_files - 200), waves=6)


if __name__ == "__main__":
    sys.exit(main())
