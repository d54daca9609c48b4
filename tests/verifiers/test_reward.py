from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from agenttts.models.base import CallUsage, Message, Sample
from agenttts.pipeline.base import Problem
from agenttts.testing.verifiers import VerifierContract
from agenttts.verifiers.base import Ask, AskingVerifier, Candidate, Score, Told, Verifier
from agenttts.verifiers.reward import AGGREGATES, RewardModelVerifier


def by_length(messages: Sequence[tuple[Message, ...]]) -> list[Sample]:
    """A reward model to which short words are good steps."""
    return [
        Sample(0, json.dumps([1 / len(word) for word in one[-1].content.split()]), "stop", 9, 0)
        for one in messages
    ]


class TestRewardModel(VerifierContract):
    @pytest.fixture
    def verifier(self) -> Verifier:
        return RewardModelVerifier("tiny/prm", "min", by_length)


def scored(verifier: RewardModelVerifier, reply: str, *, unfinished: bool = False) -> Score:
    """What becomes of one reply of the reward model."""
    procedure = verifier.procedure(
        Problem("p", {}), [Candidate("prompt", "sample", 1, unfinished=unfinished)]
    )
    next(procedure)
    with pytest.raises(StopIteration) as end:
        procedure.send([Told((Sample(0, reply, "stop", 30, 0),))])
    score: Score = end.value.value[0]
    return score


@pytest.mark.parametrize(
    ("aggregate", "value"), [("min", 0.5), ("product", 0.9 * 0.5 * 0.8), ("mean", 2.2 / 3), ("last", 0.8)]
)
def test_steps_are_aggregated(aggregate: str, value: float) -> None:
    score = scored(RewardModelVerifier("m", aggregate), "[0.9, 0.5, 0.8]")
    assert score.value == pytest.approx(value)
    assert (score.model, score.usage) == ("m", CallUsage(30, ()))


def test_every_aggregate_of_the_schema_is_there() -> None:
    assert sorted(AGGREGATES) == ["last", "mean", "min", "product"]


@pytest.mark.parametrize("text", ["", "[]", "fine", "[2]", "[null]", '{"a": 1}', "[NaN]", "0.5"])
def test_a_reply_that_cannot_be_read_is_unscored_and_still_billed(text: str) -> None:
    score = scored(RewardModelVerifier("m"), text)
    assert score.value is None
    assert score.unscored_because
    assert score.usage == CallUsage(30, ())


def test_the_question_is_the_prompt_and_the_sample() -> None:
    verifier = RewardModelVerifier("m")
    assert isinstance(verifier, AskingVerifier)
    (asked,) = next(verifier.procedure(Problem("p", {}), [Candidate("prompt", "sample", 1)]))
    assert isinstance(asked, Ask)
    assert asked.messages == (Message("user", "prompt"), Message("assistant", "sample"))
    assert asked.sampling.temperature == 0


def test_of_an_unfinished_reply_the_judgement_of_the_whole_is_left_out() -> None:
    verifier = RewardModelVerifier("m", "last")
    assert scored(verifier, "[0.9, 0.8, 0.1]").value == 0.1
    assert scored(verifier, "[0.9, 0.8, 0.1]", unfinished=True).value == 0.8
    assert (
        scored(RewardModelVerifier("m", "last", judges_whole=False), "[0.9, 0.8]", unfinished=True).value
        == 0.8
    )


def test_a_model_that_gives_no_reply_leaves_the_sample_unscored() -> None:
    procedure = RewardModelVerifier("m").procedure(Problem("p", {}), [Candidate("prompt", "sample", 1)])
    next(procedure)
    with pytest.raises(StopIteration) as end:
        procedure.send([Told((), "EndpointDownError: gone")])
    assert end.value.value == [Score(None, "EndpointDownError: gone", "m")]


async def test_without_a_scorer_of_its_own_it_says_so() -> None:
    with pytest.raises(NotImplementedError, match="pipeline"):
        await RewardModelVerifier("m").score(Problem("p", {}), [Candidate("", "", 1)])
