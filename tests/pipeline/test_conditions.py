"""Stages that run on a condition: when they do, what they pass on, what they cost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from agenttts.budgets.cost_model import CostModel
from agenttts.models.base import Request
from agenttts.pipeline.base import Allocation, Judged, Problem, Rollout, StageChoice, StageOutput
from agenttts.pipeline.conditions import agreement, answer_codes, measured, skipped
from agenttts.pipeline.driver import StageRun
from agenttts.pipeline.pipeline import Pipeline
from agenttts.task.options import WhenBlock
from agenttts.task.task import Task
from agenttts.testing.doubles import ScriptedRequests, ScriptedSampler

MakeTask = Callable[..., Task]
ATTEMPT = {
    "prompt": {"user": "Solve: {{ problem.question }}"},
    "models": ["simulated/small"],
    "n_samples": [1, 2, 4],
    "parse": "last_number",
    "select": "majority",
}
ESCALATE = {
    **ATTEMPT,
    "prompt": {"user": "Again: {{ problem.question }}"},
    "models": ["simulated/large"],
    "needs": ["attempt"],
    "when": {"stage": "attempt", "below": [0, 0.7]},
}
FINAL = {
    **ATTEMPT,
    "needs": ["escalate"],
    "prompt": {"user": "Check {{ stages.escalate.answer }} of {{ stages.escalate.answers | join(' ') }}"},
}
SAID = {"attempt": ["it is 41", "42", "42", "no idea"], "escalate": ["41", "40"], "final": ["42"]}


@dataclass(frozen=True)
class Watching:
    """A stage that runs on a condition."""

    when: WhenBlock
    otherwise: str | None = None


def chosen(
    n: int = 4, below: float = 0.7, more: int = 2, select: str = "majority"
) -> tuple[StageChoice, ...]:
    return (
        StageChoice("attempt", "simulated/small", n, "first" if n == 1 else select),
        StageChoice("escalate", "simulated/large", more, "first" if more == 1 else "majority", below),
    )


@pytest.fixture
def go(problem: Problem, cost_model: CostModel) -> Callable[..., Rollout]:
    def go(task: Task, choices: Sequence[StageChoice], said: dict[str, list[str]] = SAID) -> Rollout:
        def reply(request: Request, index: int) -> str:
            return said[request.stage][index]

        return asyncio.run(
            Pipeline.build(task).run(
                problem,
                Allocation(tuple(choices)),
                clients=ScriptedRequests(),
                sampler=ScriptedSampler(reply),
                cost_model=cost_model,
            )
        )

    return go


def test_agreement_is_the_share_of_all_samples_that_hold_the_selected_answer() -> None:
    assert agreement(StageOutput("42", answers=("41", "42", 42.0, None))) == 0.5
    assert agreement(StageOutput(None, answers=(None, None))) == 0.0
    assert answer_codes(["41", "42", None, 42.0, "7"]) == (0, 1, -1, 1, 2)


def test_the_score_of_the_selected_sample_is_measured_where_there_is_one() -> None:
    output = StageOutput("a", answers=("b", "a"), selected=1, verifier_scores=(0.1, 0.8))
    assert measured("verifier_score", output) == 0.8
    assert measured("verifier_score", StageOutput("a", answers=("a",), selected=0)) is None


def test_a_stage_runs_where_the_stage_it_watches_agrees_too_little(make_task: MakeTask, go: Any) -> None:
    rollout = go(make_task({"attempt": ATTEMPT, "escalate": ESCALATE}), chosen())
    output = rollout.outputs["escalate"]
    assert not output.skipped
    assert (output.answer, rollout.n_paid, rollout.score) == ("41", 6, 0.0)
    assert rollout.votes["attempt"] == (0, 1, 1, -1)
    assert rollout.measured == {"escalate": 0.5}


def test_a_skipped_stage_passes_the_answer_on_and_costs_nothing(make_task: MakeTask, go: Any) -> None:
    rollout = go(make_task({"attempt": ATTEMPT, "escalate": ESCALATE}), chosen(below=0.5))
    output = rollout.outputs["escalate"]
    assert output.skipped
    assert (output.answer, output.text) == ("42", "42")
    assert output.notes == ("skipped: agreement 0.5 is not below 0.5",)
    assert (rollout.n_paid, rollout.score) == (4, 1.0)
    assert rollout.costs["escalate"].flops == 0
    assert rollout.stage_scores == {}  # only the final stage has gold, and it did not run
    assert rollout.sample_scores == {}


def test_a_skipped_stage_sent_nothing_to_a_verifier() -> None:
    watched = StageOutput(
        "42", answers=("42", "42"), selected=0, verifier_scores=(0.8, None), judged=Judged(2, 1, "?")
    )
    escalate = Watching(WhenBlock(stage="attempt", below=[0, 0.7]))
    run = skipped(escalate, StageChoice("escalate", "m", 2, "majority", 0.7), {"attempt": StageRun(watched)})
    assert run is not None
    assert (run.output.skipped, run.output.verifier_scores, run.output.judged) == (True, (), Judged())


def test_a_stage_that_is_off_never_runs(make_task: MakeTask, go: Any) -> None:
    nothing = {**SAID, "attempt": ["?", "?", "?", "?"]}
    rollout = go(make_task({"attempt": ATTEMPT, "escalate": ESCALATE}), chosen(below=0.0), nothing)
    assert rollout.outputs["escalate"].notes == ("skipped: this allocation never runs it",)
    assert rollout.n_paid == 4


def test_a_stage_runs_where_nothing_could_be_parsed(make_task: MakeTask, go: Any) -> None:
    nothing = {**SAID, "attempt": ["?", "?", "?", "?"]}
    rollout = go(make_task({"attempt": ATTEMPT, "escalate": ESCALATE}), chosen(below=0.01), nothing)
    assert rollout.outputs["escalate"].answer == "41"


def test_later_stages_see_what_a_skipped_stage_passes_on(make_task: MakeTask, go: Any) -> None:
    final = StageChoice("final", "simulated/small", 1, "first")
    task = make_task({"attempt": ATTEMPT, "escalate": ESCALATE, "final": FINAL})
    rollout = go(task, (*chosen(below=0.5), final))
    assert rollout.outputs["final"].answer == "42"
    charge = rollout.outputs["final"].charges[0]
    assert charge.usage.prefill_tokens == len(["Check", "42", "of", "41", "42", "42"])


def test_pooled_votes_count_both_stages_samples(make_task: MakeTask, go: Any) -> None:
    task = make_task({"attempt": ATTEMPT, "escalate": {**ESCALATE, "pool": True}})
    said = {**SAID, "attempt": ["41", "42", "?", "?"], "escalate": ["7 or 40", "40"]}
    output = go(task, chosen(), said).outputs["escalate"]
    assert (output.answer, output.selected, output.text) == ("40", 0, "7 or 40")
    assert output.answers == ("40", "40")


def test_a_tie_of_pooled_votes_goes_to_the_watched_stage(make_task: MakeTask, go: Any) -> None:
    task = make_task({"attempt": ATTEMPT, "escalate": {**ESCALATE, "pool": True}})
    said = {**SAID, "attempt": ["41", "so 42", "?", "?"], "escalate": ["42", "41"]}
    rollout = go(task, chosen(), said)
    output = rollout.outputs["escalate"]
    assert (output.answer, output.selected, output.text) == ("41", None, "41")
    one = go(task, chosen(more=1), said).outputs["escalate"]  # one sample of its own decides between two
    assert (one.answer, one.text) == ("42", "so 42")


def test_the_score_of_a_single_sample_is_unknown_so_the_stage_runs(make_task: MakeTask, go: Any) -> None:
    attempt = {**ATTEMPT, "select": {"kind": "best_of_n", "verifier": "tiny_prm"}}
    escalate = {**ESCALATE, "when": {"stage": "attempt", "measure": "verifier_score", "below": 0.5}}
    rollout = go(make_task({"attempt": attempt, "escalate": escalate}), chosen(n=1, below=0.5))
    assert not rollout.outputs["escalate"].skipped
    assert rollout.measured == {}
