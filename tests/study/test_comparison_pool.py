"""Draws that studies share are bought once and billed to each study as if it were alone."""

from __future__ import annotations

import asyncio
import multiprocessing
from dataclasses import replace
from pathlib import Path

import pytest

from agenttts.budgets.cards import ModelCard
from agenttts.budgets.cost import Budget, Cost, Unit
from agenttts.errors import ProviderUnavailableError
from agenttts.models.base import CallUsage, Message, Meter, Reply, Request, Sample
from agenttts.store.memory import MemoryStore
from agenttts.study.comparison_pool import Claims, DrawPool, PooledClient, PooledSessions
from agenttts.study.result import StudyOptions
from agenttts.study.session import open_session
from agenttts.study.study import Study
from agenttts.task.task import Task

REQUEST = Request("live/m", "http://somewhere", (Message("user", "hello"),))


class Provider:
    """Draws what is asked, one call each time, and remembers it; fails from a draw on where told to."""

    def __init__(self, fails_from: int | None = None) -> None:
        self.drawn: list[int] = []
        self.fails_from = fails_from

    async def draw(self, request: Request, first: int, n: int, meter: Meter | None = None) -> list[Sample]:
        last = first + n if self.fails_from is None else min(first + n, self.fails_from)
        samples = [Sample(i, f"text {i}", "stop", 7, 10 + i) for i in range(first, last)]
        assert meter is not None
        settle = await meter.before(CallUsage(100, (1000,) * n))
        self.drawn += [sample.index for sample in samples]
        settle(Reply(tuple(samples), CallUsage(7, tuple(s.decode_tokens for s in samples))))
        if len(samples) < n:
            raise ProviderUnavailableError("gone", endpoint="http://somewhere", model=request.model)
        return samples


class Recorder:
    """A meter that remembers what it was asked and told."""

    def __init__(self) -> None:
        self.worst: list[CallUsage] = []
        self.told: list[CallUsage | None] = []

    async def before(self, worst: CallUsage):
        self.worst.append(worst)
        return lambda reply: self.told.append(None if reply is None else reply.usage)


def card(**more: object) -> ModelCard:
    return ModelCard.model_validate(
        {
            "name": "live/m",
            "source": "openai",
            "base_url": "http://somewhere",
            "parameters": 1e9,
            "max_n": 4,
            **more,
        }
    )


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def client(store: MemoryStore, provider: Provider, folder: Path, **more: object) -> PooledClient:
    pool = DrawPool(store, "comparison", Claims(folder / "claims"))
    return PooledClient(card(**more), lambda: provider, pool)


async def test_the_second_study_is_billed_and_nothing_is_drawn_again(store: MemoryStore, tmp_path: Path):
    provider, first, second = Provider(), Recorder(), Recorder()
    one = await client(store, provider, tmp_path).draw(REQUEST, 0, 3, first)
    two = await client(store, provider, tmp_path).draw(REQUEST, 0, 3, second)
    assert one == two
    assert provider.drawn == [0, 1, 2]
    assert first.told == second.told == [CallUsage(7, (10, 11, 12))]
    assert first.worst == second.worst
    assert [call.usage for call in await store.paid("comparison")] == [CallUsage(7, (10, 11, 12))]


async def test_only_what_the_pool_lacks_is_drawn_but_all_is_billed(store: MemoryStore, tmp_path: Path):
    provider, meter = Provider(), Recorder()
    await client(store, provider, tmp_path).draw(REQUEST, 0, 2, Recorder())
    await client(store, provider, tmp_path).draw(REQUEST, 0, 4, meter)
    assert provider.drawn == [0, 1, 2, 3]
    assert meter.told == [CallUsage(7, (10, 11, 12, 13))]


async def test_calls_are_billed_as_the_provider_would_have_split_them(store: MemoryStore, tmp_path: Path):
    meter = Recorder()
    await client(store, Provider(), tmp_path).draw(REQUEST, 0, 6, meter)
    assert sorted(meter.told, key=str) == [CallUsage(7, (10, 11, 12, 13)), CallUsage(7, (14, 15))]


async def test_what_came_before_a_failure_is_kept_and_billed(store: MemoryStore, tmp_path: Path):
    meter = Recorder()
    with pytest.raises(ProviderUnavailableError) as caught:
        await client(store, Provider(fails_from=2), tmp_path).draw(REQUEST, 0, 3, meter)
    assert [sample.index for sample in vars(caught.value)["partial"]] == [0, 1]
    assert meter.told == [CallUsage(7, (10, 11))]
    assert len(await store.get(REQUEST, 9)) == 2


async def test_a_failure_without_a_draw_is_billed_as_nothing(store: MemoryStore, tmp_path: Path):
    meter = Recorder()
    with pytest.raises(ProviderUnavailableError):
        await client(store, Provider(fails_from=0), tmp_path).draw(REQUEST, 0, 3, meter)
    assert meter.told == [None]


# --- claims --------------------------------------------------------------------------------------------------------


def hold_for_a_while(path: Path, key: str, held, release) -> None:
    async def main() -> None:
        async with Claims(path).hold(key):
            held.set()
            await asyncio.to_thread(release.wait, 20)

    asyncio.run(main())


async def test_a_claim_of_another_process_is_waited_for_and_other_streams_are_not(tmp_path: Path):
    spawn = multiprocessing.get_context("spawn")
    held, release = spawn.Event(), spawn.Event()
    other = spawn.Process(target=hold_for_a_while, args=(tmp_path / "claims", "a" * 64, held, release))
    other.start()
    try:
        assert await asyncio.to_thread(held.wait, 20)
        claims = Claims(tmp_path / "claims")
        async with asyncio.timeout(5), claims.hold("b" * 64):
            pass
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1), claims.hold("a" * 64):
                pass
        release.set()
        async with asyncio.timeout(10), claims.hold("a" * 64):
            pass
    finally:
        release.set()
        other.join(20)


async def test_coroutines_of_one_process_share_a_claim(tmp_path: Path):
    claims = Claims(tmp_path / "claims")
    async with asyncio.timeout(5), claims.hold("a" * 64), claims.hold("a" * 64):
        pass


# --- whole studies -------------------------------------------------------------------------------------------------


def run(folder: Path, task: Task, options: StudyOptions, pool: str | None) -> tuple[Cost, int, object]:
    folder.mkdir(parents=True)
    sessions = open_session if pool is None else PooledSessions(pool, "all", folder.parent / "claims")
    study = Study.create(folder, task, options, f"sqlite:///{folder / 'own.sqlite'}", sessions=sessions)
    result = asyncio.run(study.run())
    trials = [(trial.allocation, trial.status, dict(trial.scores), trial.n_paid) for trial in result.trials]
    return result.spent, result.n_paid, (result.status, trials)


@pytest.mark.parametrize("cap", [None, Budget(12.0, Unit.GFLOPS)])
def test_a_study_in_a_pool_spends_and_decides_as_it_would_alone(recorded_task, cap: Budget | None):
    """One problem at a time: with more, which trial asks first for shared draws is a matter of time, also alone."""
    task = Task.load(recorded_task)
    options = StudyOptions(
        budget=Budget(0.6, Unit.GFLOPS),
        allocator="random",
        n_trials=5,
        concurrency=1,
        batch=1,
        search_budget=cap,
    )
    pool = f"sqlite:///{Path('pool.sqlite').absolute()}"
    run(Path("pooled/before"), task, replace(options, seed=1), pool)
    pooled = run(Path("pooled/study"), task, options, pool)
    alone = run(Path("alone/study"), task, options, None)
    assert pooled == alone
