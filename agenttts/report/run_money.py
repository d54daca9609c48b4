"""A run's page, where the money goes: of the plan in production by stage and kind, and of the search itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from agenttts.report.pages import (
    COLOURS,
    Figure,
    Part,
    chart,
    details,
    escaped,
    figure,
    paragraph,
    table,
    titled,
)
from agenttts.report.run_words import measured_text, trial_of
from agenttts.report.words import amount_text, cost_text, count_text, plural, share_text

if TYPE_CHECKING:
    from agenttts.report.facts import RunFacts
    from agenttts.report.facts.values import Share, StageMoney

__all__ = ["money_part"]

KINDS = ("prefill", "decode", "fusion", "verification")
"""Reading prompts; writing samples; making one answer of several; scoring and criticising."""
KIND_OF = {"fusion": "fusion", "choose": "fusion", "verify": "verification", "critic": "verification"}
MOST_TRIALS = 12
MOST_CALLS = 200


def money_part(facts: RunFacts) -> Part:
    """Return the part."""
    parts: list[str] = []
    figures: tuple[Figure, ...] = ()
    if facts.money.trials:
        plan = facts.money.trials[0]
        figures = (_figure(facts, plan),)
        parts += [
            chart(
                figures[0],
                says=_says(facts, plan),
                source=measured_text(facts.head, "on the search problems"),
            ),
            _share_table(facts, plan),
            *_older(plan),
            *_others(facts),
        ]
    return Part("money", "Where the money goes", (*parts, *_search(facts)), figures)


def _kinds(share: Share) -> dict[str, float]:
    """Return the amounts of a share by kind."""
    kind = KIND_OF.get(share.purpose)
    return {"prefill": share.prefill, "decode": share.decode} if kind is None else {kind: share.total}


def _sum(shares: Sequence[Share], kind: str, stage: str | None = None) -> float:
    return sum(_kinds(one).get(kind, 0.0) for one in shares if stage is None or one.stage == stage)


def _stages(money: StageMoney) -> list[str]:
    return list(dict.fromkeys(one.stage for one in money.shares))


# --- the plan --------------------------------------------------------------------------------------------------------


def _says(facts: RunFacts, money: StageMoney) -> str:
    whole = money.total or 1.0
    stages = {stage: sum(one.total for one in money.shares if one.stage == stage) for stage in _stages(money)}
    told = [f"stage {stage} {share_text(value / whole)}" for stage, value in stages.items()]
    kinds = [
        f"{kind} {share_text(_sum(money.shares, kind) / whole)}" for kind in KINDS if _sum(money.shares, kind)
    ]
    name = "The winner" if money.trial == facts.answer.winner else f"Trial {money.trial}"
    unit = facts.head.budget.unit.label
    return f"{name} costs {amount_text(money.total)} {unit} a problem: {', '.join(told)}; {', '.join(kinds)}."


def _figure(facts: RunFacts, money: StageMoney) -> Figure:
    stages = _stages(money)
    data = [
        {
            "type": "bar",
            "x": [escaped(stage) for stage in stages],
            "y": [_sum(money.shares, kind, stage) for stage in stages],
            "name": kind,
            "marker": {"color": COLOURS[place]},
        }
        for place, kind in enumerate(KINDS)
        if _sum(money.shares, kind)
    ]
    unit = escaped(facts.head.budget.unit.label)
    made = figure(
        "money-plot", "Cost of a problem by stage and kind", data, {"type": "category"}, titled(unit)
    )
    made["layout"] |= {"barmode": "stack", "height": 320, "bargap": 0.6, "showlegend": True}
    return made


def _share_table(facts: RunFacts, money: StageMoney) -> str:
    unit = facts.head.budget.unit.label
    whole = money.total or 1.0
    head = [
        "stage",
        "model",
        "purpose",
        "tokens read",
        "tokens written",
        f"reading, {unit}",
        f"writing, {unit}",
        "share",
    ]
    rows = [
        [
            one.stage,
            one.model,
            one.purpose,
            count_text(one.prefill_tokens),
            count_text(one.decode_tokens),
            amount_text(one.prefill),
            amount_text(one.decode),
            share_text(one.total / whole),
        ]
        for one in money.shares
    ]
    rows.append(
        ["all", "", "", *(count_text(value) for value in _tokens(money)), *_halves(money), share_text(1.0)]
    )
    return table(head, rows, label="What a problem costs in production, on average", right=range(3, 8))


def _tokens(money: StageMoney) -> tuple[float, float]:
    return sum(one.prefill_tokens for one in money.shares), sum(one.decode_tokens for one in money.shares)


def _halves(money: StageMoney) -> list[str]:
    return [
        amount_text(sum(one.prefill for one in money.shares)),
        amount_text(sum(one.decode for one in money.shares)),
    ]


def _older(money: StageMoney) -> list[str]:
    if money.exact:
        return []
    told = "The log does not tell what each call was for: reading and writing are divided by tokens and the stage's model."
    return [paragraph(told, "soft")]


def _others(facts: RunFacts) -> list[str]:
    others = facts.money.trials[1:][:MOST_TRIALS]
    if not others:
        return []
    rows = [
        [
            str(one.trial),
            _allocation(facts, one.trial),
            *(amount_text(_sum(one.shares, kind)) for kind in KINDS),
            amount_text(one.total),
        ]
        for one in facts.money.trials[: MOST_TRIALS + 1]
    ]
    head = ["trial", "allocation", *KINDS, f"all, {facts.head.budget.unit.label}"]
    told = table(head, rows, label="The same of other trials", right=[0, *range(2, 7)], fill=[1])
    return [details("The same for the runner-up, the cheaper alternative and the frontier", [told])]


def _allocation(facts: RunFacts, number: int) -> str:
    trial = trial_of(facts, number)
    return "" if trial is None else str(trial.allocation)


# --- the search ------------------------------------------------------------------------------------------------------


def _search(facts: RunFacts) -> list[str]:
    money = facts.money
    drawn = money.n_paid + money.n_reused
    reused = f" ({share_text(money.n_reused / drawn)} of all)" if drawn else ""
    parts = [
        "<h3>What the search itself paid</h3>",
        paragraph(
            f"The run paid {cost_text(money.spent)}: {plural(money.n_paid, 'draw')} paid, {money.n_reused:,} reused{reused}."
        ),
    ]
    if money.purses:
        rows = [
            [purse.name, "unknown" if purse.n_draws is None else f"{purse.n_draws:,}", cost_text(purse.cost)]
            for purse in money.purses
        ]
        parts.append(table(["phase", "draws", "cost"], rows, label="What each phase paid", right=[1]))
    return [*parts, *_calls(facts)]


def _calls(facts: RunFacts) -> list[str]:
    calls = facts.money.calls
    if not calls:
        return []
    rows = [
        [
            one.model,
            one.purpose,
            f"{one.n_calls:,}",
            f"{one.n_draws:,}",
            f"{one.prefill_tokens:,}",
            f"{one.decode_tokens:,}",
        ]
        for one in calls[:MOST_CALLS]
    ]
    head = ["model", "purpose", "calls", "draws", "tokens read", "tokens written"]
    return [
        details("By model and purpose", [table(head, rows, label="Calls that were paid", right=range(2, 6))])
    ]
