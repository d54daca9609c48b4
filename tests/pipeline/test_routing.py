"""Problems sent to one of several settings by a rating: which one runs, what is passed on, what is charged."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from agenttts.budgets.cost_model import CostModel
from agenttts.models.base import Request
from agenttts.pipeline.base import Allocation, Problem, Rollout, StageChoice
from agenttts.pipeline.conditions import rating
from agenttts.pipeline.pipeline import Pipeline
from agenttts.task.task import Task
from agenttts.testing.doubles import ScriptedRequests, ScriptedSampler

ASK: dict[str, Any] = {
    "prompt": {"user": "Solve: {{ problem.question }}"},
    "models": ["simulated/small"],
    "parse": "last_number",
}


def setting(needs: list[str], **more: Any) -> dict[str, Any]:
    user = f"Setting {len(needs)} {'otherwise' in more}: {{{{ problem.question }}}}"
    return {**ASK, "prompt": {"user": user}, "needs": needs, **more}


def rated(below: list[float]) -> dict[str, Any]:
    return {"stage": "rate", "measure": "answer", "below": below}


STAGES = {
    "rate": ASK,
    "easy": setting(["rate"], when=rated([0, 0.3, 1.01])),
    "medium": setting(["rate", "easy"], otherwise="easy", when=rated([0, 0.7, 1.01])),
    "hard": setting(["rate", "easy", "medium"], otherwise="medium"),
}


@pytest.fixture
def go(
    make_task: Callable[..., Task], problem: Problem, cost_model: CostModel
) -> Callable[[str, float, float], Rollout]:
    task = make_task(stages=STAGES)

    def go(said: str, easy: float, medium: float) -> Rollout:
        def reply(request: Request, index: int) -> str:
            return {"rate": said, "easy": "1", "medium": "no number", "hard": "42"}[request.stage]

        below = {"easy": easy, "medium": medium}
        choices = tuple(StageChoice(n, "simulated/small", 1, "first", below.get(n)) for n in STAGES)
        pipeline = Pipeline.build(task)
        return asyncio.run(
            pipeline.run(
                problem,
                Allocation(choices),
                clients=ScriptedRequests(),
                sampler=ScriptedSampler(reply),
                cost_model=cost_model,
            )
        )

    return go


@pytest.mark.parametrize(
    ("said", "easy", "medium", "runs"),
    [
        ("0.1", 0.3, 0.7, "easy"),
        ("0.3", 0.3, 0.7, "medium"),  # at a threshold is not below it
        ("0.69", 0.3, 0.7, "medium"),
        ("0.7", 0.3, 0.7, "hard"),
        ("-5", 0.3, 0.7, "easy"),  # clipped
        ("900", 0.3, 1.01, "medium"),
        ("hard to say", 0.3, 0.7, "easy"),  # unknown: the first that is asked
        ("hard to say", 0.0, 0.7, "medium"),
        ("hard to say", 0.0, 0.0, "hard"),
        ("0.1", 0.0, 0.0, "hard"),
        ("0.9", 1.01, 0.7, "easy"),
    ],
)
def test_a_problem_goes_to_the_first_setting_whose_threshold_is_above_its_rating(
    go: Callable[..., Rollout], said: str, easy: float, medium: float, runs: str
) -> None:
    rollout = go(said, easy, medium)
    assert [name for name, output in rollout.outputs.items() if not output.skipped] == ["rate", runs]
    assert [name for name, output in rollout.outputs.items() if output.charges] == ["rate", runs]
    answer = {"easy": "1", "medium": None, "hard": "42"}[runs]
    assert rollout.outputs["hard"].answer == answer
    assert rollout.score == float(runs == "hard")
    costs = {name: cost.prefill_tokens + cost.decode_tokens for name, cost in rollout.costs.items()}
    assert {name for name, cost in costs.items() if cost > 0} == {"rate", runs}


def test_a_setting_without_a_parsed_answer_is_not_taken_over_from(go: Callable[..., Rollout]) -> None:
    rollout = go("0.5", 0.3, 0.7)
    assert rollout.outputs["medium"].answer is None
    assert not rollout.outputs["medium"].skipped
    assert rollout.outputs["hard"].skipped
    assert rollout.outputs["hard"].notes == ("skipped: medium took the problem",)


def test_a_setting_that_is_not_run_has_no_answer_and_says_why(go: Callable[..., Rollout]) -> None:
    easy = go("0.5", 0.3, 0.7).outputs["easy"]
    assert (easy.answer, easy.text, easy.answers) == (None, "", ())
    assert easy.notes == ("skipped: answer 0.5 is not below 0.3",)


def test_the_rating_is_measured_for_every_setting(go: Callable[..., Rollout]) -> None:
    assert go("0.25", 0.3, 0.7).measured == {"easy": 0.25, "medium": 0.25}
    assert go("no idea", 0.3, 0.7).measured == {}


@pytest.mark.parametrize(
    ("answer", "value"),
    [("0.4", 0.4), (0.4, 0.4), (3, 1.0), (-1, 0.0), ("1e999", 1.0), (True, 1.0)]
    + [(bad, None) for bad in (None, "easy", "nan", float("nan"), [0.4], {"a": 1}, 10**400)],
)
def test_an_answer_is_read_as_a_number_clipped_to_the_unit_interval(answer: Any, value: float | None) -> None:
    assert rating(answer) == value
