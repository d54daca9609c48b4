"""inspect_ai: plans as models and as a solver, verifiers as scorers.

    inspect eval task.py --model agenttts/runs/x/plan.yaml
    inspect eval task.py --solver agenttts/plan -S plan=runs/x/plan.yaml
    inspect score log.eval --scorer agenttts/verifier -S kind=numeric

Only the names are here; what they do is loaded when they are used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inspect_ai.model import ModelAPI, modelapi
from inspect_ai.scorer import Scorer, mean, scorer, stderr
from inspect_ai.solver import Solver, solver

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["agenttts", "plan", "verifier"]


@modelapi(name="agenttts")
def agenttts() -> type[ModelAPI]:
    """Plans as models: `agenttts/` before the path of a plan, of a run's folder, or the name of a run.

    `--model-base-url` takes every model of the plan from that endpoint. `-M` takes `fields` (where the fields of a
    problem are, as in `text:user`), `content` (`answer`: say what was read out of the selected sample, in place of its
    text), `store` (database URL that keeps draws) and `trust`.
    """
    from agenttts.harness.inspect_model import PlanModel

    return PlanModel


@solver
def plan(
    plan: str,
    fields: str | Mapping[str, str] | None = None,
    content: str = "text",
    endpoint: str | None = None,
    store: str | None = None,
    trust: bool = False,
) -> Solver:
    """Answer each sample by a plan, whatever the model of the evaluation is.

    A plan that reads a single field gets the input. One that reads several gets those of the sample's metadata that have
    their names, and the input for a single one that is missing there.

    Args:
        plan: As the model of that name takes it.
        fields: Where other fields are, e.g. `question:user;context:row.passages`; `row` is the metadata.
        content: `text` of the selected sample, or the `answer` that was read out of it.
        endpoint: Ask the models of stages at this OpenAI-compatible base URL; scorers and planner stay where their cards say.
        store: Database URL that keeps draws.
        trust: Allow the Python functions that the plan's task names to run.
    """
    from agenttts.harness.inspect_model import plan_solver

    return plan_solver(plan, endpoint, fields=fields, content=content, store=store, trust=trust)


@scorer(metrics=[mean(), stderr()])
def verifier(
    kind: str,
    gold: str = "target",
    parse: str | Mapping[str, Any] | None = None,
    endpoint: str | None = None,
    trust: bool = False,
    **settings: Any,
) -> Scorer:
    """Score outputs by a verifier of agenttts.

    What cannot be scored has no score, and is left out of the mean; it is never 0.

    Args:
        kind: A kind of verifier, e.g. `numeric`, `math`, `exact`, `code`, `judge`, or the name of a verifier card.
        gold: Field with the right answer, for kinds that compare: `target`, or a name in the sample's metadata.
        parse: How a completion becomes an answer, as in a task; `None`: the answer that a plan gave, else what fits the
            kind (the last number, the last boxed expression, the last block of code, the whole text).
        endpoint: Take the model that is asked from this OpenAI-compatible base URL.
        trust: Allow Python functions that are named to run.
        settings: Of the kind, as in a task, e.g. `tolerance`, `tests`, `model`, `rubric`.
    """
    from agenttts.harness.inspect_scorer import verifier_scorer

    return verifier_scorer({"kind": kind, **settings}, gold, parse, endpoint, trust=trust)
