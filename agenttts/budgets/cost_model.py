"""From tokens to cost: FLOPs, USD, tokens and seconds of one call, by the model's card.

Pure arithmetic. With N active parameters, Np prompt tokens and S samples of Nd tokens each, a call takes

- linear FLOPs 2 N (Np + sum Nd) where the endpoint shares the prefill, else 2 N (S Np + sum Nd);
- for attention 4 layers width per pair of tokens: Np (Np + 1) / 2 pairs for each reading of the prompt, and
  Np Nd + Nd (Nd + 1) / 2 for each sample (every token attends to itself and to all before it).

Source: arXiv 2508.00890 for the linear part; it leaves attention out, we count it where the card gives layers and width.
Its unit counts the linear part alone, at the size that a model goes by (3e9 for 3.21e9): `Cost.linear_flops` is of that
size, `Cost.flops` of the true one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from agenttts.budgets.cards import ModelCard, Price
from agenttts.budgets.cost import NEEDED_ON_CARD, Cost, Unit, total
from agenttts.budgets.prices import price_of
from agenttts.errors import CardError
from agenttts.models.base import CallUsage
from agenttts.pipeline.base import Charge, CostPart, Purpose

__all__ = ["CostModel", "Work", "divided_work", "pairs_within", "stage_costs", "stage_parts", "work_of"]


@dataclass(frozen=True, slots=True)
class Work:
    """What a model has to do; fractions are allowed, for expectations."""

    prefill_tokens: float
    """Prompt tokens read; a prompt read twice counts twice."""
    cached_prefill_tokens: float
    """Part of them billed at the cached price."""
    decode_tokens: float
    token_pairs: float
    """Pairs of tokens that attend to each other."""
    latency_prefill_tokens: float
    """Prompt tokens on the critical path."""
    latency_decode_tokens: float
    """Tokens of the longest of the parallel samples."""


_NO_WORK = Work(0, 0, 0, 0, 0, 0)


def pairs_within(n_tokens: float, n_tokens_squared: float | None = None) -> float:
    """Return the token pairs of causal attention within n tokens, each with itself included.

    For an expectation over random lengths pass the mean of n and the mean of its square.
    """
    square = n_tokens * n_tokens if n_tokens_squared is None else n_tokens_squared
    return (square + n_tokens) / 2


def work_of(usage: CallUsage, *, shares_prefill: bool) -> Work:
    """Return the work of one prompt answered `len(usage.decode_tokens)` times (none: it is only read)."""
    prompt, decode = usage.prefill_tokens, usage.decode_tokens
    n_reads = 1 if shares_prefill else max(1, len(decode))
    return Work(
        prefill_tokens=n_reads * prompt,
        cached_prefill_tokens=n_reads * usage.cached_prefill_tokens,
        decode_tokens=sum(decode),
        token_pairs=n_reads * pairs_within(prompt) + sum(prompt * n + pairs_within(n) for n in decode),
        latency_prefill_tokens=prompt,
        latency_decode_tokens=max(decode, default=0),
    )


def divided_work(usage: CallUsage, *, shares_prefill: bool) -> tuple[Work, Work]:
    """Return the work of reading and that of writing; added up they are `work_of`."""
    both = work_of(usage, shares_prefill=shares_prefill)
    n_reads = 1 if shares_prefill else max(1, len(usage.decode_tokens))
    read_pairs = n_reads * pairs_within(usage.prefill_tokens)
    reading = replace(both, decode_tokens=0, token_pairs=read_pairs, latency_decode_tokens=0)
    writing = Work(0, 0, both.decode_tokens, both.token_pairs - read_pairs, 0, both.latency_decode_tokens)
    return reading, writing


class CostModel:
    """Knows the cards, and says what usage costs.

    Args:
        cards: Cards by name.
        files: Where each card was read, for error messages; may be incomplete. `None`: as the cards know
            themselves (`CardBook.origins`).
    """

    def __init__(self, cards: Mapping[str, ModelCard], *, files: Mapping[str, Path] | None = None) -> None:
        self.cards = dict(cards)
        self._files: dict[str, Path] = dict(files or getattr(cards, "origins", {}))
        self._prices: dict[str, Price | None] = {}

    def card(self, model: str) -> ModelCard:
        """Return the card of a model.

        Raises:
            CardError: There is none.
        """
        card = self.cards.get(model)
        if card is None:
            raise CardError(
                f"no model card for {model!r}; cards here: {', '.join(sorted(self.cards)) or 'none'}"
            )
        return card

    def charge(self, model: str, usage: CallUsage) -> Cost:
        """Return what one call costs; components that the card says nothing about are `None`.

        The server's prompt cache lowers the price of the cached part but not the FLOPs: production has no cache that
        it can rely on.

        Raises:
            CardError: There is no card of that name.
        """
        return self.cost(model, work_of(usage, shares_prefill=self.card(model).shares_prefill))

    def cost(self, model: str, work: Work) -> Cost:
        """Return what some work costs on a model.

        Raises:
            CardError: There is no card of that name.
        """
        card = self.card(model)
        linear = _linear_flops(card.n_active, work)
        return Cost(
            flops=None if linear is None else linear + _attention_flops(card, work),
            linear_flops=_linear_flops(card.n_nominal, work),
            usd=_usd(self.price(model), work),
            prefill_tokens=float(work.prefill_tokens),
            decode_tokens=float(work.decode_tokens),
            seconds=_seconds(card, work),
        )

    def divide(self, charge: Charge) -> CostPart:
        """Return what one call costs, reading and writing apart.

        Raises:
            CardError: There is no card of that name.
        """
        work = divided_work(charge.usage, shares_prefill=self.card(charge.model).shares_prefill)
        reading, writing = (self.cost(charge.model, one) for one in work)
        return CostPart(charge.model, charge.purpose, reading, writing)

    def nothing(self) -> Cost:
        """Return the cost of no call at all: 0, but unknown where the card of a model in play cannot tell."""
        return total(self.cost(name, _NO_WORK) for name in self.cards)

    def price(self, model: str) -> Price | None:
        """Return the price of a model's tokens, `None` where it is unknown."""
        if model not in self._prices:
            self._prices[model] = price_of(self.card(model))
        return self._prices[model]

    def require(self, unit: Unit, names: Collection[str] | None = None) -> None:
        """Check that cards, all or those of these names, give what costs in `unit` need.

        Raises:
            CardError: Some do not; the message names each card, its file and the key to add.
        """
        lacking = self.lacking(unit, names)
        if lacking:
            head = f"costs in {unit} need {NEEDED_ON_CARD[unit]} on the card of every model:"
            raise CardError("\n".join([head, *(self._remedy(name, unit) for name in lacking)]))

    def lacking(self, unit: Unit, names: Collection[str] | None = None) -> list[str]:
        """Return the names of the cards, of all or of these, that do not give what costs in `unit` need, sorted."""
        return [
            name for name in sorted(self.cards if names is None else names) if not self._knows(name, unit)
        ]

    def _knows(self, name: str, unit: Unit) -> bool:
        card = self.cards[name]
        if unit is Unit.PAPER:
            return card.n_nominal is not None
        if unit is Unit.GFLOPS:
            return card.n_active is not None
        if unit is Unit.USD:
            return self.price(name) is not None
        return unit is not Unit.SECONDS or card.speed is not None

    def _remedy(self, name: str, unit: Unit) -> str:
        place = self._files.get(name)
        where = f"{place}: " if place else ""
        note = " (litellm's price map has none either)" if self._asked_litellm(name, unit) else ""
        return f"{where}models.{name}: add {_EXAMPLE[unit]}{note}"

    def _asked_litellm(self, name: str, unit: Unit) -> bool:
        return unit is Unit.USD and self.cards[name].source == "litellm"


_EXAMPLE: Mapping[Unit, str] = {
    Unit.GFLOPS: "`parameters: <number>`",
    Unit.PAPER: "`parameters: <number>`",
    Unit.USD: "`price: {input_per_million_usd: <number>, output_per_million_usd: <number>}`",
    Unit.SECONDS: "`speed: {prefill_tokens_per_s: <number>, decode_tokens_per_s: <number>}`",
}


def _linear_flops(n_parameters: float | None, work: Work) -> float | None:
    if n_parameters is None:
        return None
    return 2.0 * n_parameters * (work.prefill_tokens + work.decode_tokens)


def _attention_flops(card: ModelCard, work: Work) -> float:
    if card.layers is None or card.width is None:
        return 0.0
    return 4.0 * card.layers * card.width * work.token_pairs


def _usd(price: Price | None, work: Work) -> float | None:
    if price is None:
        return None
    cached_price = price.cached_input_per_million_usd
    if cached_price is None:
        cached_price = price.input_per_million_usd
    fresh = work.prefill_tokens - work.cached_prefill_tokens
    micro_usd = (
        fresh * price.input_per_million_usd
        + work.cached_prefill_tokens * cached_price
        + work.decode_tokens * price.output_per_million_usd
    )
    return micro_usd * 1e-6


def _seconds(card: ModelCard, work: Work) -> float | None:
    if card.speed is None:
        return None
    prefill_s = work.latency_prefill_tokens / card.speed.prefill_tokens_per_s
    return prefill_s + work.latency_decode_tokens / card.speed.decode_tokens_per_s


def stage_costs(cost_model: CostModel, charges_by_stage: Mapping[str, Sequence[Charge]]) -> dict[str, Cost]:
    """Return the charged cost of each stage: the sum over its draws, fusion and verifier calls."""
    return {
        stage: total(cost_model.charge(charge.model, charge.usage) for charge in charges)
        for stage, charges in charges_by_stage.items()
    }


def stage_parts(cost_model: CostModel, charges: Sequence[Charge], share: float = 1.0) -> tuple[CostPart, ...]:
    """Return what one stage costs by model and purpose, in the order of its first calls.

    Args:
        cost_model: Knows the cards.
        charges: Of the stage.
        share: Of it that a problem bears.
    """
    found: dict[tuple[str, Purpose], CostPart] = {}
    for charge in charges:
        part = cost_model.divide(charge)
        before = found.get((part.model, part.purpose))
        if before is not None:
            part = replace(part, prefill=before.prefill + part.prefill, decode=before.decode + part.decode)
        found[part.model, part.purpose] = part
    return tuple(
        replace(part, prefill=part.prefill.scaled(share), decode=part.decode.scaled(share))
        for part in found.values()
    )
