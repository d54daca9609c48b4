"""2WikiMultihopQA over HTTP on models that a script plays; the expected figures are worked out in the comments."""

from __future__ import annotations

import pytest

from tests.scripted_server import Played, Reply, play, rules

FIND = "Do not answer the question."
S1 = "In which town was the director of The Halden Lantern born?"  # gold passages 5, 15; Brevik Sound
S2 = "Who was born first, the founder of Copper Tide"  # gold passages 0, 1, 6, 12; Hale Brisk or Brisk
S3 = "Are Kestrel Airfield and Lowmere Airfield in the same country?"  # gold passages 6, 15; yes
S4 = "Where did the husband of the author of Salt and Thistle teach?"  # gold passages 2, 4, 14; College of Wendmoor
S5 = "In which year did the designer of the Tarn Lighthouse die?"  # gold passages 3, 9; 1902
S6 = "Who is the father of the first winner of the Wendmoor Prize?"  # gold passages 0, 14; Edrik Hame

SCRIPT = rules(
    # Two lists of two: 5 has two votes, then 15 and 2 have one, and 15 was named first. The third reply has no list.
    ([FIND, S1], ["It is about the film [5].\n\nPassages: [5], [15]", "Passages: 5, 2", "I would look at the film."]),
    (S1, ["Answer: Oslo", "She was born there.\n**Answer:** Brevik Sound", "Brevik Sound"]),
    # Lists of 2, 1 and 1: one is kept, 0 with two votes. All answers differ: the first stands.
    ([FIND, S2], ["Passages: [0], [1]", "Passages: [6]", "Passages: [0]"]),
    (S2, ["Answer: Oda Finch", "Answer: Hale Brisk", "Answer: Brisk"]),
    # No reply can be read: the answer is asked for without passages.
    ([FIND, S3], ["I cannot tell.", "Passages: none of the 16", "{"]),
    ([S3, "(None was found: answer from what you know.)"], ["Answer: Yes.", "Long talk\nof nothing", "the answer is YES"]),
    # As JSON; 3, 3 and 2 long: three are kept, 2 with three votes, 4 and 14 with two.
    ([FIND, S4], ["[2, 4, 14]", "```json\n[4, 2, 9]\n```", '{"passages": ["2", "14"]}']),
    (S4, "Answer: the old College of Wendmoor"),
    # The provider refuses.
    ([FIND, S5], "Passages: [3], [9]"),
    (S5, Reply("content filter", status=400)),
    # Cut off in the second number. Lists of 1, 1 and 3: one is kept, 0 and 14 have two votes, 0 was named first.
    ([FIND, S6], [Reply("Passages: [0], [1", cut_off=True), "Passages: [14]", "Passages: [0], [14], [3]"]),
    (S6, "The poet won it first.\nAnswer: Edrik Hame\n"),
)  # fmt: skip


@pytest.fixture(scope="module")
def played() -> Played:
    choices = [("retrieve", "qwen2.5-7b", 3, "list_vote"), ("answer", "llama3.2-3b", 3, "majority")]
    return play("2wikimultihopqa", SCRIPT, choices)


def test_answers_are_scored_by_exact_match(played: Played) -> None:
    # s2: Oda Finch is wrong. s4: one word too many.
    expected = {"s1": 1.0, "s2": 0.0, "s3": 1.0, "s4": 0.0, "s6": 1.0}
    assert played.scores == {f"2wiki-{name}": score for name, score in expected.items()}


def test_a_fault_of_the_provider_is_told_and_no_score(played: Played) -> None:
    (failure,) = played.failures.values()
    assert list(played.failures) == ["2wiki-s5"]
    assert (failure.stage, failure.cause) == ("answer", "RequestRefusedError")
    assert "content filter" in failure.message


def test_passages_are_voted_on_and_scored_by_f1(played: Played) -> None:
    assert played.answers("retrieve") == {
        "2wiki-s1": [5, 15],
        "2wiki-s2": [0],
        "2wiki-s3": None,
        "2wiki-s4": [2, 4, 14],
        "2wiki-s5": [3, 9],
        "2wiki-s6": [0],
    }
    # F1 is 2 x common / (gold + named): s2 2 x 1 / (4 + 1), s6 2 x 1 / (2 + 1).
    assert played.evaluation.stage_scores["retrieve"] == {
        "2wiki-s1": 1.0,
        "2wiki-s2": pytest.approx(0.4),
        "2wiki-s3": 0.0,
        "2wiki-s4": 1.0,
        "2wiki-s6": pytest.approx(2 / 3),
    }
    # Single samples of s1: both passages; one of two; none.
    assert played.evaluation.sample_scores["retrieve"]["2wiki-s1"] == (1.0, 0.5, 0.0)


def test_what_could_not_be_read_is_counted(played: Played) -> None:
    # retrieve: one of s1, three of s3. answer: one of s3.
    assert (
        played.evaluation.unparsed["retrieve"].n,
        played.evaluation.unparsed["answer"].n,
    ) == (4, 1)


def test_token_f1_is_told_beside_the_score(played: Played) -> None:
    # s4: `old college of wendmoor` against `college of wendmoor`: 2 x 3 / (4 + 3).
    assert played.evaluation.measures["f1"] == {
        "2wiki-s1": 1.0,
        "2wiki-s2": 0.0,
        "2wiki-s3": 1.0,
        "2wiki-s4": pytest.approx(6 / 7),
        "2wiki-s6": 1.0,
    }


def test_the_answer_is_asked_with_the_chosen_passages_alone(played: Played) -> None:
    (prompt,) = [text for text in played.server.prompts(S1) if FIND not in text]
    lines = [line for line in prompt.splitlines() if line.startswith("- ")]
    assert len(lines) == 2
    assert "Mirelle Oskan was born in the harbour town of Brevik Sound." in prompt


def test_charged_cost_is_that_of_the_samples(played: Played) -> None:
    # 2 x nominal parameters x (prompt 100 + 3 samples x 10), without attention.
    costs = {name: cost.linear_flops for name, cost in played.evaluation.costs.items()}
    assert costs == {"retrieve": pytest.approx(2 * 7e9 * 130), "answer": pytest.approx(2 * 3e9 * 130)}


def test_fusion_writes_one_answer_of_three_and_is_charged() -> None:
    script = rules(
        ([FIND, S1], "Passages: [5], [15]"),
        ([S1, "3 replies to the task above", "Answer: Oslo"], "Both agree.\nAnswer: Brevik Sound"),
        (S1, ["Answer: Oslo", "Answer: Brevik", "no idea\nat all"]),
    )
    choices = [("retrieve", "qwen2.5-72b", 1, "list_vote"), ("answer", "llama3.1-70b", 3, "fusion")]
    played = play("2wikimultihopqa", script, choices, only=["2wiki-s1"])
    assert played.scores == {"2wiki-s1": 1.0}
    # One retrieval 100 + 10; three answers 100 + 30 and their fusion 100 + 10.
    costs = {name: cost.linear_flops for name, cost in played.evaluation.costs.items()}
    assert costs == {"retrieve": pytest.approx(2 * 72e9 * 110), "answer": pytest.approx(2 * 70e9 * 240)}


def test_an_outage_is_no_wrong_answer() -> None:
    script = rules(([FIND, S1], Reply("overloaded", status=503)))
    choices = [("retrieve", "qwen2.5-7b", 1, "list_vote"), ("answer", "llama3.2-3b", 1, "majority")]
    played = play("2wikimultihopqa", script, choices, only=["2wiki-s1"])
    assert played.scores == {}
    assert played.failures["2wiki-s1"].stage == "retrieve"
