"""The worker thread and the cache of stores."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from agenttts.store.cache import SAMPLE_BYTES, StreamCache
from agenttts.store.worker import BatchWorker, Job, WorkerStoppedError
from agenttts.testing.stores import draw


@dataclass(eq=False)
class Double(Job):
    number: int


async def test_jobs_that_queue_up_are_handled_together() -> None:
    batches: list[int] = []
    gate = threading.Event()

    def handle(jobs: Sequence[Double]) -> None:
        gate.wait(10)
        batches.append(len(jobs))
        for job in jobs:
            job.result = 2 * job.number

    worker = BatchWorker("test", handle)
    waiting = [asyncio.create_task(worker.do(Double(i))) for i in range(100)]
    await asyncio.sleep(0.05)
    gate.set()
    assert await asyncio.gather(*waiting) == [2 * i for i in range(100)]
    assert len(batches) <= 2
    worker.stop()


async def test_an_error_reaches_the_waiting_task_and_the_thread_lives_on() -> None:
    def handle(jobs: Sequence[Double]) -> None:
        for job in jobs:
            job.result = 10 // job.number

    worker = BatchWorker("test", handle)
    with pytest.raises(ZeroDivisionError):
        await worker.do(Double(0))
    assert await worker.do(Double(5)) == 2
    worker.stop()


async def test_stopping_does_what_is_queued_and_then_finishes() -> None:
    done: list[object] = []

    def handle(jobs: Sequence[Double]) -> None:
        done.extend(job.number for job in jobs)

    worker = BatchWorker("test", handle, lambda: done.append("finished"))
    waiting = [asyncio.create_task(worker.do(Double(i))) for i in range(5)]
    await asyncio.sleep(0)
    await asyncio.to_thread(worker.stop)
    worker.stop()
    await asyncio.gather(*waiting)
    assert done == [0, 1, 2, 3, 4, "finished"]
    with pytest.raises(WorkerStoppedError):
        await worker.do(Double(1))


def test_a_cached_beginning_answers_up_to_its_length() -> None:
    cache = StreamCache(10**6)
    cache.keep("a", [draw(1), draw(0)])
    assert cache.get("a", 1) == [draw(0)]
    assert cache.get("a", 2) == [draw(0), draw(1)]
    assert cache.get("a", 3) is None
    assert cache.get("b", 1) is None


def test_cached_streams_grow_without_gaps_or_changes() -> None:
    cache = StreamCache(10**6)
    cache.keep("a", [draw(0), draw(2)])
    cache.keep("a", [draw(0, "other"), draw(1)])
    assert cache.get("a", 2) == [draw(0), draw(1)]
    assert cache.get("a", 3) is None


def test_the_stream_used_longest_ago_makes_room() -> None:
    one = SAMPLE_BYTES + 2 * len(draw(0).text)
    cache = StreamCache(2 * one)
    cache.keep("a", [draw(0)])
    cache.keep("b", [draw(0)])
    assert cache.get("a", 1) is not None
    cache.keep("c", [draw(0)])
    assert cache.get("b", 1) is None
    assert cache.get("a", 1) is not None
    assert cache.get("c", 1) is not None
    cache.keep("a", [draw(1), draw(2)])  # too large by itself
    assert all(cache.get(key, 1) is None for key in "abc")
    cache.keep("b", [draw(0)])  # nothing of the dropped ones weighs on
    cache.keep("c", [draw(0)])
    assert cache.get("b", 1) is not None
