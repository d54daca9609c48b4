"""From a run's folder to its facts: what is read, in which order the parts are made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from agenttts.errors import AgentTTSError
from agenttts.report.facts.answer import answer_of
from agenttts.report.facts.budget_curve import budget_curve
from agenttts.report.facts.course import course_of
from agenttts.report.facts.failures import failures_of
from agenttts.report.facts.frontier import frontier_of, standings
from agenttts.report.facts.head import head_of
from agenttts.report.facts.money import money_of
from agenttts.report.facts.predicting import fit_of
from agenttts.report.facts.problem_texts import golds_of, text_of
from agenttts.report.facts.reasons import reasons_of
from agenttts.report.facts.record import RunRecord, read_run
from agenttts.report.facts.replay import Held, read_back, telling
from agenttts.report.facts.single import problem_facts, trial_facts
from agenttts.report.facts.values import FrontierPoint, RolloutsFact, RunFacts

if TYPE_CHECKING:
    from agenttts.pipeline.base import Problem
    from agenttts.study.archive import Trial

__all__ = ["facts_of"]

MOST_PASSES = 24


def facts_of(
    folder: Path, *, trust: bool = False, store_url: str | None = None, n_passes: int = MOST_PASSES
) -> RunFacts:
    """Return the facts of the run in a folder, finished or not. Nothing is asked of a model, and nothing is written.

    Args:
        folder: Where its log is.
        trust: Allow the task's own Python code; where a task has some, single passes cannot be read back without it.
        store_url: Where draws are kept, with the password; `None`: as the log says.
        n_passes: Single passes that are read back at most; 0: none, and the store is not opened.

    Raises:
        RunError: There is no run, it is damaged, or a newer agenttts wrote it.
        InputError: The task in it cannot be read.
    """
    record = read_run(folder, trust=trust)
    problems = _problems(record)
    held = _held(record, problems, store_url, n_passes)
    return _facts(record, problems, held)


def _facts(record: RunRecord, problems: Mapping[str, Problem], held: Held) -> RunFacts:
    file = record.task.file
    texts = {name: text_of(file, one) for name, one in problems.items()}
    golds = {name: golds_of(file, one) for name, one in problems.items()}
    standing = standings(record.archive)
    frontier = frontier_of(record, standing)
    fit, why_none = fit_of(record, _max_recorded(record))
    return RunFacts(
        head=head_of(record),
        answer=answer_of(record),
        frontier=frontier,
        money=money_of(record, _told_in_full(record, frontier), held.calls),
        budgets=budget_curve(record, fit, why_none),
        reasons=reasons_of(record, fit),
        course=course_of(record),
        failures=failures_of(record),
        trials=trial_facts(record, standing),
        problems=problem_facts(record, texts, golds),
        rollouts=held.rollouts,
    )


def _told_in_full(record: RunRecord, frontier: Sequence[FrontierPoint]) -> list[Trial]:
    """Return the trials whose money is told: winner, runner-up, cheaper alternative, then the frontier; each once."""
    result = record.result
    other = None if result.alternative is None else result.alternative.trial
    first = [trial for trial in (result.best, result.runner_up, other) if trial is not None]
    more = [record.by_number[point.trial] for point in frontier]
    return list({trial.number: trial for trial in (*first, *more)}.values())


# --- what is read beside the log -------------------------------------------------------------------------------------


def _problems(record: RunRecord) -> dict[str, Problem]:
    """Return the search problems by id; none where the data are not there any more."""
    try:
        return {problem.id: problem for problem in record.task.search}
    except AgentTTSError:
        return {}


def _held(record: RunRecord, problems: Mapping[str, Problem], store_url: str | None, n_passes: int) -> Held:
    best, second = record.result.best, record.result.runner_up
    if n_passes <= 0:
        return Held(RolloutsFact((), 0, 0, "none were asked for"))
    finalists = [trial for trial in (best, second) if trial is not None]
    if best is None or not problems:
        why = "there is no winner" if best is None else "the search problems cannot be read any more"
        return Held(RolloutsFact((), 0, 0, why))
    names = telling(
        list(problems),
        best.scores,
        {} if second is None else second.scores,
        max(1, n_passes // len(finalists)),
        _means(record),
    )
    wanted = [(trial, problems[name]) for name in names for trial in finalists]
    started = record.state.started
    url = store_url or str(started["store"])
    return read_back(record.task, record.cost_model, url, str(started["study_id"]), wanted[:n_passes])


def _means(record: RunRecord) -> dict[str, float]:
    """Return the mean score of each problem over all trials that have one for it."""
    scores: dict[str, list[float]] = {}
    for trial in record.archive.trials:
        for name, score in trial.scores.items():
            scores.setdefault(name, []).append(score)
    return {name: sum(each) / len(each) for name, each in scores.items()}


def _max_recorded(record: RunRecord) -> Callable[[str, str], int | None]:
    """Return how many draws recordings hold; where one is not there any more, as many as trials have used."""
    from agenttts.models.clients import Clients

    clients = Clients(record.task.cards)

    def of(stage: str, model: str) -> int | None:
        try:
            return clients.max_recorded(stage, model)
        except AgentTTSError:
            return _most_tried(record, stage, model)

    return of


def _most_tried(record: RunRecord, stage: str, model: str) -> int:
    choices = (trial.allocation[stage] for trial in record.archive.trials)
    return max((choice.n_samples for choice in choices if choice.model == model), default=1)
