"""HotpotQA over HTTP on models that a script plays; the expected figures are worked out in the comments."""

from __future__ import annotations

import pytest

from tests.scripted_server import Played, Reply, play, rules

FIND = "Do not answer the question."
T1 = "What was the inventor of Stone Garden trained as?"  # gold passages 2, 9; geologist
T2 = "For which cheese is the home town of Bram Holloway known?"  # gold passages 7, 10; blue cheese
T3 = "Are Milo Sterne and Yara Lund both designers of board games?"  # gold passages 6, 11; yes
T4 = "About how many people live in the port"  # gold passages 6, 7; 40,000 or about 40,000
T5 = "In which city is the museum that Iris Tolland kept?"  # gold passages 1, 3; Hythe
T6 = "Near which port ends the river that Ostra Mill stands on?"  # gold passages 7, 8; Ansley

SCRIPT = rules(
    # Two lists of two and one of four: two are kept. 2 has three votes, then 9 and 4 have two; 9 was named first.
    ([FIND, T1], ["Passages: [2], [9]", "Passages: [4], [2]", "Passages: [2], [9], [4], [0]"]),
    (T1, "Yara Lund invented it.\nAnswer: a Geologist."),
    # 99 is no passage: it is an item that is not gold, and picks nothing.
    ([FIND, T2], "Passages: [7], [99]"),
    (T2, "Answer: cheese"),
    ([FIND, T3], ["Passages:\n- [6]\n- [11]\n\nBoth name a designer."]),
    (T3, "Yes"),
    # The same passage twice in one reply is one vote.
    ([FIND, T4], ["Passages: [6], [6], [7]", "Passages: [7], [6]", "Passages: [0], [1]"]),
    (T4, "Answer: 40000"),
    ([FIND, T5], Reply("not allowed", status=403)),
    # Nothing in the reply, again and again.
    ([FIND, T6], Reply(None)),
)  # fmt: skip


@pytest.fixture(scope="module")
def played() -> Played:
    choices = [("retrieve", "qwen2.5-32b", 3, "list_vote"), ("answer", "llama3.1-8b", 1, "fusion")]
    only = [f"hotpot-t{n}" for n in (1, 2, 3, 4, 6)]
    return play("hotpotqa", SCRIPT, choices, split="test", only=only)


def test_answers_are_scored_by_exact_match(played: Played) -> None:
    # t1: the article, the capital and the full stop do not count. t2: a word is missing. t4: equal as a number.
    assert played.scores == {"hotpot-t1": 1.0, "hotpot-t2": 0.0, "hotpot-t3": 1.0, "hotpot-t4": 1.0}


def test_passages_are_voted_on_and_scored_by_f1(played: Played) -> None:
    assert played.answers("retrieve") == {
        "hotpot-t1": [2, 9],
        "hotpot-t2": [7, 99],
        "hotpot-t3": [6, 11],
        "hotpot-t4": [6, 7],
    }
    # t2: 2 x 1 / (2 + 2).
    expected = {"hotpot-t1": 1.0, "hotpot-t2": 0.5, "hotpot-t3": 1.0, "hotpot-t4": 1.0}
    assert played.evaluation.stage_scores["retrieve"] == expected
    # Single samples of t1: both; one of two named; 2 x 2 / (2 + 4).
    assert played.evaluation.sample_scores["retrieve"]["hotpot-t1"] == (1.0, 0.5, pytest.approx(2 / 3))


def test_token_f1_is_told_beside_the_score(played: Played) -> None:
    # t2: `cheese` against `blue cheese` and `its blue cheese`: 2 x 1 / (1 + 2). t4: `40000` is `40,000` without its comma.
    expected = {"hotpot-t1": 1.0, "hotpot-t2": pytest.approx(2 / 3), "hotpot-t3": 1.0, "hotpot-t4": 1.0}
    assert played.evaluation.measures["f1"] == expected


def test_replies_without_content_are_a_failure(played: Played) -> None:
    assert list(played.failures) == ["hotpot-t6"]
    assert played.failures["hotpot-t6"].stage == "retrieve"


def test_a_picked_number_out_of_range_is_left_out_of_the_prompt(played: Played) -> None:
    (prompt,) = [text for text in played.server.prompts(T2) if FIND not in text]
    assert [line for line in prompt.splitlines() if line.startswith("- ")] == [
        "- Bram Holloway: Bram Holloway (1770 to 1839) was a millwright from the town of Garrick. He built eleven "
        "watermills and one clock tower."
    ]


def test_a_refused_key_stops_the_run_rather_than_score_0() -> None:
    from agenttts.errors import ProviderError

    choices = [("retrieve", "qwen2.5-7b", 1, "list_vote"), ("answer", "llama3.2-3b", 1, "fusion")]
    with pytest.raises(ProviderError, match="not allowed"):
        play("hotpotqa", SCRIPT, choices, split="test", only=["hotpot-t5"])


def test_charged_cost_is_that_of_the_samples(played: Played) -> None:
    # One sample needs no fusion: 2 x nominal parameters x (100 + 10); retrieval 100 + 3 x 10. Without attention.
    costs = {name: cost.linear_flops for name, cost in played.evaluation.costs.items()}
    assert costs == {"retrieve": pytest.approx(2 * 32e9 * 130), "answer": pytest.approx(2 * 8e9 * 110)}
