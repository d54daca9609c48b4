"""A real HTTP server that plays models from a script, and one allocation of a task run on it.

The server speaks `/v1/chat/completions` (`n`, `seed`, usage), `/v1/embeddings`, `/v1/models` and the `/pooling` of vLLM.
A script is a function from what is asked to a reply; most are made of rules:

    script = rules(
        ("Question: Who mends clocks?", ["Passages: [2]", "Passages: [2, 5]", "no idea"]),  # draws 0, 1, 2, 0, 1, ...
        ("Question: Where", Reply(status=400)),                                             # a provider fault
    )
    played = play("hotpotqa", script, [("retrieve", "qwen2.5-7b", 3, "list_vote"), ("answer", "llama3.1-8b", 1, "first")])
    assert played.scores == {"a": 1.0}

Which draw of a stream is asked for is worked out from the seed, so replies do not depend on the order of arrival.
Unless a reply says otherwise, a prompt counts 100 tokens and a completion 10, which keeps sums easy to do by hand.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import struct
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from agenttts.budgets.cards import ModelCard
from agenttts.budgets.cost_model import CostModel
from agenttts.budgets.ledger import SpendingLedger
from agenttts.budgets.loading import load_cards
from agenttts.models.base import Message, Request, SamplingParameters
from agenttts.models.clients import Clients
from agenttts.models.sampler import StoredSampler
from agenttts.pipeline.base import Allocation, Failure, Rollout, StageChoice
from agenttts.store.sql import open_store
from agenttts.study.evaluate import Evaluation, evaluate
from agenttts.task.task import Task
from tests.models.local_server import Answer, Body, LocalServer, error, local_server
from tests.models.reward_server import TAG, rows_reply

PREFILL_TOKENS, DECODE_TOKENS = 100, 10
LETTERS = "abcdefghijklmnopqrstuvwxyz"
_SENT = {
    "model",
    "messages",
    "temperature",
    "max_tokens",
    "top_p",
    "stop",
    "n",
    "seed",
    "logprobs",
    "top_logprobs",
}


@dataclass(frozen=True)
class Asked:
    """One draw that a model is asked for."""

    model: str
    """Name of the card, e.g. `qwen2.5-7b`."""
    prompt: str
    """All messages, system part first, joined by blank lines."""
    draw: int
    """Index of the draw in its stream, from 0."""
    body: Body
    """The request."""


@dataclass(frozen=True)
class Reply:
    """What is sent for one draw. With `status` or `after_s` it is a fault, and the whole request has it."""

    text: str | None = ""
    """`None` and "": a choice without content."""
    decode_tokens: int = DECODE_TOKENS
    prefill_tokens: int = PREFILL_TOKENS
    cut_off: bool = False
    """The reply reached `max_tokens`."""
    status: int | None = None
    """HTTP status of an error. 400 is final; 429 and 5xx are tried again."""
    after_s: float = 0.0
    """How long the server keeps silent; longer than the card's `timeout_s`, it hangs."""


Script = Callable[[Asked], "str | Reply"]


def rules(*rows: tuple[Any, ...]) -> Script:
    """Return a script of rules; the first that fits speaks, and where none does the request is refused (400).

    A row is (words, replies) or (words, replies, model): words is a text that the prompt holds, or several of which it
    holds all; replies is one, or one for each draw, begun again after the last; model the name of a card.
    """

    def script(asked: Asked) -> str | Reply:
        for words, said, *model in rows:
            wanted = [words] if isinstance(words, str) else words
            if all(word in asked.prompt for word in wanted) and (not model or model[0] == asked.model):
                replies = [said] if isinstance(said, str | Reply) else said
                return replies[asked.draw % len(replies)]
        return Reply(f"no rule of the script fits: {asked.prompt[-300:]}", status=400)

    return script


@dataclass
class ScriptedServer:
    """A running server and what it was asked."""

    root: str
    """Address without /v1, as reward models have it."""
    http: LocalServer
    asked: list[Asked] = field(default_factory=list)
    """Every draw that was asked for, repeated attempts included."""

    @property
    def url(self) -> str:
        """Base URL, ending in /v1."""
        return f"{self.root}/v1"

    def prompts(self, words: str = "") -> list[str]:
        """Return the prompts that hold these words, each once."""
        return list(dict.fromkeys(asked.prompt for asked in self.asked if words in asked.prompt))


def letter_counts(text: str) -> list[float]:
    """Return how often each letter of a to z stands in a text: an embedding that can be worked out by hand."""
    return [float(text.lower().count(letter)) for letter in LETTERS]


def no_marks(step: str) -> float:
    """Refuse to judge: for scripts that need no reward model."""
    raise AssertionError(f"this script has no marks for steps, and was asked about {step[:80]!r}")


@contextmanager
def scripted_server(
    script: Script,
    *,
    embed: Callable[[str], Sequence[float]] = letter_counts,
    mark: Callable[[str], float] = no_marks,
    names: Mapping[str, Collection[str]] | None = None,
) -> Iterator[ScriptedServer]:
    """Run a server for the length of a with block.

    Args:
        script: Plays the models that write.
        embed: From a text to its embedding.
        mark: From a step (the first also holds the prompt) to how good it is, in [0, 1]; for `/pooling`.
        names: Model as the endpoint knows it -> names of cards; `None`: those of the catalogue.
    """
    with local_server() as http:
        server = ScriptedServer(http.url.removesuffix("/v1"), http)
        known = card_names() if names is None else names
        http.routes = {
            "/v1/chat/completions": lambda body: _chat(body, script, server, known),
            "/v1/embeddings": lambda body: _embeddings(body, embed),
            "/v1/models": lambda body: {
                "object": "list",
                "data": [{"id": i, "object": "model"} for i in known],
            },
            "/pooling": lambda body: _pooling(body, mark),
        }
        yield server


@lru_cache(maxsize=1)
def card_names() -> dict[str, list[str]]:
    """Return the names of the catalogue's cards by what endpoints call the model."""
    names: dict[str, list[str]] = {}
    for name, card in load_cards().items():
        names.setdefault(card.served_as, []).append(name)
    return names


# --- chat completions


def _chat(body: Body, script: Script, server: ScriptedServer, names: Mapping[str, Collection[str]]) -> Any:
    try:
        model, first = _stream(body, names.get(body["model"], [body["model"]]))
    except LookupError as fault:
        return error(400, str(fault))
    prompt = "\n\n".join(message["content"] for message in body["messages"])
    asked = [Asked(model, prompt, first + j, body) for j in range(body.get("n") or 1)]
    server.asked += asked
    replies = [Reply(said) if isinstance(said, str) else said for said in map(script, asked)]
    for reply in replies:
        if reply.status is not None:
            return error(reply.status, reply.text or "a fault of the script")
    return Answer(body=_completion(body, replies), after_s=max(reply.after_s for reply in replies))


def _stream(body: Body, names: Collection[str]) -> tuple[str, int]:
    """Return the card that is asked and the first draw that is wanted, by the seed of its stream.

    Raises:
        LookupError: The seed belongs to no stream of these cards.
    """
    extra = tuple((key, json.dumps(body[key], sort_keys=True)) for key in sorted(body.keys() - _SENT))
    sampling = SamplingParameters(
        temperature=body.get("temperature", 0.0),
        max_tokens=body.get("max_tokens", 0),
        top_p=body.get("top_p", 1.0),
        stop=tuple(body.get("stop", ())),
        logprobs=bool(body.get("logprobs")) and not body.get("top_logprobs"),
        top_logprobs=body.get("top_logprobs", 0),
        extra=extra,
    )
    messages = tuple(Message(message["role"], message["content"]) for message in body["messages"])
    for name in names:
        draw = body["seed"] - Request(name, "", messages, sampling).base_seed
        if 0 <= draw < 100_000:
            return name, draw
    raise LookupError(f"seed {body['seed']} is that of no draw of {', '.join(names)} for this request")


def _completion(body: Body, replies: Sequence[Reply]) -> Body:
    choices = [
        {
            "index": j,
            "finish_reason": "length" if reply.cut_off else "stop",
            "message": {"role": "assistant", "content": reply.text},
        }
        for j, reply in enumerate(replies)
    ]
    prefill, decode = replies[0].prefill_tokens, sum(reply.decode_tokens for reply in replies)
    usage = {"prompt_tokens": prefill, "completion_tokens": decode, "total_tokens": prefill + decode}
    made = {"id": "scripted", "object": "chat.completion", "created": 1, "model": body["model"]}
    return made | {"choices": choices, "usage": usage}


# --- embeddings and reward models


def _embeddings(body: Body, embed: Callable[[str], Sequence[float]]) -> Body:
    texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
    as_text = body.get("encoding_format") == "base64"
    data = [
        {"object": "embedding", "index": index, "embedding": _packed(vector) if as_text else list(vector)}
        for index, vector in enumerate(map(embed, texts))
    ]
    n = PREFILL_TOKENS * len(texts)
    return {
        "object": "list",
        "data": data,
        "model": body["model"],
        "usage": {"prompt_tokens": n, "total_tokens": n},
    }


def _packed(vector: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _pooling(body: Body, mark: Callable[[str], float]) -> Body:
    text = "\n".join(message["content"] for message in body["messages"])
    marks = [mark(step) for step in text.split(TAG)[:-1]]
    return rows_reply(body, [[1 - good, good] for good in marks])


# --- one allocation of a task, played


@dataclass(frozen=True)
class Played:
    """What came of an allocation on the problems of a task."""

    evaluation: Evaluation
    server: ScriptedServer
    task: Task
    rollouts: Mapping[str, Rollout]
    """By problem id."""

    @property
    def scores(self) -> dict[str, float]:
        """Final score by problem id; of failed problems there is none."""
        return dict(self.evaluation.scores)

    @property
    def failures(self) -> dict[str, Failure]:
        """By problem id."""
        return {one.problem_id: one.failure for one in self.evaluation.failures}

    def answers(self, stage: str) -> dict[str, Any]:
        """Return the answer of a stage by problem id."""
        return {
            name: rollout.outputs[stage].answer
            for name, rollout in sorted(self.rollouts.items())
            if stage in rollout.outputs
        }


def at_server(task: Task, server: ScriptedServer, **card: Any) -> Task:
    """Return a task all of whose cards are served by a server; `card` replaces further keys of every card."""
    made = {name: _moved(one, server).model_copy(update=card) for name, one in task.cards.items()}
    return replace(task, cards=made)


def _moved(card: ModelCard, server: ScriptedServer) -> ModelCard:
    if card.source in {"tiny", "recorded"}:
        return card
    source = "openai" if card.source == "litellm" else card.source
    url = server.root if card.source == "reward" else server.url
    return card.model_copy(update={"source": source, "base_url": url, "api_key_env": None})


def play(
    task: str | Path,
    script: Script,
    choices: Sequence[tuple[Any, ...]],
    *,
    data: str | Path | None = "sample",
    split: str = "search",
    only: Collection[str] | None = None,
    embed: Callable[[str], Sequence[float]] = letter_counts,
    mark: Callable[[str], float] = no_marks,
    **card: Any,
) -> Played:
    """Run one allocation of a task over HTTP on models that a script plays.

    Args:
        task: Name in the catalogue, or a task file.
        script: See `rules`.
        choices: One per stage: the arguments of `StageChoice`, e.g. ("retrieve", "qwen2.5-7b", 3, "list_vote").
        data: As `--data`; `None`: the task's own.
        split: `search` or `test`.
        only: Ids of problems; `None`: all.
        embed: See `scripted_server`.
        mark: See `scripted_server`.
        card: Keys that replace those of every card. Attempts are 2 unless said here, as waiting takes time.
    """
    with scripted_server(script, embed=embed, mark=mark) as server:
        loaded = at_server(
            Task.load(task, **({} if data is None else {"data": data})),
            server,
            **({"max_attempts": 2} | card),
        )
        problems = loaded.test() if split == "test" else loaded.search
        wanted = [problem for problem in problems if only is None or problem.id in only]
        rollouts: dict[str, Rollout] = {}
        allocation = Allocation(tuple(StageChoice(*choice) for choice in choices))
        made = asyncio.run(_evaluated(loaded, allocation, wanted, rollouts))
    return Played(made, server, loaded, rollouts)


async def _evaluated(
    task: Task, allocation: Allocation, problems: Sequence[Any], rollouts: dict[str, Rollout]
) -> Evaluation:
    cost_model = CostModel(task.cards)
    clients, store = Clients(task.cards), open_store("memory:")
    try:
        return await evaluate(
            task,
            allocation,
            problems,
            clients=clients,
            sampler=StoredSampler(clients, store, SpendingLedger(cost_model, None), "scripted"),
            cost_model=cost_model,
            on_rollout=lambda rollout: rollouts.update({rollout.problem_id: rollout}),
        )
    finally:
        await clients.aclose()
        await store.aclose()


# --- real data


def real_data(folder: str) -> Path | None:
    """Return a folder below `AGENTTTS_TASK_DATA`; `None` where that is not set, or holds no such folder."""
    path = Path(os.environ.get("AGENTTTS_TASK_DATA", "/nonexistent")) / folder
    return path if path.is_dir() else None
