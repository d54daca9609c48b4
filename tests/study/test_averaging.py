"""Scores averaged over draws that earlier trials left: free, unbiased, and nothing else of a rollout changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agenttts.allocators.base import Proposal
from agenttts.budgets.cards import ModelCard
from agenttts.budgets.cost import Budget, Unit
from agenttts.budgets.cost_model import CostModel
from agenttts.models.base import Request
from agenttts.pipeline.base import Allocation, Problem, Rollout, StageChoice
from agenttts.pipeline.pipeline import Pipeline
from agenttts.study.archive import Archive, Trial
from agenttts.study.averaging import PipelineAverager, averaged, usable_draws
from agenttts.study.evaluate import Evaluation, run_problems
from agenttts.study.session import Session, open_session
from agenttts.task.schema import TaskFile
from agenttts.task.task import Task
from agenttts.testing.doubles import ScriptedRequests, ScriptedSampler

BUDGET = Budget(500, Unit.TOKENS)


def allocation(plan: tuple[str, int], solve: tuple[str, int]) -> Allocation:
    return Allocation(
        tuple(
            StageChoice(stage, f"rec/{model}", n, "majority" if n > 1 else "first")
            for stage, (model, n) in (("plan", plan), ("solve", solve))
        )
    )


MANY = allocation(("small", 2), ("large", 8))
FEW = allocation(("small", 2), ("large", 3))


@pytest.fixture
async def session(task: Task) -> AsyncIterator[Session]:
    opened = open_session(task, store_url="memory:", study_id="s", cap=None, on_wait=lambda message: None)
    async with opened as session:
        yield session


async def evaluated(
    session: Session, task: Task, wanted: Allocation, known: tuple[Trial, ...] = (), n: int = 30
) -> Evaluation:
    runner = averaged(session.runner, session.averager, usable_draws(task, known, wanted))
    return await run_problems(runner, wanted, task.search[:n], gate=asyncio.Semaphore(4))


def as_trial(evaluation: Evaluation, **changes: Any) -> Trial:
    return replace(evaluation.as_trial(0, Proposal(evaluation.allocation, "test", ""), BUDGET), **changes)


async def test_the_score_of_few_is_averaged_over_the_many_that_are_held(session: Session, task: Task):
    many = as_trial(await evaluated(session, task, MANY))
    own = await evaluated(session, task, FEW)
    average = await evaluated(session, task, FEW, (many,))
    assert average.estimated_from == {"solve": 8}
    assert own.estimated_from == {}
    assert average.n_paid == 0
    assert (average.costs, average.lengths) == (own.costs, own.lengths)
    assert average.sample_scores == own.sample_scores
    assert average.stage_scores["plan"] == own.stage_scores["plan"]
    assert average.stage_scores["solve"] == average.scores
    assert set(own.scores.values()) <= {0.0, 1.0}
    for name, score in average.scores.items():
        right = sum(many.sample_scores["solve"][name])
        if right in (0, 7, 8):
            assert score == (right > 0), "no set of three can miss it, or none can hit it"
        else:
            assert 0 < score < 1
    means = [sum(scores.values()) / 30 for scores in (own.scores, average.scores)]
    assert means[1] == pytest.approx(means[0], abs=0.15)


async def test_one_sample_scores_the_mean_of_all_that_are_held(session: Session, task: Task):
    many = as_trial(await evaluated(session, task, MANY))
    one = await evaluated(session, task, allocation(("small", 2), ("large", 1)), (many,))
    assert one.scores == {
        name: pytest.approx(sum(scores) / 8) for name, scores in many.sample_scores["solve"].items()
    }


async def test_only_problems_that_the_earlier_trial_saw_are_averaged(session: Session, task: Task):
    many = as_trial(await evaluated(session, task, MANY, n=10), status="stopped")
    average = await evaluated(session, task, FEW, (many,))
    assert average.n_paid == 20 * 2 + _n_large(average, many), (
        "nothing but the draws of the allocation itself"
    )
    assert all(score in (0, 1) for name, score in average.scores.items() if name not in many.scores)


def _n_large(average: Evaluation, many: Trial) -> int:
    # Problems of the same plan share no prompt here: each holds its own question.
    return 3 * sum(name not in many.scores for name in average.scores)


async def test_another_way_to_the_same_prompt_leads_to_the_same_draws(session: Session, task: Task):
    """Where two planners agree, the solver is asked the same; where not, its own draws are all there is."""
    many = as_trial(await evaluated(session, task, MANY))
    wanted = allocation(("large", 1), ("large", 1))
    own = await evaluated(session, task, wanted)
    average = await evaluated(session, task, wanted, (many,))
    assert average.n_paid == 0
    same = {
        name for name, digest in average.prompts["solve"].items() if digest == many.prompts["solve"][name]
    }
    assert 0 < len(same) < 30
    for name, score in average.scores.items():
        expected = sum(many.sample_scores["solve"][name]) / 8 if name in same else own.scores[name]
        assert score == pytest.approx(expected)


async def test_a_stage_that_others_build_on_keeps_what_they_saw(session: Session, task: Task):
    many = as_trial(await evaluated(session, task, allocation(("small", 8), ("large", 1))))
    wanted = allocation(("small", 2), ("large", 1))
    assert usable_draws(task, (many,), wanted) == {}


def test_conditional_stages_are_left_alone(task: Task):
    trial = Trial(0, MANY, "ok", {"q01": 1.0}, 1.0)
    assert usable_draws(task, (trial,), FEW) == {"solve": {"q01": {"": 8}}}
    plan, solve = FEW.choices
    assert usable_draws(task, (trial,), Allocation((plan, replace(solve, below=0.5)))) == {}


def test_a_trial_remembers_what_it_was_averaged_over(tmp_path: Path):
    trial = Trial(0, FEW, "stopped", {"q01": 0.5}, 1.0, stopped_because="why", estimated_from={"solve": 8})
    assert Trial.from_json(trial.to_json()) == trial
    new = {"stopped_because", "estimated_from", "prompts"}
    old = {k: v for k, v in trial.to_json().items() if k not in new}
    assert Trial.from_json(old) == replace(trial, stopped_because="", estimated_from={}, prompts={})
    assert Archive.of([trial]).best() is None


ESCALATION = """
name: recorded-escalation
data: {path: problems.jsonl, id: id}
splits:
  search: {where: {split: search}}
  test: {where: {split: test}}
models:
  rec/small: {source: recorded, table: draws.csv, parameters: 1.0e+6, max_n: 64}
  rec/large: {source: recorded, table: draws.csv, parameters: 4.0e+6, max_n: 64}
stages:
  solve:
    prompt: {user: "solve: {{ problem.question }}"}
    models: [rec/small, rec/large]
    n_samples: [1, 3, 8]
    parse: last_number
    score: {verifier: numeric, gold: answer}
  plan:
    needs: [solve]
    when: {stage: solve, below: [0, 0.9]}
    prompt: {user: "plan: {{ problem.question }}"}
    models: [rec/large]
    n_samples: [1, 8]
    parse: last_number
score: {verifier: numeric, gold: answer}
budget: {unit: tokens}
"""


PROBE = """
  probe:
    needs: [solve]
    test: {stage: solve, verifier: {kind: regex, pattern: '1.*'}}
score: {verifier: numeric, gold: answer, stage: plan}
budget:"""
TESTED = (
    ESCALATION.replace("needs: [solve]", "needs: [solve, probe]")
    .replace("{stage: solve, below", "{stage: probe, measure: score, below")
    .replace("\nscore: {verifier: numeric, gold: answer}\nbudget:", PROBE)
)


@pytest.mark.parametrize("text", [ESCALATION, TESTED], ids=["watched", "tested"])
async def test_before_a_stage_that_is_off_the_watched_one_decides(task: Task, text: str):
    path = task.folder / "escalation.yaml"
    path.write_text(text)
    task = Task.load(path)

    def chosen(n: int, below: float) -> Allocation:
        solve = StageChoice("solve", "rec/large", n, "majority" if n > 1 else "first")
        return Allocation((solve, StageChoice("plan", "rec/large", 1, "first", below)))

    opened = open_session(task, store_url="memory:", study_id="s", cap=None, on_wait=lambda message: None)
    async with opened as session:
        many = as_trial(await evaluated(session, task, chosen(8, 0.9)))
        assert usable_draws(task, (many,), chosen(3, 0.9)) == {}, "later votes hang on what these three were"
        one = await evaluated(session, task, chosen(1, 0.0), (many,))
    assert one.estimated_from == {"solve": 8}
    assert one.n_paid == 0
    assert one.scores == {
        name: pytest.approx(sum(scores) / 8) for name, scores in many.sample_scores["solve"].items()
    }


JUDGED = {
    "name": "judged",
    "data": {"path": "problems.jsonl"},
    "stages": {
        "solve": {
            "prompt": {"user": "Solve: {{ problem.question }}"},
            "models": ["simulated/small"],
            "n_samples": [1, 2, 4],
            "parse": "last_number",
            "select": ["majority", {"kind": "best_of_n", "verifier": "tiny_prm"}],
        }
    },
    "score": {"verifier": "numeric", "gold": "answer"},
}
BEST = "best_of_n(tiny_prm)"


async def test_best_of_n_is_averaged_by_the_verifiers_word_on_every_draw(tmp_path: Path):
    """Of four draws the verifier likes the third, which is wrong, best: it is among two in half of all sets."""
    cards = {
        name: ModelCard(name=name, source="tiny", parameters=1e3) for name in ("simulated/small", "tiny/prm")
    }
    problem = Problem("p1", {"question": "6 * 7?", "answer": 42})
    task = Task(
        file=TaskFile.model_validate(JUDGED), folder=tmp_path, cards=cards, search=(problem,), trusted=False
    )

    def script(request: Request, index: int) -> str:
        if request.model == "tiny/prm":
            return "[0.9]" if "41" in request.messages[-1].content else "[0.2]"
        return ["42", "it is 42", "41", "so 42"][index]

    pipeline, requests, sampler = Pipeline.build(task), ScriptedRequests(), ScriptedSampler(script)

    async def run(asked: Problem, wanted: Allocation) -> Rollout:
        cost_model = CostModel(cards)
        return await pipeline.run(asked, wanted, clients=requests, sampler=sampler, cost_model=cost_model)

    def best(n: int, label: str = BEST) -> Allocation:
        return Allocation((StageChoice("solve", "simulated/small", n, label),))

    known = [Trial(0, best(4), "ok", {"p1": (await run(problem, best(4))).score or 0.0}, 1.0)]
    assert usable_draws(task, [replace(known[0], allocation=best(4, "majority"))], best(2)) == {}
    usable = usable_draws(task, known, best(2))
    averager = PipelineAverager(task, pipeline, requests, sampler)
    rollout = await averaged(run, averager, usable)(problem, best(2))
    assert rollout.score == pytest.approx(0.5)
    assert (rollout.n_paid, rollout.estimated_from) == (0, {"solve": 4})
