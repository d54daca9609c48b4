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
from agenttts.pipeline.strategies import Draw, Parse, Strategy, Verify
from agenttts.pipeline.together import together
from agenttts.verifiers.base import Candidate, Score, Verifier
from agenttts.verifiers.reward import AskingVerifier

if TYPE_CHECKING:
    from agenttts.models.sampler import Sampler

__all__ = ["Draws", "Requests", "StageRun", "World", "drive", "usage_of", "verify"]


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
    selected_details: Mapping[str, Any] | None = None
    """Details of the selected sample where it is one of another stage's."""

    @property
    def details_of_selected(self) -> Mapping[str, Any]:
        """Details of the selected sample; empty where no single sample was selected."""
        if self.selected_details is not None:
            return self.selected_details
        return self.details_of(self.output.selected)

    def details_of(self, index: int | None) -> Mapping[str, Any]:
        """Return the details of a sample; empty where no single sample is meant."""
        return self.details[index] if index is not None and index < len(self.details) else {}


@dataclass
class _Tally:
    charges: list[Charge] = field(default_factory=list)
    messages: tuple[Message, ...] = ()
    texts: tuple[str, ...] = ()
    details: tuple[Mapping[str, Any], ...] = ()


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
        output: StageOutput = replace(end.value, charges=tuple(tally.charges))
    finally:
        strategy.close()
    return StageRun(output, tally.messages, tally.texts, tally.details)


async def _answer(step: Draw | Parse | Verify, world: World, tally: _Tally) -> Any:
    if isinstance(step, Draw):
        return await _draw(step, world, tally)
    if isinstance(step, Parse):
        return await _parse(step)
    scores = await verify(step.verifier, step.candidates, world)
    tally.charges += [
        Charge(score.model, "verify", score.usage)
        for score in scores
        if score.usage is not None and score.model
    ]
    return scores


async def _draw(step: Draw, world: World, tally: _Tally) -> list[Sample]:
    request = world.requests.request(
        step.model, step.messages, step.sampling, stage=world.stage, problem_id=world.problem.id
    )
    drawn = await world.sampler.sample(request, step.n, purpose=step.purpose)
    tally.charges.append(Charge(step.model, step.purpose, usage_of(drawn.samples)))
    world.draws.n_paid += drawn.n_paid
    world.draws.n_reused += drawn.n_reused
    if step.purpose == "draw":
        tally.messages, tally.texts = step.messages, tuple(sample.text for sample in drawn.samples)
        tally.details = tuple(sample.details for sample in drawn.samples)
    return list(drawn.samples)


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


async def verify(verifier: Verifier, candidates: Sequence[Candidate], world: World) -> list[Score]:
    """Return a score per candidate; a verifier that asks a model asks it through the sampler, all at once."""
    if not isinstance(verifier, AskingVerifier):
        return await verifier.score(world.problem, candidates)
    return await together([_asked(verifier, candidate, world) for candidate in candidates])


async def _asked(verifier: AskingVerifier, candidate: Candidate, world: World) -> Score:
    messages, sampling = verifier.ask(candidate)
    request = world.requests.request(
        verifier.model, messages, sampling, stage=world.stage, problem_id=world.problem.id
    )
    try:
        drawn = await world.sampler.sample(request, 1, purpose="verify")
    except ProviderError as error:
        if error.stops_run:
            raise
        return Score(None, f"{type(error).__name__}: {error}", verifier.model)
    return verifier.read(drawn.samples[0])
