"""What a study or a single problem will cost, said before money moves: expected and worst case.

Plain adding up of forecasts; nothing is drawn. What is assumed stands beside each figure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from agenttts.budgets.cards import ModelCard
from agenttts.budgets.cost import Cost, total
from agenttts.budgets.cost_model import CostModel
from agenttts.budgets.forecast import ForecastCall
from agenttts.budgets.lengths import Lengths
from agenttts.budgets.run_shares import pilot_samples
from agenttts.budgets.scoring_forecast import ScoringForecast
from agenttts.pipeline.base import Allocation, StageChoice

__all__ = ["ProblemQuote", "Quote", "StudyQuote", "quote_problem", "quote_study"]

N_CONFIRMED = 2
"""Allocations confirmed in the end: the winner and the runner-up."""


@dataclass(frozen=True, slots=True)
class Quote:
    """Calls, tokens, cost and time of some work."""

    calls: float
    """Provider requests; scoring a sample with an in-process verifier model counts as one."""
    cost: Cost
    minutes: float | None
    """`None` where some card tells neither limits nor speed."""

    @property
    def prefill_tokens(self) -> float:
        """Prompt tokens read."""
        return self.cost.prefill_tokens

    @property
    def decode_tokens(self) -> float:
        """Tokens written."""
        return self.cost.decode_tokens


@dataclass(frozen=True, slots=True)
class StudyQuote:
    """What a whole study will spend, whatever scores by asking a model included."""

    expected: Quote
    """Draws are reused between trials."""
    without_reuse: Quote
    """The same if every trial had to draw everything anew: an upper estimate of the expected."""
    worst: Quote
    """No reuse, every completion `max_tokens` long, every trial like the allocation that needs most; each figure on its
    own, for the allocation with the most calls need not cost most. Retried calls that a provider bills all the same
    come on top."""
    scoring: Quote
    """How much of the expected is for scoring by models; equal answers are scored once, and here none are equal."""
    of_stages: Quote
    """The rest of the expected."""
    scorers: tuple[str, ...] = ()
    """Models that score, sorted."""


@dataclass(frozen=True, slots=True)
class ProblemQuote:
    """What one problem will be charged in production. Minutes are latency, stages one after another."""

    expected: Quote
    worst: Quote


Forecast = Callable[[StageChoice], tuple[ForecastCall, ...]]
Share = Callable[[Allocation, StageChoice], float]
"""Of an allocation and one of its choices: the share of problems on which the stage runs."""


def quote_problem(lengths: Lengths, cost_model: CostModel, allocation: Allocation) -> ProblemQuote:
    """Return what one problem is charged under an allocation.

    Raises:
        CardError: There is no card for a model.
    """

    def read(forecast: Forecast, share: Share) -> Quote:
        calls = [
            (call, share(allocation, c) * lengths.per_problem(c.stage))
            for c in allocation.choices
            for call in forecast(c)
        ]
        cost = total(call.cost(cost_model).scaled(times) for call, times in calls)
        minutes = None if cost.seconds is None else cost.seconds / 60
        return Quote(sum(call.n_requests * times for call, times in calls), cost, minutes)

    return ProblemQuote(
        read(lambda choice: lengths.expected_calls(cost_model, choice), lengths.run_share),
        read(lambda choice: lengths.worst_calls(cost_model, choice), lengths.largest_run_share),
    )


def quote_study(
    lengths: Lengths,
    cost_model: CostModel,
    allocations: Sequence[Allocation],
    *,
    n_trials: int,
    n_search: int,
    n_confirm: int = 0,
    n_pilot: int = 0,
) -> StudyQuote:
    """Return what a study will spend: pilot, trials, confirmation.

    The pilot draws once per stage and model, more where another stage watches. Trials are taken to be like
    `allocations`: with reuse, like the first `n_trials` of them; a stream of draws is paid up to the largest n that any of them asks for, where trials share a
    stage's prompts if they agree on all stages before it. Without reuse, every trial costs the mean of all.

    Args:
        lengths: What is known about token counts.
        cost_model: Prices the tokens.
        allocations: Feasible allocations in random order, or all of them.
        n_trials: Allocations to be evaluated.
        n_search: Problems of a trial.
        n_confirm: Problems on which winner and runner-up are confirmed.
        n_pilot: Problems of the pilot.

    Raises:
        CardError: A card is missing.
        ValueError: No allocations are given.
    """
    if not allocations:
        raise ValueError("a quote needs at least one feasible allocation")
    expected = _remembering(lambda choice: lengths.expected_calls(cost_model, choice, billing="spent"))
    worst = _remembering(lambda choice: lengths.worst_calls(cost_model, choice, billing="spent"))
    plan = _Plan(lengths, allocations, n_trials, n_search, n_confirm, n_pilot, lengths.run_share_spent)
    at_worst = replace(plan, share=lengths.largest_run_share)
    scored = ScoringForecast(lengths, cost_model, lengths.run_share)
    scored_worst = ScoringForecast(lengths, cost_model, lengths.largest_run_share, at_worst=True)
    scoring = list(plan.scored_once(scored))
    reused, around = list(plan.reused(expected)), list(plan.around(expected, allocations))
    return StudyQuote(
        expected=_add_up(cost_model, [*reused, *around, *scoring]),
        without_reuse=_add_up(
            cost_model, [*plan.anew(expected, allocations), *around, *plan.scored_anew(scored, allocations)]
        ),
        worst=_largest(
            _add_up(
                cost_model,
                [
                    *at_worst.anew(worst, [only]),
                    *at_worst.around(worst, [only]),
                    *at_worst.scored_anew(scored_worst, [only]),
                ],
            )
            for only in set(allocations)
        ),
        scoring=_add_up(cost_model, scoring),
        of_stages=_add_up(cost_model, [*reused, *around]),
        scorers=tuple(sorted({call.model for call, times in scoring if times > 0})),
    )


Portion = tuple[ForecastCall, float]
"""Calls, and how many times they are made."""


@dataclass(frozen=True)
class _Plan:
    """The parts of a study, as portions of calls."""

    lengths: Lengths
    allocations: Sequence[Allocation]
    n_trials: int
    n_search: int
    n_confirm: int
    n_pilot: int
    share: Share

    def around(self, forecast: Forecast, like: Sequence[Allocation]) -> Iterator[Portion]:
        """Yield the pilot, and the confirmation of allocations like the average of `like`."""
        for name, block in self.lengths.file.stages.items():
            n_samples = pilot_samples(self.lengths.file, name)
            for model in block.variants:
                for call in forecast(StageChoice(name, model, n_samples, "first")):
                    yield call, self.n_pilot
        yield from self._average(forecast, like, N_CONFIRMED * self.n_confirm)

    def anew(self, forecast: Forecast, like: Sequence[Allocation]) -> Iterator[Portion]:
        """Yield the trials if nothing is reused."""
        return self._average(forecast, like, self.n_trials * self.n_search)

    def reused(self, forecast: Forecast) -> Iterator[Portion]:
        """Yield the trials if draws and fusions are paid once; verifiers run in every trial."""
        streams: dict[tuple[object, ...], tuple[StageChoice, float]] = {}
        fused: dict[tuple[object, ...], tuple[ForecastCall, float]] = {}
        for allocation in islice(self.allocations, self.n_trials):
            for choice in allocation.choices:
                before = self._before(allocation, choice.stage)
                share = self.share(allocation, choice)
                stream = (choice.stage, choice.model, before)
                largest, often = streams.get(stream, (choice, share))
                if largest.n_samples < choice.n_samples:
                    largest = choice
                streams[stream] = largest, max(often, share)
                for call in forecast(choice):
                    if call.purpose == "fusion":
                        fused[choice, before] = call, share
                    elif call.purpose != "draw":
                        yield call, self.n_search * share
        for choice, share in streams.values():
            draws = (call for call in forecast(choice) if call.purpose == "draw")
            yield from ((call, self.n_search * share) for call in draws)
        yield from ((call, self.n_search * share) for call, share in fused.values())

    def scored_once(self, scoring: ScoringForecast) -> Iterator[Portion]:
        """Yield what scoring asks if no score is paid for twice."""
        tried = islice(self.allocations, self.n_trials)
        yield from _times(scoring.reused(tried, self._before), self.n_search)
        yield from self._scored_around(scoring, self.allocations)

    def scored_anew(self, scoring: ScoringForecast, like: Sequence[Allocation]) -> Iterator[Portion]:
        """Yield what scoring asks if nothing is reused, in trials like the average of `like`."""
        for allocation in like:
            yield from _times(scoring.anew(allocation), self.n_trials * self.n_search / len(like))
        yield from self._scored_around(scoring, like)

    def _scored_around(self, scoring: ScoringForecast, like: Sequence[Allocation]) -> Iterator[Portion]:
        yield from _times(scoring.pilot(), self.n_pilot)
        for allocation in like if self.n_confirm else ():
            yield from _times(scoring.anew(allocation, at_end=True), N_CONFIRMED * self.n_confirm / len(like))

    def _average(
        self, forecast: Forecast, allocations: Sequence[Allocation], times: float
    ) -> Iterator[Portion]:
        for allocation in allocations:
            for choice in allocation.choices:
                share = self.share(allocation, choice)
                for call in forecast(choice):
                    yield call, times * share / len(allocations)

    def _before(self, allocation: Allocation, stage: str) -> tuple[StageChoice, ...]:
        """Return the choices that the prompts of a stage depend on."""
        upstream = self._upstream(stage)
        return tuple(choice for choice in allocation.choices if choice.stage in upstream)

    def _upstream(self, stage: str) -> set[str]:
        needs = self.lengths.file.stages[stage].needs
        return set(needs).union(*(self._upstream(need) for need in needs))


def _times(portions: Iterable[Portion], times: float) -> Iterator[Portion]:
    return ((call, often * times) for call, often in portions)


def _remembering(forecast: Forecast) -> Forecast:
    """Return the same forecast, made once per choice: many allocations share few choices."""
    made: dict[StageChoice, tuple[ForecastCall, ...]] = {}

    def remembered(choice: StageChoice) -> tuple[ForecastCall, ...]:
        if choice not in made:
            made[choice] = forecast(choice)
        return made[choice]

    return remembered


def _largest(quotes: Iterable[Quote]) -> Quote:
    """Return the largest of each figure; unknown where one is unknown."""
    listed = list(quotes)

    def most(read: Callable[[Quote], float | None]) -> float | None:
        values = [read(quote) for quote in listed]
        known = [value for value in values if value is not None]
        return max(known) if len(known) == len(values) else None

    return Quote(
        calls=max(quote.calls for quote in listed),
        cost=Cost(
            flops=most(lambda quote: quote.cost.flops),
            linear_flops=most(lambda quote: quote.cost.linear_flops),
            usd=most(lambda quote: quote.cost.usd),
            prefill_tokens=max(quote.prefill_tokens for quote in listed),
            decode_tokens=max(quote.decode_tokens for quote in listed),
            seconds=most(lambda quote: quote.cost.seconds),
        ),
        minutes=most(lambda quote: quote.minutes),
    )


@dataclass
class _Load:
    """What one model has to do."""

    calls: float = 0.0
    cost: Cost = field(default_factory=Cost)


def _add_up(cost_model: CostModel, portions: Iterable[Portion]) -> Quote:
    loads: dict[str, _Load] = {}
    for call, times in portions:
        load = loads.setdefault(call.model, _Load())
        load.calls += call.n_requests * times
        load.cost = load.cost + call.cost(cost_model).scaled(times)
    loads = {model: load for model, load in loads.items() if load.calls > 0}
    return Quote(
        calls=sum(load.calls for load in loads.values()),
        cost=total(load.cost for load in loads.values()),
        minutes=_minutes([(cost_model.card(model), load) for model, load in loads.items()]),
    )


def _minutes(loads: Iterable[tuple[ModelCard, _Load]]) -> float | None:
    """Return the minutes that limits and speeds allow, one model after another; `None` where a card tells none.

    Models that work at the same time need less; the sum promises too little rather than too much.
    """
    minutes = 0.0
    for card, load in loads:
        bounds = [
            *([load.calls / card.requests_per_minute] if card.requests_per_minute else []),
            *([_tokens(load.cost) / card.tokens_per_minute] if card.tokens_per_minute else []),
            *([load.cost.seconds / 60 / card.max_concurrency] if load.cost.seconds is not None else []),
            *([_in_process_minutes(card, load.cost)] if card.source == "tiny" else []),
        ]
        if not bounds:
            return None
        minutes += max(bounds)
    return minutes


def _in_process_minutes(card: ModelCard, cost: Cost) -> float:
    """Return the minutes of a model in this process: its speed is that of all its batches together."""
    if card.speed is None:
        return 0.0
    speed = card.speed
    seconds = (
        cost.prefill_tokens / speed.prefill_tokens_per_s + cost.decode_tokens / speed.decode_tokens_per_s
    )
    return seconds / 60


def _tokens(cost: Cost) -> float:
    return cost.prefill_tokens + cost.decode_tokens
