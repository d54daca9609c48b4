"""The calls that one stage's choice makes for one problem, as expected work: draws, fusion, verification and the rest.

Prompt and completion lengths are taken as independent of each other; that touches attention only, which is a few per
cent. For ways that draw all samples at once the rest is exact: linear FLOPs, tokens and prices depend on the means
alone. What ways that stop early, escalate, refine or search will need hangs on what the models write: it is counted at
the most until trials have shown it (see `agenttts.budgets.calibration`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Literal

from agenttts.budgets.cards import ModelCard
from agenttts.budgets.cost import Cost
from agenttts.budgets.cost_model import CostModel, Work, pairs_within
from agenttts.budgets.verifier_forecast import Asked, asked_of
from agenttts.pipeline.base import Purpose, StageChoice
from agenttts.task.ways import the

if TYPE_CHECKING:
    from agenttts.budgets.lengths import Distribution
    from agenttts.task.ways import SelectBlock, VerifierBlock

__all__ = ["Billing", "ForecastCall", "Known", "stage_calls"]

Billing = Literal["charged", "spent"]
INSTRUCTIONS = 64.0
"""Tokens of the built-in prompts around what they show."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of one stage with one model."""

    card: ModelCard
    prompt: Distribution
    """Tokens of the stage's prompt."""
    answer: Distribution
    """Tokens of a completion."""
    fused: Distribution
    """Completion of a call that makes one answer of samples, or that criticises one."""
    n_steps: float = 8.0
    """Steps of a completion."""
    stop: tuple[float, float] | None = None
    """Samples and requests until an adaptive vote stops; `None`: not known."""
    escalates: float = 1.0
    """Share of problems on which a cascade escalates."""
    other: tuple[ModelCard, Distribution] | None = None
    """The model that a cascade escalates to, and its completions."""


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
    answer; a learned verifier reads the prompt with each sample.

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


def _parallel(
    choice: StageChoice, select: SelectBlock, known: Known, billing: Billing
) -> Iterator[ForecastCall]:
    yield _draws(choice, known, billing)
    yield from _verified(select.verifier, known, choice.n_samples)


def _draws(choice: StageChoice, known: Known, billing: Billing) -> ForecastCall:
    n, prompt, answer, card = choice.n_samples, known.prompt, known.answer, known.card
    n_requests = ceil(n / card.max_n)
    n_in_turn = n_requests if billing == "spent" else 1
    n_reads = n_in_turn if card.shares_prefill else n
    own_pairs = prompt.mean * answer.mean + pairs_within(answer.mean, answer.mean_square)
    work = Work(
        prefill_tokens=n_reads * prompt.mean,
        cached_prefill_tokens=0.0,
        decode_tokens=n * answer.mean,
        token_pairs=n_reads * pairs_within(prompt.mean, prompt.mean_square) + n * own_pairs,
        latency_prefill_tokens=n_in_turn * prompt.mean,
        latency_decode_tokens=n_in_turn * answer.mean_max(ceil(n / n_in_turn)),
    )
    return ForecastCall(choice.model, "draw", n_requests, work)


def _calls(
    model: str,
    purpose: Purpose,
    n: float,
    read: float,
    read_square: float,
    written: float,
    *,
    reads: float = 1.0,
) -> ForecastCall:
    """Return `n` requests one after another, each with a prompt of `read` tokens, read `reads` times, and a reply."""
    work = Work(
        prefill_tokens=n * reads * read,
        cached_prefill_tokens=0.0,
        decode_tokens=n * written,
        token_pairs=n * (reads * pairs_within(read, read_square) + read * written + pairs_within(written)),
        latency_prefill_tokens=n * read,
        latency_decode_tokens=n * written,
    )
    return ForecastCall(model, purpose, n, work)


def _showing(
    choice: StageChoice, select: SelectBlock, known: Known, n_shown: float, purpose: Purpose
) -> ForecastCall:
    """Return the call that reads the prompt and `n_shown` samples and writes one answer."""
    prompt, answer, fused = known.prompt, known.answer, known.fused
    read = prompt.mean + n_shown * answer.mean
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


def _verified(
    verifier: VerifierBlock | None, known: Known, n: float, *, share: float = 1.0
) -> Iterator[ForecastCall]:
    """Return what a verifier asks about `n` samples, each `share` of a whole answer long."""
    if verifier is None or n <= 0:
        return
    prompt, answer = known.prompt, known.answer
    text = share * answer.mean
    for asked in asked_of(verifier, n, prompt.mean, text):
        spread = prompt.variance + asked.n_shown * share**2 * answer.variance
        yield _calls_of(asked, asked.read**2 + spread)


def _calls_of(asked: Asked, read_square: float) -> ForecastCall:
    work = Work(
        prefill_tokens=asked.n * asked.read,
        cached_prefill_tokens=0.0,
        decode_tokens=asked.n * asked.replies * asked.written,
        token_pairs=asked.n
        * (
            pairs_within(asked.read, read_square)
            + asked.replies * (asked.read * asked.written + pairs_within(asked.written))
        ),
        latency_prefill_tokens=asked.n * asked.read,  # added up, as the calls of one stage are
        latency_decode_tokens=asked.n * asked.written,
    )
    return ForecastCall(asked.model, "verify", asked.n, work)


def _adaptive(
    choice: StageChoice, select: SelectBlock, known: Known, billing: Billing
) -> Iterator[ForecastCall]:
    n = float(choice.n_samples)
    n_drawn, n_requests = known.stop if known.stop is not None and select.kind == "adaptive_vote" else (n, n)
    per_request = n_drawn / n_requests
    reads = 1.0 if known.card.shares_prefill else per_request
    prompt, answer = known.prompt, known.answer
    read_pairs = reads * pairs_within(prompt.mean, prompt.mean_square)
    own_pairs = prompt.mean * answer.mean + pairs_within(answer.mean, answer.mean_square)
    work = Work(
        prefill_tokens=n_requests * reads * prompt.mean,
        cached_prefill_tokens=0.0,
        decode_tokens=n_drawn * answer.mean,
        token_pairs=n_requests * read_pairs + n_drawn * own_pairs,
        latency_prefill_tokens=n_requests * prompt.mean,
        latency_decode_tokens=n_requests * answer.mean_max(max(1, round(per_request))),
    )
    yield ForecastCall(choice.model, "draw", n_requests, work)
    yield from _verified(select.verifier, known, n_drawn)


def _cascade(
    choice: StageChoice, select: SelectBlock, known: Known, billing: Billing
) -> Iterator[ForecastCall]:
    yield _draws(choice, known, billing)
    assert known.other is not None  # noqa: S101 - whoever forecasts a cascade knows its second model
    card, answer = known.other
    n, share, prompt = choice.n_samples, known.escalates, known.prompt
    reads = 1 if card.shares_prefill else n
    own_pairs = prompt.mean * answer.mean + pairs_within(answer.mean, answer.mean_square)
    work = Work(
        prefill_tokens=share * reads * prompt.mean,
        cached_prefill_tokens=0.0,
        decode_tokens=share * n * answer.mean,
        token_pairs=share * (reads * pairs_within(prompt.mean, prompt.mean_square) + n * own_pairs),
        latency_prefill_tokens=share * prompt.mean,
        latency_decode_tokens=share * answer.mean_max(n),
    )
    yield ForecastCall(the(select.to or ()), "escalate", share * ceil(n / card.max_n), work)
    yield from _verified(select.verifier, known, n * (1 + share))


def _refine(
    choice: StageChoice, select: SelectBlock, known: Known, billing: Billing
) -> Iterator[ForecastCall]:
    """Return the calls of one conversation after another; of a tree, as if all but the first sample were refined."""
    prompt, answer = known.prompt, known.answer
    first = StageChoice(choice.stage, choice.model, 1, "first")
    yield _draws(first, known, billing)
    n_turns = choice.n_samples - 1
    critic = select.critic
    feedback = known.fused.mean if critic is not None else 0.0
    if critic is not None and critic.verifier is None:
        read = prompt.mean + answer.mean + INSTRUCTIONS
        square = read**2 + prompt.variance + answer.variance
        yield _calls(critic.model or choice.model, "critic", n_turns, read, square, known.fused.mean)
    elif critic is not None:
        yield from _verified(critic.verifier, known, n_turns)
    read = prompt.mean + answer.mean + feedback + INSTRUCTIONS
    square = read**2 + prompt.variance + answer.variance
    yield _calls(choice.model, "refine", n_turns, read, square, answer.mean)
    yield from _verified(select.verifier, known, choice.n_samples)


def _steps(
    choice: StageChoice, select: SelectBlock, known: Known, billing: Billing
) -> Iterator[ForecastCall]:
    """Return the calls of a search over steps: at each, some beginnings are read again and go on."""
    n, width, prompt, answer = choice.n_samples, the(select.width), known.prompt, known.answer
    n_kept = max(1, n // width)
    depth = min(float(select.max_steps), known.n_steps + 1)  # one more finds that nothing comes
    n_grown = n_kept * width
    step = answer.mean / max(1.0, known.n_steps)
    n_reads = 1 if known.card.shares_prefill else width
    yield _calls(choice.model, "step", 1, prompt.mean, prompt.mean_square, n * step, reads=n_reads)
    begun = prompt.mean + answer.mean / 2
    square = begun**2 + prompt.variance + answer.variance / 4
    n_more = n_kept * (depth - 1)
    yield _calls(choice.model, "step", n_more, begun, square, width * step, reads=n_reads)
    yield from _verified(select.verifier, known, n + n_grown * (depth - 1), share=0.5)


_MAKERS: Mapping[str, Callable[[StageChoice, SelectBlock, Known, Billing], Iterator[ForecastCall]]] = {
    "adaptive_best": _adaptive,
    "adaptive_vote": _adaptive,
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
