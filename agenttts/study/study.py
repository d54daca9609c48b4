"""A study: a folder with an event log, and the one way to run it, go on with it and read it.

The state is the fold of `events.jsonl`; this module keeps no other. Statistics are computed when a result is asked
for, from the scores in the log.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agenttts.budgets.cost import Budget, Cost
from agenttts.budgets.cost_model import CostModel
from agenttts.budgets.scoring_forecast import scored_by_models
from agenttts.errors import ProviderError, RunError, SearchBudgetExhausted, StoreError
from agenttts.store.sql import same_store, what_is_kept, without_password
from agenttts.study.beat import Beating, Both, ticking
from agenttts.study.break_even import break_even
from agenttts.study.confirm import alternative, confirmation, held_back, n_wanted
from agenttts.study.events import EVENTS_FILE, EventLog, StudyState, fold, read_events
from agenttts.study.loop import Loop, Progress
from agenttts.study.planner import PlannerSetup, planner_use, require_planner
from agenttts.study.result import Observer, StudyOptions, StudyResult, StudyStatus
from agenttts.study.session import Session, SessionFactory, open_session
from agenttts.study.statistics import mean_interval

if TYPE_CHECKING:
    from agenttts.task.task import Task

__all__ = ["Study"]

PLAN_FILE = "plan.yaml"
RUNS = Path("runs")
"""Folder of the runs, relative to where the user works."""


@dataclass(frozen=True)
class Study:
    """One study in one folder. Make it with `create` or `open`."""

    folder: Path
    task: Task
    sessions: SessionFactory = open_session
    """Opens store and clients; a seam for simulated pipelines."""
    store_url: str | None = field(default=None, repr=False)
    """Where draws are kept, with the password, which the log is kept free of; `None`: as the log says."""

    @classmethod
    def create(
        cls,
        folder: Path,
        task: Task,
        options: StudyOptions,
        store_url: str,
        *,
        sessions: SessionFactory = open_session,
    ) -> Study:
        """Begin a study in a folder that holds none.

        Args:
            folder: Where the log and the plan are written; made if it is missing.
            task: What to search for; it is kept in the log, so the task file may change afterwards.
            options: How to search.
            sessions: A seam for simulated pipelines.
            store_url: Where draws are kept, see `agenttts.store.sql.open_store`.

        Raises:
            RunError: The folder holds a study, or is in use.
            InfeasibleBudgetError: No allocation can fit the budget, whatever its prompts; no folder is made.
            CardError: A card lacks what the unit of a budget needs.
        """
        from agenttts import __version__
        from agenttts.allocators.space import refuse_hopeless
        from agenttts.budgets.cost_model import CostModel

        cost_model = CostModel(task.cards, files=task.card_files)
        cost_model.require(options.budget.unit, task.charged_models)
        refuse_hopeless(task, cost_model, options.budget)
        require_planner(options)
        log = EventLog(folder)
        try:
            if read_events(log.path)[0]:
                raise RunError(f"{folder} holds a run already. Go on with it, or choose another folder")
            log.append(
                "started",
                study_id=uuid.uuid4().hex,
                agenttts=__version__,
                task_digest=task.digest,
                task=task.to_json(),
                options=options.to_json(),
                store=without_password(store_url),
            )
        finally:
            log.close()
        return cls(folder, task, sessions, store_url)

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        trust: bool = False,
        sessions: SessionFactory = open_session,
        store_url: str | None = None,
    ) -> Study:
        """Open the study of a folder, with the task as it was when the study began.

        Args:
            folder: Where its log is.
            trust: Allow the task's own Python code.
            sessions: A seam for simulated pipelines.
            store_url: Where its draws are kept, to give the password again, which the log does not hold.

        Raises:
            RunError: There is none, it was written by a newer agenttts, or its draws are kept elsewhere.
            TaskFileError, TrustError: See `Task.from_json`.
        """
        from agenttts.task.task import Task

        state = fold(read_events(folder / EVENTS_FILE)[0])
        if store_url is not None and not same_store(state.started["store"], store_url):
            kept = without_password(state.started["store"])
            raise RunError(f"{folder} keeps its draws in {kept}. Leave --store out, or choose another --run")
        return cls(folder, Task.from_json(state.started["task"], trust=trust), sessions, store_url)

    @staticmethod
    def exists(folder: Path) -> bool:
        """Return whether a folder holds a study.

        Raises:
            RunError: It does, but this agenttts cannot read it.
        """
        path = folder / EVENTS_FILE
        return path.exists() and bool(read_events(path)[0])

    def state(self) -> StudyState:
        """Read the log.

        Raises:
            RunError: It cannot be read.
        """
        return fold(read_events(self.folder / EVENTS_FILE)[0])

    @property
    def options(self) -> StudyOptions:
        """The options, as amended last."""
        return StudyOptions.from_json(self.state().options)

    @property
    def task_digest(self) -> str:
        """Digest of the task that the study was begun for."""
        return str(self.state().started["task_digest"])

    def amend(
        self,
        *,
        n_trials: int | None = None,
        search_budget: Budget | None = None,
        concurrency: int | None = None,
    ) -> None:
        """Change what may change between two runs of a study: how long it goes on, and how fast.

        Raises:
            RunError: The folder is in use.
        """
        old = self.options
        new = replace(
            old,
            n_trials=n_trials if n_trials is not None else old.n_trials,
            search_budget=search_budget if search_budget is not None else old.search_budget,
            concurrency=concurrency if concurrency is not None else old.concurrency,
        )
        if new == old:
            return
        log = EventLog(self.folder)
        try:
            log.append("options", options=new.to_json())
        finally:
            log.close()

    # --- running -----------------------------------------------------------------------------------------------

    async def run(self, observer: Observer | None = None) -> StudyResult:
        """Run the study to its end, from wherever it stands; a finished one is only read.

        Where so many unseen problems failed that the plan has no score, a call after the end confirms it anew, and no
        more: what was drawn for it is used again, only what failed is asked again.

        Raises:
            asyncio.CancelledError: The run was cancelled (Ctrl-C); everything paid for is kept, `result()` tells how
                far it came, and the next call goes on.
            ProviderError: One that stops a run: wrong key, endpoint down. The run can be resumed as well.
            InfeasibleBudgetError: No allocation fits the budget.
            RunError: Another process works on the folder, or functions of the task have changed since the study began.
        """
        state = self.state()
        if state.done:
            return self.result()
        self._refuse_other_code()
        log, beating = EventLog(self.folder), Beating(self.folder)
        try:
            # Read again: between the first look and the lock another process may have written.
            state = self.state()
            if state.ended is not None:
                log.append("resumed")
            observers = [beating, *([] if observer is None else [observer])]
            progress = Progress(
                Both(observers), self.options, state.archive, len(self.task.search), self._n_finals()
            )
            with ticking(lambda: progress.tell("tick")):
                await self._run_locked(state, log, progress)
        finally:
            beating.gone()
            log.close()
        asked_now = _n_asked(self.state()) - _n_asked(state)
        return replace(self.result(), n_paid_now=progress.n_paid, n_asked_now=asked_now)

    def _n_finals(self) -> int:
        """Return how many problems the confirmation is expected to run, of winner and runner-up.

        The test problems stay sealed until then; where nobody counted them, there are taken to be as many as in search.
        """
        there = len(self.task.search) if self.task.n_test is None else self.task.n_test
        return 2 * min(there, n_wanted(self.options)) if self.options.confirm else 0

    def _refuse_other_code(self) -> None:
        changed = self.task.changed_code()
        if changed:
            raise RunError(
                f"{', '.join(changed)}: changed or gone since {self.folder} was begun. Results of both would be mixed. "
                "Put the old code back, or name the task instead of this run to begin another one; it uses draws "
                "again that are paid for."
            )

    async def _run_locked(self, state: StudyState, log: EventLog, progress: Progress) -> None:
        options = self.options
        loop = Loop(self.task, options, state, log, progress)
        counts: dict[str, int] = {}
        try:
            async with self._session(state, options.search_budget, progress) as session:
                progress.session = session
                n_before, reused_before = await session.n_paid(), self.state().n_reused
                progress.before = n_before, reused_before
                try:
                    await self._run_session(session, options, loop, log, progress, n_before, reused_before)
                except BaseException:
                    # Problems that were cut off stand in no trial; the store knows of their draws while it is open.
                    counts = await _counted(session, progress, n_before, reused_before)
                    raise
        except (asyncio.CancelledError, KeyboardInterrupt):
            # The session is closed: whatever has arrived is in the store.
            self._end(log, progress, "interrupted", f"the run was interrupted. {self._resume_hint()}", counts)
            raise
        except Exception as error:
            cause = f"{type(error).__name__}: {error}"
            self._end(log, progress, "interrupted", f"{cause}\n{self._resume_hint()}", counts)
            if isinstance(error, ProviderError):
                error.add_note(self._resume_hint())
            raise

    async def _run_session(
        self,
        session: Session,
        options: StudyOptions,
        loop: Loop,
        log: EventLog,
        progress: Progress,
        n_before: int,
        reused_before: int,
    ) -> None:
        status: StudyStatus = "finished"
        cap = options.search_budget
        if cap is not None:
            kept = held_back(options, models_score=bool(scored_by_models(self.task.file)))
            session.set_cap(replace(cap, amount=cap.amount - kept))
        try:
            await loop.search(session)
        except SearchBudgetExhausted:
            status = "search_budget_exhausted"
        session.set_cap(cap)
        unconfirmed = await loop.confirm(session)
        n_paid = await session.n_paid()
        # The store knows of draws that arrived for problems which were cut off; the count by problem does not.
        progress.n_paid = n_paid - n_before
        # The trials of a search that ended tell what was reused; those that were cut off are in no log.
        n_reused = None if status == "finished" else reused_before + progress.n_reused
        message = self._message(status, options, loop)
        # The plan first: a study that ended has one.
        self._save_plan(message)
        self._end(log, progress, status, message, {"n_paid": n_paid, "n_reused": n_reused}, unconfirmed)

    def _session(self, state: StudyState, cap: Budget | None, progress: Progress) -> Any:
        return self.sessions(
            self.task,
            store_url=self.store_url or state.started["store"],
            study_id=state.started["study_id"],
            cap=cap,
            on_wait=lambda message: progress.tell("waiting", message=message),
            **self._planner(),
        )

    def _planner(self) -> dict[str, Any]:
        options = self.options
        if options.planner is None:
            return {}
        setup = PlannerSetup.of(
            options.planner,
            self.task.file.planner,
            budget=options.planner_budget,
            deadline_s=options.planner_deadline_s,
            seed=options.seed,
        )
        return {"planner": setup}

    def _message(self, status: StudyStatus, options: StudyOptions, loop: Loop) -> str:
        if status == "finished":
            return loop.note
        n = len(loop.archive.trials)
        return (
            f"the search budget of {options.search_budget} ended the search after {n} of {options.n_trials} trials; "
            "trials that it cut off are not scored. To go on, run the same command with a larger --search-budget: "
            f"{what_is_kept(self.state().started['store'])}"
        )

    def _resume_hint(self) -> str:
        kept = what_is_kept(self.state().started["store"])
        return f"To go on, run the same command again ({self.folder}); {kept}."

    def _retry_hint(self, state: StudyState) -> str:
        if state.ended is None or state.ended["status"] != "finished" or not state.unscored:
            return ""
        return (
            "Too many unseen problems failed, so the plan has no score on them. Once the cause is mended, run the same "
            f"command again ({self.folder}): only the confirmation is run again, with the draws that it has."
        )

    def _end(
        self,
        log: EventLog,
        progress: Progress,
        status: StudyStatus,
        message: str,
        counts: Mapping[str, int | None],
        unconfirmed: str = "the search has not ended",
    ) -> None:
        log.append(
            "ended",
            status=status,
            message=message,
            no_confirmation_because=unconfirmed,
            **({} if progress.session is None else progress.session.paid()),
            n_paid_now=progress.n_paid,
            **{name: count for name, count in counts.items() if count is not None},
        )
        progress.tell("ended", message=message)

    # --- reading -----------------------------------------------------------------------------------------------

    def result(self) -> StudyResult:
        """Return what the study has found so far, from its log alone.

        Raises:
            RunError: The log cannot be read.
        """
        state = self.state()
        options = StudyOptions.from_json(state.options)
        archive = state.archive
        best = archive.best()
        ended = state.ended or {
            "status": "interrupted",
            "message": f"the run was cut off. {self._resume_hint()}",
        }
        plan = self.folder / PLAN_FILE
        final = state.final
        last_round = state.rounds[-1] if state.rounds else {}
        return StudyResult(
            status=ended["status"],
            budget=options.budget,
            best=best,
            best_interval=None
            if best is None
            else mean_interval(list(best.scores.values()), confidence=options.confidence, seed=options.seed),
            runner_up=archive.runner_up(),
            confirmation=None if final is None else confirmation(final, options, self.task.file),
            no_confirmation_because="" if final is not None else _why_unconfirmed(ended),
            alternative=alternative(archive, options),
            spent=CostModel(self.task.cards).nothing() if state.spent is None else Cost(**state.spent),
            n_paid=state.n_paid,
            n_reused=state.n_reused,
            n_paid_now=0 if ended["status"] == "finished" else ended.get("n_paid_now", 0),
            trials=archive.trials,
            failures=tuple((trial.number, entry) for trial in archive.trials for entry in trial.failures),
            plan_path=plan if plan.exists() else None,
            message=" ".join(filter(None, (ended["message"], self._retry_hint(state)))),
            what_is_kept=what_is_kept(state.started["store"]),
            n_feasible=last_round.get("n_feasible"),
            n_allocations=last_round.get("n_allocations"),
            insights=archive.insights,
            spent_on_task=None if state.spent_on_task is None else Cost(**state.spent_on_task),
            planner=planner_use(options.planner, state.rounds, state.planner_bill),
            break_even=()
            if best is None
            else break_even(self.task.file, best, archive.trials, options.budget),
        )

    def _save_plan(self, message: str) -> None:
        from agenttts.study.planning import save_plan

        result = replace(self.result(), message=message)
        if result.best is not None:
            save_plan(self.folder / PLAN_FILE, self.task, result, result.best, self.options, self.state())


async def _counted(session: Session, progress: Progress, n_before: int, reused_before: int) -> dict[str, int]:
    """Return what a run that is cut off has paid and reused, by the store; empty where that cannot tell any more.

    To be called while the error or cancel that ends the run is on its way up: none is raised here.
    """
    try:
        n_paid = await asyncio.shield(session.n_paid())
    except (StoreError, asyncio.CancelledError):
        return {}
    progress.n_paid = n_paid - n_before
    return {"n_paid": n_paid, "n_reused": reused_before + progress.n_reused}


def _n_asked(state: StudyState) -> int:
    return 0 if state.planner_bill is None else int(state.planner_bill["calls"])


def _why_unconfirmed(ended: dict[str, Any]) -> str:
    return str(ended.get("no_confirmation_because") or "the search has not ended")
