"""Search over steps, in a small language in which the best reply is known."""

from __future__ import annotations

from collections import Counter

import pytest

from agenttts.models.base import Message, Sample
from agenttts.pipeline.base import Judged
from agenttts.pipeline.strategies.steps import Draw
from agenttts.pipeline.strategies.stepwise import StepSearch, search_steps
from agenttts.verifiers.base import Candidate
from tests.pipeline.strategies.hand import NUMBERS, PROMPT, WORDS, Played, Verifying, Writes, asking, play

GOOD = "right"
"""The language: three steps of one word, each `right` or `wrong`; the answer is the number of right ones."""


def begun(draw: Draw) -> str:
    last = draw.messages[-1]
    return last.content if last.role == "assistant" else ""


def language(*, depth: int = 3, told: bool = True, good_draw: int = 1) -> Writes:
    """Return a source whose draw `good_draw` of each beginning goes on rightly, all others wrongly."""

    def write(draw: Draw, index: int) -> Sample:
        n_done = len(begun(draw).split("; ")) - 1
        if n_done >= depth:  # only where the end is not told: nothing more comes
            return Sample(index, "", "stop", 5, 0)
        word = GOOD if index == good_draw else "wrong"
        details = {"ended": True} if told and n_done == depth - 1 else {}
        return Sample(index, word, "stop", 5, 2, details=details)

    return write


def share_right(candidate: Candidate) -> float:
    steps = candidate.text.split("; ")
    return sum(step == GOOD for step in steps) / len(steps)


def search(
    n: int = 4,
    width: int = 2,
    *,
    diverse: bool = False,
    max_steps: int = 9,
    verifier: Verifying | None = None,
) -> tuple[Draw, StepSearch]:
    how = StepSearch(verifier or Verifying(share_right), width, "; ", max_steps, diverse)
    return asking(n, max_tokens=40), how


def played(writes: Writes, n: int = 4, width: int = 2, **keys: object) -> Played:
    draw, how = search(n, width, **keys)  # type: ignore[arg-type]
    return play(search_steps(draw, WORDS, how), writes)


@pytest.mark.parametrize("diverse", [False, True])
@pytest.mark.parametrize("told", [False, True])
def test_the_best_reply_is_found_step_by_step(diverse: bool, told: bool) -> None:
    # One draw in four of a beginning is right, so a reply of three right steps is one in 64.
    found = played(language(told=told), diverse=diverse)
    assert found.output.text == "right; right; right"
    assert found.output.answer == "right; right; right"
    assert found.output.verifier_scores[found.output.selected or 0] == 1.0
    assert (found.output.n_plain, found.output.notes) == (0, ())


def test_each_step_stops_at_the_separator_and_goes_on_from_the_beginning() -> None:
    found = played(language(good_draw=0), n=2, width=2)
    first, second, third = found.rounds
    assert [one.purpose for one in first + second + third] == ["step"] * 3
    assert first[0].messages == PROMPT
    assert all(one.sampling.stop == ("; ",) for (one,) in found.rounds)
    assert second[0].messages == (*PROMPT, Message("assistant", "right; "))
    assert third[0].messages == (*PROMPT, Message("assistant", "right; right; "))


def test_a_first_round_of_n_then_width_for_each_kept() -> None:
    found = played(language(), n=6, width=3)
    assert [[one.n for one in one_round] for one_round in found.rounds] == [[6], [3, 3], [3, 3]]


def test_fewer_samples_than_the_width_are_never_passed() -> None:
    found = played(language(), n=2, width=4)
    assert [[one.n for one in one_round] for one_round in found.rounds] == [[2], [2], [2]]


def test_one_sample_is_one_path() -> None:
    found = played(language(good_draw=0), n=1, width=4)
    assert found.output.text == "right; right; right"
    assert [one.n for one in found.draws] == [1, 1, 1]


def test_equal_beginnings_draw_distinct_continuations_and_are_judged_once() -> None:
    verifier = Verifying(share_right)

    def write(draw: Draw, index: int) -> Sample:
        # All first steps are equal, and the fourth continuation alone is right.
        if not begun(draw):
            return Sample(index, "same", "stop", 5, 1)
        return Sample(index, GOOD if index == 3 else f"wrong{index}", "stop", 5, 1, details={"ended": True})

    found = played(write, n=4, width=2, verifier=verifier)
    assert [[(one.n, one.first) for one in one_round] for one_round in found.rounds] == [[(4, 0)], [(4, 0)]]
    assert found.batches[0] == ["same"]
    assert sorted(found.batches[1]) == ["same; right", "same; wrong0", "same; wrong1", "same; wrong2"]
    assert found.output.text == "same; right"
    assert [one.unfinished for one in verifier.asked] == [True, False, False, False, False]


def test_finished_beginnings_stay_and_are_not_asked_again() -> None:
    def write(draw: Draw, index: int) -> Sample:
        if not begun(draw) and index == 0:
            return Sample(index, "done at once", "stop", 5, 3, details={"ended": True})
        return Sample(index, f"step{index}", "stop", 5, 1)

    scores = Verifying(lambda one: 0.9 if one.text.startswith("done") else 0.1)
    found = played(write, n=4, width=2, max_steps=4, verifier=scores)
    assert [[one.n for one in one_round] for one_round in found.rounds] == [[4], [2], [2], [2]]
    assert found.output.text == "done at once"
    assert sum("done at once" in batch for batch in found.batches) == 1


def test_beam_search_keeps_the_best_of_all_and_trees_keep_their_own() -> None:
    def write(draw: Draw, index: int) -> Sample:
        return Sample(index, f"{begun(draw).count(';')}{'abcd'[index]}", "stop", 5, 1)

    best = {"0a": 0.9, "0b": 0.2, "0c": 0.8, "0d": 0.1}
    scores = Verifying(lambda one: best[one.text.split(";")[0]])
    for diverse, kept in ((False, ["0a; ", "0c; "]), (True, ["0a; ", "0b; "])):
        found = played(write, n=4, width=2, max_steps=2, diverse=diverse, verifier=scores)
        assert [begun(one) for one in found.rounds[1]] == kept, diverse


def test_a_search_that_does_not_end_is_cut_off_and_says_so() -> None:
    found = played(language(depth=50, good_draw=0), max_steps=3, n=2, width=2)
    assert len(found.rounds) == 3
    assert found.output.text == "right; right; right"
    assert found.output.notes[0] == "cut off after 3 steps"


def test_no_reply_has_more_tokens_than_its_limit() -> None:
    def write(draw: Draw, index: int) -> Sample:
        n = min(15, draw.sampling.max_tokens)
        return Sample(index, "w " * n, "length" if n < 15 else "stop", 5, n)

    found = played(write, n=2, width=2, verifier=Verifying(lambda one: 0.5))
    assert [one.sampling.max_tokens for one in found.draws] == [40, 25, 10]
    assert found.output.text.count("w") == 40


def test_a_step_that_uses_the_limit_up_is_the_last() -> None:
    def write(draw: Draw, index: int) -> Sample:
        return Sample(index, "w", "stop", 5, draw.sampling.max_tokens)

    assert len(played(write, n=2, width=2).rounds) == 1


@pytest.mark.parametrize("reason", ["length", "content_filter"])
def test_what_does_not_stop_by_itself_is_finished(reason: str) -> None:
    found = played(lambda draw, index: Sample(index, "cut", reason, 5, 1), n=2, width=2)
    assert len(found.rounds) == 1
    assert found.output.text == "cut"


def test_nothing_written_at_all_is_no_answer() -> None:
    draw, how = search(2, 2)
    found = play(search_steps(draw, NUMBERS, how), lambda draw, index: Sample(index, "  ", "stop", 5, 1))
    assert (found.batches, found.output.answer, found.output.text) == ([], None, "")
    assert found.output.notes[0].startswith("2 of 2 replies could not be parsed: ")


def test_unscored_beginnings_go_on_in_drawing_order_and_the_majority_decides() -> None:
    found = played(language(good_draw=0), verifier=Verifying())
    assert [begun(one) for one in found.rounds[1]] == ["right; ", "wrong; "]
    assert "no sample was scored: majority vote" in found.output.notes


def test_beginnings_that_were_sent_and_left_unscored_are_counted_over_all_steps() -> None:
    verifier = Verifying(lambda one: None if one.text.startswith("wrong") else 1.0)
    found = played(language(), verifier=verifier)
    sent = [candidate.text for candidate in verifier.asked]
    n_wrong = sum(text.startswith("wrong") for text in sent)
    assert 0 < n_wrong < len(sent)
    assert found.output.judged == Judged(len(sent), n_wrong, "?")


def test_an_unscored_beginning_comes_after_one_that_scores_0() -> None:
    def write(draw: Draw, index: int) -> Sample:
        return Sample(index, "ab"[index] if not begun(draw) else "end", "stop", 5, 1)

    scores = Verifying(lambda one: None if one.text.startswith("a") else 0.0)
    found = played(write, n=2, width=2, max_steps=2, verifier=scores)
    assert [begun(one) for one in found.rounds[1]] == ["b; "]


def test_no_draw_of_a_stream_is_used_twice() -> None:
    found = played(language(told=False), n=8, width=2)
    used = Counter(
        (one.messages, index) for one in found.draws for index in range(one.first, one.first + one.n)
    )
    assert max(used.values()) == 1
