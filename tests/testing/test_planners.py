"""The scripted planners do what their names say, in the form that each allocator asks for."""

import json

import jsonschema
import numpy as np
import pytest

from agenttts.allocators.base import (
    ALLOCATORS,
    ConversingAllocator,
    PlannerAnswer,
    PlannerCall,
    make_allocator,
)
from agenttts.allocators.space import Space
from agenttts.budgets.cost import Budget, Unit
from agenttts.errors import InputError
from agenttts.models.base import Message
from agenttts.pipeline.base import StageChoice
from agenttts.study.archive import Archive
from agenttts.testing.allocators import contract_task
from agenttts.testing.planners import PLANNERS, converse_with, make_planner, seen_trials
from agenttts.testing.surfaces import search

TASK = contract_task()
CONVERSING = [name for name in sorted(ALLOCATORS) if isinstance(make_allocator(name), ConversingAllocator)]


def heard(name: str, planner: str, seed: int = 0) -> tuple[Archive, list[tuple[PlannerCall, PlannerAnswer]]]:
    """Return a search and what was said in it."""
    made = make_planner(planner, TASK.space, seed)
    said = []

    def listening(call: PlannerCall) -> PlannerAnswer:
        said.append((call, made(call)))
        return said[-1][1]

    allocator = make_allocator(name)
    assert isinstance(allocator, ConversingAllocator)
    return search(allocator, TASK, n_trials=20, seed=seed, planner=listening), said


@pytest.mark.parametrize("planner", ["sensible", "liar"])
@pytest.mark.parametrize("name", CONVERSING)
def test_well_formed_planners_follow_the_schema_of_every_allocator(name, planner):
    _, said = heard(name, planner)
    with_schema = [(call, answer) for call, answer in said if call.schema is not None]
    assert with_schema
    for call, answer in with_schema:
        jsonschema.validate(json.loads(answer.text), call.schema)


@pytest.mark.parametrize("name", ["agenttts", "agenthpo", "mlcopilot"])
def test_results_are_read_off_the_prompt(name):
    archive, said = heard(name, "sensible")
    shown = seen_trials(said[-1][0].messages[0].content, TASK.space)
    known = {trial.allocation: trial.score for trial in archive.trials[:-4]}
    if name == "mlcopilot":  # in levels: the order stays
        values = list(shown.values())
        assert len(values) > 5
        assert values == sorted(values, reverse=True)
    else:
        assert shown == pytest.approx(known, abs=5e-4)


def test_scores_and_allocations_are_found_in_the_midst_of_a_line():
    allocation = TASK.space.allocation(TASK.space.feasible_indices()[7])
    text = f"  - **trial 3** ({allocation}), score: 0.25 at cost 3\nno allocation, score 0.9\n{allocation} untried"
    assert seen_trials(text, TASK.space) == {allocation: 0.25}


def test_a_stage_that_is_off_or_runs_on_a_condition_is_read():
    first = tuple(StageChoice("try", "m", n, "first" if n == 1 else "vote") for n in (1, 16))
    second = tuple(StageChoice("more", "m.2", 4, "vote", below) for below in (0.5, 0.55))
    off = StageChoice("more", "m.2", 1, "first", 0.0)
    space = Space((first, (off, *second)), ((1.0, 16.0), (0.0, 1.0, 2.0)), Budget(99.0, Unit.TOKENS))
    rows = [space.allocation(row) for row in space.feasible_indices()]
    text = "\n".join(f"trial {i}: {allocation} => score 0.{i}" for i, allocation in enumerate(rows))
    assert list(seen_trials(text, space)) == rows


def test_the_same_call_gets_the_same_answer():
    call = PlannerCall(
        (Message("user", "hello"),), {"type": "object", "properties": {"reason": {"type": "string"}}}
    )
    for name in PLANNERS:
        assert make_planner(name, TASK.space, 3)(call) == make_planner(name, TASK.space, 3)(call)


def test_a_sensible_planner_helps_and_a_liar_harms():
    def truth(planner: str) -> float:
        archives = [heard("agenthpo", planner, seed)[0] for seed in range(4)]
        return float(np.mean([trial.score for archive in archives for trial in archive.trials[4:]]))

    assert truth("sensible") > truth("nonsense") + 0.05 > truth("liar") + 0.1


def test_a_liar_cites_trials_that_do_not_exist_and_praises_its_worst():
    schema = {
        "type": "object",
        "properties": {
            "insights": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "text": {"type": "string"},
                        "trials": {"type": "array", "items": {"type": "integer"}},
                        "confidence": {"type": "number"},
                    },
                },
            },
            "proposals": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "allocation": {
                            "type": "array",
                            "items": {
                                "type": "object",
                                "properties": {
                                    "stage": {"type": "string"},
                                    "model": {"type": "string"},
                                    "n_samples": {"type": "integer"},
                                },
                            },
                        },
                        "expected_score": {"type": "number"},
                    },
                },
            },
        },
    }
    answer = make_planner("liar", TASK.space)(PlannerCall((Message("user", "go"),), schema))
    said = json.loads(answer.text)
    assert min(said["insights"][0]["trials"]) >= 1000
    assert {proposal["expected_score"] for proposal in said["proposals"]} == {0.99}
    assert [entry["stage"] for entry in said["proposals"][0]["allocation"]] == ["stage0", "stage1"]


@pytest.mark.parametrize(
    ("name", "why"), [("stalls", "no reply within 120 s"), ("down", "connection refused")]
)
def test_absent_planners_say_why(name, why):
    answer = make_planner(name, TASK.space)(PlannerCall((Message("user", "hello"),)))
    assert answer.text is None
    assert why in answer.problem


def test_nonsense_comes_in_many_kinds():
    planner = make_planner("nonsense", TASK.space)
    texts = {planner(PlannerCall((Message("user", str(i)),))).text for i in range(60)}
    assert len({str(text)[:5] for text in texts}) > 6


def test_an_allocator_with_its_planner_proposes_at_once():
    allocator = make_allocator("llm_zs")
    assert isinstance(allocator, ConversingAllocator)
    proposals = converse_with(allocator, PLANNERS["sensible"]).propose(
        Archive(), TASK.space, 3, np.random.default_rng(0)
    )
    assert [p.reason for p in proposals] == ["near the best trials so far"] * 3


def test_an_unknown_name_is_refused_with_those_there_are():
    with pytest.raises(InputError, match="down, liar, nonsense, sensible, stalls"):
        make_planner("kind", TASK.space)
