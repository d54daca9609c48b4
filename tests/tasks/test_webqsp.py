"""WebQuestionsSP over HTTP on models that a script plays; the expected figures are worked out in the comments."""

from __future__ import annotations

import pytest

from tests.scripted_server import Played, Reply, play, rules

FIND = "Do not answer the question."
S1 = "who directed the glass orchard?"  # gold triples 5, 12; Petra Vance
S2 = "what language do they speak in stell?"  # gold triple 6; Stellic
S3 = "where was nils orrin born?"  # gold triple 3; Garrick
S4 = "who is rolf aster married to?"  # gold triple 12; Mina Coll
S5 = "what movies did petra vance make?"  # gold triples 1, 9; The Glass Orchard, Winter Ink
S6 = "who coaches the harbour foxes?"  # gold triples 9, 10; Nils Orrin

SCRIPT = rules(
    # Both readings of one fact; the answer is put together from two that differ.
    ([FIND, S1], ["Triples: [12], [5]", "Triples: [5], [12]"]),
    ([S1, "2 replies to the task above"], "Petra Vance"),
    (S1, ["Answer: Vance", "Answer: Petra"]),
    # Lists of 1 and 2: one is kept (both lengths once, that of the first), 6 with two votes.
    ([FIND, S2], ["Triples: [6]", "Triples: [0], [6]"]),
    ([S2, "2 replies to the task above"], "Most agree.\nAnswer: Anverish"),
    (S2, ["Answer: Stellic", "Answer: Stellic"]),
    # Half a reply.
    ([FIND, S3], ["Triples: [", Reply("Begin at Nils Orrin. He", cut_off=True)]),
    ([S3, "2 replies to the task above"], Reply("It is hard to say, as the facts\ndo not", cut_off=True)),
    (S3, ["Answer: Garrick", "Garrick"]),
    ([FIND, S4], ["Triples: [12]"]),
    ([S4, "2 replies to the task above"], Reply("fusion refused", status=400)),
    (S4, ["Answer: Mina Coll"]),
    # One of several right answers is enough; both in one line are none of them.
    ([FIND, S5], ["Triples: [1], [9], [0]", "Triples: [1], [9], [0]"]),
    ([S5, "2 replies to the task above"], "Answer: Winter Ink"),
    (S5, ["Answer: The Glass Orchard", "Answer: The Glass Orchard and Winter Ink"]),
    ([FIND, S6], ["Triples: [9], [10]"]),
    ([S6, "2 replies to the task above"], "Answer: The Glass Orchard and Nils Orrin"),
    (S6, ["Answer: Nils Orrin", "Answer: m.0x1foxes"]),
)  # fmt: skip


@pytest.fixture(scope="module")
def played() -> Played:
    choices = [("retrieve", "qwen2.5-72b", 2, "list_vote"), ("answer", "llama3.1-70b", 2, "fusion")]
    return play("webqsp", SCRIPT, choices)


def test_answers_are_scored_by_exact_match_with_any_right_one(played: Played) -> None:
    # s2: the fusion is wrong though both replies were right. s3: the fusion cannot be read, so the
    # majority of the two replies stands. s6: a name too many.
    expected = {"s1": 1.0, "s2": 0.0, "s3": 1.0, "s5": 1.0, "s6": 0.0}
    assert played.scores == {f"webqsp-{name}": score for name, score in expected.items()}


def test_a_fault_in_the_fusion_is_told_and_no_score(played: Played) -> None:
    assert list(played.failures) == ["webqsp-s4"]
    assert played.failures["webqsp-s4"].stage == "answer"
    assert "fusion refused" in played.failures["webqsp-s4"].message


def test_triples_are_scored_by_f1(played: Played) -> None:
    # s5: three named, two of them gold: 2 x 2 / (2 + 3).
    expected = {"s1": 1.0, "s2": 1.0, "s3": 0.0, "s5": 0.8, "s6": 1.0}
    assert played.evaluation.stage_scores["retrieve"] == {f"webqsp-{k}": v for k, v in expected.items()}
    assert played.answers("retrieve")["webqsp-s1"] == [12, 5]


def test_token_f1_is_told_beside_the_score(played: Played) -> None:
    # s6: `glass orchard and nils orrin` against `nils orrin`: 2 x 2 / (2 + 5).
    expected = {"s1": 1.0, "s2": 0.0, "s3": 1.0, "s5": 1.0, "s6": pytest.approx(4 / 7)}
    assert played.evaluation.measures["f1"] == {f"webqsp-{k}": v for k, v in expected.items()}


def test_single_samples_of_the_answer_are_scored_too(played: Played) -> None:
    samples = played.evaluation.sample_scores["answer"]
    assert samples["webqsp-s5"] == (1.0, 0.0)
    assert samples["webqsp-s2"] == (1.0, 1.0)


def test_charged_cost_holds_the_fusion(played: Played) -> None:
    # retrieve 100 + 2 x 10; answer 100 + 2 x 10 and its fusion 100 + 10. Times 2 x nominal parameters, without attention.
    costs = {name: cost.linear_flops for name, cost in played.evaluation.costs.items()}
    assert costs == {"retrieve": pytest.approx(2 * 72e9 * 120), "answer": pytest.approx(2 * 70e9 * 230)}
