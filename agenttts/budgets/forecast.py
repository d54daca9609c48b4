"""The calls that one stage's choice makes for one problem, as expected work: draws, fusion, verification.

Prompt and completion lengths are taken as independent of each other; that touches attention only, which is a few per
cent. The rest is exact: linear FLOPs, tokens and prices depend on the means alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Literal

from agenttts.budgets.cards import ModelCard
from agenttts.budgets.cost import Cost
from agenttts.budgets.cost_model import CostModel, Work, pairs_within
from agenttts.models.tiny_reward import TINY_PRM
from agenttts.pipeline.base import Purpose, StageChoice

if TYPE_CHECKING:
    from agenttts.budgets.lengths import Distribution
    from agenttts.task.schema import SelectBlock

__all__ = ["VERIFIER_MODELS", "ForecastCall", "Lengthwise", "stage_calls"]

VERIFIER_MODELS: Mapping[str, str] = {"tiny_prm": TINY_PRM}
"""Card of the model behind each kind of learned verifier; the other kinds are rules and cost nothing."""

Billing = Literal["charged", "spent"]


@dataclass(frozen=True, slots=True)
class Lengthwise:
    """Laws of the token counts of one stage with one model."""

    prompt: Distribution
    answer: Distribution
    fused: Distribution
    """Completion of the fusion call."""


@dataclass(frozen=True, slots=True)
class ForecastCall:
    """Calls to one model for one purpose, added up."""

    model: str
    purpose: Purpose
    n_requests: int
    work: Work

    def cost(self, cost_model: CostModel) -> Cost:
        """Return what the calls cost."""
        return cost_model.cost(self.model, self.work)


def stage_calls(
    choice: StageChoice, select: SelectBlock | None, lengths: Lengthwise, card: ModelCard, billing: Billing
) -> tuple[ForecastCall, ...]:
    """Return the calls of one stage for one problem.

    One sample needs neither fusion nor verifier. A fusion reads the prompt and all samples again and writes one more
    answer; a learned verifier reads the prompt with each sample.

    Args:
        choice: Model, number of samples and selector.
        select: The selector named there; `None` for one that makes no calls.
        lengths: Token counts.
        card: The card of the choice's model.
        billing: `charged`: as a plan is charged, the prompt read once where the card shares prefill. `spent`: as a
            search pays, the prompt read once per provider request, of which each grants at most `max_n` samples.
    """
    calls = [_draws(choice, lengths, card, billing)]
    if select is not None and choice.n_samples > 1:
        if select.kind == "fusion":
            calls.append(_fusion(choice, lengths))
        verifier = select.verifier
        if verifier is not None and verifier.kind in VERIFIER_MODELS:
            calls.append(_verification(choice, lengths, VERIFIER_MODELS[verifier.kind]))
    return tuple(calls)


def _draws(choice: StageChoice, lengths: Lengthwise, card: ModelCard, billing: Billing) -> ForecastCall:
    n, prompt, answer = choice.n_samples, lengths.prompt, lengths.answer
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


def _fusion(choice: StageChoice, lengths: Lengthwise) -> ForecastCall:
    n, prompt, answer, fused = choice.n_samples, lengths.prompt, lengths.answer, lengths.fused
    read = prompt.mean + n * answer.mean
    read_square = prompt.variance + n * answer.variance + read**2
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
    return ForecastCall(choice.model, "fusion", 1, work)


def _verification(choice: StageChoice, lengths: Lengthwise, model: str) -> ForecastCall:
    n, prompt, answer = choice.n_samples, lengths.prompt, lengths.answer
    read = prompt.mean + answer.mean
    read_square = prompt.variance + answer.variance + read**2
    work = Work(
        prefill_tokens=n * read,
        cached_prefill_tokens=0.0,
        decode_tokens=0.0,
        token_pairs=n * pairs_within(read, read_square),
        latency_prefill_tokens=n * read,  # added up, as the calls of one stage are
        latency_decode_tokens=0.0,
    )
    return ForecastCall(model, "verify", n, work)
