from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from agenttts.budgets.cost_model import CostModel
from agenttts.models.base import Request, Sample
from agenttts.pipeline.base import Allocation, Problem
from agenttts.pipeline.driver import World
from agenttts.pipeline.pipeline import Pipeline
from agenttts.pipeline.scoring import score_candidates
from agenttts.task.task import Task
from agenttts.testing.doubles import ScriptedRequests, ScriptedSampler
from agenttts.testing.verifiers import VerifierContract
from agenttts.verifiers.base import Candidate, Verifier
from agenttts.verifiers.certainty import Agreement, SelfCertainty, certainty_calls
from tests.pipeline.conftest import PROBLEM, choose, cost_model, make_task, problem

__all__ = ["choose", "cost_model", "make_task", "problem"]  # fixtures of the pipeline's tests


class TestSelfCertaintyContract(VerifierContract):
    @pytest.fixture
    def verifier(self) -> Verifier:
        return SelfCertainty()

    @pytest.fixture
    def candidates(self) -> Sequence[Candidate]:
        given = [(-0.1, -0.2), (-3.0,), None, (), (-0.1, -0.2)]
        return [Candidate("q", "text", "42", logprobs=logprobs) for logprobs in given]


class TestAgreementContract(VerifierContract):
    @pytest.fixture
    def verifier(self) -> Verifier:
        return Agreement()


async def scores(verifier: Verifier, *candidates: Candidate) -> list[float | None]:
    return [score.value for score in await verifier.score(Problem("p", {}), candidates)]


def of(answer: Any = "42", *logprobs: float) -> Candidate:
    return Candidate("q", f"it is {answer}", answer, logprobs=logprobs or None)


async def test_certainty_is_the_geometric_mean_of_the_probabilities() -> None:
    half_and_eighth = of("42", math.log(0.5), math.log(0.125))
    assert await scores(SelfCertainty(), half_and_eighth, of("42", 0.0)) == pytest.approx([0.25, 1.0])


@pytest.mark.parametrize(
    ("logprobs", "value"), [((1e-9, 0.0), 1.0), ((-9999.0,), 0.0), ((-math.inf, -1.0), 0.0)]
)
async def test_odd_log_probabilities_give_a_score_in_range(logprobs: tuple[float, ...], value: float) -> None:
    assert await scores(SelfCertainty(), of("42", *logprobs)) == [pytest.approx(value)]


@pytest.mark.parametrize("logprobs", [(math.nan,), (math.inf,)])
async def test_log_probabilities_that_are_no_numbers_leave_it_unscored(logprobs: tuple[float, ...]) -> None:
    (score,) = await SelfCertainty().score(Problem("p", {}), [of("42", *logprobs)])
    assert (score.value, score.unscored_because) == (
        None,
        "the endpoint gave log-probabilities that are no numbers",
    )


async def test_without_log_probabilities_the_remedy_is_told() -> None:
    (score,) = await SelfCertainty().score(Problem("p", {}), [of("42")])
    assert score.value is None
    assert "sampling: {logprobs: true}" in score.unscored_because


async def test_agreement_is_the_share_of_all_that_hold_the_answer() -> None:
    shares = await scores(Agreement(), of("42"), of("42.0"), of("41"), of(None))
    assert shares == [0.5, 0.5, 0.25, 0.0]


async def test_agreement_counts_equal_candidates_too() -> None:
    world = World(ScriptedRequests(), ScriptedSampler(lambda request, index: ""), PROBLEM, "solve")
    same = [of("42"), of("42"), of("41")]
    given = await score_candidates(Agreement(), same, world)
    assert [score.value for score in given] == pytest.approx([2 / 3, 2 / 3, 1 / 3])


async def test_equal_texts_of_other_log_probabilities_are_scored_apart() -> None:
    world = World(ScriptedRequests(), ScriptedSampler(lambda request, index: ""), PROBLEM, "solve")
    given = await score_candidates(SelfCertainty(), [of("42", -1.0), of("42", -2.0)], world)
    assert [score.value for score in given] == pytest.approx([math.exp(-1), math.exp(-2)])


@pytest.mark.parametrize(("verifier", "expected"), [("self_certainty", "41"), ("agreement", "42")])
async def test_a_stage_selects_by_it_and_pays_nothing_more(
    make_task: Callable[..., Task],
    choose: Callable[..., Allocation],
    problem: Problem,
    cost_model: CostModel,
    verifier: str,
    expected: str,
) -> None:
    drawn = [("42", -1.0), ("41", -0.1), ("42", -2.0)]

    def script(request: Request, index: int) -> Sample:
        text, logprob = drawn[index]
        return Sample(index, text, "stop", 5, 1, logprobs=(logprob,) if request.sampling.logprobs else None)

    stage = {
        "prompt": {"user": "Solve: {{ problem.question }}"},
        "models": ["simulated/small"],
        "sampling": {"logprobs": True},
        "n_samples": [3],
        "parse": "last_number",
        "select": {"kind": "best_of_n", "verifier": verifier},
    }
    rollout = await Pipeline.build(make_task({"solve": stage})).run(
        problem,
        choose(solve=(3, f"best_of_n({verifier})")),
        clients=ScriptedRequests(),
        sampler=ScriptedSampler(script),
        cost_model=cost_model,
    )
    assert rollout.outputs["solve"].answer == expected
    assert [charge.purpose for charge in rollout.outputs["solve"].charges] == ["draw"]


async def test_a_final_score_by_certainty_reads_the_selected_sample(
    make_task: Callable[..., Task], choose: Callable[..., Allocation], problem: Problem, cost_model: CostModel
) -> None:
    stage = {
        "prompt": {"user": "x"},
        "models": ["simulated/small"],
        "sampling": {"logprobs": True},
        "n_samples": [2],
        "parse": "last_number",
        "select": "first",
    }
    texts = ["no number", "42"]
    rollout = await Pipeline.build(make_task({"solve": stage}, {"verifier": "self_certainty"})).run(
        problem,
        choose(solve=(2, "first")),
        clients=ScriptedRequests(),
        sampler=ScriptedSampler(lambda r, i: Sample(i, texts[i], "stop", 5, 1, logprobs=(-1.0 - i,))),
        cost_model=cost_model,
        score=True,
    )
    assert rollout.score == pytest.approx(math.exp(-2))


def test_nothing_is_asked() -> None:
    assert certainty_calls(8).n == 0
