"""The loop of a study: pilot, rounds of trials, confirmation; every step written to the log before the next.

What was decided is read back from the log, what was drawn from the store; so a run that was killed anywhere goes on
where it stood, pays for nothing twice and ends as it would have ended.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from agenttts import errors
from agenttts.allocators.base import Proposal, make_allocator
from agenttts.allocators.space import Space
from agenttts.pipeline.base import Allocation, Rollout, StageChoice
from agenttts.study.archive import (
    Archive,
    StageLengths,
    Trial,
    cost_to_json,
    lengths_from_json,
    lengths_to_json,
)
from agenttts.study.confirm import evaluation_to_json, n_affordable, n_wanted
from agenttts.study.evaluate import Evaluation, run_all, run_problems
from agenttts.study.events import EventLog, StudyState
from agenttts.study.result import Observer, ProgressEvent, StudyOptions
from agenttts.study.session import Session
from agenttts.study.statistics import Interval, mean_interval

if TYPE_CHECKING:
    from agenttts.budgets.lengths import Lengths
    from agenttts.task.task import Task

__all__ = ["Loop", "Progress", "pilot_allocations"]


class Progress:
    """Counts what happens and tells the observer."""

    def __init__(
        self, observer: Observer | None, options: StudyOptions, archive: Archive, n_problems: int
    ) -> None:
        self.n_paid = self.n_reused = self.rollouts_done = 0
        self._observer = observer
        self._options = options
        self._n_problems = n_problems
        self._done_before = len(archive.trials)
        self._archive = archive
        self._best: tuple[Trial, Interval] | None = None
        self._since = time.monotonic()
        self.session: Session | None = None
        self._rank()

    def trial(self, trial: Trial) -> None:
        """Take in a finished trial."""
        self._archive = Archive.of([*self._archive.trials, trial])
        self._rank()
        self.tell("trial", trial=trial)

    def _rank(self) -> None:
        best = self._archive.best()
        if best is not None and (self._best is None or self._best[0].number != best.number):
            interval = mean_interval(
                list(best.scores.values()), confidence=self._options.confidence, seed=self._options.seed
            )
            self._best = best, interval

    def rollout(self, rollout: Rollout) -> None:
        """Take in a finished problem of a trial."""
        self.rollouts_done += 1
        self.draws(rollout)

    def draws(self, rollout: Rollout) -> None:
        """Take in a finished problem of the pilot or the confirmation."""
        self.n_paid += rollout.n_paid
        self.n_reused += rollout.n_reused
        self.tell("rollout")

    def tell(self, kind: Any, *, trial: Trial | None = None, message: str = "") -> None:
        """Tell the observer where the study stands."""
        if self._observer is None or self.session is None:
            return
        total = (self._options.n_trials - self._done_before) * self._n_problems
        elapsed = time.monotonic() - self._since
        left = max(0, total - self.rollouts_done)
        best, interval = self._best or (None, None)
        event = ProgressEvent(
            kind=kind,
            trials_done=len(self._archive.trials),
            n_trials=self._options.n_trials,
            rollouts_done=self.rollouts_done,
            rollouts_total=total,
            spent=self.session.spent(),
            n_paid=self.n_paid,
            n_reused=self.n_reused,
            best=best,
            best_interval=interval,
            trial=trial,
            eta_s=elapsed * left / self.rollouts_done if self.rollouts_done else None,
            message=message,
        )
        self._observer.on(event)


class Loop:
    """One run of a study, from where its log stands to its end."""

    def __init__(
        self, task: Task, options: StudyOptions, state: StudyState, log: EventLog, progress: Progress
    ) -> None:
        self._task = task
        self._options = options
        self._state = state
        self._log = log
        self._progress = progress
        self._gate = asyncio.Semaphore(options.concurrency)
        self.archive = state.archive
        self.note = ""

    # --- search ------------------------------------------------------------------------------------------------

    async def search(self, session: Session) -> None:
        """Run the pilot and the rounds that are missing.

        Raises:
            SearchBudgetExhausted: The rest may not be spent; what finished is in the log.
            InfeasibleBudgetError: No allocation fits the budget.
        """
        lengths = self._new_lengths()
        for piece in await self._pilot(session):
            _learn(lengths, piece)
        learnt: set[int] = set()
        allocator = make_allocator(self._options.allocator)
        n_round = 0
        while True:
            planned: Mapping[str, Any] | None = next(
                (r for r in self._state.rounds if r["round"] == n_round), None
            )
            known = [t for t in self.archive.trials if planned is None or t.number < planned["first"]]
            for trial in known:
                if trial.number not in learnt:
                    learnt.add(trial.number)
                    for piece in trial.lengths.items():
                        _learn(lengths, piece)
            if planned is None:
                if len(known) >= self._options.n_trials:
                    return
                planned = self._plan_round(session, lengths, allocator, n_round)
                if planned is None:
                    self.note = "every allocation that fits the budget was tried"
                    return
            await self._run_round(session, planned)
            n_round += 1

    def _new_lengths(self) -> Lengths:
        from agenttts.budgets.lengths import Lengths

        return Lengths(self._task.file)

    async def _pilot(self, session: Session) -> list[tuple[str, StageLengths]]:
        event = self._state.pilot
        if event is None:
            self._progress.tell("pilot")
            problems = self._task.search[: self._options.n_pilot]
            evaluations = await run_all(
                [
                    run_problems(
                        session.runner, allocation, problems, gate=self._gate, on_rollout=self._progress.draws
                    )
                    for allocation in pilot_allocations(self._task, session)
                ]
            )
            _check_pilot(evaluations)
            _check_parsing(self._task, evaluations)
            event = self._log.append("pilot", **_pilot_content(evaluations), **self._paid(session))
        return [(stage, lengths_from_json(data)) for stage, data in event["lengths"]]

    def _paid(self, session: Session) -> dict[str, Any]:
        return {"spent": cost_to_json(session.spent())}

    def _plan_round(
        self, session: Session, lengths: Lengths, allocator: Any, n_round: int
    ) -> Mapping[str, Any] | None:
        import numpy as np

        space = Space.build(
            self._task, lengths, session.cost_model, self._options.budget, session.max_recorded
        )
        rng = np.random.default_rng(np.random.SeedSequence([self._options.seed, n_round]))
        first = len(self.archive.trials)
        k = min(self._options.batch, self._options.n_trials - first)
        proposals = allocator.propose(self.archive, space, k, rng)
        if not proposals:
            return None
        return self._log.append(
            "round",
            round=n_round,
            first=first,
            proposals=[asdict(p) | {"allocation": p.allocation.to_json()} for p in proposals],
            n_feasible=space.n_feasible,
            n_allocations=space.size,
        )

    async def _run_round(self, session: Session, planned: Mapping[str, Any]) -> None:
        self._progress.tell("round")
        done = {trial.number for trial in self.archive.trials}
        missing = [
            (
                planned["first"] + i,
                Proposal(**{**data, "allocation": Allocation.from_json(data["allocation"])}),
            )
            for i, data in enumerate(planned["proposals"])
            if planned["first"] + i not in done
        ]
        await run_all([self._run_trial(session, number, proposal) for number, proposal in missing])

    async def _run_trial(self, session: Session, number: int, proposal: Proposal) -> None:
        evaluation = await run_problems(
            session.runner,
            proposal.allocation,
            self._task.search,
            gate=self._gate,
            max_failed=self._options.max_failed,
            on_rollout=self._progress.rollout,
        )
        trial = evaluation.as_trial(number, proposal, self._options.budget)
        self._log.append("trial", trial=trial.to_json(), **self._paid(session))
        # One by one: where the round is cut off, those that finished count, here as in the log.
        self.archive = Archive.of([*self.archive.trials, trial])
        self._progress.trial(trial)

    # --- confirmation ------------------------------------------------------------------------------------------

    async def confirm(self, session: Session) -> str:
        """Evaluate winner and runner-up on test problems; return why not, or nothing."""
        reason = self._why_not_confirm()
        if reason:
            return reason
        best, runner_up = self.archive.best(), self.archive.runner_up()
        finalists = [trial for trial in (best, runner_up) if trial is not None]
        wanted = self._task.test()[: n_wanted(self._options)]
        n_done = self._n_confirmed(finalists)
        # What is confirmed already costs nothing again: the rest of the budget pays for more problems.
        n = min(len(wanted), n_done + n_affordable(self._options, finalists, session.spent()))
        if n_done and n <= n_done:
            return ""
        problems = wanted[:n]
        if not problems:
            return "the search budget leaves too little for it" if wanted else "the test split is empty"
        self._progress.tell("confirming")
        try:
            evaluations = await run_all([self._evaluate_final(session, t, problems) for t in finalists])
        except errors.SearchBudgetExhausted:
            return "" if n_done else "the search budget did not last for it"
        entries = [evaluation_to_json(evaluation, self._options.budget) for evaluation in evaluations]
        self._log.append(
            "confirmed",
            n=len(problems),
            n_wanted=len(wanted),
            trials=[trial.number for trial in finalists],
            winner=entries[0],
            runner_up=entries[1] if len(entries) > 1 else None,
            **self._paid(session),
        )
        return ""

    def _why_not_confirm(self) -> str:
        if not self._options.confirm:
            return "it was not asked for"
        if self.archive.best() is None:
            return "no trial is valid and within the budget"
        return ""

    def _n_confirmed(self, finalists: Sequence[Trial]) -> int:
        """Return on how many problems these finalists were confirmed by an earlier run of the study."""
        event = self._state.confirmed
        same = event is not None and event["trials"] == [trial.number for trial in finalists]
        return int(event["n"]) if event is not None and same else 0

    async def _evaluate_final(self, session: Session, trial: Trial, problems: Any) -> Evaluation:
        return await run_problems(
            session.runner,
            trial.allocation,
            problems,
            gate=self._gate,
            max_failed=self._options.max_failed,
            on_rollout=self._progress.draws,
        )


def pilot_allocations(task: Task, session: Session | None = None) -> list[Allocation]:
    """Return one-sample allocations in which every model takes part at every stage."""
    stages = []
    for name in task.llm_stages:
        models = task.file.stages[name].models
        limit = session.max_recorded if session is not None else None
        held = [model for model in models if limit is None or (limit(name, model) or 1) >= 1]
        stages.append((name, held or list(models)))
    most = max(len(models) for _, models in stages)
    return [
        Allocation(tuple(StageChoice(name, models[i % len(models)], 1, "first") for name, models in stages))
        for i in range(most)
    ]


def _check_pilot(evaluations: Sequence[Evaluation]) -> None:
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


def _check_parsing(task: Task, evaluations: Sequence[Evaluation]) -> None:
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


def _pilot_content(evaluations: Iterable[Evaluation]) -> dict[str, Any]:
    evaluations = list(evaluations)
    return {
        "lengths": [[s, lengths_to_json(piece)] for e in evaluations for s, piece in e.lengths.items()],
        "n_problems": max((e.n_problems for e in evaluations), default=0),
        "n_failed": sum(len(e.failures) for e in evaluations),
        "n_paid": sum(e.n_paid for e in evaluations),
        "n_reused": sum(e.n_reused for e in evaluations),
    }


def _learn(lengths: Lengths, piece: tuple[str, StageLengths]) -> None:
    """Let the lengths know of the prompts and samples of one stage."""
    stage, seen = piece
    lengths.observe_counts(stage, seen.model, prefill=seen.prefill, decode=seen.decode)
