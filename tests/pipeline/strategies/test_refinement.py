"""One sample after another: what is said in which turn, when it stops, and which one is taken."""

from __future__ import annotations

from typing import Any

import pytest

from agenttts.models.base import Message, SamplingParameters
from agenttts.pipeline.strategies.refinement import Critic, Refining, refine
from agenttts.verifiers.base import Score
from tests.pipeline.strategies.hand import NUMBERS, PROMPT, Verifying, Writes, asking, play


def better(text: str, answer: Any, feedback: str, prompt: str) -> tuple[Message, ...]:
    return (Message("user", f"{prompt}|{text}|{answer}|{feedback}"),)


def critical(text: str, answer: Any, prompt: str) -> tuple[Message, ...]:
    return (Message("user", f"wrong with {text} ({answer}) for {prompt}?"),)


def turns(*texts: str) -> Writes:
    """Return a source of the first sample and then of what each refinement writes, whatever it is asked."""
    left = iter(texts)
    return lambda draw, index: (
        f"criticism of {draw.messages[-1].content}" if draw.purpose == "critic" else next(left)
    )


def test_each_turn_goes_on_in_the_conversation_of_the_sample_before() -> None:
    played = play(refine(asking(3), NUMBERS, Refining(better)), turns("is 1", "is 2", "is 3"))
    assert played.plan == [("draw", 0, 1), ("refine", 0, 1), ("refine", 0, 1)]
    assert played.draws[0].messages == PROMPT
    assert played.draws[1].messages == (
        *PROMPT,
        Message("assistant", "is 1"),
        Message("user", "Be brief.\n6 * 7?|is 1|1|"),
    )
    assert played.draws[2].messages == (
        *PROMPT,
        Message("assistant", "is 2"),
        Message("user", "Be brief.\n6 * 7?|is 2|2|"),
    )
    assert (played.output.answer, played.output.selected, played.output.n_plain) == ("3", 2, 1)
    assert played.output.texts == ("is 1", "is 2", "is 3")
    assert played.output.notes == ("refined 2 times",)


def test_without_a_verifier_the_last_that_could_be_parsed_is_taken() -> None:
    played = play(refine(asking(3), NUMBERS, Refining(better)), turns("is 1", "is 2", "hm"))
    assert (played.output.answer, played.output.selected) == ("2", 1)
    nothing = play(refine(asking(2), NUMBERS, Refining(better)), turns("hm", "well"))
    assert nothing.output.answer is None


def test_one_sample_is_not_refined() -> None:
    played = play(refine(asking(1), NUMBERS, Refining(better)), turns("is 1"))
    assert (played.plan, played.output.notes) == ([("draw", 0, 1)], ())


def test_a_good_score_ends_it_and_the_best_is_taken() -> None:
    scores = {"is 1": 0.5, "is 2": 0.4, "is 3": 0.8, "is 4": 1.0}
    how = Refining(better, verifier=Verifying(lambda one: scores[one.text]), threshold=0.8)
    played = play(refine(asking(5), NUMBERS, how), turns(*scores))
    assert len(played.draws) == 3
    assert played.batches == [["is 1"], ["is 2"], ["is 3"]]
    assert (played.output.answer, played.output.selected) == ("3", 2)
    best_before = play(refine(asking(2), NUMBERS, how), turns(*scores))
    assert (best_before.output.answer, best_before.output.selected) == ("1", 0)


def test_what_the_verifier_says_is_the_feedback() -> None:
    how = Refining(better, verifier=Verifying(lambda one: Score(0.1, feedback=f"bad {one.answer}")))
    played = play(refine(asking(2), NUMBERS, how), turns("is 1", "is 2"))
    assert played.draws[1].messages[-1].content.endswith("|is 1|1|bad 1")


def test_unscored_samples_are_refined_to_the_end_and_leave_the_majority() -> None:
    how = Refining(better, verifier=Verifying())
    played = play(refine(asking(3), NUMBERS, how), turns("is 1", "is 2", "is 2"))
    assert len(played.draws) == 3
    assert played.output.answer == "2"


def test_a_critic_is_asked_before_each_turn_and_heard_in_it() -> None:
    critic = Critic(critical, SamplingParameters(max_tokens=9), "judge")
    played = play(refine(asking(2), NUMBERS, Refining(better, critic)), turns("is 1", "is 2"))
    assert played.plan == [("draw", 0, 1), ("critic", 0, 1), ("refine", 0, 1)]
    question = played.draws[1]
    assert (question.model, question.sampling.max_tokens) == ("judge", 9)
    assert question.messages == critical("is 1", "1", "Be brief.\n6 * 7?")
    assert played.draws[2].messages[-1].content.endswith(f"|criticism of {question.messages[0].content}")
    assert played.output.texts == ("is 1", "is 2")


def test_a_critic_without_a_model_or_sampling_is_the_model_itself_at_temperature_0() -> None:
    played = play(refine(asking(2), NUMBERS, Refining(better, Critic(critical))), turns("is 1", "is 2"))
    assert played.draws[1].model == "small"
    assert played.draws[1].sampling.temperature == 0
    assert played.draws[2].sampling.temperature == 0.8


@pytest.mark.parametrize(
    ("said", "heard"), [(Score(0.2, feedback="step 2"), "step 2"), (Score(None, "it is down"), "it is down")]
)
def test_a_verifier_as_the_critic_speaks_or_says_why_it_cannot(said: Score, heard: str) -> None:
    critic = Critic(None, verifier=Verifying(lambda one: said))
    played = play(refine(asking(2), NUMBERS, Refining(better, critic)), turns("is 1", "is 2"))
    assert played.batches == [["is 1"]]
    assert played.draws[1].messages[-1].content.endswith(f"|{heard}")
    assert played.output.verifier_scores == ()


def test_a_turn_that_is_asked_again_takes_the_next_draw() -> None:
    # The model repeats itself, so the third turn asks what the second did; a server would draw anew.
    stream = ["is 1", "is 2"]
    played = play(
        refine(asking(3), NUMBERS, Refining(better)),
        lambda draw, index: "is 1" if draw.purpose == "draw" else stream[index],
    )
    assert played.plan == [("draw", 0, 1), ("refine", 0, 1), ("refine", 1, 1)]
    assert (played.output.answer, played.output.texts) == ("2", ("is 1", "is 1", "is 2"))
