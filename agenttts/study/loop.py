"""The loop of a study: pilot, rounds of trials, confirmation; every step written to the log before the next.

What was decided is read back from the log, what was drawn from the store; so a run that was killed anywhere goes on
where it stood, pays for no draw twice that arrived and ends as it would have ended.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from agenttts import errors
from agenttts.allocators.base import (
    Allocator,
    ConversingAllocator,
    PlannerAnswer,
    PlannerCall,
    Proposal,
    make_allocator,
)
from agenttts.allocators.space import Space
from agenttts.pipeline.base import Allocation, Rollout
from agenttts.study.archive import (
    Archive,
    Trial,
)
from agenttts.study.confirm import evaluation_to_json, n_affordable, n_wanted
from agenttts.study.evaluate import Evaluation, run_all, run_problems
from agenttts.study.events import EventLog, StudyState
from agenttts.study.pace import problems_left, seconds_left
from agenttts.study.pilot import (
    check_parsing,
    check_pilot,
    learn_pilot,
    learn_trial,
    pilot_allocations,
    pilot_content,
)
from agenttts.study.planner import Ask, allocator_options, converse, turn_from_json, turn_to_json
from agenttts.study.result import Observer, ProgressEvent, StudyOptions
from agenttts.study.session import Session
from agenttts.study.statistics import Interval, mean_interval
from agenttts.study.trials import evaluate_trial
from agenttts.task.sharing import refuse_unlike

if TYPE_CHECKING:
    import numpy as np

    from agenttts.budgets.lengths import Lengths
    from agenttts.task.task import Task

__all__ = ["Loop", "Progress"]


class Progress:
    """Counts what happens and tells the observer."""

    def __init__(
        self,
        observer: Observer | None,
        options: StudyOptions,
        archive: Archive,
        n_problems: int,
        n_finals: int = 0,
    ) -> None:
        self.n_paid = self.n_reused = self.rollouts_done = self._n_skipped = 0
        self.before = (0, 0)
        """Draws that earlier runs of the study paid for and reused: spending, too, is told over all runs."""
        self._observer = observer
        self._options = options
        self._n_problems = n_problems
        self.finals_done, self.finals_total = 0, n_finals
        """Problems of the confirmation, of both finalists; expected until it begins."""
        self._ended_s: list[float] = []
        self._confirming = False
        self._done_before = len(archive.trials)
        self._archive = archive
        self._best: tuple[Trial, Interval] | None = None
        self._since = time.monotonic()
        self.session: Session | None = None
        self._over = False
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
        self._ended_s.append(time.monotonic())
        self.draws(rollout)

    def confirms(self, n: int) -> None:
        """Take note that the confirmation begins, and how many problems it runs: its pace is its own."""
        self._confirming, self.finals_total = True, n
        self._since = time.monotonic()
        self._ended_s.clear()
        self.tell("confirming")

    def final(self, rollout: Rollout) -> None:
        """Take in a finished problem of the confirmation."""
        self.finals_done += 1
        self._ended_s.append(time.monotonic())
        self.draws(rollout)

    def _seconds_left(self) -> float | None:
        n_left = float(self.finals_total - self.finals_done)
        if not self._confirming:
            n_trials = len(self._archive.trials)
            n_left += problems_left(
                self._options.n_trials - n_trials,
                self._n_problems,
                n_trials - self._done_before,
                self._n_skipped,
                self.rollouts_done,
            )
        return seconds_left(n_left, self._ended_s, self._since, time.monotonic())

    def skipped(self, n: int) -> None:
        """Take note that a trial needs this many problems less."""
        self._n_skipped += n

    def draws(self, rollout: Rollout) -> None:
        """Take in the draws of a finished problem, of the pilot or others."""
        self.n_paid += rollout.n_paid
        self.n_reused += rollout.n_reused
        self.tell("rollout")

    def tell(self, kind: Any, *, trial: Trial | None = None, message: str = "") -> None:
        """Tell the observer where the study stands; nothing more once it was told that the study has ended."""
        if self._observer is None or self.session is None or self._over:
            return
        self._over = kind == "ended"
        total = (self._options.n_trials - self._done_before) * self._n_problems - self._n_skipped
        best, interval = self._best or (None, None)
        event = ProgressEvent(
            kind=kind,
            trials_done=len(self._archive.trials),
            n_trials=self._options.n_trials,
            rollouts_done=self.rollouts_done,
            rollouts_total=total,
            spent=self.session.spent(),
            n_paid=self.before[0] + self.n_paid,
            n_reused=self.before[1] + self.n_reused,
            best=best,
            best_interval=interval,
            trial=trial,
            eta_s=None if self._over else self._seconds_left(),
            by_stage={} if self.session.by_stage is None else self.session.by_stage(),
            finals_done=self.finals_done,
            finals_total=self.finals_total if self._confirming else 0,
            message=message,
            calls=None if self.session.calls is None else self.session.calls(),
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
        """Run the pilot and the rounds that are missing; nothing where an earlier run came to the end of the search.

        Raises:
            SearchBudgetExhausted: The rest may not be spent; what finished is in the log.
            InfeasibleBudgetError: No allocation fits the budget.
        """
        ended = self._state.ended
        if ended is not None and ended["status"] == "finished":
            self.note = ended["message"]
            return
        lengths = self._new_lengths()
        learn_pilot(lengths, await self._pilot(session))
        learnt: set[int] = set()
        allocator = make_allocator(self._options.allocator, allocator_options(self._task, self._options))
        n_round = 0
        while True:
            planned: Mapping[str, Any] | None = next(
                (r for r in self._state.rounds if r["round"] == n_round), None
            )
            known = [t for t in self.archive.trials if planned is None or t.number < planned["first"]]
            for trial in known:
                if trial.number not in learnt:
                    learnt.add(trial.number)
                    learn_trial(lengths, trial)
            if planned is None:
                if len(known) >= self._options.n_trials:
                    return
                planned = await self._plan_round(session, lengths, allocator, n_round)
                if planned is None:
                    self.note = "every allocation that fits the budget was tried"
                    return
            await self._run_round(session, planned)
            n_round += 1

    def _new_lengths(self) -> Lengths:
        from agenttts.budgets.lengths import Lengths

        return Lengths(self._task.file)

    async def _pilot(self, session: Session) -> Mapping[str, Any]:
        event = self._state.pilot
        if event is None:
            self._progress.tell("pilot")
            problems = self._task.search[: self._options.n_pilot]
            evaluations = await run_all(
                [
                    run_problems(
                        session.runner, allocation, problems, gate=self._gate, on_rollout=self._progress.draws
                    )
                    for allocation in pilot_allocations(self._task, session.max_recorded)
                ]
            )
            check_pilot(evaluations)
            check_parsing(self._task, evaluations)
            event = self._log.append(
                "pilot", **pilot_content(evaluations, self._task.file.rated), **session.paid()
            )
            self._progress.tell("pilot", message="pilot done")
        return event

    async def _plan_round(
        self, session: Session, lengths: Lengths, allocator: Allocator | ConversingAllocator, n_round: int
    ) -> Mapping[str, Any] | None:
        import numpy as np

        space = Space.build(
            self._task, lengths, session.cost_model, self._options.budget, session.max_recorded
        )
        rng = np.random.default_rng(np.random.SeedSequence([self._options.seed, n_round]))
        first = len(self.archive.trials)
        k = min(self._options.batch, self._options.n_trials - first)
        proposals, kept = await self._proposed(session, allocator, space, k, rng)
        if not proposals:
            return None
        planned = self._log.append(
            "round",
            round=n_round,
            first=first,
            proposals=[asdict(p) | {"allocation": p.allocation.to_json()} for p in proposals],
            n_feasible=space.n_feasible,
            n_allocations=space.size,
            **kept,
            **(session.paid() if kept else {}),
        )
        if kept:
            self.archive = self.archive.with_turn(*turn_from_json(kept))
        return planned

    async def _proposed(
        self,
        session: Session,
        allocator: Allocator | ConversingAllocator,
        space: Space,
        k: int,
        rng: np.random.Generator,
    ) -> tuple[list[Proposal], dict[str, Any]]:
        """Return a round's proposals and what the log keeps of the conversation they came of (empty: none)."""
        if not isinstance(allocator, ConversingAllocator):
            return allocator.propose(self.archive, space, k, rng), {}
        asking = self._asking(session.ask)
        turn, tally = await converse(allocator.converse(self.archive, space, k, rng), asking)
        for problem in tally.problems:
            self._progress.tell("waiting", message=f"the planner gave no advice: {problem}")
        return turn.proposals, turn_to_json(turn, tally)

    def _asking(self, ask: Ask | None) -> Ask | None:
        """Return `ask`, telling each time who is waited for, and for how long at most."""
        card = self._options.planner
        if ask is None or card is None:
            return ask

        async def told(call: PlannerCall) -> PlannerAnswer:
            most = f"{self._options.planner_deadline_s:g} s"
            self._progress.tell("planning", message=f"asking the planner {card.name} (for {most} at most)")
            return await ask(call)

        return told

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
        # What was known when the round began, however often the round was cut off: races and averages rest on it.
        known = Archive.of(trial for trial in self.archive.trials if trial.number < planned["first"])
        # All trials of a round begin together, so any of them may have been in work when it was cut off.
        resumed = any(event["round"] == planned["round"] for event in self._state.rounds)
        await run_all(
            [
                self._run_trial(session, number, proposal, known, resumed=resumed)
                for number, proposal in missing
            ]
        )

    async def _run_trial(
        self, session: Session, number: int, proposal: Proposal, known: Archive, *, resumed: bool
    ) -> None:
        evaluation = await evaluate_trial(
            session,
            self._task,
            self._options,
            proposal.allocation,
            known,
            gate=self._gate,
            on_rollout=self._progress.rollout,
        )
        trial = replace(evaluation.as_trial(number, proposal, self._options.budget), resumed=resumed)
        self._progress.skipped(len(self._task.search) - evaluation.n_problems)
        self._log.append("trial", trial=trial.to_json(), **session.paid())
        # One by one: where the round is cut off, those that finished count, here as in the log.
        self.archive = self.archive.with_trials([trial])
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
        if n_done and n <= n_done and not self._state.unscored:
            return ""
        problems = wanted[:n]
        if not problems:
            return "the search budget leaves too little for it" if wanted else "the test split is empty"
        try:
            refuse_unlike(self._task.file, problems)
        except errors.DataError as error:
            return str(error)
        self._progress.confirms(len(problems) * len(finalists))
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
            **session.paid(),
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
            session.final_runner or session.runner,
            trial.allocation,
            problems,
            gate=self._gate,
            max_failed=self._options.max_failed,
            on_rollout=self._progress.final,
        )
