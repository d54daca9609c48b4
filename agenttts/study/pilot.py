"""The pilot of a study: a few draws of every model at every stage, for what the first round must know.

It teaches lengths and, where a stage runs on a condition, the votes or ratings that say how often. Trials teach the
same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from agenttts import errors
from agenttts.budgets.run_shares import pilot_samples
from agenttts.pipeline.base import Allocation, StageChoice
from agenttts.study.archive import StageLengths, Trial, lengths_from_json, lengths_to_json, votes_from_json
from agenttts.study.evaluate import Evaluation
from agenttts.task.options import ALWAYS

if TYPE_CHECKING:
    from agenttts.budgets.lengths import Lengths
    from agenttts.task.task import Task

__all__ = [
    "check_parsing",
    "check_pilot",
    "learn_pilot",
    "learn_trial",
    "pilot_allocations",
    "pilot_content",
]

MaxRecorded = Callable[[str, str], int | None]


def pilot_allocations(task: Task, max_recorded: MaxRecorded | None = None) -> list[Allocation]:
    """Return allocations in which every model takes part at every stage, on every problem.

    A stage draws one sample; more where another stage watches its votes. Of settings that take over from one another
    only one can run on a problem, so there are as many rounds as settings; all other draws of a round are held by then.

    Args:
        task: The task.
        max_recorded: (stage, model) -> draws that a recording holds, `None` where draws are without end.
    """
    stages = []
    for name in task.llm_stages:
        models = task.file.stages[name].variants
        held = [m for m in models if max_recorded is None or (max_recorded(name, m) or 1) >= 1]
        stages.append((name, held or list(models)))
    most = max(len(models) for _, models in stages)
    ranks = {name: len(task.file.settings_before(name)) for name, _ in stages}
    return [
        Allocation(
            tuple(
                _choice(task, name, models[i % len(models)], max_recorded, runs=ranks[name] >= turn)
                for name, models in stages
            )
        )
        for turn in range(1 + max(ranks.values()))
        for i in range(most)
    ]


def _choice(
    task: Task, stage: str, model: str, max_recorded: MaxRecorded | None, *, runs: bool
) -> StageChoice:
    limit = max_recorded(stage, model) if max_recorded is not None else None
    n_samples = pilot_samples(task.file, stage)
    if limit is not None:
        n_samples = max(1, min(n_samples, limit))
    block = task.file.stages[stage]
    # Only a setting that others take over from stands back for them.
    stands_back = block.when is not None and block.routed and not runs
    below = None if block.when is None else 0.0 if stands_back else ALWAYS
    return StageChoice(stage, model, n_samples, "first", below)


def check_pilot(evaluations: Sequence[Evaluation]) -> None:
    """Stop where not one problem of the pilot came through: the same would happen to all that follow.

    Raises:
        ProviderUnavailableError, RunError: By what failed first.
    """
    failures = [entry for evaluation in evaluations for entry in evaluation.failures]
    if not failures or any(evaluation.scores for evaluation in evaluations):
        return
    first = failures[0].failure
    message = (
        f"all {len(failures)} problems of the pilot failed, the first ({failures[0].problem_id}) "
        f"at stage {first.stage}: {first.cause}: {first.message}"
    )
    provider = isinstance(getattr(errors, first.cause, None), type) and issubclass(
        getattr(errors, first.cause), errors.ProviderError
    )
    raise errors.ProviderUnavailableError(message) if provider else errors.RunError(message)


def check_parsing(task: Task, evaluations: Sequence[Evaluation]) -> None:
    """Stop where a stage's rule matched no sample of any model: nothing could be learnt there.

    Raises:
        InputError: Names stage, rule and a reply.
    """
    from agenttts.pipeline.parsing import rule_text

    for stage in task.llm_stages:
        seen = [e.unparsed[stage] for e in evaluations if stage in e.unparsed]
        n = sum(entry.n for entry in seen)
        if n and n == sum(entry.n_samples for entry in seen):
            # repr: whatever a model wrote, without control characters
            raise errors.InputError(
                f"stages.{stage}.parse: the rule {rule_text(task.file.stages[stage].parse)} found no answer in any of "
                f"the {n} samples of the pilot, so nothing can be learnt. {seen[0].model} replied: {seen[0].example!r}"
            )


def pilot_content(
    evaluations: Iterable[Evaluation], rated: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return what the log keeps of the pilot, as plain data.

    Args:
        evaluations: Of the pilot's allocations.
        rated: Stage that problems are sent to by an answer -> the stage whose answer that is.
    """
    evaluations = list(evaluations)
    ratings = [
        [stage, e.allocation[rater].model, {name: e.measured[stage].get(name) for name in e.scores}]
        for e in evaluations
        for stage, rater in (rated or {}).items()
        if stage in e.measured
    ]
    votes = [
        [stage, e.allocation[stage].model, {name: list(codes) for name, codes in by_problem.items()}]
        for e in evaluations
        for stage, by_problem in e.votes.items()
    ]
    return {
        "lengths": [
            [s, lengths_to_json(_thinned(piece))] for e in evaluations for s, piece in e.lengths.items()
        ],
        "n_problems": max((e.n_problems for e in evaluations), default=0),
        "n_failed": sum(len(e.failures) for e in evaluations),
        "n_paid": sum(e.n_paid for e in evaluations),
        "n_reused": sum(e.n_reused for e in evaluations),
        **({"votes": votes} if votes else {}),
        **({"ratings": ratings} if ratings else {}),
    }


def _thinned(seen: StageLengths) -> StageLengths:
    """Return as many completions as prompts, evenly spaced in the order of length.

    Eight samples of one problem say less of lengths than one of each of eight problems; kept whole, the few problems
    of the pilot would outweigh the many of a trial.
    """
    n_prompts, n_samples = sum(seen.prefill.values()), sum(seen.decode.values())
    if n_samples <= n_prompts:
        return seen
    rising = [n for n, count in sorted(seen.decode.items()) for _ in range(count)]
    kept = [rising[(2 * i + 1) * n_samples // (2 * n_prompts)] for i in range(n_prompts)]
    return replace(seen, decode=Counter(kept))


def learn_pilot(lengths: Lengths, event: Mapping[str, Any]) -> None:
    """Let the lengths know what a pilot showed."""
    for stage, data in event["lengths"]:
        _learn(lengths, stage, lengths_from_json(data))
    for stage, model, votes in event.get("votes", []):
        lengths.run_shares.observe_votes(stage, model, votes_from_json({stage: votes})[stage])
    for stage, model, values in event.get("ratings", []):
        # Selected as with one sample, however many the pilot drew.
        rater = StageChoice(lengths.run_shares.watched[stage], model, 1, "first")
        lengths.run_shares.observe_measured(stage, rater, values)


def learn_trial(lengths: Lengths, trial: Trial) -> None:
    """Let the lengths know what a trial showed."""
    for stage, piece in trial.lengths.items():
        _learn(lengths, stage, piece)
    shares = lengths.run_shares
    for stage, cost in trial.costs.items():
        # Of a stage that runs on a condition the cost is a mean over all problems; one that is left out costs nothing.
        if stage not in shares.conditional and trial.allocation[stage].below != 0:
            lengths.calibration.observe(trial.allocation[stage], cost, len(trial.scores))
    for stage, votes in trial.votes.items():
        shares.observe_votes(stage, trial.allocation[stage].model, votes)
    for stage, watched in shares.watched.items():
        values = trial.measured.get(stage, {})
        known = {name: values.get(name) for name in trial.scores}
        shares.observe_measured(stage, trial.allocation[watched], known)


def _learn(lengths: Lengths, stage: str, seen: StageLengths) -> None:
    lengths.observe_counts(stage, seen.model, prefill=seen.prefill, decode=seen.decode, steps=seen.steps)
