from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agenttts.budgets.cost import total
from agenttts.budgets.cost_model import CostModel
from agenttts.errors import AuthenticationError, ProviderUnavailableError, SearchBudgetExhausted, TrustError
from agenttts.models.base import CallUsage, Request, Sample
from agenttts.pipeline.base import Allocation, Charge, Problem, Rollout, StageChoice
from agenttts.pipeline.pipeline import Pipeline
from agenttts.task.task import Task
from agenttts.testing.doubles import ScriptedRequests, ScriptedSampler

MakeTask = Callable[..., Task]
Choose = Callable[..., Allocation]
SOLVE = {
    "prompt": {"user": "Solve: {{ problem.question }}"},
    "models": ["simulated/small", "simulated/large"],
    "n_samples": [1, 2, 4, 8],
    "parse": "last_number",
    "select": ["majority", "fusion", {"kind": "best_of_n", "verifier": "tiny_prm"}],
}
PLAN = {**SOLVE, "prompt": {"user": "Plan: {{ problem.question }}"}, "parse": "text", "select": "majority"}


@pytest.fixture
def go(problem: Problem, cost_model: CostModel) -> Callable[..., Any]:
    async def go(
        task: Task,
        allocation: Allocation,
        sampler: ScriptedSampler,
        *,
        score: bool = True,
        of: Problem = problem,
    ) -> Rollout:
        return await Pipeline.build(task).run(
            of, allocation, clients=ScriptedRequests(), sampler=sampler, cost_model=cost_model, score=score
        )

    return go


async def test_draws_parses_selects_and_scores(
    make_task: MakeTask, choose: Choose, go: Callable[..., Any]
) -> None:
    replies = ["it is 41", "6*7=42", "42.0", "no idea"]
    sampler = ScriptedSampler(lambda request, index: replies[index])
    rollout = await go(make_task({"solve": SOLVE}), choose(solve=(4, "majority")), sampler)
    output = rollout.outputs["solve"]
    assert output.answers == ("41", "42", "42", None)
    assert (output.answer, output.selected, output.text) == ("42", 1, "6*7=42")
    assert "1 of 4 samples could not be parsed" in output.notes[0]
    assert rollout.score == 1.0
    assert rollout.failure is None
    assert rollout.stage_scores == {"solve": 1.0}
    assert rollout.sample_scores == {"solve": (0.0, 1.0, 1.0, 0.0)}
    assert (rollout.n_paid, rollout.n_reused) == (4, 0)


async def test_charges_do_not_depend_on_reuse(
    make_task: MakeTask, choose: Choose, go: Callable[..., Any], cost_model: CostModel
) -> None:
    task = make_task({"solve": SOLVE})
    sampler = ScriptedSampler(lambda request, index: "one two " * index + "42")
    fresh = await go(task, choose(solve=(4, "majority")), sampler)
    again = await go(task, choose(solve=(4, "majority")), sampler)
    assert (again.n_paid, again.n_reused) == (0, 4)
    assert again.outputs == fresh.outputs
    assert again.costs == fresh.costs
    (charge,) = fresh.outputs["solve"].charges
    assert charge == Charge("simulated/small", "draw", CallUsage(6, (1, 3, 5, 7)))
    assert fresh.costs["solve"] == cost_model.charge(charge.model, charge.usage)


async def test_a_servers_cache_is_not_charged_as_a_saving(
    make_task: MakeTask, choose: Choose, go: Callable[..., Any]
) -> None:
    sampler = ScriptedSampler(
        lambda request, index: Sample(index, "42", "stop", 10, 1, cached_prefill_tokens=9)
    )
    rollout = await go(make_task({"solve": SOLVE}), choose(solve=(1, "first")), sampler)
    assert rollout.outputs["solve"].charges[0].usage == CallUsage(10, (1,))


async def test_a_stage_uses_the_answers_of_those_it_needs(
    make_task: MakeTask, choose: Choose, go: Callable[..., Any]
) -> None:
    solve = {**SOLVE, "needs": ["plan"], "prompt": {"user": "Solve: {{ stages.plan.answer }}"}}
    sampler = ScriptedSampler(
        lambda request, index: "6*7" if request.stage == "plan" else f"{request.messages[0].content} = 42"
    )
    rollout = await go(
        make_task({"plan": PLAN, "solve": solve}), choose(plan=(1, "first"), solve=(1, "first")), sampler
    )
    assert rollout.outputs["solve"].text == "Solve: 6*7 = 42"
    assert set(rollout.costs) == {"plan", "solve"}
    assert rollout.sample_scores == {"solve": (1.0,)}


async def test_stages_that_do_not_need_one_another_run_at_the_same_time(
    make_task: MakeTask, choose: Choose, go: Callable[..., Any]
) -> None:
    both = asyncio.Barrier(2)

    class Meeting(ScriptedSampler):
        async def sample(self, request: Request, n: int, *, purpose: str = "draw") -> Any:
            if request.stage in {"a", "b"}:
                await asyncio.wait_for(both.wait(), 5)
            return await super().sample(request, n, purpose=purpose)

    stages = {"a": PLAN, "b": PLAN, "solve": {**SOLVE, "needs": ["a", "b"]}}
    allocation = choose(a=(1, "first"), b=(1, "first"), solve=(1, "first"))
    assert (await go(make_task(stages), allocation, Meeting(lambda request, index: "42"))).score == 1.0


async def test_an_upstream_stage_without_an_answer_is_a_wrong_answer_not_a_failure(
    make_task: MakeTask, choose: Choose, go: Callable[..., Any]
) -> None:
    plan = {**PLAN, "parse": "last_number"}
    solve = {**SOLVE, "needs": ["plan"], "prompt": {"user": "[{{ stages.plan.answer }}]"}}
    sampler = ScriptedSampler(lambda request, index: "nothing" if request.stage == "plan" else "7")
    rollout = await go(
        make_task({"plan": plan, "solve": solve}), choose(plan=(1, "first"), solve=(1, "first")), sampler
    )
    assert sampler.asked[-1][0].messages[0].content == "[]"
    assert (rollout.score, rollout.failure) == (0.0, None)
    assert any("plan has no answer" in note for note in rollout.outputs["solve"].notes)


async def test_fusion_asks_once_more_and_is_billed(
    make_task: MakeTask, choose: Choose, go: Callable[..., Any], cost_model: CostModel
) -> None:
    def script(request: Request, index: int) -> str:
        return "fused: 42" if request.sampling.temperature == 0 else f"sample {index}"

    sampler = ScriptedSampler(script)
    rollout = await go(make_task({"solve": SOLVE}), choose(solve=(3, "fusion")), sampler)
    output = rollout.outputs["solve"]
    assert (output.answer, output.text, output.selected) == ("42", "fused: 42", None)
    assert [(charge.purpose, len(charge.usage.decode_tokens)) for charge in output.charges] == [
        ("draw", 3),
        ("fusion", 1),
    ]
    fusion_request = sampler.asked[-1][0]
    assert all(f"sample {index}" in fusion_request.messages[-1].content for index in range(3))
    assert rollout.costs["solve"] == total(cost_model.charge(one.model, one.usage) for one in output.charges)


async def test_draws_of_a_stage_that_failed_later_are_counted(
    make_task: MakeTask, choose: Choose, go: Callable[..., Any]
) -> None:
    def script(request: Request, index: int) -> str:
        if request.sampling.temperature == 0:
            raise ProviderUnavailableError("no fusion")
        return "42"

    rollout = await go(make_task({"solve": SOLVE}), choose(solve=(3, "fusion")), ScriptedSampler(script))
    assert rollout.failure is not None
    assert rollout.n_paid == 3


async def test_fusion_that_cannot_be_parsed_leaves_it_to_the_majority(
    make_task: MakeTask, choose: Choose, go: Callable[..., Any]
) -> None:
    sampler = ScriptedSampler(lambda request, index: "?" if request.sampling.temperature == 0 else "42")
    rollout = await go(make_task({"solve": SOLVE}), choose(solve=(2, "fusion")), sampler)
    assert rollout.score == 1.0
    assert "majority" in rollout.outputs["solve"].notes[-1]
    assert rollout.outputs["solve"].charges[-1].purpose == "fusion"


async def test_best_of_n_by_a_reward_model_is_drawn_through_the_sampler_and_billed(
    make_task: MakeTask, choose: Choose, go: Callable[..., Any]
) -> None:
    def script(request: Request, index: int) -> str | Sample:
        if request.model == "tiny/prm":
            good = request.messages[-1].content == "it is 42"
            return Sample(index, "[0.9, 0.8]" if good else "[0.9, 0.1]", "stop", 12, 0)
        return ["it is 41", "it is 42", "none"][index]

    sampler = ScriptedSampler(script)
    rollout = await go(make_task({"solve": SOLVE}), choose(solve=(3, "best_of_n(tiny_prm)")), sampler)
    output = rollout.outputs["solve"]
    assert output.answer == "42"
    assert output.verifier_scores == (0.1, 0.8, None)
    assert output.charges[1:] == (Charge("tiny/prm", "verify", CallUsage(12, ())),) * 2
    assert sampler.n_asked("verify") == 2
    assert rollout.n_paid == 3


async def test_a_reward_model_that_cannot_be_reached_leaves_samples_unscored(
    make_task: MakeTask, choose: Choose, go: Callable[..., Any]
) -> None:
    def script(request: Request, index: int) -> str:
        if request.model == "tiny/prm":
            raise ProviderUnavailableError("no reply")
        return "42"

    rollout = await go(
        make_task({"solve": SOLVE}), choose(solve=(2, "best_of_n(tiny_prm)")), ScriptedSampler(script)
    )
    assert rollout.score == 1.0
    assert rollout.outputs["solve"].verifier_scores == (None, None)
    assert any("no reply" in note for note in rollout.outputs["solve"].notes)


@pytest.mark.parametrize("how", ["fusion", "best_of_n(tiny_prm)", "majority", "first"])
async def test_one_sample_needs_no_selection_and_costs_none(
    make_task: MakeTask, choose: Choose, go: Callable[..., Any], how: str
) -> None:
    sampler = ScriptedSampler(lambda request, index: "42")
    rollout = await go(make_task({"solve": SOLVE}), choose(solve=(1, how)), sampler)
    assert [(request.model, n, purpose) for request, n, purpose in sampler.asked] == [
        ("simulated/small", 1, "draw")
    ]
    assert len(rollout.outputs["solve"].charges) == 1


async def test_a_provider_failure_is_data_with_its_cause(
    make_task: MakeTask, choose: Choose, go: Callable[..., Any]
) -> None:
    def script(request: Request, index: int) -> str:
        if request.stage == "solve":
            raise ProviderUnavailableError("gone")
        return "6*7"

    rollout = await go(
        make_task({"plan": PLAN, "solve": {**SOLVE, "needs": ["plan"]}}),
        choose(plan=(2, "majority"), solve=(1, "first")),
        ScriptedSampler(script),
    )
    assert rollout.score is None
    assert rollout.failure is not None
    assert (rollout.failure.stage, rollout.failure.cause, rollout.failure.message) == (
        "solve",
        "ProviderUnavailableError",
        "gone",
    )
    assert rollout.n_paid == 2
    assert set(rollout.costs) == {"plan"}


@pytest.mark.parametrize(
    "error", [AuthenticationError("wrong key"), SearchBudgetExhausted("spent"), KeyError("a bug")]
)
async def test_what_would_fail_every_problem_is_raised(
    make_task: MakeTask, choose: Choose, go: Callable[..., Any], error: Exception
) -> None:
    def script(request: Request, index: int) -> str:
        raise error

    with pytest.raises(type(error)):
        await go(make_task({"solve": SOLVE}), choose(solve=(1, "first")), ScriptedSampler(script))


async def test_a_failed_stage_cancels_the_others_and_nothing_spends_on(
    make_task: MakeTask, choose: Choose, go: Callable[..., Any]
) -> None:
    cancelled = asyncio.Event()

    class Slow(ScriptedSampler):
        async def sample(self, request: Request, n: int, *, purpose: str = "draw") -> Any:
            if request.stage == "a":
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    cancelled.set()
                    raise
            raise ProviderUnavailableError("gone")

    stages = {"a": PLAN, "b": PLAN, "solve": {**SOLVE, "needs": ["a", "b"]}}
    allocation = choose(a=(1, "first"), b=(1, "first"), solve=(1, "first"))
    rollout = await asyncio.wait_for(go(make_task(stages), allocation, Slow(lambda request, index: "")), 10)
    assert rollout.failure is not None
    assert rollout.failure.stage == "b"
    assert cancelled.is_set()


async def test_a_prompt_that_does_not_fit_the_problem_is_a_failure_that_names_stage_and_variable(
    make_task: MakeTask, choose: Choose, go: Callable[..., Any]
) -> None:
    sampler = ScriptedSampler(lambda request, index: "42")
    rollout = await go(
        make_task({"solve": SOLVE}), choose(solve=(1, "first")), sampler, of=Problem("p2", {"answer": 42})
    )
    assert rollout.failure is not None
    assert rollout.failure.stage == "solve"
    assert "question" in rollout.failure.message
    assert sampler.asked == []


async def test_a_missing_gold_answer_is_a_failure_and_no_zero(
    make_task: MakeTask, choose: Choose, go: Callable[..., Any]
) -> None:
    sampler = ScriptedSampler(lambda request, index: "42")
    rollout = await go(
        make_task({"solve": SOLVE}), choose(solve=(1, "first")), sampler, of=Problem("p2", {"question": "?"})
    )
    assert rollout.score is None
    assert rollout.failure is not None
    assert rollout.failure.cause == "Unscored"
    assert "answer" in rollout.failure.message


async def test_without_scoring_no_gold_is_needed(
    make_task: MakeTask, choose: Choose, go: Callable[..., Any]
) -> None:
    sampler = ScriptedSampler(lambda request, index: "42")
    rollout = await go(
        make_task({"solve": SOLVE}),
        choose(solve=(1, "first")),
        sampler,
        score=False,
        of=Problem("p", {"question": "?"}),
    )
    assert rollout.outputs["solve"].answer == "42"
    assert (rollout.score, rollout.failure, rollout.sample_scores) == (None, None, {})


async def test_each_stage_is_scored_by_its_own_gold(
    make_task: MakeTask, choose: Choose, go: Callable[..., Any]
) -> None:
    plan = {**PLAN, "score": {"verifier": {"kind": "exact", "normalise": False}, "gold": "plan"}}
    sampler = ScriptedSampler(
        lambda request, index: ["7*6", "6*7"][index] if request.stage == "plan" else "41"
    )
    rollout = await go(
        make_task({"plan": plan, "solve": {**SOLVE, "needs": ["plan"]}}),
        choose(plan=(2, "majority"), solve=(1, "first")),
        sampler,
    )
    assert rollout.stage_scores == {"plan": 0.0, "solve": 0.0}
    assert rollout.sample_scores == {"plan": (0.0, 1.0), "solve": (0.0,)}


FUNCTIONS = """
def double(fields, answers):
    return 2 * int(answers["solve"])

def broken(fields, answers):
    raise RuntimeError("no " + fields["question"])

def is_even(fields, answer, text):
    return 1.0 if answer is not None and int(answer) % 2 == 0 else 0.0

def second_word(text):
    return text.split()[1]
"""


@pytest.fixture
def functions(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(FUNCTIONS)


@pytest.mark.usefixtures("functions")
async def test_a_function_stage_gets_fields_and_answers(
    make_task: MakeTask, choose: Choose, go: Callable[..., Any]
) -> None:
    stages = {
        "solve": {**SOLVE, "parse": {"rule": "function", "function": "own.py:second_word"}},
        "twice": {"function": "own.py:double", "needs": ["solve"]},
    }
    score = {"verifier": "numeric", "gold": "answer", "stage": "twice"}
    rollout = await go(
        make_task(stages, score, trust=True),
        choose(solve=(1, "first")),
        ScriptedSampler(lambda request, index: "about 21 or so"),
    )
    assert rollout.outputs["twice"].answer == 42
    assert rollout.score == 1.0
    assert set(rollout.costs) == {"solve"}


@pytest.mark.usefixtures("functions")
async def test_a_function_stage_that_raises_is_a_failure_that_names_the_stage(
    make_task: MakeTask, choose: Choose, go: Callable[..., Any]
) -> None:
    stages = {"solve": SOLVE, "after": {"function": "own.py:broken", "needs": ["solve"]}}
    rollout = await go(
        make_task(stages, trust=True),
        choose(solve=(1, "first")),
        ScriptedSampler(lambda request, index: "42"),
    )
    assert rollout.failure is not None
    assert (rollout.failure.stage, rollout.failure.cause) == ("after", "RuntimeError")
    line = FUNCTIONS.splitlines().index('    raise RuntimeError("no " + fields["question"])') + 1
    assert f"own.py:{line}: no " in rollout.failure.message


@pytest.mark.usefixtures("functions")
async def test_a_function_verifier_selects_and_costs_nothing(
    make_task: MakeTask, choose: Choose, go: Callable[..., Any]
) -> None:
    select = {
        "kind": "best_of_n",
        "verifier": {"kind": "function", "function": "own.py:is_even"},
        "label": "even",
    }
    rollout = await go(
        make_task({"solve": {**SOLVE, "select": select}}, trust=True),
        choose(solve=(2, "even")),
        ScriptedSampler(lambda request, index: ["41", "42"][index]),
    )
    assert rollout.outputs["solve"].selected == 1
    assert len(rollout.outputs["solve"].charges) == 1


@pytest.mark.usefixtures("functions")
def test_functions_need_trust(make_task: MakeTask) -> None:
    with pytest.raises(TrustError):
        Pipeline.build(
            make_task({"solve": SOLVE, "twice": {"function": "own.py:double", "needs": ["solve"]}})
        )


async def test_concurrency_changes_nothing(make_task: MakeTask, go: Callable[..., Any]) -> None:
    task = make_task({"solve": SOLVE})
    allocation = Allocation((StageChoice("solve", "simulated/large", 4, "majority"),))
    problems = [Problem(f"p{i}", {"question": f"What is {i}?", "answer": i}) for i in range(30)]

    class Jittery(ScriptedSampler):
        async def sample(self, request: Request, n: int, *, purpose: str = "draw") -> Any:
            await asyncio.sleep((request.base_seed % 7) / 1000)
            return await super().sample(request, n, purpose=purpose)

    def script(request: Request, index: int) -> str:
        return str((request.base_seed + index) % 3)

    one_by_one = [await go(task, allocation, ScriptedSampler(script), of=problem) for problem in problems]
    shared = Jittery(script)
    together = await asyncio.gather(*(go(task, allocation, shared, of=problem) for problem in problems))
    assert together == one_by_one
