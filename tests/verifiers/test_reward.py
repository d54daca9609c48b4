from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from agenttts.models.base import CallUsage, Message, Sample
from agenttts.testing.verifiers import VerifierContract
from agenttts.verifiers.base import Candidate, Verifier
from agenttts.verifiers.reward import AGGREGATES, AskingVerifier, RewardModelVerifier


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


def reply(text: str) -> Sample:
    return Sample(0, text, "stop", 30, 0)


@pytest.mark.parametrize(
    ("aggregate", "value"), [("min", 0.5), ("product", 0.9 * 0.5 * 0.8), ("mean", 2.2 / 3), ("last", 0.8)]
)
def test_steps_are_aggregated(aggregate: str, value: float) -> None:
    score = RewardModelVerifier("m", aggregate).read(reply("[0.9, 0.5, 0.8]"))
    assert score.value == pytest.approx(value)
    assert (score.model, score.usage) == ("m", CallUsage(30, ()))


def test_every_aggregate_of_the_schema_is_there() -> None:
    assert sorted(AGGREGATES) == ["last", "mean", "min", "product"]


@pytest.mark.parametrize("text", ["", "[]", "fine", "[2]", "[null]", '{"a": 1}', "[NaN]", "0.5"])
def test_a_reply_that_cannot_be_read_is_unscored_and_still_billed(text: str) -> None:
    score = RewardModelVerifier("m").read(reply(text))
    assert score.value is None
    assert score.unscored_because
    assert score.usage == CallUsage(30, ())


def test_the_question_is_the_prompt_and_the_sample() -> None:
    verifier = RewardModelVerifier("m")
    assert isinstance(verifier, AskingVerifier)
    messages, sampling = verifier.ask(Candidate("prompt", "sample", 1))
    assert messages == (Message("user", "prompt"), Message("assistant", "sample"))
    assert sampling.temperature == 0


async def test_without_a_scorer_of_its_own_it_says_so() -> None:
    from agenttts.pipeline.base import Problem

    with pytest.raises(NotImplementedError, match="pipeline"):
        await RewardModelVerifier("m").score(Problem("p", {}), [Candidate("", "", 1)])
