"""AgentTTS as published: the order of its steps, what each prompt holds, and its ablations."""

import json

import numpy as np
import pytest

from agenttts.allocators.agenttts import SWITCHES, AgentTts
from agenttts.allocators.base import AllocatorOptions, PlannerAnswer, PlannerCall, Turn
from agenttts.allocators.equal_budget import equal_budget_trials
from agenttts.study.archive import Archive, Trial
from agenttts.testing.surfaces import chain_space, hold

SPACE = chain_space(2, {"s": 1.0, "l": 16.0}, (1, 4, 16), budget=40.0)
INSIGHT_WORDS = {
    "no_insight1": ("differ in the size of model", "large model only where it is clearly better"),
    "no_insight2": (
        "more samples help up to",
        "beyond which more do not help",
        "differ in the number of samples",
    ),
    "no_insight3": (
        "moves what is best for the stages after",
        "earlier stages should shape",
        "differ at an earlier stage",
    ),
}
"""Switch -> words of the prompts that speak of its insight."""


def tell(archive: Archive, turn: Turn, score: float = 0.5) -> Archive:
    """Return the archive with a turn's results."""
    first = len(archive.trials)
    trials = [
        Trial(first + i, p.allocation, "ok", {"p": score}, SPACE.cost(p.allocation))
        for i, p in enumerate(turn.proposals)
    ]
    return archive.with_turn(turn.insights, turn.sketches, turn.memory).with_trials(trials)


class Script:
    """Answers in turn and keeps what was asked; where the answers are used up, numbered guidelines."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.prompts: list[str] = []

    def __call__(self, call: PlannerCall) -> PlannerAnswer:
        self.prompts.append(call.messages[0].content)
        return PlannerAnswer(self.answers.pop(0) if self.answers else f"guideline no. {len(self.prompts)}")


def rounds(n: int, allocator: AgentTts, script: Script, k: int = 3) -> tuple[Archive, list[Turn]]:
    archive, turns = Archive(), []
    for i in range(n):
        turns.append(hold(allocator.converse(archive, SPACE, k, np.random.default_rng(i)), script))
        archive = tell(archive, turns[-1])
    return archive, turns


def test_the_opening_comes_first_and_asks_nothing():
    # 16 buys 16 of `s`: l l, s16 l, l s16.
    script = Script()
    _, (turn,) = rounds(1, AgentTts(), script)
    assert [str(p.allocation) for p in turn.proposals] == [
        "stage0 l x1; stage1 l x1",
        "stage0 s x16 majority; stage1 l x1",
        "stage0 l x1; stage1 s x16 majority",
    ]
    assert script.prompts == []
    assert turn.notes == ()


def test_an_opening_of_several_rounds_is_gone_through_and_its_last_round_filled():
    script = Script()
    _, turns = rounds(2, AgentTts(), script, k=2)
    opening = equal_budget_trials(SPACE)
    assert [p.allocation for turn in turns for p in turn.proposals][:3] == opening
    assert turns[1].proposals[1].reason == "random, the opening leaves room in the round"
    assert turns[1].notes == ("the opening leaves 1 of 2 trials to chance",)
    assert script.prompts == []


def test_the_opening_stays_what_it_was_when_costs_change():
    archive, _ = rounds(1, AgentTts(), Script(), k=2)
    dearer = chain_space(2, {"s": 2.0, "l": 16.0}, (1, 4, 16), budget=50.0)  # would open with `s` x4
    turn = hold(AgentTts().converse(archive, dearer, 1, np.random.default_rng(0)), Script())
    assert str(turn.proposals[0].allocation) == "stage0 l x1; stage1 s x16 majority"


def test_then_each_round_asks_for_guidelines_and_for_candidates():
    script = Script()
    rounds(3, AgentTts(), script)
    first, candidates, update, more = script.prompts
    assert "Each model of each stage has been tried once at about the same cost" in first
    assert "trial 2: stage0 l x1; stage1 s x16 majority => score 0.500, cost 32 tokens" in first
    assert "Propose the next 3 allocations" in candidates
    assert "1. guideline no. 1" in candidates
    assert "What do the newest trials teach?" in update
    assert "Propose the next 3 allocations" in more


def test_candidates_are_made_from_the_whole_history_the_first_guidelines_and_the_last_two():
    script = Script()
    archive, _ = rounds(6, AgentTts(), script, k=2)  # two rounds of opening
    last = script.prompts[-1]
    for trial in archive.trials[:-2]:
        assert f"trial {trial.number}: {trial.allocation} => score 0.500" in last
    # Guidelines are the odd ones of eight calls: 1, 3, 5, 7.
    assert [n for n in range(1, 9) if f"guideline no. {n}" in last] == [1, 5, 7]


def test_candidates_over_the_budget_are_dropped_not_mended():
    wanted = [("l", 4), ("s", 4)]
    reply = json.dumps(
        {
            "allocations": [
                {"stages": {"stage0": {"model": m, "n_samples": n}, "stage1": {"model": "s", "n_samples": 1}}}
                for m, n in wanted
            ]
        }
    )
    _, turns = rounds(2, AgentTts(), Script("prefer small models", reply))
    turn = turns[-1]
    assert str(turn.proposals[0].allocation) == "stage0 s x4 majority; stage1 s x1"
    assert [p.reason.startswith("random") for p in turn.proposals] == [False, True, True]
    assert "left out a proposal over the budget: stage0 l x4 majority; stage1 s x1" in turn.notes
    assert not any(p.repaired for p in turn.proposals)
    assert turn.insights[0].text == "prefer small models"
    assert turn.memory["guidelines"] == "prefer small models"


def test_a_planner_without_an_answer_costs_the_round_its_guidelines_only():
    archive, _ = rounds(1, AgentTts(), Script())
    silent = hold(AgentTts().converse(archive, SPACE, 3, np.random.default_rng(0)), None)
    assert len(silent.proposals) == 3
    assert silent.notes[:2] == ("no guidelines: there is no planner", "no candidates: there is no planner")
    script = Script()
    hold(AgentTts().converse(tell(archive, silent), SPACE, 3, np.random.default_rng(1)), script)
    assert "Write guidelines for the search" in script.prompts[0]  # still the first ones


@pytest.mark.parametrize("off", [*SWITCHES, None])
def test_an_ablation_takes_its_insight_out_of_every_prompt_and_leaves_the_others(off):
    options = AllocatorOptions(switches={} if off is None else {off: True})
    script = Script()
    rounds(4, AgentTts.build(options), script)
    kinds = {"first": script.prompts[0], "update": script.prompts[2], "candidates": script.prompts[-1]}
    for switch, words in INSIGHT_WORDS.items():
        for kind, prompt in kinds.items():
            assert (words[0] in prompt) == (switch != off), (switch, kind)
        everything = " ".join(" ".join(script.prompts).split())
        for said in words:
            assert (said in everything) == (switch != off), said


def test_without_the_first_insight_the_opening_is_as_long_and_random():
    allocator = AgentTts.build(AllocatorOptions(switches={"no_insight1": True}))
    opening = equal_budget_trials(SPACE)
    drawn = set()
    for seed in range(5):
        script = Script()
        turn = hold(allocator.converse(Archive(), SPACE, 3, np.random.default_rng(seed)), script)
        assert script.prompts == []
        assert [p.reason for p in turn.proposals] == ["opening at random"] * len(opening)
        drawn.add(tuple(p.allocation for p in turn.proposals))
        after = Script()
        hold(allocator.converse(tell(Archive(), turn), SPACE, 3, np.random.default_rng(9)), after)
        assert "Some allocations have been tried:" in after.prompts[0]
    assert len(drawn) == 5


def test_what_a_planner_writes_is_bounded_and_without_control_characters():
    archive, _ = rounds(1, AgentTts(), Script())
    script = Script("\x1b[31m" + "x" * 10**6)
    turn = hold(AgentTts().converse(archive, SPACE, 3, np.random.default_rng(0)), script)
    assert len(turn.memory["guidelines"]) == 4000
    assert "\x1b" not in turn.insights[0].text
