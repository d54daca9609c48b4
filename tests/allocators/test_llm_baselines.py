"""The LLM baselines: what each is told and what it remembers."""

import json

import numpy as np
import pytest

from agenttts.allocators.agenthpo import AgentHpo
from agenttts.allocators.base import PlannerAnswer, PlannerCall
from agenttts.allocators.llm_zs import LlmZs
from agenttts.allocators.mlcopilot import LEVELS, MlCopilot, experience, level_of_count, levels_of
from agenttts.pipeline.base import Allocation, StageChoice
from agenttts.study.archive import Archive, Trial
from agenttts.testing.surfaces import chain_space, hold

SPACE = chain_space(2, {"s": 1.0, "l": 16.0}, (1, 2, 4, 8, 16, 32), budget=40.0)


def trial(
    number: int, first: tuple[str, int], second: tuple[str, int], score: float, **more: object
) -> Trial:
    choices = tuple(
        StageChoice(f"stage{i}", model, n, "first" if n == 1 else "majority")
        for i, (model, n) in enumerate((first, second))
    )
    return Trial(number, Allocation(choices), "ok", {"p": score}, 12.0, **more)  # type: ignore[arg-type]


ARCHIVE = Archive.of(
    [
        trial(0, ("l", 1), ("s", 4), 0.75, reason="large first", stage_scores={"stage0": {"p": 0.25}}),
        trial(1, ("s", 8), ("s", 1), 0.125, reason="cheap"),
        trial(2, ("s", 1), ("l", 1), 0.5, reason="large last"),
    ]
)


class Script:
    def __init__(self, *answers: str | None) -> None:
        self.answers = list(answers)
        self.calls: list[PlannerCall] = []

    def __call__(self, call: PlannerCall) -> PlannerAnswer:
        self.calls.append(call)
        return PlannerAnswer(self.answers.pop(0) if self.answers else "nothing")

    @property
    def prompts(self) -> list[str]:
        return [call.messages[0].content for call in self.calls]


def ask(allocator: LlmZs | MlCopilot | AgentHpo, archive: Archive, script: Script, k: int = 2):
    return hold(allocator.converse(archive, SPACE, k, np.random.default_rng(0)), script)


# --- llm_zs ---


def test_zero_shot_sees_what_was_tried_and_never_a_result():
    script = Script()
    ask(LlmZs(), ARCHIVE, script)
    (prompt,) = script.prompts
    assert "stage0 l x1; stage1 s x4 majority" in prompt
    assert "40 tokens" in prompt
    for seen in ("0.75", "0.125", "0.5", "trial 0", "large first"):
        assert seen not in prompt


def test_zero_shot_begins_with_the_planner():
    script = Script(
        json.dumps(
            {"allocations": [{"stages": {f"stage{i}": {"model": "s", "n_samples": 8} for i in (0, 1)}}]}
        )
    )
    turn = ask(LlmZs(), Archive(), script, k=1)
    assert [str(p.allocation) for p in turn.proposals] == ["stage0 s x8 majority; stage1 s x8 majority"]
    assert "already" not in script.prompts[0]
    assert turn.memory == {}


# --- agenthpo ---


def test_the_executor_reports_each_trial_once_and_the_creator_reads_the_reports():
    script = Script("report one", "no json")
    turn = ask(AgentHpo(), ARCHIVE, script)
    executor, creator = script.prompts
    assert "score of the answers of stage0: 0.250" in executor
    assert "reason: large first" in creator
    assert "1. report one" in creator
    assert turn.memory == {"report": "report one", "seen": 2}
    assert turn.insights[0].trials == (0, 1, 2)

    later = ARCHIVE.with_turn(turn.insights, (), turn.memory).with_trials(
        [trial(3, ("s", 2), ("s", 2), 0.25)]
    )
    script = Script("report two")
    turn = ask(AgentHpo(), later, script)
    newest = script.prompts[0].split("The newest of them, in detail:")[1]
    assert "trial 3: " in newest
    assert "trial 2: " not in newest
    assert "1. report one\n2. report two" in script.prompts[1]
    assert turn.insights[0].trials == (3,)


def test_the_executor_has_nothing_to_report_before_the_first_trial():
    script = Script()
    turn = ask(AgentHpo(), Archive(), script)
    assert len(script.calls) == 1
    assert "none yet" in script.prompts[0]
    assert turn.memory == {}


def test_trials_of_a_round_whose_report_failed_are_reported_in_the_next():
    turn = ask(AgentHpo(), ARCHIVE, Script(None))
    assert "no report: the reply is empty" in turn.notes
    script = Script()
    ask(AgentHpo(), ARCHIVE.with_turn((), (), turn.memory), script)
    assert "trial 0: " in script.prompts[0].split("The newest of them, in detail:")[1]


# --- mlcopilot ---


def test_numbers_of_samples_become_fifths_of_what_is_on_offer():
    counts = (1, 2, 4, 8, 16, 32)
    assert [level_of_count(n, counts) for n in counts] == [
        "very low",
        "low",
        "medium",
        "medium",
        "high",
        "very high",
    ]
    assert [level_of_count(n, (1, 4)) for n in (1, 4)] == ["low", "high"]


def test_every_level_is_read_back_as_a_number_of_that_level():
    for n_counts in range(1, 12):
        counts = [2**i for i in range(n_counts)]
        for level in {level_of_count(n, counts) for n in counts}:
            place = int((LEVELS.index(level) + 0.5) / len(LEVELS) * n_counts)
            assert level_of_count(counts[place], counts) == level


def test_experience_is_in_words_best_first():
    # Ranks of three: 0.5, 1.5 and 2.5 thirds.
    assert experience(ARCHIVE, SPACE) == [
        "stage0 l, samples very low; stage1 s, samples medium, majority => score very high",
        "stage0 s, samples very low; stage1 l, samples very low => score medium",
        "stage0 s, samples medium, majority; stage1 s, samples very low => score very low",
    ]


def test_knowledge_is_drawn_from_experience_and_used_without_numbers():
    script = Script("rule: a large first stage")
    turn = ask(MlCopilot(), ARCHIVE, script)
    knowledge, suggest = script.prompts
    for prompt in (knowledge, suggest):
        assert "stage0 l, samples very low; stage1 s, samples medium, majority => score very high" in prompt
        assert "0.75" not in prompt
    assert "rule: a large first stage" in suggest
    assert turn.memory == {"knowledge": "rule: a large first stage"}
    # A round whose planner is silent falls back on what is known already.
    script = Script("")
    ask(MlCopilot(), ARCHIVE.with_turn((), (), turn.memory), script)
    assert "rule: a large first stage" in script.prompts[1]


def test_a_suggestion_whose_middle_is_known_becomes_another_of_the_same_levels():
    # `medium` stands for 4 and 8 samples and is read as 8, which is known for stage0 beside one sample at stage1.
    said = {"stage0": {"model": "s", "level": "medium"}, "stage1": {"model": "s", "level": "very low"}}
    turn = ask(MlCopilot(), ARCHIVE, Script("rules", json.dumps({"allocations": [{"stages": said}]})), k=1)
    assert str(turn.proposals[0].allocation) == "stage0 s x4 majority; stage1 s x1"
    assert levels_of(turn.proposals[0].allocation, SPACE) == levels_of(ARCHIVE.trials[1].allocation, SPACE)


def test_without_experience_the_first_round_is_random_and_asks_nothing():
    script = Script()
    turn = ask(MlCopilot(), Archive(), script)
    assert script.calls == []
    assert {p.reason for p in turn.proposals} == {"random, there is no experience yet"}


@pytest.mark.parametrize("allocator", [LlmZs(), MlCopilot(), AgentHpo()])
def test_what_is_over_the_budget_is_shrunk_and_told(allocator):
    said = {
        f"stage{i}": {"model": "l", "n_samples": 32, "level": "very high", "select": "majority"}
        for i in (0, 1)
    }
    text = json.dumps({"allocations": [{"stages": said}]})
    turn = ask(allocator, ARCHIVE, Script(*([] if isinstance(allocator, LlmZs) else ["words"]), text), k=1)
    assert SPACE.feasible(turn.proposals[0].allocation)
    assert "stage0 l x32 majority -> stage0 l x1" in turn.proposals[0].repaired
