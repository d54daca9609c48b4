"""The first part of a run's page: what to run, what it scores and costs, and how sure that is."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING

from agenttts.report.pages import Part, details, escaped, paragraph, preformatted, table, text_list
from agenttts.report.run_words import (
    allocation_words,
    choice_text,
    difference_text,
    measured_text,
    per_problem,
    score_text,
)
from agenttts.report.words import cost_text, cut, plural, sentence, share_text
from agenttts.report.worth import flatters

if TYPE_CHECKING:
    from agenttts.pipeline.base import Allocation
    from agenttts.report.facts import RunFacts
    from agenttts.study.figures import Figure as Measure

__all__ = ["answer_part", "answer_sentence", "sure_sentence"]


LONGEST = 600
"""Characters of a sentence that may hold what a model wrote."""


def answer_part(facts: RunFacts) -> Part:
    """Return the part."""
    answer = facts.answer
    parts = [paragraph(answer_sentence(facts), "verdict")]
    if answer.allocation is not None:
        parts += [_cards(facts), _plan(facts, answer.allocation), *_commands(facts)]
    parts += [paragraph(sentence(cut(text, LONGEST)), "note") for text in answer.cautions]
    parts += [
        *_beside(facts),
        *([text_list([str(one) for one in answer.break_even])] if answer.break_even else []),
    ]
    return Part("answer", "What to run", tuple(parts))


def answer_sentence(facts: RunFacts) -> str:
    """Return the verdict: what to run, what it scores and costs."""
    answer, head = facts.answer, facts.head
    if answer.allocation is None:
        return (
            f"There is nothing to run yet: no allocation within {head.budget} a problem has a score. {sentence(head.message)}"
        ).strip()
    said = f"Run {allocation_words(answer.allocation)}."
    return f"{said} {_score_sentence(facts)} {sure_sentence(facts)}"


def _score_sentence(facts: RunFacts) -> str:
    answer = facts.answer
    costs = f"costs {per_problem(facts, answer.charged)} a problem on the search problems{_of_budget(facts)}"
    score = answer.score
    if score is None:
        return f"It has no score, and {costs}."
    told = f"It scores {score.mean:.3f} ({score.confidence:.0%} interval {score.low:.3f} to {score.high:.3f})"
    return f"{told} on {_on(facts)} and {costs}."


def _on(facts: RunFacts) -> str:
    score = facts.answer.score
    n = 0 if score is None else score.n
    if facts.answer.split == "test":
        return plural(n, "unseen problem")
    return f"the {plural(n, 'problem')} it was chosen by{', which flatters it,' if flatters(score, None) else ''}"


def _of_budget(facts: RunFacts) -> str:
    share = facts.answer.share_of_budget
    return "" if share is None else f", {share_text(share)} of the budget"


def sure_sentence(facts: RunFacts) -> str:
    """Return how sure it is that nothing else is better."""
    answer = facts.answer
    if answer.difference is None:
        because = answer.unconfirmed_because or "there is no second allocation to compare it with"
        return f"How sure that it is the best is not known: {because.rstrip('.')}."
    return sentence(answer.verdict)


# --- the four answers ------------------------------------------------------------------------------------------------


def _cards(facts: RunFacts) -> str:
    cards = {
        "What to run": _run_card(facts),
        "What it scores": _score_card(facts),
        "What it costs": _cost_card(facts),
        "How sure that is": _sure_card(facts),
    }
    return f'<dl class="answers">{"".join(_card(name, lines) for name, lines in cards.items())}</dl>'


def _card(name: str, lines: tuple[str, ...]) -> str:
    told = "".join(f"<dd>{escaped(line)}</dd>" for line in lines if line)
    return f"<div><dt>{escaped(name)}</dt>{told}</div>"


def _run_card(facts: RunFacts) -> tuple[str, ...]:
    answer, head = facts.answer, facts.head
    stages = "" if answer.allocation is None else plural(len(answer.allocation.choices), "stage")
    return f"trial {answer.winner}", f"of {head.n_trials:,} tried, {stages}", answer.plan


def _score_card(facts: RunFacts) -> tuple[str, ...]:
    answer = facts.answer
    if answer.score is None:
        return ("no score",)
    score = answer.score
    searched = score_text(answer.search_score) if answer.split == "test" and answer.search_score else ""
    flattered = ", which flatters it" if flatters(answer.search_score, score) else ""
    return (
        f"{score.mean:.3f}",
        f"{score.confidence:.0%} interval {score.low:.3f} to {score.high:.3f}",
        f"on {_on(facts)}".rstrip(","),
        f"{searched} on the problems it was chosen by{flattered}" if searched else "",
    )


def _cost_card(facts: RunFacts) -> tuple[str, ...]:
    answer = facts.answer
    share = answer.share_of_budget
    cost = "" if answer.cost is None else cost_text(answer.cost)
    of = "" if share is None else f"{share_text(share)} of the budget of {facts.head.budget}"
    unseen = per_problem(facts, answer.unseen_charged) if answer.unseen_charged is not None else ""
    return (
        f"{per_problem(facts, answer.charged)}",
        f"a problem, on the search problems, by which the budget is kept; {of}",
        cost and f"In every unit: {cost}.",
        unseen and f"On unseen problems: {unseen}.",
    )


def _sure_card(facts: RunFacts) -> tuple[str, ...]:
    answer = facts.answer
    if answer.difference is None:
        return "not known", sure_sentence(facts)
    words = {"better": "surely better", "worse": "surely worse"}
    said = words.get(answer.difference.verdict, answer.difference.verdict)
    return (
        said,
        f"{'from' if said == answer.difference.verdict else 'than'} the runner-up (trial {answer.runner_up})",
        f"difference {difference_text(answer.difference)}, p = {answer.difference.p:.2g}, on {plural(answer.difference.n, 'unseen problem')}, "
        f"paired by problem ({answer.difference.method})",
    )


# --- the plan --------------------------------------------------------------------------------------------------------


def _plan(facts: RunFacts, allocation: Allocation) -> str:
    rows = [
        [choice.stage, "–", "0", "–"]
        if choice.below == 0
        else [choice.stage, choice.model, str(choice.n_samples), choice.select]
        for choice in allocation.choices
    ]
    head = ["stage", "model", "samples", "select"]
    if any(choice.below is not None for choice in allocation.choices):
        head.append("runs")
        for row, choice in zip(rows, allocation.choices, strict=True):
            row.append("always" if choice.below is None else choice_text(choice).rpartition(" ")[2])
    return f"<h3>The plan</h3>{table(head, rows, label='The plan, stage by stage', right=[2])}"


def _commands(facts: RunFacts) -> list[str]:
    plan = facts.answer.plan
    if not plan:
        return [paragraph("No plan file was written: the run has not come to its end.", "soft")]
    name = shlex.quote(plan)
    text = (
        f"# score it again, here or elsewhere\nagenttts evaluate {name}\n"
        f"# answer as an OpenAI-compatible endpoint\nagenttts serve {name}"
    )
    python = f"import agenttts\nagenttts.Plan.load({plan!r}).answer(problem)"
    return ["<h3>Run it</h3>", preformatted(text), details("From Python", [preformatted(python)])]


def _beside(facts: RunFacts) -> list[str]:
    answer = facts.answer
    rows = [*_measure_rows("measure", answer.measures), *_measure_rows("stage", answer.stage_scores)]
    if not rows:
        return []
    return [
        "<h3>Beside the score</h3>",
        paragraph(measured_text(facts.head, "on the unseen problems"), "soft"),
        table(
            ["figure", "of", "score and interval", "problems", "unscored", "why the first"],
            rows,
            right=[3, 4],
        ),
    ]


def _measure_rows(kind: str, measures: Mapping[str, Measure]) -> list[list[str]]:
    return [
        [
            kind,
            name,
            score_text(one.interval),
            "0" if one.interval is None else f"{one.interval.n:,}",
            f"{one.n_unscored:,}",
            cut(one.because, LONGEST),
        ]
        for name, one in measures.items()
    ]
