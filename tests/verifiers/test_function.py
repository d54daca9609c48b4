from __future__ import annotations

from typing import Any

import pytest

from agenttts.pipeline.base import Problem
from agenttts.testing.verifiers import VerifierContract
from agenttts.verifiers.base import Candidate, Score, Verifier
from agenttts.verifiers.function import FunctionVerifier


class TestFunction(VerifierContract):
    @pytest.fixture
    def verifier(self) -> Verifier:
        return FunctionVerifier(lambda fields, answer, text: [1.0, 1 / len(text)], "mean")


async def score(returned: Any, aggregate: str = "min") -> Score:
    verifier = FunctionVerifier(lambda fields, answer, text: returned, aggregate)
    (one,) = await verifier.score(Problem("p", {}), [Candidate("prompt", "text", "answer")])
    return one


@pytest.mark.parametrize(
    ("aggregate", "value"), [("min", 0.5), ("product", 0.36), ("mean", 2.2 / 3), ("last", 0.8)]
)
async def test_scores_of_steps_become_one(aggregate: str, value: float) -> None:
    scored = await score([0.9, 0.5, 0.8], aggregate)
    assert scored.value == pytest.approx(value)
    assert scored.steps == (0.9, 0.5, 0.8)


async def test_a_number_is_the_score_itself() -> None:
    assert await score(0.25) == Score(0.25)


@pytest.mark.parametrize("returned", [[], [0.5, 1.5], [0.5, None], [float("nan")], "0.5", None, [[0.5]]])
async def test_what_is_no_score_leaves_the_sample_unscored(returned: Any) -> None:
    scored = await score(returned)
    assert scored.value is None
    assert "ValueError" in scored.unscored_because
