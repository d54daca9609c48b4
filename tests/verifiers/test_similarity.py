from __future__ import annotations

import math
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agenttts.budgets.cards import ModelCard, Price
from agenttts.budgets.cost_model import CostModel
from agenttts.budgets.ledger import SpendingLedger
from agenttts.errors import EndpointDownError
from agenttts.models.base import CallUsage
from agenttts.models.clients import Clients
from agenttts.models.sampler import StoredSampler
from agenttts.pipeline.base import Charge, Problem
from agenttts.pipeline.driver import World, verify
from agenttts.store.base import SampleStore
from agenttts.store.sql import open_store
from agenttts.task.schema import TaskFile, VerifierBlock
from agenttts.task.task import Task
from agenttts.testing.verifiers import VerifierContract
from agenttts.verifiers.base import Candidate, Score, Verifier
from agenttts.verifiers.build import build
from agenttts.verifiers.similarity import text_of
from tests.models.embedding_server import PATH, embedding_server, n_tokens, reply
from tests.models.local_server import Answer, LocalServer, closed_port_url, error

BLOCK = {"kind": "similarity", "model": "m", "field": "wanted"}
WANTED = "red red blue"
"""Its vector is (2, 0, 1)."""


@pytest.fixture
def server() -> Iterator[LocalServer]:
    with embedding_server() as running:
        yield running


def cards(url: str, **more: Any) -> dict[str, ModelCard]:
    price = Price(input_per_million_usd=0.5, output_per_million_usd=0)
    fields: dict[str, Any] = {"base_url": url, "parameters": 1e9, "max_attempts": 1, "price": price}
    return {"m": ModelCard(name="m", source="embedding", **fields | more)}


def task_of(known: dict[str, ModelCard], folder: Path) -> Task:
    file = TaskFile.model_validate(
        {
            "name": "t",
            "data": {"path": "x.jsonl"},
            "stages": {"s": {"prompt": {"user": "x"}, "models": ["m"]}},
            "score": {"verifier": BLOCK},
        }
    )
    return Task(file=file, folder=folder, cards=known, search=())


@dataclass
class Bench:
    """A pipeline's way to the verifier: store, ledger, driver."""

    task: Task
    store: SampleStore
    ledger: SpendingLedger
    clients: Clients
    charges: list[Charge]

    async def score(self, *answers: Any, wanted: Any = WANTED, field: str = "wanted") -> list[Score]:
        verifier = build(VerifierBlock.model_validate(BLOCK | {"field": field}), self.task)
        sampler = StoredSampler(self.clients, self.store, self.ledger, "study")
        world = World(self.clients, sampler, Problem("p", {"wanted": wanted}), "code")
        candidates = [Candidate("Write it.", "so: x", answer) for answer in answers]
        return await verify(verifier, candidates, world, self.charges)


@pytest.fixture
async def bench_of(tmp_path: Path) -> AsyncIterator[Callable[..., Bench]]:
    opened: list[Any] = []

    def make(url: str, **more: Any) -> Bench:
        known = cards(url, **more)
        clients, store = Clients(known), open_store(f"sqlite:///{tmp_path}/draws.sqlite")
        opened.extend([clients, store])
        ledger = SpendingLedger(CostModel(known), None)
        return Bench(task_of(known, tmp_path), store, ledger, clients, [])

    yield make
    for one in opened:
        await one.aclose()


@pytest.fixture
def bench(bench_of: Callable[..., Bench], server: LocalServer) -> Bench:
    return bench_of(server.url)


class _Contract(VerifierContract):
    @pytest.fixture
    def problem(self) -> Problem:
        return Problem("p", {"wanted": WANTED})

    @pytest.fixture
    def verifier(self, server: LocalServer, tmp_path: Path, batch: int) -> Verifier:
        known = cards(server.url, embedding={"batch": batch})
        return build(VerifierBlock.model_validate(BLOCK), task_of(known, tmp_path))

    @pytest.fixture
    def candidates(self) -> Sequence[Candidate]:
        answers = ["red", "blue green", None, "", "red", {"main.py": "red"}, ["red", "blue"], 12, WANTED]
        return [Candidate("Write it.", "so: x", answer) for answer in answers]


class TestOneByOne(_Contract):
    @pytest.fixture
    def batch(self) -> int:
        return 1


class TestInBatches(_Contract):
    @pytest.fixture
    def batch(self) -> int:
        return 16


# --- scores


async def test_the_score_is_the_cosine(bench: Bench) -> None:
    scores = await bench.score(WANTED, "red", "blue", "green", "red blue", "red red green blue x y")
    assert [score.value for score in scores] == pytest.approx(
        [1, 2 / math.sqrt(5), 1 / math.sqrt(5), 0, 3 / math.sqrt(10), 5 / math.sqrt(30)], abs=1e-6
    )
    assert {score.model for score in scores} == {"m"}


async def test_a_cosine_below_0_counts_as_0(bench: Bench, server: LocalServer) -> None:
    assert server.routes is not None
    server.routes[PATH] = lambda body: reply(body, [[1.0, 0.0] if body["input"] == [WANTED] else [-1.0, 0.1]])
    assert [score.value for score in await bench.score("red")] == [0]


@pytest.mark.parametrize("blank", [None, "", " \n", {}, []], ids=repr)
async def test_no_answer_scores_0_and_nobody_is_asked(bench: Bench, server: LocalServer, blank: Any) -> None:
    (score,) = await bench.score(blank)
    assert (score.value, score.usage) == (0, None)
    assert (server.bodies, bench.charges) == ([], [])


async def test_what_is_compared_is_the_answer_and_not_the_whole_reply(
    bench: Bench, server: LocalServer
) -> None:
    await bench.score("red")
    assert sorted(body["input"] for body in server.bodies) == [["red"], [WANTED]]


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("x", "x"),
        ({"b.py": "2", "a.txt": "1\n"}, "a.txt\n```txt\n1\n```\n\nb.py\n```python\n2\n```"),
        ({"b": 1, "a": [None]}, '{"a": [null], "b": 1}'),
        (["x", 1.5, {"b": 1, "a": 2}], 'x\n1.5\n{"a": 2, "b": 1}'),
        (12, "12"),
        (True, "true"),
        ({1: "x", "b": "y"}, "{1: 'x', 'b': 'y'}"),
    ],
)
def test_answers_have_a_stable_text(answer: Any, text: str) -> None:
    assert text_of(answer) == text


def test_an_answer_that_is_nested_beyond_reason_has_no_text() -> None:
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    assert text_of(nested) == ""


# --- what cannot be scored


@pytest.mark.parametrize("wanted", [None, "", "  ", 3, ["red"]], ids=repr)
async def test_without_a_text_in_the_field_nothing_is_scored(
    bench: Bench, server: LocalServer, wanted: Any
) -> None:
    scores = await bench.score("red", None, wanted=wanted)
    causes = {score.unscored_because for score in scores}
    assert causes == {"problem 'p' has no text in `wanted` to compare answers with"}
    assert server.bodies == []


async def test_a_field_lies_at_a_dotted_path(bench: Bench) -> None:
    (score,) = await bench.score("blue", wanted={"parts": ["red", "blue"]}, field="wanted.parts.1")
    assert score.value == 1


@pytest.mark.parametrize(
    ("vector", "cause"),
    [
        ([0.0, 0.0, 0.0], "m: a vector is all zeros and points nowhere"),
        ([1.0, 0.0], "m: the vectors differ in length: 3 and 2 numbers"),
        (
            [1.0, 0.0, float("nan")],
            "m: no embedding of the answer: the vector holds a number that is not finite",
        ),
        ([], "m: no embedding of the answer: the vector is empty"),
    ],
)
async def test_vectors_that_cannot_be_compared_are_unscored_and_billed_once(
    bench: Bench, server: LocalServer, vector: list[float], cause: str
) -> None:
    assert server.routes is not None
    server.routes[PATH] = lambda body: reply(body, [[1.0, 0.0, 0.0] if body["input"] == [WANTED] else vector])
    for _ in range(2):
        (score,) = await bench.score("red green")
        assert (score.value, score.unscored_because) == (None, cause)
        assert score.usage == CallUsage(2, ())
    assert len(server.bodies) == 2
    assert bench.ledger.spent.prefill_tokens == 5


async def test_a_word_that_no_vector_knows_is_unscored_and_not_wrong(bench: Bench) -> None:
    (score,) = await bench.score("yellow")
    assert score.value is None


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (error(500, "out of memory"), "ProviderUnavailableError: .*HTTP 500: out of memory"),
        (error(429, "busy", {"Retry-After": "0"}), "RateLimitedError: .*HTTP 429: busy"),
        (error(400, "too long"), "RequestRefusedError: .*too long"),
        (Answer(body=b"?"), "ProviderUnavailableError: .*nothing that can be used"),
        (Answer(hang_up=True), "ProviderUnavailableError: "),
        (Answer(after_s=5.0), r"ProviderUnavailableError: .*no reply within 2 s"),
    ],
    ids=["500", "429", "400", "nonsense", "hang up", "slow"],
)
async def test_a_failed_call_leaves_its_answer_unscored_and_no_other(
    bench_of: Callable[..., Bench], server: LocalServer, answer: Answer, cause: str
) -> None:
    bench = bench_of(server.url, timeout_s=2.0, max_concurrency=1)  # long enough for a busy machine
    await bench.score("green")
    server.then.append(answer)
    failed, fine = await bench.score("red", "blue")
    assert failed.value is None
    assert re.search(f"m: no embedding of the answer: {cause}", failed.unscored_because)
    assert fine.value is not None


async def test_without_the_vector_of_the_field_no_answer_is_scored_but_the_blank_one(
    bench: Bench, server: LocalServer
) -> None:
    wanted = "red " * 101
    unscored, blank = await bench.score("red", None, wanted=wanted)
    assert unscored.value is None
    assert re.match(
        "m: no embedding of `wanted`: RequestRefusedError: .*maximum context", unscored.unscored_because
    )
    assert blank.value == 0


async def test_a_server_that_is_gone_stops_the_run(bench_of: Callable[..., Bench]) -> None:
    with pytest.raises(EndpointDownError, match="run the same command again"):
        await bench_of(closed_port_url()).score("red")


async def test_what_was_cut_is_told(bench_of: Callable[..., Bench], server: LocalServer) -> None:
    bench = bench_of(server.url, embedding={"max_input_tokens": 4})
    long, short = await bench.score("red red red red green", "red")
    assert long.feedback == "Of the answer: only the first 14 of 21 characters were read."
    assert short.feedback == ""
    (both,) = await bench.score("red", wanted="blue blue blue blue blue")
    assert both.feedback == "Of `wanted`: only the first 16 of 24 characters were read."


# --- bills


async def test_no_text_is_paid_for_twice(bench: Bench, server: LocalServer) -> None:
    first = await bench.score("red", "blue", "red", {"main.py": "red"})
    again = await bench.score("blue", {"main.py": "red"})
    assert len(server.bodies) == 4
    assert [score.value for score in again] == [first[1].value, first[3].value]
    await bench.score("red", wanted="blue")
    assert len(server.bodies) == 4


async def test_both_ledgers_hold_what_the_server_read(bench: Bench, server: LocalServer) -> None:
    scores = await bench.score("red green", "blue")
    assert [score.usage for score in scores] == [CallUsage(2, ()), CallUsage(1, ())]
    assert sum(n_tokens(body) for body in server.bodies) == 6
    assert [(one.model, one.purpose, one.usage) for one in bench.charges] == [
        ("m", "verify", CallUsage(3, ())),
        ("m", "verify", CallUsage(2, ())),
        ("m", "verify", CallUsage(1, ())),
    ]
    spent = bench.ledger.spent
    assert (spent.prefill_tokens, spent.decode_tokens) == (6, 0)
    assert spent.flops == pytest.approx(2e9 * 6)
    assert spent.usd == pytest.approx(6 * 0.5e-6)
    await bench.score("red green", "blue")  # in production it would be paid for again
    assert [one.usage.prefill_tokens for one in bench.charges] == [3, 2, 1] * 2
    assert bench.ledger.spent.prefill_tokens == 6


async def test_a_batch_is_one_request_and_one_bill(
    bench_of: Callable[..., Bench], server: LocalServer
) -> None:
    bench = bench_of(server.url, embedding={"batch": 16})
    scores = await bench.score("red green", "blue", "red red red green")
    assert [body["input"] for body in server.bodies] == [[WANTED, "red green", "blue", "red red red green"]]
    assert [score.value for score in scores] == pytest.approx(
        [2 / math.sqrt(10), 1 / math.sqrt(5), 6 / math.sqrt(50)], abs=1e-6
    )
    assert sum(one.usage.prefill_tokens for one in bench.charges) == bench.ledger.spent.prefill_tokens == 10


async def test_outside_of_a_pipeline_a_server_that_is_gone_is_told_too(tmp_path: Path) -> None:
    verifier = build(VerifierBlock.model_validate(BLOCK), task_of(cards(closed_port_url()), tmp_path))
    with pytest.raises(EndpointDownError):
        await verifier.score(Problem("p", {"wanted": WANTED}), [Candidate("", "", "red")])
