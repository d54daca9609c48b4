"""Test stages: what they say of an answer, what is mended, and whose answer stands where nothing had to be."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from agenttts.budgets.cost_model import CostModel
from agenttts.models.base import Request
from agenttts.pipeline.base import Allocation, Problem, Rollout, StageChoice
from agenttts.pipeline.driver import World
from agenttts.pipeline.pipeline import Pipeline
from agenttts.pipeline.tested import Tested
from agenttts.task.task import Task
from agenttts.testing.doubles import ScriptedRequests, ScriptedSampler
from agenttts.verifiers.base import Candidate, Score

MakeTask = Callable[..., Task]
RIGHT = "def twice(x):\n    return 2 * x\n"
WRONG = "def twice(x):\n    return x + 2\n"
PROBLEM = Problem(
    "p", {"question": "Write twice.", "tests": ["assert twice(3) == 6"], "broken": [], "gold": RIGHT}
)
MODEL = {"models": ["simulated/small"]}
SCORE = {"stage": "repair", "verifier": {"kind": "exact", "normalise": False}, "gold": "gold"}
REPAIR = {
    **MODEL,
    "needs": ["code", "check"],
    "when": {"stage": "check", "measure": "score", "below": [0, 1]},
    "prompt": {
        "user": "Mend {{ stages.code.answer }} Passed: {{ stages.check.answer.passed }} "
        "({{ stages.check.answer.score }}). {{ stages.check.answer.feedback }}|{{ stages.check.text }}"
    },
}
CODE = {**MODEL, "prompt": {"user": "{{ problem.question }}"}}


def checking(stage: str = "code", **verifier: Any) -> dict[str, Any]:
    return {
        "needs": [stage],
        "test": {"stage": stage, "verifier": verifier or {"kind": "code", "tests": "tests"}},
    }


STAGES = {"code": CODE, "check": checking(), "repair": REPAIR}


@dataclass
class Ran:
    """A rollout and what was asked for."""

    rollout: Rollout
    prompts: dict[str, str] = field(default_factory=dict)


@pytest.fixture
def go(cost_model: CostModel) -> Callable[..., Ran]:
    def go(
        task: Task, said: Mapping[str, str], below: Mapping[str, float], problem: Problem = PROBLEM
    ) -> Ran:
        prompts: dict[str, str] = {}

        def reply(request: Request, index: int) -> str:
            prompts[request.stage] = request.messages[-1].content
            return said[request.stage]

        choices = [
            StageChoice(name, "simulated/small", 1, "first", below.get(name)) for name in task.llm_stages
        ]
        rollout = asyncio.run(
            Pipeline.build(task).run(
                problem,
                Allocation(tuple(choices)),
                clients=ScriptedRequests(),
                sampler=ScriptedSampler(reply),
                cost_model=cost_model,
            )
        )
        return Ran(rollout, prompts)

    return go


def test_an_answer_that_fails_is_mended_with_what_the_test_says(make_task: MakeTask, go: Any) -> None:
    ran = go(make_task(STAGES, SCORE), {"code": WRONG, "repair": RIGHT}, {"repair": 1})
    answer = ran.rollout.outputs["check"].answer
    assert (answer["passed"], answer["score"]) == (False, 0.0)
    assert "Test 1 of 1 failed." in answer["feedback"]
    prompt = ran.prompts["repair"]
    assert prompt.startswith(f"Mend {WRONG.strip()}")
    assert "Passed: False (0.0). Test 1 of 1 failed." in prompt
    assert prompt.endswith(f"|{answer['feedback']}")
    assert ran.rollout.measured == {"repair": 0.0}
    assert ran.rollout.score == 1.0


def test_an_answer_that_passes_stands_and_costs_nothing_more(make_task: MakeTask, go: Any) -> None:
    ran = go(make_task(STAGES, SCORE), {"code": RIGHT}, {"repair": 1})
    repaired = ran.rollout.outputs["repair"]
    assert ran.rollout.outputs["check"].answer == {"passed": True, "score": 1.0, "feedback": ""}
    assert (repaired.skipped, repaired.answer, repaired.charges) == (
        True,
        ran.rollout.outputs["code"].answer,
        (),
    )
    assert repaired.notes == ("skipped: score 1 is not below 1",)
    assert ran.rollout.score == 1.0
    assert set(ran.rollout.costs) == {"code", "repair"}
    assert ran.rollout.costs["repair"].flops == 0


def test_a_repair_that_is_off_passes_the_tested_answer_on_and_not_the_outcome(
    make_task: MakeTask, go: Any
) -> None:
    ran = go(make_task(STAGES, SCORE), {"code": WRONG}, {"repair": 0})
    assert ran.rollout.outputs["repair"].answer == ran.rollout.outputs["code"].answer
    assert ran.rollout.score == 0.0
    assert ran.rollout.votes == {}


def test_a_repair_need_not_read_the_stage_whose_answer_it_passes_on(make_task: MakeTask, go: Any) -> None:
    blind = {**REPAIR, "needs": ["check"], "prompt": {"user": "{{ stages.check.answer.feedback }}"}}
    ran = go(make_task({**STAGES, "repair": blind}, SCORE), {"code": RIGHT}, {"repair": 1})
    assert ran.rollout.outputs["repair"].text == ran.rollout.outputs["code"].text


CHAIN = {
    "code": CODE,
    "static_check": checking(kind="regex", pattern=r"(?s)def twice\(x\):\n    return .*"),
    "static_repair": {
        **MODEL,
        "needs": ["code", "static_check"],
        "when": {"stage": "static_check", "measure": "score", "below": 1},
        "prompt": {"user": "Static: {{ stages.code.answer }}"},
    },
    "dynamic_check": checking("static_repair"),
    "dynamic_repair": {
        **MODEL,
        "needs": ["static_repair", "dynamic_check"],
        "when": {"stage": "dynamic_check", "measure": "score", "below": 1},
        "prompt": {"user": "Dynamic: {{ stages.static_repair.answer }}"},
    },
}
CHAIN_SCORE = {"verifier": {"kind": "exact", "normalise": False}, "gold": "gold"}


@pytest.mark.parametrize(
    ("said", "asked", "measured", "score"),
    [
        ({"code": RIGHT}, ["code"], {"static_repair": 1.0, "dynamic_repair": 1.0}, 1.0),
        (
            {"code": "no code", "static_repair": RIGHT},
            ["code", "static_repair"],
            {"static_repair": 0.0, "dynamic_repair": 1.0},
            1.0,
        ),
        (
            {"code": WRONG, "dynamic_repair": RIGHT},
            ["code", "dynamic_repair"],
            {"static_repair": 1.0, "dynamic_repair": 0.0},
            1.0,
        ),
        (
            {"code": "no code", "static_repair": WRONG, "dynamic_repair": WRONG},
            ["code", "static_repair", "dynamic_repair"],
            {"static_repair": 0.0, "dynamic_repair": 0.0},
            0.0,
        ),
    ],
)
def test_tests_follow_one_another_and_each_sees_what_stands_by_then(
    make_task: MakeTask,
    go: Any,
    said: Mapping[str, str],
    asked: Sequence[str],
    measured: Mapping[str, float],
    score: float,
) -> None:
    ran = go(make_task(CHAIN, CHAIN_SCORE), said, {"static_repair": 1, "dynamic_repair": 1})
    assert list(ran.prompts) == asked
    assert ran.rollout.measured == measured
    assert ran.rollout.score == score


def test_what_cannot_be_tested_is_a_failure_of_the_problem_and_no_failed_test(
    make_task: MakeTask, go: Any
) -> None:
    stages = {**STAGES, "check": checking(kind="code", tests="broken")}
    ran = go(make_task(stages, SCORE), {"code": RIGHT}, {"repair": 1})
    failure = ran.rollout.failure
    assert (failure.stage, failure.cause) == ("check", "Unscored")
    assert "broken" in failure.message
    assert ran.rollout.score is None
    assert set(ran.rollout.outputs) == {"code"}


def test_an_answer_that_was_not_parsed_fails_its_test(make_task: MakeTask, go: Any) -> None:
    stages = {**STAGES, "code": {**CODE, "parse": "code_block"}}
    ran = go(make_task(stages, SCORE), {"code": "I cannot.", "repair": RIGHT}, {"repair": 1})
    assert ran.rollout.outputs["check"].answer["feedback"] == "There is no code in the answer."
    assert not ran.rollout.outputs["repair"].skipped


class Counting:
    """Takes its time, and counts what it is asked."""

    reads_text = False

    def __init__(self, *values: float | None) -> None:
        self.values = list(values)
        self.seen: list[Any] = []

    async def score(self, problem: Problem, candidates: Sequence[Candidate]) -> list[Score]:
        """Return the next value for each."""
        await asyncio.sleep(0.01)
        self.seen += [(problem.id, candidate.answer) for candidate in candidates]
        return [Score(self.values.pop(0), "the sandbox is broken") for _ in candidates]


def world(problem: Problem) -> World:
    return World(ScriptedRequests(), ScriptedSampler(lambda request, index: ""), problem, "check")


def test_equal_answers_to_a_problem_are_tested_once_also_at_the_same_time() -> None:
    verifier, known = Counting(0.5, 1.0, 0.0), Tested()
    other = Problem("q", {})

    async def all_() -> list[Score]:
        asked = [("a", PROBLEM), ("a", PROBLEM), ("b", PROBLEM), ("a", other)]
        return list(
            await asyncio.gather(
                *(known.score(verifier, Candidate("", "", answer), world(p)) for answer, p in asked)
            )
        )

    first = asyncio.run(all_())
    assert sorted(verifier.seen) == [("p", "a"), ("p", "b"), ("q", "a")]
    assert first[0] == first[1]
    assert asyncio.run(known.score(verifier, Candidate("", "", "a"), world(PROBLEM))) == first[0]


def test_scores_go_with_their_problem() -> None:
    verifier, known = Counting(1.0, 0.0), Tested()
    problem = Problem("r", {"question": "a long request"})
    gone = weakref.ref(problem)
    for answer in "aab":
        asyncio.run(known.score(verifier, Candidate("", "", answer), world(problem)))
    assert len(verifier.seen) == 2
    del problem
    gc.collect()
    assert gone() is None
    assert [known._scores, known._problems, known._locks] == [{}, {}, {}]


def test_a_test_that_could_not_be_run_is_tried_again() -> None:
    verifier, known = Counting(None, 1.0), Tested()
    values = [asyncio.run(known.score(verifier, Candidate("", "", "a"), world(PROBLEM))).value for _ in "12"]
    assert values == [None, 1.0]
