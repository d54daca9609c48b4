from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from agenttts.models.tiny.problems import problems
from agenttts.models.tiny_reward import TINY_PRM, score_messages
from agenttts.pipeline.base import Problem
from agenttts.testing.verifiers import VerifierContract
from agenttts.verifiers.base import Candidate, Verifier
from agenttts.verifiers.reward import RewardModelVerifier


class TestTinyRewardModel(VerifierContract):
    @pytest.fixture
    def verifier(self) -> Verifier:
        return RewardModelVerifier(TINY_PRM, "min", score_messages)

    @pytest.fixture
    def candidates(self) -> Sequence[Candidate]:
        prompt = "solve: 24 Mon*3 Tue-5"
        traces = (
            "24 Mon*3=72 Tue-5=67",
            "24 Mon*3=71 Tue-5=66",
            "24",
            "",
            "24 Mon*3=72 Tue-5=67",
            "nonsense ?!",
        )
        return [Candidate(prompt, trace, trace[-2:] or None) for trace in traces]


def test_right_traces_mostly_outscore_wrong_ones() -> None:
    stream = problems("verifier-test")
    pairs: list[tuple[Candidate, Candidate]] = []
    for _ in range(40):
        problem = next(stream)
        right = problem.trace
        wrong = f"{right[: right.rindex('=') + 1]}{problem.answer + 7}"
        prompt = f"solve: {problem.plan}"
        pairs.append((Candidate(prompt, right, problem.answer), Candidate(prompt, wrong, problem.answer + 7)))
    verifier = RewardModelVerifier(TINY_PRM, "last", score_messages)
    flat = [candidate for pair in pairs for candidate in pair]
    scores = [score.value or 0.0 for score in asyncio.run(verifier.score(Problem("p", {}), flat))]
    n_won = sum(right > wrong for right, wrong in zip(scores[::2], scores[1::2], strict=True))
    assert n_won >= 30  # of 40; by chance 20
