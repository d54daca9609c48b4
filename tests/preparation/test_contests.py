"""Problems of LiveCodeBench: tests, their packed form, dates and sizes."""

from __future__ import annotations

import base64
import json
import pickle
import zlib
from datetime import date
from typing import Any

import pytest

from agenttts.pipeline.base import Problem
from agenttts.preparation import contests
from agenttts.preparation.base import Tables, UnusableError, Wish
from agenttts.preparation.contests import hidden_tests, prepare_contests
from agenttts.verifiers.base import Candidate
from agenttts.verifiers.code import CodeVerifier
from tests.preparation.published import contest, packed

CASES = [{"input": "1\n", "output": "2\n", "testtype": "stdin"}]


def made(rows, wish=None):
    return prepare_contests(Tables(rows, rows), wish or Wish(3, 2), lambda line: None)


def call(number: int) -> dict[str, Any]:
    tests = [{"input": "4", "output": "8", "testtype": "functional"}]
    return contest(
        number,
        starter_code="class Solution:\n    def double(self, n: int) -> int:\n        ",
        public_test_cases=json.dumps(tests),
        private_test_cases=packed(tests),
        metadata=json.dumps({"func_name": "double"}),
    )


def test_problems_hold_public_and_hidden_tests():
    done = made([contest(n) for n in range(9)])
    assert (len(done.search), len(done.test)) == (3, 2)
    row = done.search[0]
    assert row["public_tests"] == [{"input": "4\n", "output": "8\n", "testtype": "stdin"}]
    assert [test["output"] for test in row["private_tests"]] == ["2\n", "4\n", "6\n"]
    assert row["contest_date"] == f"2024-{1 + int(row['id'][3:]) % 12:02d}-15"


@pytest.mark.parametrize(
    ("row", "program"),
    [
        (contest(1), "print(2 * int(input()))"),
        (call(2), "class Solution:\n    def double(self, n: int) -> int:\n        return 2 * n"),
    ],
)
async def test_the_code_verifier_reads_what_was_made(row: dict[str, Any], program: str) -> None:
    (problem,) = made([row], Wish(1, 0)).search
    for field in ("public_tests", "private_tests"):
        verifier = CodeVerifier(field, suite="stdin")
        scored = await verifier.score(
            Problem("p", dict(problem)), [Candidate("", "", program), Candidate("", "", "x = 1")]
        )
        assert [score.value for score in scored] == [1, 0]


def test_calls_of_a_method_are_told_apart_and_counted():
    done = made([call(1), contest(2)], Wish(2, 0))
    forms = {row["id"]: row["private_tests"] for row in done.search}
    assert forms["abc1"] == {"fn_name": "double", "inputs": ["4"], "outputs": ["8"]}
    assert "1 problems are tested by calls of a method, 1 by what is read and printed" in done.facts


def test_contests_outside_the_dates_are_left_out():
    rows = [contest(n) for n in range(12)]  # one a month of 2024
    done = made(rows, Wish(12, 12, first_date=date(2024, 3, 15), last_date=date(2024, 5, 14)))
    assert sorted(row["contest_date"] for row in [*done.search, *done.test]) == ["2024-03-15", "2024-04-15"]
    assert done.left_out == {"its contest is outside the wished dates": 10}


def test_tests_beyond_the_size_are_left_out_and_counted():
    row = contest(1, private_test_cases=packed([{"input": "x" * 40, "output": "", "testtype": "stdin"}] * 5))
    done = made([row], Wish(1, 0, most_test_bytes=100))
    assert len(done.search[0]["private_tests"]) == 2
    assert any(fact.startswith("3 hidden tests of 1 problems are left out") for fact in done.facts)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_hidden_tests_of_every_pickle_are_read(protocol: int) -> None:
    value = base64.b64encode(zlib.compress(pickle.dumps(json.dumps(CASES), protocol))).decode()
    assert hidden_tests(value) == CASES


def test_hidden_tests_that_are_not_packed_are_read():
    assert hidden_tests(json.dumps(CASES)) == hidden_tests(CASES) == CASES


class Harmful:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("executed",)


def wrapped(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data)).decode()


@pytest.mark.parametrize(
    "value",
    [
        wrapped(pickle.dumps(Harmful())),
        wrapped(pickle.dumps([json.dumps(CASES)])),
        wrapped(b"cos\nsystem\n(S'echo executed'\ntR."),
        wrapped(b"\x80\x04."),
        wrapped(pickle.dumps(json.dumps(CASES))[:-9]),
        base64.b64encode(zlib.compress(pickle.dumps("x" * 1000))[:-4]).decode(),
        "no base64!",
        base64.b64encode(b"no zlib").decode(),
        wrapped(pickle.dumps("no json")),
    ],
)
def test_what_is_no_packed_text_is_refused_and_never_executed(
    value: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UnusableError):
        hidden_tests(value)
    assert "executed" not in capfd.readouterr().out


def test_a_text_that_would_unpack_to_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contests, "MOST_BYTES", 10_000)
    with pytest.raises(UnusableError, match="unpack to more than"):
        hidden_tests(wrapped(pickle.dumps("x" * 1_000_000)))


def test_what_cannot_be_used_is_counted_by_its_reason():
    rows = [
        contest(1, contest_date="soon"),
        contest(2, public_test_cases="[1]"),
        contest(3, private_test_cases=wrapped(pickle.dumps(Harmful()))),
        call(4) | {"metadata": "{}"},
        contest(5),
    ]
    done = made(rows, Wish(9, 0))
    assert [row["id"] for row in done.search] == ["abc5"]
    assert done.left_out == {
        "its contest has no date": 1,
        "its tests are no list of input and output": 1,
        "the pickle of its hidden tests holds more than a text": 1,
        "its tests are of kinds that do not go together, or name no method": 1,
    }
