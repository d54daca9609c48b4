from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agenttts.budgets.cards import ModelCard
from agenttts.budgets.cost_model import CostModel
from agenttts.budgets.ledger import SpendingLedger
from agenttts.errors import EndpointDownError, NotServedError
from agenttts.models.base import CallUsage
from agenttts.models.clients import Clients
from agenttts.models.sampler import StoredSampler
from agenttts.pipeline.base import Charge, Problem
from agenttts.pipeline.driver import World, verify
from agenttts.pipeline.ways import separator_of
from agenttts.store.base import SampleStore
from agenttts.store.memory import MemoryStore
from agenttts.task.schema import TaskFile, VerifierBlock
from agenttts.task.task import Task
from agenttts.task.ways import SelectBlock
from agenttts.testing.verifiers import VerifierContract
from agenttts.verifiers.base import Candidate, Score, Verifier
from agenttts.verifiers.build import build
from tests.models.local_server import Answer, LocalServer, closed_port_url, error
from tests.models.reward_server import n_words, reward_server, rows_reply

PRM = {"api": "pooling", "scores": "steps", "tag": "<extra_0>"}
ORM = {"api": "classify", "activation": "sigmoid", "extra": {"use_activation": False}}
STEPS = "18 is right\n\n18 / 3 = 5\n\nso 12, right"
"""The server scores it 0.9, 0.2, 0.9."""


@pytest.fixture
def server() -> Iterator[LocalServer]:
    with reward_server() as running:
        yield running


def cards(url: str, **more: Any) -> dict[str, ModelCard]:
    fields: dict[str, Any] = {
        "source": "reward",
        "base_url": url,
        "parameters": 1e9,
        "max_attempts": 1,
    } | more
    blocks = {"prm": PRM, "orm": ORM, "whole": PRM | {"judges_whole": True}, "pair": {"api": "score"}}
    return {name: ModelCard(name=name, reward=block, **fields) for name, block in blocks.items()}


def task_of(known: dict[str, ModelCard], folder: Path) -> Task:
    file = TaskFile.model_validate(
        {
            "name": "t",
            "data": {"path": "x.jsonl"},
            "stages": {"s": {"prompt": {"user": "x"}, "models": ["m"]}},
            "score": {"verifier": "exact", "gold": "g"},
        }
    )
    return Task(file=file, folder=folder, cards=known, search=())


@dataclass
class Bench:
    """A pipeline's way to a verifier: store, ledger, driver."""

    task: Task
    store: SampleStore
    ledger: SpendingLedger
    world: World
    charges: list[Charge]

    async def score(self, block: dict[str, Any], *candidates: Candidate) -> list[Score]:
        verifier = build(VerifierBlock.model_validate(block), self.task)
        return await verify(verifier, candidates, self.world, self.charges)


@pytest.fixture
async def bench_of(tmp_path: Path) -> AsyncIterator[Callable[..., Bench]]:
    opened: list[Clients] = []

    def make(url: str, **more: Any) -> Bench:
        known = cards(url, **more)
        clients, store, ledger = Clients(known), MemoryStore(), SpendingLedger(CostModel(known), None)
        opened.append(clients)
        sampler = StoredSampler(clients, store, ledger, "study")
        world = World(clients, sampler, Problem("p", {}), "solve")
        return Bench(task_of(known, tmp_path), store, ledger, world, [])

    yield make
    for clients in opened:
        await clients.aclose()


@pytest.fixture
def bench(bench_of: Callable[..., Bench], server: LocalServer) -> Bench:
    return bench_of(server.url)


def reply(text: str, *, unfinished: bool = False) -> Candidate:
    return Candidate("How many?", text, None, unfinished=unfinished)


class _OverHTTP(VerifierContract):
    @pytest.fixture
    def verifier(self, server: LocalServer, tmp_path: Path, block: dict[str, Any]) -> Verifier:
        return build(VerifierBlock.model_validate(block), task_of(cards(server.url), tmp_path))


class TestProcessRewardModel(_OverHTTP):
    @pytest.fixture
    def block(self) -> dict[str, Any]:
        return {"kind": "prm", "model": "prm", "aggregate": "mean"}

    @pytest.fixture
    def candidates(self) -> Sequence[Candidate]:
        return [reply(text) for text in (STEPS, "right", "wrong", STEPS, "right\n\nright")]


class TestOutcomeRewardModel(_OverHTTP):
    @pytest.fixture
    def block(self) -> dict[str, Any]:
        return {"kind": "orm", "model": "orm"}


@pytest.mark.parametrize(
    ("aggregate", "value"), [("min", 0.2), ("product", 0.162), ("mean", 2.0 / 3), ("last", 0.9)]
)
async def test_scores_of_steps_become_one(bench: Bench, aggregate: str, value: float) -> None:
    block = {"kind": "prm", "model": "prm", "aggregate": aggregate}
    (score,) = await bench.score(block, reply(STEPS))
    assert score.value == pytest.approx(value)
    assert score.steps == (0.9, 0.2, 0.9)
    assert score.model == "prm"


@pytest.mark.parametrize(
    ("model", "right", "wrong"), [("orm", 0.88079708, 0.26894142), ("pair", 0.75, 0.125)]
)
async def test_an_outcome_reward_model_scores_the_whole(
    bench: Bench, model: str, right: float, wrong: float
) -> None:
    scores = await bench.score({"kind": "orm", "model": model}, reply("right"), reply("wrong"))
    assert [score.value for score in scores] == pytest.approx([right, wrong])


async def test_the_beginning_of_a_reply_is_scored_by_its_steps(bench: Bench, server: LocalServer) -> None:
    assert server.routes is not None
    server.routes["/pooling"] = lambda body: rows_reply(body, [[0.1, 0.9], [0.3, 0.7], [0.9, 0.1]])
    block = {"kind": "prm", "model": "whole", "aggregate": "last"}
    ended, begun = await bench.score(block, reply("a\n\nb"), reply("a\n\nb", unfinished=True))
    assert (ended.value, ended.steps) == (0.1, (0.9, 0.7, 0.1))
    assert (begun.value, begun.steps) == (0.7, (0.9, 0.7))
    (of_steps_alone,) = await bench.score(
        {"kind": "prm", "model": "prm", "aggregate": "last"}, reply("a\n\nb\n\nc", unfinished=True)
    )
    assert of_steps_alone.steps == (0.9, 0.7, 0.1)


async def test_nothing_is_asked_twice(bench: Bench, server: LocalServer) -> None:
    block = {"kind": "prm", "model": "prm"}
    first = await bench.score(block, reply(STEPS), reply(STEPS), reply("right"))
    again = await bench.score(block | {"aggregate": "last"}, reply(STEPS), reply("right"))
    assert len(server.bodies) == 2
    assert [score.steps for score in again] == [first[0].steps, first[2].steps]


async def test_the_ledger_holds_what_the_server_read(bench: Bench, server: LocalServer) -> None:
    block = {"kind": "prm", "model": "prm"}
    scores = await bench.score(block, reply(STEPS), reply("right"))
    read = [n_words(body) for body in server.bodies]
    assert sorted(score.usage.prefill_tokens for score in scores if score.usage) == sorted(read)
    assert bench.ledger.spent.prefill_tokens == sum(read)
    assert bench.ledger.spent.decode_tokens == 0
    assert bench.ledger.spent.flops == pytest.approx(2e9 * sum(read))
    assert [(one.model, one.purpose, one.usage.decode_tokens) for one in bench.charges] == [
        ("prm", "verify", ())
    ] * 2
    paid = await bench.store.paid("study")
    assert sorted(call.usage.prefill_tokens for call in paid) == sorted(read)


async def test_an_estimate_of_tokens_says_so_on_the_bill(bench: Bench) -> None:
    (score,) = await bench.score({"kind": "orm", "model": "pair"}, reply("right"))
    assert score.usage == CallUsage(4, (), 0, "chars/4")  # 15 characters
    assert [charge.usage.counted_by for charge in bench.charges] == ["chars/4"]


async def test_a_reply_of_the_wrong_length_is_unscored_and_billed_once(
    bench: Bench, server: LocalServer
) -> None:
    assert server.routes is not None
    server.routes["/pooling"] = lambda body: rows_reply(body, [[0.1, 0.9]])
    block = {"kind": "prm", "model": "prm"}
    for _ in range(2):
        (score,) = await bench.score(block, reply(STEPS))
        assert score.value is None
        assert score.unscored_because == "prm: 1 scores for 3 steps, expected 3"
        assert score.usage is not None
        assert score.usage.prefill_tokens == n_words(server.bodies[0])
    assert len(server.bodies) == 1
    assert bench.ledger.spent.prefill_tokens == n_words(server.bodies[0])
    assert [charge.usage.prefill_tokens for charge in bench.charges] == [n_words(server.bodies[0])] * 2


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (error(500, "out of memory"), "ProviderUnavailableError: .*HTTP 500: out of memory"),
        (error(429, "busy", {"Retry-After": "0"}), "RateLimitedError: .*HTTP 429: busy"),
        (error(400, "too long"), "RequestRefusedError: .*too long"),
        (Answer(body=b"?"), "ProviderUnavailableError: .*nothing that can be used"),
        (Answer(hang_up=True), "ProviderUnavailableError: "),
        (Answer(after_s=1.0), r"ProviderUnavailableError: .*no reply within 0.3 s"),
    ],
    ids=["500", "429", "400", "nonsense", "hang up", "slow"],
)
async def test_a_failed_call_leaves_its_candidate_unscored_and_no_other(
    bench_of: Callable[..., Bench], server: LocalServer, answer: Answer, cause: str
) -> None:
    bench = bench_of(server.url, timeout_s=0.3, max_concurrency=1)
    server.then.append(answer)
    failed, fine = await bench.score({"kind": "prm", "model": "prm"}, reply(STEPS), reply("right"))
    assert failed.value is None
    assert re.search(cause, failed.unscored_because)
    assert fine.value == 0.9


async def test_a_failed_call_costs_nothing_and_is_asked_again(bench: Bench, server: LocalServer) -> None:
    server.then.append(error(500))
    block = {"kind": "prm", "model": "prm"}
    (failed,) = await bench.score(block, reply(STEPS))
    assert (failed.value, bench.ledger.spent.prefill_tokens, bench.charges) == (None, 0, [])
    (scored,) = await bench.score(block, reply(STEPS))
    assert scored.value == 0.2


async def test_a_server_that_is_gone_stops_the_run(bench_of: Callable[..., Bench]) -> None:
    bench = bench_of(closed_port_url().removesuffix("/v1"))
    with pytest.raises(EndpointDownError, match="run the same command again"):
        await bench.score({"kind": "prm", "model": "prm"}, reply(STEPS))
    assert bench.ledger.spent.prefill_tokens == 0


async def test_a_server_without_the_api_stops_the_run(bench: Bench, server: LocalServer) -> None:
    server.routes = {}
    with pytest.raises(NotServedError, match="/classify"):
        await bench.score({"kind": "orm", "model": "orm"}, reply("right"))


async def test_a_text_without_a_step_is_unscored_and_not_asked_about(
    bench: Bench, server: LocalServer
) -> None:
    (score,) = await bench.score({"kind": "prm", "model": "prm"}, reply(" \n\n "))
    assert score.value is None
    assert "holds no step" in score.unscored_because
    assert server.bodies == []


async def test_the_separator_of_the_verifier_comes_before_the_cards(
    bench: Bench, server: LocalServer
) -> None:
    block = {"kind": "prm", "model": "prm", "aggregate": "mean"}
    (by_line,) = await bench.score(block | {"separator": "\n"}, reply("right\nwrong\n\nright"))
    (by_card,) = await bench.score(block, reply("right\nwrong\n\nright"))
    assert by_line.steps == (0.9, 0.2, 0.9)
    assert by_card.steps == (0.9, 0.9)
    assert len(server.bodies) == 2


@pytest.mark.parametrize(
    ("of_way", "of_verifier", "of_card", "used"),
    [("1", "2", "3", "1"), (None, "2", "3", "2"), (None, None, "3", "3"), (None, None, "\n\n", "\n\n")],
)
def test_a_search_over_steps_ends_them_where_its_verifier_does(
    of_way: str | None, of_verifier: str | None, of_card: str, used: str
) -> None:
    card = ModelCard.model_validate(
        {"name": "prm", "source": "reward", "reward": PRM | {"separator": of_card}}
    )
    verifier = {"kind": "prm", "model": "prm", "separator": of_verifier}
    way = SelectBlock.model_validate({"kind": "beam", "verifier": verifier, "separator": of_way})
    assert separator_of(way, {"prm": card}) == used


async def test_outside_of_a_pipeline_a_server_that_is_gone_is_told_too(tmp_path: Path) -> None:
    verifier = build(
        VerifierBlock(kind="orm", model="orm"),
        task_of(cards(closed_port_url().removesuffix("/v1")), tmp_path),
    )
    with pytest.raises(EndpointDownError):
        await verifier.score(Problem("p", {}), [reply("right")])


async def test_outside_of_a_pipeline_a_failed_call_is_unscored_too(
    server: LocalServer, tmp_path: Path
) -> None:
    server.then.append(error(400, "too long"))
    verifier = build(VerifierBlock(kind="orm", model="orm"), task_of(cards(server.url), tmp_path))
    (score,) = await verifier.score(Problem("p", {}), [reply("right")])
    assert score.value is None
    assert "too long" in score.unscored_because


async def test_the_tiny_reward_model_is_a_process_reward_model_like_others(tmp_path: Path) -> None:
    candidates = [Candidate("solve: 2*3", text, None) for text in ("2*3=6", "2*3=7")]
    named = build(VerifierBlock(kind="prm", model="tiny/prm"), task_of({}, tmp_path))
    short = build(VerifierBlock(kind="tiny_prm"), task_of({}, tmp_path))
    problem = Problem("p", {})
    assert await named.score(problem, candidates) == await short.score(problem, candidates)
