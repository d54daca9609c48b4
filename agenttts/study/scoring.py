"""Score a plan on its task's problems: load it, draw what is not held yet, average.

How one allocation runs on many problems lives in `agenttts.study.evaluate`, which trials use too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Container, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from agenttts.budgets.cost import Budget, Cost, amount
from agenttts.errors import CardError, InputError, PlanError
from agenttts.study.evaluate import Evaluation, evaluate
from agenttts.study.events import EVENTS_FILE
from agenttts.study.figures import Figure, measure_figures, stage_figures
from agenttts.study.statistics import Interval, mean_interval
from agenttts.study.study import PLAN_FILE, RUNS
from agenttts.task.naming import asked_models, stage_models
from agenttts.task.reading import nearest

if TYPE_CHECKING:
    from agenttts.budgets.cost_model import CostModel
    from agenttts.budgets.ledger import SpendingLedger
    from agenttts.models.clients import Clients
    from agenttts.models.sampler import StoredSampler
    from agenttts.pipeline.across import BatchResult, Spread
    from agenttts.pipeline.base import Problem, Rollout
    from agenttts.pipeline.plan import Plan
    from agenttts.task.task import Task

__all__ = ["PlanScore", "Split", "drawing", "load_plan", "score_plan"]

Split = Literal["test", "search"]


@dataclass(frozen=True)
class PlanScore:
    """What a plan scored on a split."""

    plan: Plan
    split: Split
    evaluation: Evaluation
    score: Interval | None
    """Mean over the scored problems; `None` where more than 2 % failed, or all."""
    spent: Cost
    """What this evaluation really paid; draws that were held cost nothing."""
    spreads: tuple[Spread, ...] = ()
    """How samples were shared out across problems, by stage; empty where every problem got what the plan says."""
    average: Budget | None = None
    """The average budget that they were shared out under, where one was given."""

    @property
    def measures(self) -> dict[str, Figure]:
        """The task's `measures` by name, over the scored problems."""
        return measure_figures(self.evaluation.measures, self.evaluation.unmeasured)

    @property
    def stages(self) -> dict[str, Figure]:
        """Scores of the stages that have a `score` of their own, over the scored problems on which they ran."""
        return stage_figures(self.evaluation.stage_scores, self.plan.task.file)


def load_plan(
    plan: Plan | str | Path,
    *,
    trust: bool = False,
    endpoint: str | None = None,
    source: str | None = None,
    data: str | Path | None = None,
    needs: Split | None = None,
) -> Plan:
    """Return a plan, the models of its stages taken from `endpoint` and its data from `data` (see `Task.with_data`) where given.

    Raises:
        PlanError: There is no such plan, or it cannot be read.
        DataError: `data` cannot be used.
    """
    from agenttts.budgets.loading import override_endpoint
    from agenttts.pipeline.plan import Plan

    if not isinstance(plan, Plan):
        plan = Plan.load(_plan_file(Path(plan)), trust=trust)
    if data is not None:
        plan = replace(plan, task=plan.task.with_data(data, needs=needs))
    if endpoint is None and source is None:
        return plan
    moved = {
        name: override_endpoint(card, endpoint, source)
        for name, card in plan.task.cards.items()
        if name in stage_models(plan.task.file)
    }
    return replace(plan, task=replace(plan.task, cards={**plan.task.cards, **moved}))


def _plan_file(path: Path) -> Path:
    """Return the plan that a path means: the file, or the one in a run's folder; a bare name is also a run's."""
    if path.is_file():
        return path
    folders = [path, RUNS / path] if len(path.parts) == 1 else [path]
    for folder in folders:
        if (folder / PLAN_FILE).is_file():
            return folder / PLAN_FILE
    for folder in folders:
        if (folder / EVENTS_FILE).is_file():
            raise PlanError(f"{folder}: this run has no plan yet; go on with `agenttts optimize {folder}`")
    hint = _nearest_plan(path)
    raise PlanError(f"{path}: no such plan.\n{hint}" if hint else f"{path}: no such plan.")


def _nearest_plan(path: Path) -> str:
    """Return a hint that names the plan beside `path` or among the runs whose name is most like it."""
    plans = {file.name: file for file in path.parent.glob("*.y*ml")}
    for folder in (RUNS, path.parent):
        plans |= {file.parent.name: file.parent for file in folder.glob(f"*/{PLAN_FILE}")}
    close = get_close_matches(path.name, plans, n=1)
    return (
        f"Did you mean `{plans[close[0]]}`?"
        if close
        else nearest("", map(str, plans.values()), listed="Plans")
    )


async def score_plan(
    plan: Plan,
    *,
    split: Split,
    n: int | None,
    concurrency: int,
    store_url: str,
    across: Budget | None = None,
    share_out: bool = False,
    on_rollout: Callable[[Rollout], None] | None = None,
) -> PlanScore:
    """Score a plan on its task's problems.

    Args:
        plan: What to score.
        split: `test` or `search`.
        n: Only the first n problems; `None`: all.
        concurrency: Problems worked on at a time.
        store_url: Where draws are kept, see `agenttts.store.sql.open_store`.
        across: With `share_out`: the average budget of a problem; `None`: what the plan costs as it is.
        share_out: Let samples go where they are expected to gain most per cost, across all of the problems.
        on_rollout: Called with every problem's rollout, in the order of finishing.

    Raises:
        DataError: The problems cannot be read.
        ProviderError: A model's endpoint is down or refuses the key.
    """
    task = plan.task
    problems = (task.test() if split == "test" else task.search)[:n]
    asked = asked_models(task.file, plan.allocation)
    async with drawing(task, store_url, f"evaluate-{task.digest[:16]}", asked) as (
        clients,
        sampler,
        cost_model,
        ledger,
    ):
        spreads: tuple[Spread, ...] = ()
        if share_out:
            made = await _shared_out(
                plan, problems, across, clients, sampler, cost_model, concurrency, on_rollout
            )
            result, spreads = Evaluation.of(plan.allocation, made.rollouts), made.spreads
            result = replace(result, n_paid=made.n_paid, n_reused=made.n_reused)
        else:
            result = await evaluate(
                task,
                plan.allocation,
                problems,
                clients=clients,
                sampler=sampler,
                cost_model=cost_model,
                concurrency=concurrency,
                on_rollout=on_rollout,
            )
    score = None if result.invalid else mean_interval(list(result.scores.values()))
    return PlanScore(plan, split, result, score, ledger.spent, spreads, across)


async def _shared_out(
    plan: Plan,
    problems: Sequence[Problem],
    budget: Budget | None,
    clients: Clients,
    sampler: StoredSampler,
    cost_model: CostModel,
    concurrency: int,
    on_rollout: Callable[[Rollout], None] | None,
) -> BatchResult:
    from agenttts.pipeline.across import Across, kinds_of
    from agenttts.pipeline.pipeline import Pipeline

    unit = budget.unit if budget is not None else (plan.budget.unit if plan.budget is not None else None)
    batch = Across(
        pipeline=Pipeline.build(plan.task),
        allocation=plan.allocation,
        kinds=kinds_of(plan.task, plan.allocation),
        clients=clients,
        sampler=sampler,
        cost_model=cost_model,
        unit=unit or plan.task.file.budget.unit,
        most=clients.max_recorded,
        concurrency=concurrency,
    )
    return await batch.run(problems, share=share_of(plan, budget), on_rollout=on_rollout)


def share_of(plan: Plan, budget: Budget | None) -> float:
    """Return an average budget as a share of what a plan costs.

    Raises:
        InputError: The plan does not say what it costs, or not in that unit.
    """
    if budget is None:
        return 1.0
    if plan.cost_per_problem is None:
        raise InputError(
            "this plan does not say what a problem costs, so no other budget can be set against it"
        )
    try:
        cost = amount(plan.cost_per_problem, budget.unit)
    except CardError as error:
        raise InputError(f"the plan's cost is not known in {budget.unit}: {error}") from error
    return budget.amount / cost


@asynccontextmanager
async def drawing(
    task: Task, store_url: str, payer: str, asked: Container[str] | None = None
) -> AsyncIterator[tuple[Clients, StoredSampler, CostModel, SpendingLedger]]:
    """Give all that draws samples of a task's models, billed in the store to `payer`, and let go of it afterwards.

    Args:
        task: Whose models.
        store_url: Where draws are kept.
        payer: Whom they are billed to.
        asked: Cards that somebody must answer for before the first draw; `None`: all.
    """
    from agenttts.budgets.cost_model import CostModel
    from agenttts.budgets.ledger import SpendingLedger
    from agenttts.models.clients import Clients
    from agenttts.models.probe import Probe
    from agenttts.models.sampler import StoredSampler
    from agenttts.store.sql import open_store

    probed = [card for name, card in task.cards.items() if asked is None or name in asked]
    cost_model = CostModel(task.cards)
    ledger = SpendingLedger(cost_model, None)
    async with AsyncExitStack() as stack:
        store = open_store(store_url)
        stack.push_async_callback(store.aclose)
        clients = Clients(task.cards, probe=Probe(probed, task.card_files))
        stack.push_async_callback(clients.aclose)
        yield (
            clients,
            StoredSampler(clients, store, ledger, payer),
            cost_model,
            ledger,
        )
