from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest

from agenttts.pipeline.base import Problem
from agenttts.testing.verifiers import VerifierContract
from agenttts.verifiers.base import Candidate, Verifier
from agenttts.verifiers.maths import MathComparer, MathTimeoutError, MathVerifier


class TestMaths(VerifierContract):
    @pytest.fixture
    def verifier(self) -> Verifier:
        return MathVerifier("gold")


@pytest.fixture(scope="module")
def comparer() -> Iterator[MathComparer]:
    comparer = MathComparer(timeout_s=4.0)
    yield comparer
    comparer.close()


@pytest.mark.parametrize(
    ("gold", "answer", "equal"),
    [
        ("63/400", r"\frac{63}{400}", True),
        (r"\sqrt{2}", "2^{1/2}", True),
        ("x+1", "1+x", True),
        (r"\{1,2\}", r"\{2,1\}", True),
        ("(1,2)", "(2,1)", False),
        ("5", "6", False),
        (r"$\frac12$", r"\boxed{0.5}", True),
        ("5", "no idea", False),
    ],
)
def test_equality_of_worked_examples(comparer: MathComparer, gold: str, answer: str, equal: bool) -> None:
    assert comparer.equal(gold, answer) is equal


def test_an_endless_comparison_ends_in_time_and_the_next_one_works(comparer: MathComparer) -> None:
    comparer.equal("x+1", "1+x")
    started = time.monotonic()
    with pytest.raises(MathTimeoutError):
        comparer.equal("2", "9^{9^{9^{9^9}}}")
    assert time.monotonic() - started < 30
    assert comparer.equal(r"\frac{1}{2}", "0.5")


async def test_many_at_once_from_an_event_loop(comparer: MathComparer) -> None:
    verifier = MathVerifier("gold", comparer)
    candidates = [Candidate("", "", answer) for answer in ("1/2", "0.5", "2", None, r"\frac{2}{4}")]
    many = await asyncio.gather(
        *(verifier.score(Problem("p", {"gold": r"\frac12"}), candidates) for _ in range(8))
    )
    assert all([score.value for score in scores] == [1.0, 1.0, 0.0, 0.0, 1.0] for scores in many)


async def test_unreadable_or_missing_gold_is_unscored() -> None:
    for fields in ({}, {"gold": None}, {"gold": []}):
        (score,) = await MathVerifier("gold").score(Problem("p", fields), [Candidate("", "", "x+1")])
        assert score.value is None
        assert score.unscored_because


async def test_any_of_several_golds_counts(comparer: MathComparer) -> None:
    problem = Problem("p", {"gold": [r"\frac13", "x^2"]})
    (score,) = await MathVerifier("gold", comparer).score(problem, [Candidate("", "", "x*x")])
    assert score.value == 1.0
