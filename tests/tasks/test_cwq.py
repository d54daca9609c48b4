"""ComplexWebQuestions over HTTP on models that a script plays; the expected figures are worked out in the comments."""

from __future__ import annotations

import pytest

from tests.scripted_server import Played, Reply, play, rules

FIND = "Do not answer the question."
S1 = "In which town does the team play that won the 1998 Strait Cup?"  # gold triples 1, 5, 7, 8; Ansley
S2 = "Where was the coach of the Harbour Foxes born?"  # gold triples 7, 8, 10; Garrick
S3 = "What is the capital of the region that adjoins Fenn?"  # gold triples 7, 15; Wendmoor
S4 = "What languages are official in the country"  # gold triples 5, 14; Anverish
S5 = "Which film did the director of The Glass Orchard make"  # gold triples 1, 7, 14; Winter Ink
S6 = "Whom did the star of Winter Ink marry?"  # gold triples 0, 2, 14; Mina Coll

SCRIPT = rules(
    # Lists of 2, 3 and 4, each once: as long as the first, two. 8 has three votes, 7 and 1 two; 7 was named first.
    ([FIND, S1], ["Triples: [7], [8]", "Triples: [1], [8], [7]", "Triples: [8], [1], [3], [4]"]),
    (S1, ["Answer: Ansley"]),
    ([FIND, S2], ["**Triples:** [7], [8], [10]"]),
    (S2, ["Answer: Garrick, a town in Fenn", "Answer: Fenn", "Answer: Garrick"]),
    ([FIND, S3], ["The way is Fenn, Orle.\n```json\n{\"triples\": [7, 15, 2]}\n```", "Triples: [7, 15]", "[15, 7]"]),
    (S3, ["The answer is: Wendmoor", "Answer: Hythe", "Answer: Hythe"]),
    ([FIND, S4], ["none", "none", "Triple: 5"]),
    (S4, ["Answer: \"Anverish\"", "*Answer*: anverish", ""]),
    ([FIND, S5], [Reply("gone", status=400)]),
    ([FIND, S6], "Triples: [0], [2], [14]"),
    (S6, ["Mina Coll"]),
)  # fmt: skip
CHOICES = [("retrieve", "qwen2.5-7b", 3, "list_vote"), ("answer", "llama3.1-8b", 3, "majority")]
ONLY = ["cwq-s1", "cwq-s2", "cwq-s3", "cwq-s6"]


@pytest.fixture(scope="module")
def played() -> Played:
    return play("cwq", SCRIPT, CHOICES, only=ONLY)


def test_answers_are_scored_by_exact_match(played: Played) -> None:
    # s2: three answers, one vote each, the first is too long. s3: Hythe has two votes.
    assert played.scores == {"cwq-s1": 1.0, "cwq-s2": 0.0, "cwq-s3": 0.0, "cwq-s6": 1.0}


def test_triples_are_voted_on_and_scored_by_f1(played: Played) -> None:
    # s3: two lists of two; 7 and 15 have three votes, 2 has one.
    assert played.answers("retrieve") == {
        "cwq-s1": [8, 7],
        "cwq-s2": [7, 8, 10],
        "cwq-s3": [7, 15],
        "cwq-s6": [0, 2, 14],
    }
    # s1: 2 x 2 / (4 + 2).
    expected = {"cwq-s1": pytest.approx(2 / 3), "cwq-s2": 1.0, "cwq-s3": 1.0, "cwq-s6": 1.0}
    assert played.evaluation.stage_scores["retrieve"] == expected
    # Single samples of s1: 2 x 2 / (4 + 2), 2 x 3 / (4 + 3), 2 x 2 / (4 + 4); of s3 the first: 2 x 2 / (2 + 3).
    samples = played.evaluation.sample_scores["retrieve"]
    assert samples["cwq-s1"] == (pytest.approx(2 / 3), pytest.approx(6 / 7), 0.5)
    assert samples["cwq-s3"] == (0.8, 1.0, 1.0)


def test_token_f1_is_told_beside_the_score(played: Played) -> None:
    # s2: `garrick town in fenn` against `garrick`: 2 x 1 / (1 + 4).
    expected = {"cwq-s1": 1.0, "cwq-s2": pytest.approx(0.4), "cwq-s3": 0.0, "cwq-s6": 1.0}
    assert played.evaluation.measures["f1"] == expected


def test_triples_stand_in_the_prompts_as_one_line_each(played: Played) -> None:
    (find,) = played.server.prompts(f"Question: {S6}\nBegin the search at: Winter Ink")
    assert "\n[0] m.0x2ink | film.performance.actor | Rolf Aster\n[1] " in find
    (answer,) = [text for text in played.server.prompts(S6) if FIND not in text]
    assert [line for line in answer.splitlines() if line.startswith("- ")] == [
        "- m.0x2ink | film.performance.actor | Rolf Aster",
        "- Rolf Aster | people.person.spouse_s | Mina Coll",
        "- Winter Ink | film.film.starring | m.0x2ink",
    ]


def test_charged_cost_is_that_of_the_samples(played: Played) -> None:
    # 2 x nominal parameters x (prompt 100 + 3 samples x 10), without attention.
    costs = {name: cost.linear_flops for name, cost in played.evaluation.costs.items()}
    assert costs == {"retrieve": pytest.approx(2 * 7e9 * 130), "answer": pytest.approx(2 * 8e9 * 130)}


def test_a_fault_of_the_provider_is_told_and_no_score() -> None:
    played = play("cwq", SCRIPT, CHOICES, only=["cwq-s6", "cwq-s5"])
    assert played.scores == {"cwq-s6": 1.0}
    assert played.failures["cwq-s5"].stage == "retrieve"
    assert "gone" in played.failures["cwq-s5"].message
