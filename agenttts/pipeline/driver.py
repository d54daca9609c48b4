"""The one place where a strategy meets the world: it draws, parses, scores, and keeps the bill.

The bill (`charges`) is what the stage costs in production: it is counted from the samples themselves, never from what
this search paid, so reused draws are billed like fresh ones, and a server's cache saves nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from agenttts.errors import ProviderError
from agenttts.models.base import CallUsage, Message, Request, Sample, SamplingParameters
from agenttts.pipeline.base import Charge, Problem, StageOutput
from agenttts.pipeline.parsing import Parsed
from agenttts.pipeline.strategies.steps import Draw, Parse, Step, Strategy, Together
from agenttts.pipeline.together import together
from agenttts.verifiers.base import Ask, AskingVerifier, Candidate, Score, Told, Verifier, Work

if TYPE_CHECKING:
    from agenttts.models.sampler import Sampler

__all__ = ["Draws", "Requests", "StageRun", "World", "drive", "usage_of", "verify"]

WHOLE = frozenset({"draw", "refine", "escalate"})
"""Purposes of draws that are whole replies to the stage's prompt."""


class Requests(Protocol):
    """Makes requests that know their endpoint; `agenttts.models.clients.Clients` does."""

    def request(
        self,
        model: str,
        messages: Sequence[Message],
        sampling: SamplingParameters,
        *,
        stage: str = "",
        problem_id: str = "",
    ) -> Request:
        """Return the request for a prompt to a model."""
        ...


@dataclass
class Draws:
    """Draws of one pass so far; kept apart from its outputs, so that a failed stage's draws are counted too."""

    n_paid: int = 0
    n_reused: int = 0


@dataclass(frozen=True)
class World:
    """What a stage of a problem needs from outside."""

    requests: Requests
    sampler: Sampler
    problem: Problem
    stage: str
    draws: Draws = field(default_factory=Draws)


@dataclass(frozen=True)
class StageRun:
    """A stage's output with what scoring its samples needs."""

    output: StageOutput
    messages: tuple[Message, ...] = ()
    texts: tuple[str, ...] = ()
    """Texts of the samples drawn for the stage's own prompt, shape (n_samples,)."""
    details: tuple[Mapping[str, Any], ...] = ()
    """`Sample.details` of the same samples."""
    logprobs: tuple[tuple[float, ...] | None, ...] = ()
    """`Sample.logprobs` of the same samples."""
    selected_details: Mapping[str, Any] | None = None
    """Details of the selected sample where it is one of another stage's."""
    tested: StageRun | None = None
    """Of a test stage: the run whose answer it tested, which stands where the test was passed."""

    @property
    def details_of_selected(self) -> Mapping[str, Any]:
        """Details of the selected sample; empty where no single sample was selected."""
        if self.selected_details is not None:
            return self.selected_details
        return self.details_of(self.output.selected)

    def details_of(self, index: int | None) -> Mapping[str, Any]:
        """Return the details of a sample; empty where no single sample is meant."""
        return self.details[index] if index is not None and index < len(self.details) else {}

    def logprobs_of(self, index: int | None) -> tuple[float, ...] | None:
        """Return the log-probabilities of a sample; `None` where no single sample is meant, or none were given."""
        return self.logprobs[index] if index is not None and index < len(self.logprobs) else None


@dataclass
class _Tally:
    charges: list[Charge] = field(default_factory=list)
    messages: tuple[Message, ...] = ()
    samples: list[Sample] = field(default_factory=list)
    """Those drawn for the stage's own prompt."""
    whole: list[Sample] = field(default_factory=list)
    """The same with those that are refined or another model's."""


async def drive(strategy: Strategy, world: World) -> StageRun:
    """Run a strategy to its end.

    Raises:
        ProviderError, RecordedMissError, SearchBudgetExhausted: As the sampler raises them.
    """
    tally = _Tally()
    try:
        step = next(strategy)
        while True:
            step = strategy.send(await _answer(step, world, tally))
    except StopIteration as end:
        output: StageOutput = replace(end.value, charges=tuple(tally.charges), n_runaway=_n_runaway(tally))
    finally:
        strategy.close()
    return _run_of(output, tally)


def _run_of(output: StageOutput, tally: _Tally) -> StageRun:
    """Return the output with texts and details of its samples; what was put together from steps has no details."""
    made = tally.samples if output.texts is None else tally.whole
    texts = tuple(sample.text for sample in made)
    if output.texts is not None and output.texts != texts:
        return StageRun(output, tally.messages, output.texts)
    return StageRun(
        output,
        tally.messages,
        texts,
        tuple(sample.details for sample in made),
        tuple(sample.logprobs for sample in made),
    )


def _n_runaway(tally: _Tally) -> int:
    return sum(sample.finish_reason == "length" for sample in tally.samples)


async def _answer(step: Step, world: World, tally: _Tally) -> Any:
    if isinstance(step, Together):
        return await _all(step, world, tally)
    if isinstance(step, Draw):
        return await _draw(step, world, tally)
    if isinstance(step, Parse):
        return await _parse(step)
    return await verify(step.verifier, step.candidates, world, tally.charges)


async def _all(step: Together, world: World, tally: _Tally) -> list[Any]:
    """Take steps at once, each with a bill of its own, so that the whole bill does not depend on who is first."""
    bills = [_Tally() for _ in step.steps]
    answers = await together([_answer(one, world, bill) for one, bill in zip(step.steps, bills, strict=True)])
    for bill in bills:
        tally.charges += bill.charges
        tally.messages = tally.messages or bill.messages
        tally.samples += bill.samples
        tally.whole += bill.whole
    return answers


async def _draw(step: Draw, world: World, tally: _Tally) -> list[Sample]:
    request = world.requests.request(
        step.model, step.messages, step.sampling, stage=world.stage, problem_id=world.problem.id
    )
    drawn = await world.sampler.sample(request, step.first + step.n, purpose=step.purpose)
    samples = list(drawn.samples[step.first :])
    tally.charges.append(Charge(step.model, step.purpose, usage_of(samples)))
    world.draws.n_paid += min(drawn.n_paid, step.n)
    world.draws.n_reused += step.n - min(drawn.n_paid, step.n)
    tally.messages = tally.messages or step.messages
    if step.purpose == "draw":
        tally.samples += samples
    if step.purpose in WHOLE:
        tally.whole += samples
    return samples


def usage_of(samples: Sequence[Sample]) -> CallUsage:
    """Return the usage of one prompt answered by these samples, as if no server had anything in its cache."""
    return CallUsage(
        prefill_tokens=max(sample.prefill_tokens for sample in samples),
        decode_tokens=tuple(sample.decode_tokens for sample in samples),
        counted_by=next((sample.counted_by for sample in samples if sample.counted_by != "server"), "server"),
    )


async def _parse(step: Parse) -> list[Parsed]:
    if step.parser.in_thread:
        return await asyncio.to_thread(lambda: [step.parser.parse(text) for text in step.texts])
    return [step.parser.parse(text) for text in step.texts]


async def verify(
    verifier: Verifier, candidates: Sequence[Candidate], world: World, charges: list[Charge] | None = None
) -> list[Score]:
    """Return a score per candidate; a verifier that asks models asks them through the sampler, all at once.

    Args:
        verifier: Scores.
        candidates: What is scored.
        world: The problem, and what is drawn from.
        charges: The bill that its questions are added to; `None`: nobody is charged.
    """
    if not isinstance(verifier, AskingVerifier):
        return await verifier.score(world.problem, candidates)
    procedure = verifier.procedure(world.problem, candidates)
    try:
        wanted = next(procedure)
        while True:
            told = await together([_told(one, world) for one in wanted]) if wanted else []
            if charges is not None:
                charges += [
                    Charge(one.model, one.purpose, _usage_of_replies(answer.samples))
                    for one, answer in zip(wanted, told, strict=True)
                    if isinstance(one, Ask) and answer.samples
                ]
            wanted = procedure.send(told)
    except StopIteration as end:
        scores: list[Score] = end.value
        return scores
    finally:
        procedure.close()


def _usage_of_replies(samples: Sequence[Sample]) -> CallUsage:
    """Return the usage of replies to a verifier; a reward model that only reads has written none."""
    usage = usage_of(samples)
    return usage if any(usage.decode_tokens) else replace(usage, decode_tokens=())


async def _told(wanted: Ask | Work, world: World) -> Any:
    """Return what a verifier wanted to know. Where a provider gives up, the verifier is told so."""
    if isinstance(wanted, Work):
        return await asyncio.to_thread(wanted.do)
    request = world.requests.request(
        wanted.model, wanted.messages, wanted.sampling, stage=world.stage, problem_id=world.problem.id
    )
    try:
        drawn = await world.sampler.sample(request, wanted.n, purpose=wanted.purpose)
    except ProviderError as error:
        if error.stops_run:
            raise
        return Told((), f"{type(error).__name__}: {error}")
    return Told(drawn.samples)
