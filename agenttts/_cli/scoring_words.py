"""What scoring by models costs, in words, and which card leaves a total unknown. Pure; safe to print."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from agenttts._cli.console import clean
from agenttts._cli.words import amount_text, count_text
from agenttts.budgets.cost import NEEDED_ON_CARD, Unit
from agenttts.budgets.cost_model import CostModel
from agenttts.task.naming import only_scoring

if TYPE_CHECKING:
    from agenttts.budgets.quote import StudyQuote
    from agenttts.task.task import Task

__all__ = ["scoring_text", "unknown_texts"]

TOLD = (Unit.GFLOPS, Unit.USD)
"""Units that totals are told in."""


def scoring_text(quote: StudyQuote, label: str) -> str:
    """Return what of a quote is for scoring by models; empty where none scores."""
    if not quote.scorers:
        return ""
    cost = quote.scoring.cost
    parts = [f"{count_text(quote.scoring.calls)} calls"]
    parts += [] if cost.flops is None else [f"{amount_text(cost.flops / 1e9)} GFLOPs"]
    parts += [f"{amount_text(cost.usd)} USD"] if cost.usd else []
    return (
        f"Scoring by {_named(quote.scorers)} is in these figures ({', '.join(parts)} {label}, had no two answers been "
        "equal), and no problem is charged for it."
    )


def unknown_texts(task: Task) -> list[str]:
    """Return, per unit, which cards leave totals unknown that score and do nothing else; all others know theirs."""
    model, scoring = CostModel(task.cards), only_scoring(task.file) & frozenset(task.cards)
    return [
        f"{unit.label} in all are unknown: no {NEEDED_ON_CARD[unit]} on the card of {_named(lacking)}, which scores"
        for unit in TOLD
        if (lacking := model.lacking(unit, scoring)) and not model.lacking(unit, task.charged_models)
    ]


def _named(models: Iterable[str]) -> str:
    return ", ".join(map(clean, models))
