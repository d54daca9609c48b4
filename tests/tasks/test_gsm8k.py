"""GSM8K over HTTP on models that a script plays; the expected figures are worked out in the comments."""

from __future__ import annotations

import pytest

from tests.scripted_server import Played, Reply, play, rules

PLAN = "Do not solve this problem."
MARBLES = "Nora fills 6 jars"  # 68
FERRY = "A ferry carries 48 cars"  # 3,600
ROLLS = "Emil bakes 4 trays"  # 36
PENCILS = "A pencil costs $0.50"  # 10
AUNT = "Ida is 9 years old."  # 21
TANK = "A tank holds 200 litres"  # 170

SCRIPT = rules(
    ([PLAN, TANK], Reply("no plan today", status=400)),
    (PLAN, "Given: see above.\nTake one step after the other."),
    (MARBLES, ["90 - 22\nAnswer: 68", "Answer: 90", "**Answer:** 68 marbles"]),
    (FERRY, ["Answer: 3600 cars", "Answer: 1,200", "Answer: 48 x 25 x 3 = 3,600."]),
    (ROLLS, ["Answer: 48", "Answer: 36", "thirty-six"]),
    (PENCILS, ["Answer: $10.00", "Answer: $10", "Answer: 10 dollars"]),
    (AUNT, ["She is old.", Reply("7 x 3 = 21, so the", cut_off=True), "#### 21"]),
)  # fmt: skip


@pytest.fixture(scope="module")
def played() -> Played:
    choices = [("plan", "qwen3-4b", 1, "fusion"), ("solve", "qwen3-1.7b", 3, "majority")]
    return play("gsm8k", SCRIPT, choices)


def by_problem(played: Played, values: dict[str, object]) -> dict[str, object]:
    """Return values by the beginning of the question instead of the number of the row."""
    questions = {problem.id: problem.fields["question"] for problem in played.task.search}
    starts = (MARBLES, FERRY, ROLLS, PENCILS, AUNT, TANK)
    return {next(s for s in starts if questions[name].startswith(s)): value for name, value in values.items()}


def test_numbers_are_voted_on_and_compared_as_numbers(played: Played) -> None:
    # MARBLES 68 twice. FERRY 3600 and 3,600 are one vote. ROLLS 48 and 36, one vote each: the first stands, and is
    # wrong. PENCILS all equal. AUNT: no reply holds an answer.
    expected = {MARBLES: 1.0, FERRY: 1.0, ROLLS: 0.0, PENCILS: 1.0, AUNT: 0.0}
    assert by_problem(played, dict(played.scores)) == expected


def test_single_samples_are_scored(played: Played) -> None:
    samples = by_problem(played, dict(played.evaluation.sample_scores["solve"]))
    assert samples[MARBLES] == (1.0, 0.0, 1.0)
    assert samples[FERRY] == (1.0, 0.0, 1.0)
    assert samples[ROLLS] == (0.0, 1.0, 0.0)
    assert samples[AUNT] == (0.0, 0.0, 0.0)


def test_a_fault_of_the_provider_is_told_and_no_score(played: Played) -> None:
    failures = by_problem(played, dict(played.failures))
    assert list(failures) == [TANK]
    (failure,) = played.failures.values()
    assert failure.stage == "plan"
    assert "no plan today" in failure.message


def test_gold_is_read_out_of_the_published_answer(played: Played) -> None:
    gold = {problem.id: problem.fields["gold"] for problem in played.task.search}
    assert by_problem(played, gold) == {
        MARBLES: "68",
        FERRY: "3,600",
        ROLLS: "36",
        PENCILS: "10",
        AUNT: "21",
        TANK: "170",
    }


def test_the_plan_stands_in_the_prompt_that_solves(played: Played) -> None:
    (prompt,) = [text for text in played.server.prompts(MARBLES) if PLAN not in text]
    assert "which may be wrong:\nGiven: see above.\nTake one step after the other.\n" in prompt


def test_models_are_asked_not_to_think(played: Played) -> None:
    assert {str(asked.body["chat_template_kwargs"]) for asked in played.server.asked} == {
        "{'enable_thinking': False}"
    }


def test_charged_cost_is_that_of_the_samples(played: Played) -> None:
    # plan 100 + 10, solve 100 + 3 x 10. Times 2 x parameters, without attention.
    costs = {name: cost.linear_flops for name, cost in played.evaluation.costs.items()}
    assert costs == {"plan": pytest.approx(2 * 4.0e9 * 110), "solve": pytest.approx(2 * 1.7e9 * 130)}
