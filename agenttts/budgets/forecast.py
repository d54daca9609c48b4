"""The calls that one stage's choice makes for one problem, as expected work: draws, fusion, verification and the rest.

Prompt and completion lengths are taken as independent of each other; that touches attention only, which is a few per
cent. For ways that draw all samples at once the rest is exact, but for the words around what a fusion shows, which are
estimated: linear FLOPs, tokens and prices depend on the means alone. What ways that stop early, escalate, refine or
search will need hangs on what the models write: it is counted at the most until trials have shown it (see
`agenttts.budgets.calibration`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import TYPE_CHECKING, Literal

from agenttts.budgets.cards import ModelCard
from agenttts.budgets.cost import Cost
from agenttts.budgets.cost_model import CostModel, Work, pairs_within
from agenttts.budgets.instructions import critic_tokens, way_tokens
from agenttts.budgets.verifier_forecast import Asked, asked_of, feedback_tokens
from agenttts.pipeline.base import Purpose, StageChoice
from agenttts.task.ways import the

if TYPE_CHECKING:
    from agenttts.budgets.lengths import Distribution
    from agenttts.task.ways import SelectBlock, VerifierBlock

__all__ = ["Billing", "ForecastCall", "Known", "stage_calls", "verifier_calls"]

Billing = Literal["charged", "spent"]


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of one stage with one model."""

    card: ModelCard
    prompt: Distribution
    """Tokens of the stage's prompt."""
    answer: Distribution
    """Tokens of a completion."""
    fused: Distribution
    """Completion of a call that makes one answer of samples."""
    criticism: Distribution | None = None
    """Completion of a critic; `None`: as long as an answer."""
    n_steps: float = 8.0
    """Steps of a completion."""
    stop: tuple[float, float] | None = None
    """Samples and requests until an adaptive vote stops; `None`: not known."""
    escalates: float = 1.0
    """Share of problems on which a cascade escalates."""
    other: tuple[ModelCard, Distribution] | None = None
    """The model that a cascade escalates to, and its completions."""
    system: str = ""
    """System part of the stage's prompt."""
    cards: Mapping[str, ModelCard] = field(default_factory=dict)
    """Of all models; those that are not there share prefills."""
    at_worst: bool = False
    """All lengths are the most there can be, and nothing may be counted at less."""

    def reads(self, model: str, replies: float) -> float:
        """Return how often a model reads a prompt that it answers so many times."""
        card = self.cards.get(model)
        return 1.0 if card is None or card.shares_prefill else max(1.0, replies)


@dataclass(frozen=True, slots=True)
class ForecastCall:
    """Calls to one model for one purpose, added up."""

    model: str
    purpose: Purpose
    n_requests: float
    work: Work

    def cost(self, cost_model: CostModel) -> Cost:
        """Return what the calls cost."""
        return cost_model.cost(self.model, self.work)


def stage_calls(
    choice: StageChoice, select: SelectBlock | None, known: Known, billing: Billing
) -> tuple[ForecastCall, ...]:
    """Return the calls of one stage for one problem.

    One sample needs neither fusion nor verifier. A fusion reads the prompt and all samples again and writes one more
    answer; a learned verifier reads the prompt with each sample, of all samples that it gets at once.

    Args:
        choice: Model, number of samples and way to select.
        select: The way named there; `None` for one that makes no calls of its own.
        known: Token counts and the rest.
        billing: `charged`: as a plan is charged, the prompt read once where the card shares prefill. `spent`: as a
            search pays, the prompt read once per provider request, of which each grants at most `max_n` samples.
    """
    if select is None or choice.n_samples == 1:
        return (_draws(choice, known, billing),)
    make = _MAKERS.get(select.kind, _parallel)
    return tuple(make(choice, select, known, billing))


def verifier_calls(verifier: VerifierBlock, known: Known, n: int) -> tuple[ForecastCall, ...]:
    """Return what a verifier asks about `n` samples of one prompt that it gets at once."""
    return tuple(_verified(verifier, known, _Batch(n)))


def _parallel(
    choice: StageChoice, select: SelectBlock, known: Known, billing: Billing
) -> Iterator[ForecastCall]:
    yield _draws(choice, known, billing)
    yield from _verified(select.verifier, known, _Batch(choice.n_samples))


def _draws(choice: StageChoice, known: Known, billing: Billing) -> ForecastCall:
    return _sampled(choice.model, "draw", (1.0, choice.n_samples), (known.card, known.answer), known, billing)


def _sampled(
    model: str,
    purpose: Purpose,
    counts: tuple[float, float],
    source: tuple[ModelCard, Distribution],
    known: Known,
    billing: Billing,
) -> ForecastCall:
    """Return draws from the stage's prompt.

    Args:
        model: Name of the model.
        purpose: What for.
        counts: Prompts, and the samples of each.
        source: The model's card, and its completions.
        known: Knows the prompt.
        billing: See `stage_calls`.
    """
    (times, n), (card, answer), prompt = counts, source, known.prompt
    n_requests = ceil(n / card.max_n)
    n_in_turn = n_requests if billing == "spent" else 1
    n_reads = n_in_turn if card.shares_prefill else n
    own_pairs = prompt.mean * answer.mean + pairs_within(answer.mean, answer.mean_square)
    work = Work(
        prefill_tokens=times * n_reads * prompt.mean,
        cached_prefill_tokens=0.0,
        decode_tokens=times * n * answer.mean,
        token_pairs=times * (n_reads * pairs_within(prompt.mean, prompt.mean_square) + n * own_pairs),
        latency_prefill_tokens=times * n_in_turn * prompt.mean,
        latency_decode_tokens=times * n_in_turn * answer.mean_max(ceil(n / n_in_turn)),
    )
    return ForecastCall(model, purpose, times * n_requests, work)


@dataclass(frozen=True, slots=True)
class _Asking:
    """Requests with other prompts than the stage's, one after another."""

    n: float
    read: float
    """Tokens of one prompt."""
    read_square: float
    """Mean square of the same."""
    written: float
    """Tokens of one reply."""
    replies: float = 1.0
    """Replies to one prompt."""
    reads: float = 1.0
    """How often a prompt is read."""
    requests: float = 1.0
    """Provider requests for one prompt."""

    def call(self, model: str, purpose: Purpose) -> ForecastCall:
        """Return them as a forecast."""
        own_pairs = self.read * self.written + pairs_within(self.written)
        work = Work(
            prefill_tokens=self.n * self.reads * self.read,
            cached_prefill_tokens=0.0,
            decode_tokens=self.n * self.replies * self.written,
            token_pairs=self.n
            * (self.reads * pairs_within(self.read, self.read_square) + self.replies * own_pairs),
            latency_prefill_tokens=self.n * self.read,
            latency_decode_tokens=self.n * self.written,
        )
        return ForecastCall(model, purpose, self.n * self.requests, work)


def _showing(
    choice: StageChoice, select: SelectBlock, known: Known, n_shown: int, purpose: Purpose
) -> ForecastCall:
    """Return the call that reads the prompt and `n_shown` samples and writes one answer."""
    prompt, answer, fused = known.prompt, known.answer, known.fused
    around = way_tokens(select, n_shown, known.system, known.card.token_counter, at_worst=known.at_worst)
    read = prompt.mean + n_shown * answer.mean + around
    read_square = prompt.variance + n_shown * answer.variance + read**2
    work = Work(
        prefill_tokens=read,
        cached_prefill_tokens=0.0,
        decode_tokens=fused.mean,
        token_pairs=pairs_within(read, read_square)
        + read * fused.mean
        + pairs_within(fused.mean, fused.mean_square),
        latency_prefill_tokens=read,
        latency_decode_tokens=fused.mean,
    )
    return ForecastCall(select.model or choice.model, purpose, 1, work)


def _fusion(
    choice: StageChoice, select: SelectBlock, known: Known, billing: Billing
) -> Iterator[ForecastCall]:
    yield _draws(choice, known, billing)
    yield _showing(choice, select, known, choice.n_samples, "fusion")


def _agreed(
    choice: StageChoice, select: SelectBlock, known: Known, billing: Billing
) -> Iterator[ForecastCall]:
    yield _draws(choice, known, billing)
    yield _showing(choice, select, known, 2, "fusion")


def _choice_of(
    choice: StageChoice, select: SelectBlock, known: Known, billing: Billing
) -> Iterator[ForecastCall]:
    yield _draws(choice, known, billing)
    yield _showing(choice, select, known, choice.n_samples, "choose")


@dataclass(frozen=True, slots=True)
class _Batch:
    """Samples that a verifier gets at once."""

    n: int
    times: float = 1.0
    """So many batches."""
    share: float = 1.0
    """Of a whole answer that each sample is long."""
    answer: Distribution | None = None
    """`None`: an answer of the choice's model."""


def _verified(verifier: VerifierBlock | None, known: Known, *batches: _Batch) -> Iterator[ForecastCall]:
    """Return what a verifier asks about samples; what it asks depends on which of them it gets together."""
    if verifier is None:
        return
    for batch in batches:
        answer = batch.answer or known.answer
        share = 1.0 if known.at_worst else batch.share
        spread = share**2 * answer.variance
        for asked in asked_of(
            verifier,
            batch.n,
            known.prompt.mean,
            share * answer.mean,
            steps=share * known.n_steps,
            at_worst=known.at_worst,
        ):
            yield _questions(asked, batch.times, known.prompt.variance + asked.n_shown * spread, known)


def _questions(asked: Asked, times: float, spread: float, known: Known) -> ForecastCall:
    reads = known.reads(asked.model, asked.replies)
    square = asked.read**2 + spread
    return _Asking(times * asked.n, asked.read, square, asked.written, asked.replies, reads).call(
        asked.model, "verify"
    )


def _adaptive_vote(
    choice: StageChoice, select: SelectBlock, known: Known, billing: Billing
) -> Iterator[ForecastCall]:
    n_drawn, n_requests = known.stop or (float(choice.n_samples), float(choice.n_samples))
    counts = n_requests, n_drawn / n_requests
    yield _sampled(choice.model, "draw", counts, (known.card, known.answer), known, billing)


def _adaptive_best(
    choice: StageChoice, select: SelectBlock, known: Known, billing: Billing
) -> Iterator[ForecastCall]:
    n = choice.n_samples
    yield _sampled(choice.model, "draw", (n, 1), (known.card, known.answer), known, billing)
    yield from _verified(select.verifier, known, _Batch(1, times=n))


def _cascade(
    choice: StageChoice, select: SelectBlock, known: Known, billing: Billing
) -> Iterator[ForecastCall]:
    yield _draws(choice, known, billing)
    assert known.other is not None  # noqa: S101 - whoever forecasts a cascade knows its second model
    n, share = choice.n_samples, known.escalates
    yield _sampled(the(select.to or ()), "escalate", (share, n), known.other, known, billing)
    batches = _Batch(n), _Batch(n, times=share, answer=known.other[1])
    yield from _verified(select.verifier, known, *batches)


def _refine(
    choice: StageChoice, select: SelectBlock, known: Known, billing: Billing
) -> Iterator[ForecastCall]:
    """Return the calls of one conversation after another; of a tree, as if all but the first sample were refined."""
    prompt, answer, counter = known.prompt, known.answer, known.card.token_counter
    yield _sampled(choice.model, "draw", (1, 1), (known.card, answer), known, billing)
    n_turns = choice.n_samples - 1
    yield from _criticism(choice, select, known, n_turns)
    around = way_tokens(select, 1, known.system, counter, at_worst=known.at_worst)
    read = prompt.mean + answer.mean + _feedback(select, known) + around
    square = read**2 + prompt.variance + answer.variance
    yield _Asking(n_turns, read, square, answer.mean).call(choice.model, "refine")
    yield from _verified(select.verifier, known, _Batch(1, times=choice.n_samples))


def _criticism(
    choice: StageChoice, select: SelectBlock, known: Known, n_turns: int
) -> Iterator[ForecastCall]:
    critic = select.critic
    if critic is None:
        return
    if critic.verifier is not None:
        yield from _verified(critic.verifier, known, _Batch(1, times=n_turns))
        return
    around = critic_tokens(select, known.card.token_counter, at_worst=known.at_worst)
    read = known.prompt.mean + known.answer.mean + around
    square = read**2 + known.prompt.variance + known.answer.variance
    written = (known.criticism or known.answer).mean
    yield _Asking(n_turns, read, square, written).call(critic.model or choice.model, "critic")


def _feedback(select: SelectBlock, known: Known) -> float:
    """Return the tokens of what a refinement is told about the sample: by a critic, else by the way's verifier."""
    critic = select.critic
    if critic is not None and critic.verifier is None:
        return (known.criticism or known.answer).mean
    verifier = critic.verifier if critic is not None else select.verifier
    return feedback_tokens(verifier, at_worst=known.at_worst)


def _steps(
    choice: StageChoice, select: SelectBlock, known: Known, billing: Billing
) -> Iterator[ForecastCall]:
    """Return the calls of a search over steps: at each, some beginnings are read again and go on.

    Exact for replies of `n_steps` equal steps from a source that does not say when a reply has ended, so that one more
    round finds that nothing comes, as long as no two beginnings are equal.
    """
    n, answer = choice.n_samples, known.answer
    width = min(the(select.width), n)
    n_kept = n // width
    n_grown = n_kept * width
    rounds = min(float(select.max_steps), known.n_steps + 1)
    n_written = min(float(select.max_steps), known.n_steps)
    step = answer.mean if known.at_worst else answer.mean / max(1.0, known.n_steps)
    begun = answer.mean if known.at_worst else step * rounds / 2
    yield _written(choice, known, (1, n), 0.0, step, billing)
    if rounds > 1:
        each = step * (n_written - 1) / (rounds - 1)
        yield _written(choice, known, (n_kept * (rounds - 1), width), begun, each, billing)
    grown = (n_written + 2) / 2 / known.n_steps  # mean length of what is judged from the second round on
    yield from _verified(
        select.verifier,
        known,
        _Batch(n, share=1 / known.n_steps),
        _Batch(n_grown, times=n_written - 1, share=min(1.0, grown)),
        _Batch(n_kept, times=rounds - n_written),
    )


def _written(
    choice: StageChoice,
    known: Known,
    counts: tuple[float, int],
    begun: float,
    step: float,
    billing: Billing,
) -> ForecastCall:
    """Return the steps that are drawn to go on from beginnings of so many tokens; `counts` as in `_sampled`."""
    n, width = counts
    read = known.prompt.mean + begun
    square = read**2 + known.prompt.variance
    requests = ceil(width / known.card.max_n)
    reads = (requests if billing == "spent" else 1) if known.card.shares_prefill else width
    return _Asking(n, read, square, step, width, reads, requests).call(choice.model, "step")


_MAKERS: Mapping[str, Callable[[StageChoice, SelectBlock, Known, Billing], Iterator[ForecastCall]]] = {
    "adaptive_best": _adaptive_best,
    "adaptive_vote": _adaptive_vote,
    "agreed_fusion": _agreed,
    "beam": _steps,
    "cascade": _cascade,
    "dvts": _steps,
    "fusion": _fusion,
    "llm_select": _choice_of,
    "refine": _refine,
    "tree": _refine,
}
"""By the kind of a way; the others draw all samples at once and select."""
