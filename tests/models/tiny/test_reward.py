"""The reward model: one value a step and one for the whole, and better than chance by far."""

import itertools

import pytest

from agenttts.models.tiny import TinyContextError, TinyRewardModel
from agenttts.models.tiny.problems import problems
from agenttts.models.tiny.reward import judged_document
from agenttts.models.tiny.tokenizer import encode, encode_prompt, vocabulary

PROMPT, TRACE = "solve: 24 Mon*3 Tue-15", "24 Mon*3=72 Tue-15=57"


@pytest.fixture(scope="module")
def prm() -> TinyRewardModel:
    return TinyRewardModel.load()


def test_every_step_and_the_whole_are_judged(prm: TinyRewardModel) -> None:
    scores = prm.score([(PROMPT, TRACE), (PROMPT, "24"), (PROMPT, "")])
    assert [len(s) for s in scores] == [4, 2, 1]
    assert all(0 <= value <= 1 for s in scores for value in s)


def test_places_of_judgement_are_the_last_tokens_of_the_steps() -> None:
    tokens, places, begins = judged_document(PROMPT, TRACE)
    texts = vocabulary()
    assert [texts[tokens[place]] for place in places] == ["4", "2", "7", ""]
    assert places[-1] == len(tokens) - 1
    assert texts[tokens[begins]] == "2"


def test_scores_do_not_depend_on_the_batch(prm: TinyRewardModel) -> None:
    pairs = [(PROMPT, TRACE), (PROMPT, "24 Mon*3=71"), ("solve: 10 Mon+20", "10 Mon+20=30")]
    together = prm.score(pairs)
    for pair, scores in zip(pairs, together, strict=True):
        assert prm.score([pair])[0] == pytest.approx(scores, abs=1e-9)


def test_score_falls_at_the_wrong_step(prm: TinyRewardModel) -> None:
    wins = 0
    rows = list(itertools.islice(problems("a test of judgement"), 60))
    for row in rows:
        head, last = row.trace.rsplit("=", 1)
        slip = f"{head}={int(last) + 3}"
        right, wrong = prm.score([(f"solve: {row.plan}", row.trace), (f"solve: {row.plan}", slip)])
        assert right[:-2] == pytest.approx(wrong[:-2], abs=1e-9)
        wins += right[-1] > wrong[-1]
    assert wins >= 54


def test_tokens_read_are_counted(prm: TinyRewardModel) -> None:
    assert prm.count_tokens(PROMPT, TRACE) == len(encode_prompt(PROMPT)) + len(encode(TRACE))


def test_too_long_a_pair_is_refused(prm: TinyRewardModel) -> None:
    with pytest.raises(TinyContextError):
        prm.score([(PROMPT, "1" * 300)])


def test_nothing_to_judge_gives_nothing(prm: TinyRewardModel) -> None:
    assert prm.score([]) == []
