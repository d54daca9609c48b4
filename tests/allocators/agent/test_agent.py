"""The agent's conversation, held by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from agenttts.allocators.agent import Agent
from agenttts.allocators.agent.replies import read_advice
from agenttts.allocators.agent.sharing import Patience, credit, planner_slots
from agenttts.allocators.base import (
    AllocatorOptions,
    Insight,
    PlannerAnswer,
    PlannerCall,
    Turn,
    make_allocator,
)
from agenttts.allocators.evidence import Estimate, Evidence, Single
from agenttts.errors import InputError
from agenttts.pipeline.base import Allocation, StageChoice
from agenttts.study.archive import Archive, Trial
from agenttts.testing.allocators import MODELS, contract_task
from agenttts.testing.surfaces import SimulatedTask, hold, search

SMALL, MEDIUM, LARGE = MODELS


@cache
def task() -> SimulatedTask:
    return contract_task()


@cache
def opened() -> Archive:
    """A search up to where the planner is asked first."""
    return search(Agent(), task(), n_trials=8, batch=4)


def stages(first: tuple[str, int], second: tuple[str, int]) -> dict[str, Any]:
    return {
        f"stage{i}": {"model": model, "n_samples": n, "select": "majority"}
        for i, (model, n) in enumerate((first, second))
    }


def item(first: tuple[str, int], second: tuple[str, int], **more: Any) -> dict[str, Any]:
    return {"stages": stages(first, second), "reason": "so", "expected_score": 0.5, **more}


def converse(archive: Archive, *answers: str | None, k: int = 4) -> tuple[Turn, list[PlannerCall]]:
    """Answer the calls one after the other; a call beyond the answers gets none."""
    calls: list[PlannerCall] = []
    left = list(answers)

    def planner(call: PlannerCall) -> PlannerAnswer:
        calls.append(call)
        text = left.pop(0) if left else None
        return PlannerAnswer(text, "" if text is not None else "gone")

    return hold(Agent().converse(archive, task().space, k, np.random.default_rng(1)), planner), calls


def untried() -> tuple[tuple[str, int], tuple[str, int]]:
    """An allocation that fits and was not tried."""
    for n in (4, 2, 1, 8):
        for m in (4, 2, 1, 8):
            pick = ((MEDIUM, n), (SMALL, m))
            choices = tuple(
                StageChoice(f"stage{i}", model, count, "first" if count == 1 else "majority")
                for i, (model, count) in enumerate(pick)
            )
            allocation = Allocation(choices)
            if task().space.feasible(allocation) and allocation not in opened().tried:
                return pick
    raise AssertionError


def test_the_opening_asks_nobody():
    turn, calls = converse(Archive())
    assert not calls
    assert {proposal.origin for proposal in turn.proposals} == {"opening"}
    tried = {c.model for p in turn.proposals for c in p.allocation.choices if c.stage == "stage0"}
    assert LARGE in tried
    assert len(tried) > 1


def test_a_good_reply_is_followed_and_remembered():
    first, second = untried()
    reply = {
        "insights": [{"text": "Large helps.", "trials": [0, 3, 77], "confidence": 1.7}],
        "sketches": [],
        "allocations": [item(first, second)],
    }
    turn, calls = converse(opened(), "Sure!\n```json\n" + json.dumps(reply) + "\n```\nGood luck {")
    assert len(calls) == 1
    ours = [proposal for proposal in turn.proposals if proposal.origin == "agent"]
    assert [(c.model, c.n_samples) for c in ours[0].allocation.choices] == [first, second]
    assert ours[0].reason == "so (expects 0.500)"
    assert len(turn.proposals) == 4
    assert {proposal.origin for proposal in turn.proposals} == {"agent", "curves"}
    assert turn.insights == (Insight("Large helps.", (0, 3), 1.0),)
    assert any("cites 1 trial(s)" in note for note in turn.notes)


def test_the_prompt_holds_task_trials_evidence_and_insights():
    archive = opened().with_turn([Insight("Mind stage0.", (2,), 0.25)], [], {"told": ["was shrunk"]})
    _, calls = converse(archive, None)
    text = calls[0].messages[0].content
    for trial in archive.trials:
        assert f"{trial.allocation} => score {trial.score:.3f}" in text
    assert "Score of a single sample at a stage with gold" in text
    assert "Mind stage0. (trials: 2; confidence 0.25)" in text
    assert "was shrunk" in text
    assert calls[0].schema is not None


def test_too_dear_an_idea_is_shrunk_and_the_planner_is_told():
    reply = {"allocations": [item((LARGE, 32), (SMALL, 4))]}
    turn, _ = converse(opened(), json.dumps(reply))
    (ours,) = [proposal for proposal in turn.proposals if proposal.origin == "agent"]
    assert task().space.feasible(ours.allocation)
    assert ours.repaired
    assert any(note.startswith("shrunk to fit") for note in turn.notes)
    assert any(note.startswith("shrunk to fit") for note in turn.memory["told"])


def test_known_ideas_are_dropped_and_asked_for_again_with_the_reason():
    known = opened().trials[0].allocation
    again = {c.stage: {"model": c.model, "n_samples": c.n_samples, "select": c.select} for c in known.choices}
    first, second = untried()
    turn, calls = converse(
        opened(),
        json.dumps({"allocations": [{"stages": again}]}),
        json.dumps({"allocations": [item(first, second)]}),
    )
    assert len(calls) == 2
    assert "left out a proposal that is known" in calls[1].messages[-1].content
    assert [message.role for message in calls[1].messages] == ["user", "assistant", "user"]
    assert any(proposal.origin == "agent" for proposal in turn.proposals)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no idea",
        "null",
        '{"allocations": 3, "insights": "x", "sketches": {"a": 1}}',
        '{"allocations": [null, 1, {"stages": null}, {"stages": {"stage0": {"model": "x"}}}]}',
        '{"insights": [{"text": 5}, {"text": "\\u0000\\u001b[2J"}], "allocations": []}',
        '{"allocations": [{"stages": {"stage0": {"model": "simulated/small", "n_samples": 1e999}}}]}',
        "[" * 200_000,
        '{"a":' * 20_000,
        "9" * 300_000,
        "\x00\x1b]0;title\x07\ud800" * 1000,
    ],
)
def test_useless_replies_get_two_repairs_and_then_curves(text: str):
    turn, calls = converse(opened(), text, text, text, text)
    assert len(calls) == 3
    assert [proposal.origin for proposal in turn.proposals] == ["curves"] * 4
    assert turn.notes
    assert turn.memory["failed_in_row"] == 1
    told = [*turn.notes, *turn.memory["told"]]
    assert all(note.isprintable() for note in told)
    assert sum(map(len, told)) < 20_000
    assert all(len(call.messages[-1].content) < 20_000 for call in calls)


def test_silence_costs_one_call():
    turn, calls = converse(opened(), None)
    assert len(calls) == 1
    assert turn.notes == ("no advice from the planner: gone",)
    assert len(turn.proposals) == 4


def test_the_same_answers_give_the_same_turn():
    first, second = untried()
    text = json.dumps({"allocations": [item(first, second)]})
    assert converse(opened(), text)[0] == converse(opened(), text)[0]


def test_insights_said_before_are_not_kept_twice():
    archive = opened().with_turn([Insight("Known.")], [], {})
    text = json.dumps({"insights": [{"text": "Known."}, {"text": "New."}], "allocations": []})
    advice = read_advice(text, archive, task().space, Evidence())
    assert [insight.text for insight in advice.insights] == ["New."]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({}, ""),
        ({"one_sample": 1.2}, "out of range"),
        ({"plateau": "high"}, "out of range"),
        ({"half_way": 1e9}, "out of range"),
        ({"half_way": float("nan")}, "out of range"),
        ({"plateau": True}, "out of range"),
        ({"plateau": 10**400}, "out of range"),
        ({"model": "gpt-17"}, "no such stage and model"),
        ({"one_sample": 0.05}, "the trials contradict"),
    ],
)
def test_sketches_are_checked(change: dict[str, Any], why: str):
    measured = Evidence(singles=(Single("stage0", SMALL, Estimate(0.4, 0.3, 0.5, 40)),))
    good = {"stage": "stage0", "model": SMALL, "one_sample": 0.42, "plateau": 0.7, "half_way": 3}
    text = json.dumps({"sketches": [good | change]})
    advice = read_advice(text, opened(), task().space, measured)
    assert len(advice.sketches) == (not why)
    assert any(why in note for note in advice.notes)


def test_a_thousand_wishes_are_bounded():
    text = json.dumps({"allocations": [item((LARGE, 32), (SMALL, n)) for n in (1, 2, 4) for _ in range(300)]})
    turn, calls = converse(opened(), text)
    assert len(calls) == 1
    assert len(turn.proposals) == 4
    assert len(turn.notes) <= 20


def test_many_insights_and_sketches_are_bounded():
    text = json.dumps(
        {
            "insights": [{"text": f"lesson {i} " + "x" * 400, "trials": list(range(200))} for i in range(50)],
            "sketches": [{"stage": "?", "model": str(i)} for i in range(500)],
        }
    )
    advice = read_advice(text, opened(), task().space, Evidence())
    assert len(advice.insights) == 8
    assert all(len(insight.text) <= 300 for insight in advice.insights)
    assert len(advice.notes) < 30


# --- sharing -----------------------------------------------------------------------------------------------------


def history(*origins_and_scores: tuple[str, float]) -> Archive:
    trials = []
    for number, (origin, score) in enumerate(origins_and_scores):
        allocation = Allocation((StageChoice("s", f"m{number}", 1, "first"),))
        trials.append(Trial(number, allocation, "ok", {"p": score}, 1.0, origin=origin))
    return Archive.of(trials)


def slots(archive: Archive, n_round: int = 0, k: int = 4) -> int:
    return planner_slots(archive, k, n_round, planner="agent", curves="curves")


def test_a_planner_whose_trials_improve_gets_most_of_the_round_but_never_all():
    better = [("agent" if i % 2 else "curves", 0.3 + 0.05 * (i // 2) * (i % 2)) for i in range(12)]
    assert slots(history(*better)) == 3


def test_a_planner_whose_trials_never_improve_gets_a_slot_every_other_round():
    idle = history(*[("agent" if i % 2 else "curves", 0.9 - 0.01 * i) for i in range(30)])
    gaining = history(*[("agent", 0.1) if i % 2 else ("curves", 0.2 + 0.02 * i) for i in range(30)])
    assert slots(idle) <= 1
    assert [slots(gaining, n) for n in range(4)] == [1, 0, 1, 0]


def test_recent_gain_counts_more_than_old_gain():
    old = [("agent", 0.1 + 0.1 * i) for i in range(4)]
    late = [("curves", 0.5 + 0.05 * i) for i in range(8)]
    assert slots(history(*old)) > slots(history(*old, *late))


def test_a_failing_planner_is_asked_ever_less():
    patience, asked = Patience(), []
    for n_round in range(40):
        if patience.skip:
            patience = patience.skipped()
        else:
            asked.append(n_round)
            patience = patience.after(failed=True)
    assert asked == [0, 1, 2, 4, 8, 16, 32]
    assert patience.after(failed=False) == Patience()


def test_rounds_without_a_call_keep_what_the_planner_is_to_be_told():
    resting = opened().with_turn([], [], {"failed_in_row": 3, "skip": 1, "told": ["mind this"]})
    turn, calls = converse(resting)
    assert not calls
    first = len(opened().trials)
    assert turn.memory == {"first": first, "failed_in_row": 3, "skip": 0, "told": ["mind this"]}
    assert turn.notes == ("planner not asked: 3 failures in a row, next in 1 round",)


def test_the_opening_stays_as_it_was_first_planned_when_costs_change():
    first, _ = converse(Archive(), k=1)
    space = task().space
    dearer = replace(space, costs=(space.costs[0], tuple(1.5 * cost for cost in space.costs[1])))
    kept = Archive().with_turn([], [], first.memory)
    turn = hold(Agent().converse(kept, dearer, 20, np.random.default_rng(1)), lambda _: PlannerAnswer(None))
    planned = [Allocation.from_json(entry) for entry in first.memory["opening"]]
    opening = [p.allocation for p in turn.proposals if p.origin == "opening"]
    assert opening == [allocation for allocation in planned if dearer.feasible(allocation)]
    assert opening
    assert "opening" not in turn.memory


def test_a_misspelt_name_in_the_users_history_is_found_when_it_is_made(tmp_path):
    (tmp_path / "propose.j2").write_text("{% for t in history %}{{ t.nmber }}{% endfor %}", encoding="utf-8")
    with pytest.raises(InputError, match="nmber"):
        make_allocator("agent", AllocatorOptions(prompts=tmp_path))


def test_of_two_equal_gains_in_one_round_both_count():
    start, *pair = history(("opening", 0.1), ("agent", 0.5), ("curves", 0.5)).trials
    known = Archive((start, *pair), memory=({"first": 0}, {"first": 1}))
    assert credit(known, "agent", 0.0) == pytest.approx(0.9 * 0.4 / 4.9)
    assert credit(known, "curves", 0.0) == pytest.approx(0.4 / 5)


# --- making ------------------------------------------------------------------------------------------------------


def test_it_has_no_switches():
    with pytest.raises(InputError, match="switch 'x' is unknown"):
        make_allocator("agent", AllocatorOptions(switches={"x": True}))


def test_the_order_of_trials_does_not_matter():
    backwards = replace(opened(), trials=tuple(reversed(opened().trials)))
    assert converse(backwards, None)[0] == converse(opened(), None)[0]
