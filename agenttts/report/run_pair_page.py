"""The page of two runs: winners, scores with intervals, the difference by problem, costs, both searches in one chart."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING

from agenttts.budgets.cost import Unit
from agenttts.report.pages import (
    Figure,
    Part,
    amounts_axis,
    chart,
    escaped,
    figure,
    paragraph,
    parts_page,
    table,
    text_list,
    titled,
)
from agenttts.report.run_answer import answer_sentence
from agenttts.report.run_course import best_line
from agenttts.report.run_page import asked_text
from agenttts.report.run_words import difference_text, measured_text, per_problem, score_text, stage_cells
from agenttts.report.words import amount_text, cost_text, plural, sentence, share_text

if TYPE_CHECKING:
    from agenttts.report.facts import RunFacts
    from agenttts.report.run_pair import RunPair
    from agenttts.study.statistics import PairedDifference

__all__ = ["pair_page"]

WORDS = {
    "better": "The first run's winner is better",
    "worse": "The second run's winner is better",
    "not distinguishable": "The winners are not distinguishable",
}


def pair_page(pair: RunPair) -> str:
    """Return the page."""
    first, second = pair.first.head, pair.second.head
    title = (
        f"{first.task}: two runs"
        if first.task == second.task
        else f"{first.task} and {second.task}: two runs"
    )
    lead = [
        paragraph(f"First: {asked_text(first)}", "soft"),
        paragraph(f"Second: {asked_text(second)}", "soft"),
    ]
    lead += [
        f"<p><strong>{escaped(text)}</strong></p>"
        for text in dict.fromkeys([first.provenance, second.provenance])
    ]
    parts = [_verdict(pair), _beside(pair), _plans(pair), _course(pair)]
    return parts_page(title, lead, parts)


def _both(pair: RunPair) -> tuple[tuple[str, RunFacts], tuple[str, RunFacts]]:
    return ("first", pair.first), ("second", pair.second)


# --- verdict ---------------------------------------------------------------------------------------------------------


def _verdict(pair: RunPair) -> Part:
    costs = _costs(pair)
    parts = [paragraph(f"{_sentence(pair)} {costs}".strip(), "verdict")]
    if pair.search is not None:
        parts.append(
            paragraph(
                f"On the search problems, by which both were chosen: {_difference(pair.search)}.", "soft"
            )
        )
    parts += [paragraph(f"{name.capitalize()} run. {answer_sentence(facts)}") for name, facts in _both(pair)]
    if pair.differs:
        parts += ["<h3>In what the runs differ</h3>", text_list(pair.differs)]
    return Part("verdict", "Which is better", tuple(parts))


def _sentence(pair: RunPair) -> str:
    if pair.unseen is None:
        return f"Which winner is better cannot be said problem by problem: {pair.why_none}."
    on = plural(pair.unseen.n, "unseen problem")
    return f"{WORDS[pair.unseen.verdict]} on {on} that both answered: {_difference(pair.unseen)}."


def _costs(pair: RunPair) -> str:
    """Return what both winners cost and were allowed: a better score that costs more is another trade, not a better search."""
    first, second = pair.first, pair.second
    one, other = first.answer.charged, second.answer.charged
    if one is None or other is None:
        return ""
    told = f"The first costs {per_problem(first, one)} a problem, the second {per_problem(second, other)}"
    budgets = first.head.budget, second.head.budget
    if budgets[0].unit is budgets[1].unit and min(one, other) > 0:
        told += _times(one, other)
    within = f"within {budgets[0]}" if budgets[0] == budgets[1] else f"within {budgets[0]} and {budgets[1]}"
    return f"{told}, {within} (on their search problems)."


def _times(one: float, other: float) -> str:
    """Return which costs how much more; empty where both cost about the same."""
    ratio = max(one, other) / min(one, other)
    dearer = "first" if one > other else "second"
    return f": the {dearer} costs {amount_text(round(ratio, 1))} times as much" if ratio >= 1.1 else ""


def _difference(difference: PairedDifference) -> str:
    return (
        f"first minus second {difference_text(difference)} ({difference.confidence:.0%} interval), p = {difference.p:.2g}, "
        f"paired by problem ({difference.method})"
    )


# --- tables ----------------------------------------------------------------------------------------------------------


def _beside(pair: RunPair) -> Part:
    columns = [_column(facts) for _, facts in _both(pair)]
    rows = [[name, one, other] for (name, one), (_, other) in zip(*columns, strict=True)]
    source = " ".join(dict.fromkeys(measured_text(facts.head) for _, facts in _both(pair)))
    told = table(["", "first", "second"], rows, label="Both runs beside each other", fill=[1, 2])
    return Part("beside", "Scores and costs", (paragraph(source, "soft"), told))


def _column(facts: RunFacts) -> list[tuple[str, str]]:
    answer, head = facts.answer, facts.head
    share = answer.share_of_budget
    return [
        ("run", head.folder),
        ("plan", answer.plan or "none"),
        ("winner", "none" if answer.winner is None else f"trial {answer.winner} of {head.n_trials:,}"),
        (
            "score on unseen problems",
            f"{score_text(answer.score)} on {answer.score.n:,}"
            if answer.split == "test" and answer.score
            else "none",
        ),
        ("score on the problems it was chosen by", score_text(answer.search_score)),
        ("against its runner-up", answer.verdict or "not confirmed"),
        ("cost of a problem, search problems", per_problem(facts, answer.charged)),
        ("share of its budget", "unknown" if share is None else f"{share_text(share)} of {head.budget}"),
        ("cost in every unit, search problems", "unknown" if answer.cost is None else cost_text(answer.cost)),
        ("paid by the search", cost_text(facts.money.spent)),
        ("draws", f"{facts.money.n_paid:,} paid, {facts.money.n_reused:,} reused"),
        ("how it ended", head.status.replace("_", " ")),
    ]


def _plans(pair: RunPair) -> Part:
    stages = dict.fromkeys([*pair.first.head.stages, *pair.second.head.stages])
    cells = [_cells(facts) for _, facts in _both(pair)]
    rows = [[stage, *(one.get(stage, "no such stage") for one in cells)] for stage in stages]
    return Part(
        "plans", "Plans", (table(["stage", "first", "second"], rows, label="The winners, stage by stage"),)
    )


def _cells(facts: RunFacts) -> dict[str, str]:
    allocation = facts.answer.allocation
    if allocation is None:
        return dict.fromkeys(facts.head.stages, "no winner")
    return dict(zip(facts.head.stages, stage_cells(facts, allocation), strict=True))


# --- courses ---------------------------------------------------------------------------------------------------------


def _course(pair: RunPair) -> Part:
    drawn = [_figure(pair, by_spend=False), _figure(pair, by_spend=True)]
    figures = [one for one in drawn if one["data"]]
    if not figures:
        return Part("course", "How the searches went", (paragraph("Neither run has a scored trial."),))
    ends = [f"the {name} run ends at {_end(facts)}" for name, facts in _both(pair)]
    says = [
        f"Best score so far on the problems that allocations are chosen by: {'; '.join(ends)}.",
        f"The same against what each search had paid by then. {_reuse(pair)}".strip(),
    ]
    source = " ".join(
        dict.fromkeys(measured_text(facts.head, "on the search problems") for _, facts in _both(pair))
    )
    return Part(
        "course",
        "How the searches went",
        tuple(chart(one, says=text, source=source) for one, text in zip(figures, says, strict=False)),
        tuple(figures),
    )


def _reuse(pair: RunPair) -> str:
    """Return how much of their draws the searches did not pay for, which moves their lines to the left."""
    shares = [(name, facts.course.reuse) for name, facts in _both(pair)]
    told = [
        f"the {name} found {share_text(share)} of its draws held already" for name, share in shares if share
    ]
    if not told:
        return ""
    return (
        f"{sentence(', '.join(told))} Such draws are not paid again, also where an earlier run paid for them: of two runs "
        "over one store the later one may look cheaper than it is."
    )


def _end(facts: RunFacts) -> str:
    known = [step for step in facts.course.steps if step.best_score is not None]
    return (
        f"{known[-1].best_score:.3f} after {plural(len(facts.course.steps), 'trial')}"
        if known
        else "no score"
    )


def _figure(pair: RunPair, *, by_spend: bool) -> Figure:
    lines = [
        best_line(
            facts.course.steps,
            f"{name}: {PurePath(facts.head.folder).name} ({facts.head.allocator}, seed {facts.head.seed})",
            place,
            by_spend=by_spend,
        )
        for place, (name, facts) in enumerate(_both(pair))
    ]
    data = [line for line in lines if line["x"]]
    y = titled("score, search problems")
    if not by_spend:
        return figure("courses-plot", "Best so far against trials", data, titled("trials ended"), y)
    units = {facts.course.spent_unit for _, facts in _both(pair)}
    if len(units) > 1:  # amounts of two units share no axis
        data = []
    label = Unit(min(units)).label
    x = amounts_axis(f"{label} paid", (value for line in data for value in line["x"]))
    return figure("spends-plot", "Best so far against spend", data, x, y)
