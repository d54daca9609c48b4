"""What a planner may take, took and said, for people and for machines. Everything it wrote is escaped."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import ceil
from typing import TYPE_CHECKING, Any

from agenttts._cli.console import clean, fold
from agenttts._cli.words import amount_text, count_text, plural
from agenttts.allocators.base import PlannerCall

if TYPE_CHECKING:
    from agenttts.allocators.base import Insight
    from agenttts.allocators.space import Space
    from agenttts.study.result import StudyOptions, StudyResult
    from agenttts.task.task import Task

__all__ = ["PlannerQuote", "advice_json", "advice_text", "planner_quote"]

LABEL = 13
MOST_CALLS = 3
"""Of one round: the first, and two repairs."""
PROMPT_TOKENS = 12_000
"""A long prompt of a planner: task, trials, evidence, and a reply sent back."""
MOST_INSIGHTS = 5
MOST_NOTES = 3


def advice_text(result: StudyResult) -> str:
    """Return the latest insights, and what asking took; empty where no planner was asked."""
    use = result.planner
    if use is None:
        return ""
    failed = f", {use.failed:,} without a reply" if use.failed else ""
    failed += f", {use.refused:,} not made" if use.refused else ""
    took = f"tokens {count_text(use.prefill_tokens)} read, {count_text(use.decode_tokens)} written"
    if use.spent is not None and use.spent.usd is not None:
        took = f"{amount_text(use.spent.usd)} USD; {took}"
    lines = [_line("planner", f"{clean(use.model)}: {plural(use.calls, 'call')}{failed}; {took}")]
    shown = result.insights[-MOST_INSIGHTS:]
    for i, insight in enumerate(shown):
        lines.append(_line("insights" if i == 0 else "", _insight(insight)))
    rest = len(result.insights) - len(shown)
    if rest > 0:
        lines.append(_line("", f"and {rest:,} earlier ones (--json lists all)"))
    for i, note in enumerate(use.notes[:MOST_NOTES]):
        lines.append(_line("noted" if i == 0 else "", clean(note)))
    if len(use.notes) > MOST_NOTES:
        lines.append(_line("", f"and {len(use.notes) - MOST_NOTES:,} more (--json lists all)"))
    return "\n".join(lines)


@dataclass(frozen=True)
class PlannerQuote:
    """What asking the planner may take, at worst."""

    text: str
    usd: float
    """0 where the price is unknown (the study is then billed in other units) or nothing."""


def planner_quote(task: Task, options: StudyOptions, space: Space | None = None) -> PlannerQuote | None:
    """Return the worst case of asking; `None` where nobody is asked.

    With the space, rounds that the opening of `agent` fills without asking are not counted.
    """
    from agenttts.budgets.cost import Unit, amount
    from agenttts.budgets.cost_model import CostModel
    from agenttts.models.base import CallUsage

    card = options.planner
    if card is None:
        return None
    rounds = ceil(options.n_trials / options.batch) - _rounds_unasked(options, space)
    if rounds <= 0:
        text = (
            f"The planner {clean(card.name)} is not asked: the opening takes all {options.n_trials:,} trials. "
            "More trials (--trials) leave room for its advice."
        )
        return PlannerQuote(text, 0.0)
    calls = MOST_CALLS * rounds
    block = task.file.planner
    written = (block.max_tokens if block is not None else None) or PlannerCall(()).max_tokens
    one = CostModel({card.name: card}).charge(card.name, CallUsage(PROMPT_TOKENS, (written,)))
    usd = None if one.usd is None else calls * one.usd
    cap = options.planner_budget
    if usd is not None and cap is not None and cap.unit is Unit.USD:
        usd = min(usd, cap.amount)
    price = "price unknown" if usd is None else f"at most about {amount_text(usd)} USD"
    limit = "" if cap is None else f", and never more than {cap}"
    reserved = CostModel({card.name: card}).charge(card.name, CallUsage(PROMPT_TOKENS, (written,)))
    if cap is not None and (one_call := amount(reserved, cap.unit)) > cap.amount:
        limit += (
            f"; one call may need about {amount_text(one_call)} {cap.unit.label}, so it may never be asked"
        )
    text = f"The planner {clean(card.name)} is asked at most {calls:,} times ({price}{limit})."
    return PlannerQuote(text, usd or 0.0)


def _rounds_unasked(options: StudyOptions, space: Space | None) -> int:
    if space is None or options.allocator != "agent":
        return 0
    from agenttts.allocators.agent.allocator import MOST_OPENING
    from agenttts.allocators.equal_budget import equal_budget_trials

    return ceil(min(MOST_OPENING, len(equal_budget_trials(space))) / options.batch)


def _line(label: str, text: str) -> str:
    return fold(text, first=label.ljust(LABEL))


def _insight(insight: Insight) -> str:
    trials = ", ".join(map(str, insight.trials[:6])) + (", ..." if len(insight.trials) > 6 else "")
    rests = f"trials {trials}" if trials else "no trial"
    sure = "" if insight.confidence is None else f"; {insight.confidence:.0%} sure, it says"
    return f"{clean(insight.text)} ({rests}{sure})"


def advice_json(result: StudyResult) -> dict[str, Any]:
    """Return the fields `planner` and `insights` of a result."""
    return {
        "planner": None if result.planner is None else asdict(result.planner),
        "insights": [asdict(insight) for insight in result.insights],
    }
