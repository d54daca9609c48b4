"""What `optimize` prints in the end, for people and for machines. Pure: text and plain data from a result."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agenttts._cli.advice import advice_json, advice_text
from agenttts._cli.console import clean, fold, table
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
from agenttts.models.tokens import count_notes
from agenttts.report.unscored import over_trials
from agenttts.report.worth import flatters, near_zero_text
from agenttts.study.archive import cost_to_json, failure_to_json
from agenttts.study.figures import figures_to_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agenttts.pipeline.base import StageChoice
    from agenttts.study.archive import ProblemFailure, Trial
    from agenttts.study.result import StudyResult
    from agenttts.study.statistics import Interval
    from agenttts.task.task import Task

__all__ = ["result_json", "result_text"]

LABEL = 13
"""Columns of the labels at the left."""


def result_text(
    task: Task, result: StudyResult, folder: Path, *, resumed: bool, page: Path | None = None
) -> str:
    """Return the result for people, in 80 columns; `page` is its report."""
    blocks = [_head(task, result, folder, resumed)]
    warning = near_zero_text(result.trials)
    if warning:
        blocks.append(_line("warning", warning))
    if result.best is not None:
        blocks += [_plan_table(task, result.best), _figures(task, result, result.best)]
    unscored = unscored_lines(over_trials(result.trials))
    if unscored:
        blocks.append("\n".join(_line("unscored", text) for text in unscored))
    blocks.append(_bill(task, result, page))
    advice = advice_text(result)
    if advice:
        blocks.append(advice)
    notes = count_notes(result.counted_by, splits=False)
    if notes:
        blocks.append("\n".join(fold(clean(note)) for note in notes))
    if result.best is not None:
        blocks.append(fold(provenance(task, [c.model for c in result.best.allocation.choices])))
    blocks.append(_next_steps(result, folder))
    return "\n\n".join(blocks)


def _line(label: str, text: str) -> str:
    return fold(text, first=label.ljust(LABEL))


def _head(task: Task, result: StudyResult, folder: Path, resumed: bool) -> str:
    name = clean(task.file.name)
    if result.best is None:
        title = f"{name}: no allocation within {result.budget} a problem was scored"
    else:
        title = f"{name}: the best allocation found within {result.budget} a problem"
    lines = [fold(title)]
    paid_now = result.n_paid_now + result.n_asked_now
    if resumed and not paid_now and result.status == "finished" and not _unscored(result):
        lines.append(
            fold(f"This run was there already ({folder}): nothing had to be paid again, 0 draws paid now.")
        )
    elif resumed:
        lines.append(
            fold(f"Went on with the run that was there ({folder}); no draw that had arrived was paid twice.")
        )
    return "\n".join(lines)


def _plan_table(task: Task, best: Trial) -> str:
    choices = best.allocation.choices
    rows = [
        [clean(c.stage), "-", "0", "-"]
        if c.below == 0
        else [clean(c.stage), clean(c.model), str(c.n_samples), clean(c.select)]
        for c in choices
    ]
    head = ["stage", "model", "samples", "select"]
    if any(c.below is not None for c in choices):
        head.append("runs below")
        for row, choice in zip(rows, choices, strict=True):
            row.append(_runs(task, choice))
    return table(head, rows, right=[2])


def _runs(task: Task, choice: StageChoice) -> str:
    """Return below which threshold a stage runs; `otherwise`: on what the settings before leave."""
    if choice.below is None:
        return "always" if task.file.stages[choice.stage].otherwise is None else "otherwise"
    return "never" if choice.below == 0 else f"{choice.below:g}"


def _figures(task: Task, result: StudyResult, best: Trial) -> str:
    lines = [*_confirmed(result), _line("search", _search_words(result))]
    if result.alternative is not None:
        lines.append(_line("cheaper", _alternative_words(result)))
    lines.append(_line("cost", _cost_words(result, best)))
    lines += [_line("break-even", clean(str(one))) for one in result.break_even]
    lines += [_line("unparsed", text) for text in unparsed_lines(task, best.unparsed)]
    return "\n".join(lines)


def _confirmed(result: StudyResult) -> list[str]:
    confirmed = result.confirmation
    if confirmed is None:
        return [_line("score", f"not confirmed: {clean(result.no_confirmation_because, limit=400)}")]
    winner = (
        f"{_interval(confirmed.winner)} on {plural(confirmed.n, 'unseen problem')}{_method(confirmed.winner)}"
    )
    lines = [_line("score", winner)]
    lines += [
        _line("beside it" if i == 0 else "", text)
        for i, text in enumerate(figure_lines(confirmed.winner_measures, confirmed.winner_stages))
    ]
    if confirmed.n < confirmed.n_wanted:
        few = (
            f"{confirmed.n:,} of {plural(confirmed.n_wanted, 'problem')}: the search budget paid for no more"
        )
        lines.append(_line("", few))
    if result.runner_up is not None:
        second = f"{_interval(confirmed.runner_up)} with {allocation_text(result.runner_up.allocation)}"
        lines.append(_line("runner-up", second))
    if confirmed.difference is not None:
        lines.append(_line("difference", f"{confirmed.difference} (paired; {confirmed.difference.method})"))
    lines.append(_line("verdict", clean(confirmed.verdict)))
    lines += [_line("", text) for text in _failed_words(confirmed.winner_failures)]
    lines += [_line("", f"runner-up: {text}") for text in _failed_words(confirmed.runner_up_failures)]
    return lines


def _unscored(result: StudyResult) -> bool:
    """Return whether the plan was confirmed without success: too many unseen problems failed."""
    return result.confirmation is not None and result.confirmation.winner is None


def _failed_words(failures: Sequence[ProblemFailure]) -> Iterator[str]:
    """Tell the unseen problems that have no score, by cause."""
    for (stage, cause), first, n in _by_cause(failures):
        have = "has" if n == 1 else "have"
        what = f"{plural(n, 'unseen problem')} failed and {have} no score"
        yield f"{what} (stage {stage}: {cause}, e.g. problem {clean(first.problem_id)}: {clean(first.failure.message)})"


def _interval(interval: Interval | None) -> str:
    return "no score (too many problems failed)" if interval is None else str(interval)


def _method(interval: Interval | None) -> str:
    return "" if interval is None else f" ({interval.confidence:.0%}, {interval.method})"


def _search_words(result: StudyResult) -> str:
    interval = result.best_interval
    if interval is None:
        return "no score"
    confirmed = result.confirmation
    flattered = flatters(interval, None if confirmed is None else confirmed.winner)
    return f"{interval} on the {interval.n:,} problems it was chosen by{'; that flatters it' if flattered else ''}"


def _cost_words(result: StudyResult, best: Trial) -> str:
    """Return the cost that the budget is kept by, and beside it the one on other problems."""
    told = f"{charged_text(best.charged, result.budget)} on the search problems"
    unseen = None if result.confirmation is None else result.confirmation.winner_charged
    return told if unseen is None else f"{told}; {amount_text(unseen)} on the unseen ones"


def _alternative_words(result: StudyResult) -> str:
    other = result.alternative
    if other is None:
        return ""
    trial = other.trial
    return (
        f"{allocation_text(trial.allocation)} costs {amount_text(trial.charged)} {result.budget.unit.label} and is not "
        f"distinguishable on the search problems ({other.difference})"
    )


def _bill(task: Task, result: StudyResult, page: Path | None) -> str:
    counts = Counter(trial.status for trial in result.trials)
    kinds = ", ".join(f"{n} {status.replace('_', ' ')}" for status, n in sorted(counts.items())) or "none"
    lines = [
        _line("trials", f"{len(result.trials)} ({kinds}){_of_space(result)}"),
        *_spent(result),
        *(_line("", text) for text in unknown_texts(task)),
        _line("draws", f"{result.n_paid:,} paid, {result.n_reused:,} reused"),
        *_failures(result),
    ]
    if result.plan_path is not None:
        lines.append(_line("plan", str(result.plan_path)))
    if page is not None:
        lines.append(_line("report", str(page)))
    return "\n".join(lines)


def _spent(result: StudyResult) -> list[str]:
    """Return the bill; where a planner was asked, without it: its own line tells its part."""
    if result.spent_on_task is None:
        return [_line("spent", cost_text(result.spent))]
    return [_line("spent", f"{cost_text(result.spent_on_task)} (the planner apart, see below)")]


def _of_space(result: StudyResult) -> str:
    if result.n_feasible is None or result.n_allocations is None:
        return ""
    return f"; {result.n_feasible:,} of {plural(result.n_allocations, 'allocation')} fit the budget"


def _failures(result: StudyResult) -> list[str]:
    found = list(_by_cause([entry for _, entry in result.failures]))
    if not found:
        final = result.confirmation
        elsewhere = final is not None and (final.winner_failures or final.runner_up_failures)
        return [
            _line("failures", "none on search problems; on unseen ones see above" if elsewhere else "none")
        ]
    return [
        _line(
            "failures",
            f"{n:,} at stage {stage}: {cause}, e.g. problem {clean(first.problem_id)}: {clean(first.failure.message)}",
        )
        for (stage, cause), first, n in found
    ]


def _by_cause(
    failures: Sequence[ProblemFailure],
) -> Iterator[tuple[tuple[str, str], ProblemFailure, int]]:
    """Yield stage and cause, cleaned, the first such failure and their number; the most frequent first."""
    kinds = [(f.failure.stage, f.failure.cause) for f in failures]
    for (stage, cause), n in Counter(kinds).most_common():
        yield (clean(stage), clean(cause)), failures[kinds.index((stage, cause))], n


def _next_steps(result: StudyResult, folder: Path) -> str:
    if result.status == "search_budget_exhausted":
        return (
            f"{fold(f'The search budget is spent; {result.what_is_kept}. Go on with a larger one:')}\n"
            f"  agenttts optimize {folder} --search-budget AMOUNT"
        )
    if result.status == "interrupted":
        return f"{fold(f'Interrupted; {result.what_is_kept}. Go on:')}\n  agenttts optimize {folder}"
    if result.plan_path is None:
        return _no_plan(result)
    again = (
        f"{fold('The plan has no score on unseen problems yet. Mend the cause, then confirm it again:')}\n"
        f"  agenttts optimize {folder}\n"
    )
    return (
        f"{again if _unscored(result) else ''}"
        "Next: score the plan again, here or elsewhere, or use it from Python:\n"
        f"  agenttts evaluate {result.plan_path}\n"
        f"  agenttts.Plan.load({str(result.plan_path)!r}).answer(problem)"
    )


def _no_plan(result: StudyResult) -> str:
    if any(trial.status == "invalid" for trial in result.trials):
        return fold(
            "No plan was written: too many problems failed. Mend the cause, then run the same command with "
            "--run NAME; what was paid for is used again."
        )
    return "No plan was written. A larger budget or other models may help."


def result_json(
    task: Task, result: StudyResult, folder: Path, *, resumed: bool, page: Path | None = None
) -> dict[str, Any]:
    """Return the result for machines; `page` is its report."""
    models = [c.model for c in result.best.allocation.choices] if result.best else []
    return {
        "task": task.file.name,
        "run": str(folder),
        "resumed": resumed,
        "status": result.status,
        "message": result.message,
        "budget": {"amount": result.budget.amount, "unit": result.budget.unit.value},
        "best": _trial_json(result.best, result.best_interval),
        "runner_up": _trial_json(result.runner_up, None),
        "confirmation": _confirmation_json(result),
        "no_confirmation_because": result.no_confirmation_because,
        "warning": near_zero_text(result.trials),
        "alternative": _alternative_json(result),
        "spent": cost_to_json(result.spent),
        "spent_on_task": None if result.spent_on_task is None else cost_to_json(result.spent_on_task),
        "n_paid": result.n_paid,
        "n_paid_now": result.n_paid_now,
        "n_reused": result.n_reused,
        "n_trials": len(result.trials),
        "trials": [_trial_json(trial, None) for trial in result.trials],
        "counted_by": {model: list(names) for model, names in result.counted_by.items()},
        "token_counts": count_notes(result.counted_by),
        "failures": [{"trial": number, **failure_to_json(failure)} for number, failure in result.failures],
        "n_feasible": result.n_feasible,
        "n_allocations": result.n_allocations,
        "plan": _plan_json(result),
        "report": None if page is None else str(page),
        "break_even": [asdict(one) for one in result.break_even],
        **advice_json(result),
        "figures_from": provenance(task, models) if models else "",
    }


def _plan_json(result: StudyResult) -> dict[str, Any] | None:
    if result.plan_path is None or result.best is None:
        return None
    return {"path": str(result.plan_path), "allocation": result.best.allocation.to_json()}


def _trial_json(trial: Trial | None, interval: Interval | None) -> dict[str, Any] | None:
    if trial is None:
        return None
    data = {
        "number": trial.number,
        "allocation": trial.allocation.to_json(),
        "status": trial.status,
        "score": trial.score if trial.scores else None,
        "charged": trial.charged,
        "n_scored": len(trial.scores),
        "n_failed": trial.n_failed,
        "stopped_because": trial.stopped_because,
        "estimated_from": dict(trial.estimated_from),
        "origin": trial.origin,
        # Of a trial that was cut off once nobody knows what it has paid in all.
        "n_paid": None if trial.resumed else trial.n_paid,
        "n_reused": None if trial.resumed else trial.n_reused,
        "resumed": trial.resumed,
        "unparsed": {stage: asdict(entry) for stage, entry in trial.unparsed.items()},
        "unscored": {stage: asdict(entry) for stage, entry in trial.unscored.items()},
    }
    return data if interval is None else {**data, "interval": interval.to_json()}


def _confirmation_json(result: StudyResult) -> dict[str, Any] | None:
    confirmed = result.confirmation
    if confirmed is None:
        return None
    return {
        "n": confirmed.n,
        "n_wanted": confirmed.n_wanted,
        "split": confirmed.split,
        "winner": confirmed.winner.to_json() if confirmed.winner else None,
        "runner_up": confirmed.runner_up.to_json() if confirmed.runner_up else None,
        "difference": confirmed.difference.to_json() if confirmed.difference else None,
        "verdict": confirmed.verdict,
        "winner_charged": confirmed.winner_charged,
        "winner_measures": figures_to_json(confirmed.winner_measures),
        "winner_stages": figures_to_json(confirmed.winner_stages),
        "winner_failures": [failure_to_json(f) for f in confirmed.winner_failures],
        "runner_up_failures": [failure_to_json(f) for f in confirmed.runner_up_failures],
    }


def _alternative_json(result: StudyResult) -> dict[str, Any] | None:
    other = result.alternative
    if other is None:
        return None
    return {"trial": _trial_json(other.trial, None), "difference": other.difference.to_json()}
