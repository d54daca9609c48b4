"""A recorded draw is worth what its recording says; what is no recorded draw is unscored, never 0."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from agenttts.pipeline.base import Problem
from agenttts.task.schema import SelectBlock
from agenttts.verifiers.base import Candidate
from agenttts.verifiers.recorded import RecordedVerifier


async def test_scores_are_those_of_the_recording() -> None:
    details = [{"recorded_score": 1.0}, {"recorded_score": 0.25}, {}, {"recorded_score": -0.2}]
    candidates = [Candidate("", "x", None, one) for one in details]
    scores = await RecordedVerifier().score(Problem("p7", {}), candidates)
    assert [score.value for score in scores] == [1.0, 0.25, None, None]
    assert "p7 has no recorded score" in scores[2].unscored_because
    assert "-0.2, not in [0, 1]" in scores[3].unscored_because


def test_recorded_scores_never_select() -> None:
    with pytest.raises(ValidationError, match="production does not"):
        SelectBlock.model_validate({"kind": "best_of_n", "verifier": "recorded"})
