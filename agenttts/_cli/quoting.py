"""The quote before money moves: space and expected spending of a study, from what is known before any draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agenttts._cli.console import clean, table
from agenttts._cli.problem import ProblemCosts, problem_costs
from agenttts._cli.prompt_lengths import prompt_cautions
from agenttts._cli.scoring_words import scoring_text, unknown_texts
from agenttts._cli.words import amount_text, count_text, duration_text
from agenttts.errors import DataError
from agenttts.study.archive import cost_to_json

if TYPE_CHECKING:
    from agenttts.allocators.space import Space
    from agenttts.budgets.lengths import Part
    from agenttts.budgets.quote import Quote, StudyQuote
    from agenttts.models.base import Message
    from agenttts.pipeline.prompts import Prompt
    from agenttts.study.result import StudyOptions
    from agenttts.task.schema import StageBlock
    from agenttts.task.task import Task

__all__ = ["StudyForecast", "forecast", "quote_json", "quote_table"]

N_RENDERED = 32
"""Search problems whose prompts are rendered to see how long prompts are."""
N_LIKE = 2000
"""Feasible allocations drawn to stand for those that a study may try."""


@dataclass(frozen=True)
class StudyForecast:
    """What is known of a study before it begins."""

    space: Space
    quote: StudyQuote
    n_confirm: int
    problem: ProblemCosts
    unknown_lengths: tuple[str, ...] = ()
    """Stages whose completions count as `max_tokens` long until draws teach better: the task gives no length."""

    prompts: tuple[str, ...] = ()
    """What is to be told of prompts that are of another length than the task says."""
    unknown: tuple[str, ...] = ()
    """Why a total is unknown, where only cards are to blame that score."""

    @property
    def label(self) -> str:
        """What the expected figures are: `at most` where lengths are unknown."""
        return "at most" if self.unknown_lengths else "expected"

    @property
    def caution(self) -> str:
        """What speaks against the expected figures and what to do about it; empty where nothing does."""
        return " ".join(filter(None, (self._upper, *self.prompts)))

    @property
    def known_usd(self) -> float | None:
        """Expected USD, of stages alone where only the price of scoring is unknown; `None`: that of stages is, too."""
        total = self.quote.expected.cost.usd
        return self.quote.of_stages.cost.usd if total is None else total

    @property
    def scoring(self) -> str:
        """What scoring by models adds, and what it leaves unknown; empty where no model scores."""
        told = scoring_text(self.quote, self.label)
        return " ".join(filter(None, (told, *(f"{why}." for why in self.unknown))))

    @property
    def _upper(self) -> str:
        if not self.unknown_lengths:
            return ""
        keys = ", ".join(f"stages.{clean(name)}.lengths.decode_tokens" for name in self.unknown_lengths)
        return (
            f"The figures are upper ones: completions of {', '.join(map(clean, self.unknown_lengths))} are taken to be "
            f"max_tokens long, for the task does not say how long they are. For an expected figure set {keys}."
        )


def forecast(task: Task, options: StudyOptions) -> StudyForecast:
    """Return space and quote of a study; nothing is drawn, the test split stays sealed.

    Raises:
        CardError: A card lacks what the budget's unit needs.
        InfeasibleBudgetError: No allocation is expected to fit the budget.
    """
    import numpy as np

    from agenttts.allocators.space import Space
    from agenttts.budgets.cost_model import CostModel
    from agenttts.budgets.lengths import Lengths
    from agenttts.budgets.quote import quote_study
    from agenttts.models.clients import Clients

    cost_model = CostModel(task.cards, files=task.card_files)
    cost_model.require(options.budget.unit, task.charged_models)
    recorded = recorded_means(task)
    rendered = rendered_prefill(task)
    lengths = Lengths.of_task(task, rendered, recorded)
    # Clients open no connection before the first draw; only recordings are looked at here.
    recorded_draws = Clients(task.cards).max_recorded
    space = Space.build(task, lengths, cost_model, options.budget, recorded_draws)
    indices = space.sample(np.random.default_rng(options.seed), N_LIKE)
    n_confirm = _n_confirm(task, options)
    quote = quote_study(
        lengths,
        cost_model,
        [space.allocation(row) for row in indices],
        n_trials=min(options.n_trials, space.n_feasible),
        n_search=len(task.search),
        n_confirm=n_confirm,
        n_pilot=min(options.n_pilot, len(task.search)),
    )
    problem = problem_costs(task, lengths, cost_model, space, indices, recorded_draws)
    prompts = prompt_cautions(task, rendered, space, cost_model)
    lengthless, unknown = _unknown_lengths(task, recorded), tuple(unknown_texts(task))
    return StudyForecast(space, quote, n_confirm, problem, lengthless, prompts, unknown)


def _n_confirm(task: Task, options: StudyOptions) -> int:
    """Return on how many problems the finalists are confirmed: as many as are asked for, or all of the test split."""
    from agenttts.study.confirm import n_wanted

    known = task.n_test if task.n_test is not None else task.file.splits.test.n
    wanted = n_wanted(options) if options.confirm else 0
    return wanted if known is None else min(wanted, known)


def recorded_means(task: Task) -> dict[tuple[Part, str, str], float]:
    """Return the mean tokens of recorded draws of the search problems, by (part, stage, model).

    For the quote alone: what a study expects is learnt from the draws that it makes.
    """
    from agenttts.models.recorded import load_recording

    found: dict[tuple[Part, str, str], float] = {}
    ids = {problem.id for problem in task.search}
    for name in task.llm_stages:
        for model in task.file.stages[name].variants:
            card = task.cards[model]
            if card.source != "recorded" or card.table is None:
                continue
            prefill, decode = load_recording(card.table).mean_tokens(name, card.served_as, ids)
            if prefill is not None:
                found["prefill", name, model] = prefill
            if decode is not None:
                found["decode", name, model] = decode
    return found


def _unknown_lengths(task: Task, recorded: Mapping[tuple[Part, str, str], float]) -> tuple[str, ...]:
    return tuple(
        name
        for name in task.llm_stages
        for block in [task.file.stages[name]]
        if any(
            block.decode_tokens_of(model) is None and ("decode", name, model) not in recorded
            for model in block.variants
        )
    )


def rendered_prefill(task: Task) -> dict[tuple[str, str], float]:
    """Return the mean tokens of each stage's prompts on a few search problems, by (stage, model).

    Answers of earlier stages do not exist yet: they are rendered as nothing, and count as long as they are expected.
    A template that cannot be rendered so is left out; the task's assumption then stands.

    Raises:
        DataError: A prompt that reads the problem alone cannot be rendered for some search problem.
    """
    from agenttts.pipeline.base import StageOutput
    from agenttts.pipeline.prompts import Prompt, PromptRenderError, variables

    found: dict[tuple[str, str], float] = {}
    for name in task.llm_stages:
        block = task.file.stages[name]
        if block.prompt is None:
            continue
        prompt, nothing = Prompt.compile(block.prompt), {need: StageOutput(None) for need in block.needs}
        try:
            texts = [prompt.render(variables(problem, nothing)) for problem in task.search[:N_RENDERED]]
        except PromptRenderError:
            if not block.needs:
                raise DataError(_unrendered(task, name, prompt)) from None
            continue
        for model in block.variants:
            found[name, model] = _mean_tokens(task, model, texts) + _quoted_tokens(task, block)
    return found


def _unrendered(task: Task, stage: str, prompt: Prompt) -> str:
    """Return for which search problems a prompt cannot be rendered, and why for the first of them."""
    from agenttts.pipeline.prompts import render_faults

    faults = render_faults(prompt, (), task.search)
    why = {problem.id: f"{error.kind}: {error}" for problem, error in faults}
    first, more = next(iter(why)), len(why) - 1
    others = f" (nor for {more:,} more)" if more else ""
    return f"problem {first}: the prompt of stage {stage} cannot be rendered{others}: {why[first]}"


def _mean_tokens(task: Task, model: str, prompts: Sequence[Sequence[Message]]) -> float:
    from agenttts.models.tokens import counter, prompt_text

    count = counter(task.cards[model].token_counter)
    return sum(count(prompt_text(messages)) for messages in prompts) / max(1, len(prompts))


def _quoted_tokens(task: Task, block: StageBlock) -> float:
    needs = [task.file.stages[need] for need in block.needs]
    return sum(n.lengths.decode_tokens or n.sampling.max_tokens for n in needs if n.asks_model)


def quote_table(known: StudyForecast) -> str:
    """Return the quote as a table of expected and worst case."""
    quote = known.quote
    head = ["", "calls", "tokens read", "written", "GFLOPs", "USD", "time"]
    rows = [
        _row(known.label, quote.expected),
        _row("no reuse", quote.without_reuse),
        _row("worst case", quote.worst),
    ]
    return table(head, rows, right=range(1, 7))


def _row(name: str, quote: Quote) -> list[str]:
    cost = quote.cost
    return [
        name,
        count_text(quote.calls),
        count_text(quote.prefill_tokens),
        count_text(quote.decode_tokens),
        "unknown" if cost.flops is None else amount_text(cost.flops / 1e9),
        "unknown" if cost.usd is None else amount_text(cost.usd),
        duration_text(None if quote.minutes is None else quote.minutes * 60),
    ]


def quote_json(quote: StudyQuote) -> dict[str, Any]:
    """Return the quote for machines."""
    parts = {
        "expected": quote.expected,
        "without_reuse": quote.without_reuse,
        "worst": quote.worst,
        "scoring": quote.scoring,  # of the expected
    }
    return {
        name: {"calls": part.calls, "cost": cost_to_json(part.cost), "minutes": part.minutes}
        for name, part in parts.items()
    }
