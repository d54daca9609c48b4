"""`agenttts evaluate`: the score of a plan on its task's problems."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import typer

from agenttts._cli.console import PROVIDER_FAILED, clean, fold, print_json, say, say_aside
from agenttts._cli.scoring_words import unknown_texts
from agenttts._cli.words import (
    allocation_text,
    amount_text,
    charged_text,
    cost_text,
    figure_lines,
    plural,
    provenance,
    unparsed_lines,
    unscored_lines,
)
from agenttts.budgets.cost import Unit, total_amount
from agenttts.errors import InputError
from agenttts.models.tokens import count_notes

if TYPE_CHECKING:
    from agenttts.pipeline.across import Spread
    from agenttts.pipeline.base import Rollout
    from agenttts.study.scoring import PlanScore

__all__ = ["ProblemCounter", "run_evaluate", "score_json", "score_text"]

SECONDS_BETWEEN_LINES = 5.0


def run_evaluate(
    plan: Path,
    *,
    split: str,
    n: int | None,
    store: str | None,
    endpoint: str | None,
    source: str | None,
    concurrency: int | None,
    trust: bool,
    data: str | None,
    across: bool,
    budget: str | None,
    as_json: bool,
) -> None:
    """Score a plan and print what came of it."""
    from agenttts.api import evaluate

    if budget is not None and not across:
        raise InputError(
            "--budget: a plan costs what it costs; only samples that are shared out across problems keep to another "
            "budget.\nAdd --allocate-across-problems, or leave --budget out"
        )
    result = evaluate(
        plan,
        split=cast("Literal['test', 'search']", split),
        n=n,
        store=store,
        endpoint=endpoint,
        source=cast("Literal['openai', 'litellm'] | None", source),
        concurrency=concurrency or 32,
        trust=trust,
        data=data,
        allocate_across_problems=across,
        budget=budget,
        on_rollout=ProblemCounter(),
    )
    if as_json:
        print_json(score_json(result))
    else:
        say(score_text(result))
    if result.score is None:
        raise typer.Exit(PROVIDER_FAILED)


class ProblemCounter:
    """Tells now and then how many problems are done."""

    def __init__(self) -> None:
        self._done = 0
        self._told_s = time.monotonic()

    def __call__(self, rollout: Rollout) -> None:
        self._done += 1
        if time.monotonic() - self._told_s >= SECONDS_BETWEEN_LINES:
            self._told_s = time.monotonic()
            say_aside(f"{plural(self._done, 'problem')} done")


def score_text(result: PlanScore) -> str:
    """Return the score for people, in 80 columns."""
    evaluation, plan = result.evaluation, result.plan
    lines = [
        f"task       {clean(plan.task.file.name)}",
        fold(allocation_text(plan.allocation), first="allocation "),
        "",
        fold(_score_line(result), first="score      "),
        *(
            fold(text, first="           " if place else "beside it  ")
            for place, text in enumerate(figure_lines(result.measures, result.stages))
        ),
        fold(cost_line(result), first="cost       "),
        *(fold(spread_text(spread, result), first="across     ") for spread in result.spreads),
        fold(cost_text(result.spent), first="spent      "),
        *(fold(text, first="           ") for text in unknown_texts(plan.task)),
        f"draws      {evaluation.n_paid:,} paid, {evaluation.n_reused:,} reused",
        *(fold(text, first="unparsed   ") for text in unparsed_lines(plan.task, evaluation.unparsed)),
        *(fold(text, first="unscored   ") for text in unscored_lines(evaluation.unscored.items())),
        *failure_lines(result),
        "",
        *(fold(clean(note)) for note in count_notes(evaluation.counted_by, splits=False)),
        fold(provenance(plan.task, models_of(result))),
    ]
    return "\n".join(lines)


def _score_line(result: PlanScore) -> str:
    n = result.evaluation.n_problems
    if result.score is None:
        return f"none: {len(result.evaluation.failures)} of {plural(n, 'problem')} failed, which is too many"
    score = result.score
    return f"{score} on {plural(score.n, 'problem')} of split {result.split} ({score.confidence:.0%}, {score.method})"


def cost_line(result: PlanScore) -> str:
    """Return the charged cost of one problem."""
    budget, unit = result.average or result.plan.budget, unit_of(result)
    charged = total_amount(result.evaluation.costs, unit)
    return (
        f"{amount_text(charged)} {unit.label} a problem" if budget is None else charged_text(charged, budget)
    )


def spread_text(spread: Spread, result: PlanScore) -> str:
    """Return how a stage's samples were shared out across problems."""
    counts = sorted(spread.n_samples.values())
    if not counts:
        return f"{clean(spread.stage)}: every problem failed"
    given = result.plan.allocation[spread.stage].n_samples
    mean = sum(counts) / len(counts)
    price = f"; the last block gained {spread.price:.3g} per {unit_of(result).label}" if spread.price else ""
    return (
        f"{clean(spread.stage)}: {counts[0]} to {counts[-1]} samples a problem, {mean:.1f} on average "
        f"(the plan says {given} for each){price}"
    )


def unit_of(result: PlanScore) -> Unit:
    """Return the unit of the average budget, else of the plan's, else of its task."""
    if result.average is not None:
        return result.average.unit
    return result.plan.budget.unit if result.plan.budget is not None else result.plan.task.file.budget.unit


def failure_lines(result: PlanScore) -> list[str]:
    """Return one line per cause of failure."""
    causes = Counter((f.failure.stage, f.failure.cause) for f in result.evaluation.failures)
    if not causes:
        return ["failures   none"]
    example = {(f.failure.stage, f.failure.cause): f for f in result.evaluation.failures}
    return [
        fold(
            f"{n} at stage {clean(key[0])}: {clean(key[1])}, e.g. problem {clean(example[key].problem_id)}: "
            f"{clean(example[key].failure.message)}",
            first="failures   ",
        )
        for key, n in causes.most_common()
    ]


def models_of(result: PlanScore) -> list[str]:
    """Return the models of the plan's stages."""
    return [choice.model for choice in result.plan.allocation.choices]


def score_json(result: PlanScore) -> dict[str, Any]:
    """Return the score for machines."""
    from agenttts.study.archive import cost_to_json
    from agenttts.study.figures import figures_to_json

    evaluation, plan = result.evaluation, result.plan
    budget = result.average or plan.budget
    return {
        "task": plan.task.file.name,
        "allocation": plan.allocation.to_json(),
        "split": result.split,
        "score": result.score.to_json() if result.score else None,
        "measures": figures_to_json(result.measures),
        "stages": figures_to_json(result.stages),
        "n_problems": evaluation.n_problems,
        "scores": dict(evaluation.scores),
        "charged": {
            "unit": unit_of(result).value,
            "amount": total_amount(evaluation.costs, unit_of(result)),
            "budget": None if budget is None else budget.amount,
        },
        "across": [
            {"stage": spread.stage, "price": spread.price, "n_samples": dict(spread.n_samples)}
            for spread in result.spreads
        ],
        "spent": cost_to_json(result.spent),
        "n_paid": evaluation.n_paid,
        "n_reused": evaluation.n_reused,
        "unparsed": {stage: asdict(entry) for stage, entry in evaluation.unparsed.items()},
        "unscored": {stage: asdict(entry) for stage, entry in evaluation.unscored.items()},
        "counted_by": {model: list(names) for model, names in evaluation.counted_by.items()},
        "token_counts": count_notes(evaluation.counted_by),
        "failures": [
            {
                "problem_id": f.problem_id,
                "stage": f.failure.stage,
                "cause": f.failure.cause,
                "message": f.failure.message,
            }
            for f in evaluation.failures
        ],
        "figures_from": provenance(plan.task, models_of(result)),
    }
