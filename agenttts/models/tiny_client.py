"""The tiny family in this process: concurrent requests are written together in one batch, in a worker thread.

A draw depends on its own seed alone, so how requests happen to be batched changes nothing but the time they take.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from agenttts.budgets.cards import ModelCard
from agenttts.errors import RequestRefusedError
from agenttts.models.base import CallUsage, Meter, Reply, Request, Sample, SamplingParameters
from agenttts.models.tokens import prompt_text, split_begun

if TYPE_CHECKING:
    from agenttts.models.tiny.model import Generation, GenerationRequest, TinyModel

__all__ = ["TinyBatcher", "TinyClient"]

ROWS_PER_BATCH = 256
"""Draws written together: more would only make short completions wait for long ones."""
LINGER_S = 0.001
"""How long a small batch waits for company; much less than it takes to write one."""


@dataclass(slots=True, eq=False)
class _Job:
    request: GenerationRequest
    done: asyncio.Future[list[Generation]]


class TinyBatcher:
    """Collects the requests to one model and runs them batch by batch, one batch at a time."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._waiting: deque[_Job] = deque()
        self._worker: asyncio.Task[None] | None = None
        self.batch_sizes: deque[int] = deque(maxlen=1000)
        """Draws in each of the last batches."""

    async def generate(self, request: GenerationRequest) -> list[Generation]:
        """Return one generation per seed.

        Raises:
            RequestRefusedError: No such model, or the prompt is too long for it.
        """
        seeds = request.seeds
        parts = [
            replace(request, seeds=seeds[start : start + ROWS_PER_BATCH])
            for start in range(0, len(seeds), ROWS_PER_BATCH)
        ]
        self._check(request)
        jobs = [_Job(part, asyncio.get_running_loop().create_future()) for part in parts]
        self._waiting.extend(jobs)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.get_running_loop().create_task(self._work())
        generations = await asyncio.gather(*(job.done for job in jobs))
        return [generation for part in generations for generation in part]

    async def aclose(self) -> None:
        """Stop after the running batch; requests that still wait are cancelled."""
        for job in self._waiting:
            job.done.cancel()
        if self._worker is not None:
            await asyncio.wait([self._worker])

    def _check(self, request: GenerationRequest) -> None:
        from agenttts.models.tiny.network import LONGEST

        n_tokens = len(request.tokens)
        if n_tokens >= LONGEST:
            raise self._refused(f"the prompt has {n_tokens} tokens; tiny models read at most {LONGEST - 1}")

    async def _work(self) -> None:
        while self._waiting:
            if sum(len(job.request.seeds) for job in self._waiting) < ROWS_PER_BATCH // 4:
                await asyncio.sleep(LINGER_S)
            jobs = self._next_batch()
            if not jobs:
                continue
            try:
                results = await asyncio.to_thread(_generate, self.name, [job.request for job in jobs])
            except Exception as error:
                self._fail(jobs, error)
                continue
            for job, result in zip(jobs, results, strict=True):
                if not job.done.done():
                    job.done.set_result(result)
            await asyncio.sleep(0)  # those just served may ask for more before the next batch is put together

    def _next_batch(self) -> list[_Job]:
        jobs: list[_Job] = []
        n_rows = 0
        while self._waiting and (not jobs or n_rows + len(self._waiting[0].request.seeds) <= ROWS_PER_BATCH):
            job = self._waiting.popleft()
            if not job.done.done():
                jobs.append(job)
                n_rows += len(job.request.seeds)
        if jobs:
            self.batch_sizes.append(n_rows)
        return jobs

    def _fail(self, jobs: list[_Job], error: Exception) -> None:
        refusal = self._refused(str(error)) if isinstance(error, ValueError) else error
        for job in jobs:
            if not job.done.done():
                job.done.set_exception(refusal)

    def _refused(self, message: str) -> RequestRefusedError:
        return RequestRefusedError(message, endpoint="tiny", model=self.name)


def _generate(name: str, requests: list[GenerationRequest]) -> list[list[Generation]]:
    """Load the model on first use and run one batch; in a worker thread."""
    from agenttts.models.tiny.model import TinyModel

    model: TinyModel = TinyModel.load(name)
    return model.generate(requests)


class TinyClient:
    """Samples of one card from a tiny model."""

    def __init__(self, card: ModelCard, batcher: TinyBatcher | None = None) -> None:
        self._batcher = batcher or TinyBatcher(card.served_as)

    async def draw(self, request: Request, first: int, n: int, meter: Meter | None = None) -> list[Sample]:
        """Return draws `first` to `first + n - 1`; see `ModelClient.draw`. To the meter it is one call."""
        if n <= 0:
            return []
        wanted = _generation_request(request, first, n)
        settle = await meter.before(_worst(wanted)) if meter is not None else None
        reply: Reply | None = None
        try:
            reply = _reply(await self._batcher.generate(wanted), first, request.sampling)
        finally:
            if settle is not None:
                settle(reply)
        return list(reply.samples)

    async def aclose(self) -> None:
        """Stop after the running batch."""
        await self._batcher.aclose()


def _generation_request(request: Request, first: int, n: int) -> GenerationRequest:
    from agenttts.models.tiny.model import GenerationRequest

    sampling = request.sampling
    if sampling.extra:
        names = ", ".join(name for name, _ in sampling.extra)
        raise RequestRefusedError(
            f"tiny models know no further fields: {names}", endpoint="tiny", model=request.model
        )
    start = request.base_seed + first
    asked, begun = split_begun(request.messages)
    return GenerationRequest(
        prompt=prompt_text(asked),
        prefix=begun,
        seeds=tuple(range(start, start + n)),
        max_tokens=sampling.max_tokens,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        stop=sampling.stop,
        top_logprobs=sampling.top_logprobs,
    )


def _worst(wanted: GenerationRequest) -> CallUsage:
    return CallUsage(len(wanted.tokens), (wanted.max_tokens,) * len(wanted.seeds))


def _reply(generations: list[Generation], first: int, sampling: SamplingParameters) -> Reply:
    samples = tuple(
        Sample(
            first + place,
            generation.text,
            generation.finish_reason,
            generation.prompt_tokens,
            generation.completion_tokens,
            logprobs=generation.logprobs if sampling.logprobs or sampling.top_logprobs else None,
            details=_details(generation, sampling),
        )
        for place, generation in enumerate(generations)
    )
    decode = tuple(sample.decode_tokens for sample in samples)
    return Reply(samples, CallUsage(samples[0].prefill_tokens, decode))


def _details(generation: Generation, sampling: SamplingParameters) -> dict[str, Any]:
    details: dict[str, Any] = {"ended": True} if generation.ended and sampling.stop else {}
    if sampling.top_logprobs:
        places = zip(generation.token_texts, generation.top_logprobs, strict=True)
        details["top_logprobs"] = [[token, [list(pair) for pair in top]] for token, top in places]
    return details
