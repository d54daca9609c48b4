"""A small model first: when it escalates, to what, and who wins then."""

from __future__ import annotations

import pytest

from agenttts.models.base import Sample, SamplingParameters
from agenttts.pipeline.strategies.cascade import agreement_of, cascade
from agenttts.pipeline.strategies.steps import Draw
from tests.pipeline.strategies.hand import NUMBERS, PROMPT, Verifying, Writes, asking, play

DEEP = SamplingParameters(temperature=0.3, max_tokens=99)


def models(small: str, large: str) -> Writes:
    """Return a source that writes one digit a sample; `-` is none."""
    return lambda draw, index: (small if draw.model == "small" else large)[index]


def test_agreement_counts_unparsed_samples_as_disagreeing() -> None:
    assert agreement_of(["1", "1.0", None, "2"]) == 0.5
    assert agreement_of([None, None]) == 0.0


def test_samples_that_agree_are_not_escalated() -> None:
    played = play(
        cascade(asking(4), NUMBERS, to="large", sampling=DEEP, below=0.5), models("7787"[:4], "----")
    )
    assert played.plan == [("draw", 0, 4)]
    assert (played.output.answer, played.output.selected, played.output.n_plain) == ("7", 0, 4)
    assert played.output.notes == ("not escalated: 0.75 is not below 0.5",)


def test_agreement_at_the_threshold_is_enough() -> None:
    played = play(cascade(asking(2), NUMBERS, to="large", sampling=DEEP, below=0.5), models("78", "99"))
    assert played.plan == [("draw", 0, 2)]


def test_samples_that_disagree_are_escalated_and_both_models_vote() -> None:
    played = play(cascade(asking(2), NUMBERS, to="large", sampling=DEEP, below=0.6), models("78", "98"))
    assert played.plan == [("draw", 0, 2), ("escalate", 0, 2)]
    assert (played.draws[1].model, played.draws[1].sampling) == ("large", DEEP)
    assert played.draws[1].messages == PROMPT
    assert (played.output.answer, played.output.selected) == ("8", 1)
    assert played.output.answers == ("7", "8", "9", "8")
    assert played.output.texts == ("7", "8", "9", "8")
    assert played.output.n_plain == 2
    assert played.output.notes == ("escalated to large",)


def test_a_tie_goes_to_the_first_model() -> None:
    played = play(cascade(asking(2), NUMBERS, to="large", sampling=DEEP, below=1.0), models("78", "99"))
    assert played.output.answer == "9"
    tied = play(cascade(asking(2), NUMBERS, to="large", sampling=DEEP, below=1.0), models("78", "9-"))
    assert tied.output.answer == "7"


def test_nothing_parsed_is_escalated_and_may_stay_nothing() -> None:
    mended = play(cascade(asking(2), NUMBERS, to="large", sampling=DEEP, below=0.1), models("--", "-5"))
    assert (mended.output.answer, mended.output.selected) == ("5", 3)
    nothing = play(cascade(asking(2), NUMBERS, to="large", sampling=DEEP, below=0.1), models("--", "--"))
    assert nothing.output.answer is None


def test_below_zero_never_escalates() -> None:
    played = play(cascade(asking(2), NUMBERS, to="large", sampling=DEEP, below=0.0), models("--", "55"))
    assert played.plan == [("draw", 0, 2)]


@pytest.mark.parametrize(("best", "escalates"), [(0.69, True), (0.7, False), (None, True)])
def test_with_a_verifier_the_best_score_decides(best: float | None, escalates: bool) -> None:
    verifier = Verifying(lambda one: best if one.text in "78" else 0.4)
    strategy = cascade(asking(2), NUMBERS, to="large", sampling=DEEP, below=0.7, verifier=verifier)
    played = play(strategy, models("78", "95"))
    assert [draw.purpose for draw in played.draws] == ["draw", "escalate"][: 1 + escalates]
    assert played.batches == [["7", "8"], ["9", "5"]][: 1 + escalates]
    assert played.output.answer == ("9" if best is None else "7")


def test_to_itself_it_escalates_to_draws_that_were_not_seen() -> None:
    draw = asking(2, temperature=0.3, max_tokens=99)
    played = play(cascade(draw, NUMBERS, to="small", sampling=DEEP, below=0.9), models("7899", ""))
    assert played.plan == [("draw", 0, 2), ("escalate", 2, 2)]
    assert (played.output.answer, played.output.answers) == ("9", ("7", "8", "9", "9"))


def test_the_same_model_asked_in_another_way_has_a_stream_of_its_own() -> None:
    def writes(draw: Draw, index: int) -> str | Sample:
        return "789"[index]

    played = play(cascade(asking(2), NUMBERS, to="small", sampling=DEEP, below=0.9), writes)
    assert played.plan == [("draw", 0, 2), ("escalate", 0, 2)]
