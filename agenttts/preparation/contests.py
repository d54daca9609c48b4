"""Programming contests with public and hidden tests: LiveCodeBench.

Source: Jain et al. 2024, arXiv:2403.07974; the files `test.jsonl`, `test2.jsonl`, ... of
livecodebench/code_generation_lite. There is one published table; contests outside the wished dates are left out, and
the others are divided between search and test by hash.

Hidden tests are published as JSON, or as text in base64 of a zlib stream of a pickle of a JSON text. The pickle is read
for the one text that it holds and never executed. Departure: tests of one problem
beyond 2 MB (`--test-mb`) are left out, the later ones first to go, since a task holds its problems in memory and the
published files are 4.5 GB, packed; so a program may pass here that the official tests refuse for being slow. How many
are left out is counted.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import pickletools
import zlib
from collections.abc import Sequence
from datetime import date
from typing import Any

from agenttts.preparation.base import Made, Report, Row, Tables, UnusableError, Wish, column, divide, loaded

__all__ = ["MOST_BYTES", "hidden_tests", "prepare_contests"]

MOST_BYTES = 400_000_000
"""A published text of tests may grow to this when it is unpacked; keeps a made-up one from filling the memory."""
PASSED_OVER = frozenset({"PROTO", "FRAME", "MEMOIZE", "BINPUT", "LONG_BINPUT", "PUT", "STOP"})
TEXTS = frozenset({"SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE"})
LINES_BETWEEN = 50
WINDOW = 64
"""Rows held at a time; the packed tests of one take some megabytes."""


def prepare_contests(tables: Tables, wish: Wish, report: Report) -> Made:
    """Return problems with `public_tests` and `private_tests` as the verifier `code` reads them."""
    cut = _Cut()
    chosen = divide(
        tables,
        wish,
        lambda row: _problem(row, wish, cut, report),
        identity=lambda row: str(column(row, "question_id")),
        text=lambda problem: f"{problem['question']}{problem['starter_code']}",
        window=WINDOW,
    )
    problems = [*chosen.search, *chosen.test]
    n_calls = sum(isinstance(problem["private_tests"], dict) for problem in problems)
    dates = sorted(str(problem["contest_date"]) for problem in problems)
    facts = [
        f"contests from {dates[0]} to {dates[-1]}",
        f"{n_calls:,} problems are tested by calls of a method, {len(problems) - n_calls:,} by what is read and printed",
        f"{cut.n_tests:,} hidden tests of {cut.n_problems:,} problems are left out, for more than "
        f"{wish.most_test_bytes / 1e6:g} MB of tests",
    ]
    return Made(
        chosen.search, chosen.test, chosen.left_out, chosen.n_rows, facts, left_out_ids=chosen.left_out_ids
    )


class _Cut:
    """Counts tests that were left out."""

    n_tests = n_problems = n_read = 0

    def of(self, tests: list[Row], most_bytes: int) -> list[Row]:
        """Return the first tests that fit."""
        kept, size = [], 0
        for test in tests:
            size += len(test["input"]) + len(test["output"])
            if size > most_bytes:
                break
            kept.append(test)
        self.n_tests += len(tests) - len(kept)
        self.n_problems += len(kept) < len(tests)
        return kept


def _problem(row: Row, wish: Wish, cut: _Cut, report: Report) -> Row:
    day = _day(row)
    if (wish.first_date and day < wish.first_date) or (wish.last_date and day > wish.last_date):
        raise UnusableError("its contest is outside the wished dates")
    cut.n_read += 1
    if cut.n_read % LINES_BETWEEN == 0:
        report(f"{cut.n_read:,} problems looked at")
    question = str(column(row, "question_content")).strip()
    public = _tests(loaded(column(row, "public_test_cases"), "public_test_cases"))
    private = _tests(hidden_tests(column(row, "private_test_cases")))
    private = cut.of(private, wish.most_test_bytes)
    if not question or not private:
        raise UnusableError("it has no question, or no hidden test of a size that was allowed")
    name = _method(row)
    return {
        "id": str(column(row, "question_id")),
        "question": question,
        "starter_code": str(row.get("starter_code") or ""),
        "public_tests": _form(public, name),
        "private_tests": _form(private, name),
        "difficulty": str(row.get("difficulty") or ""),
        "contest_date": day.isoformat(),
    }


def _day(row: Row) -> date:
    try:
        return date.fromisoformat(str(column(row, "contest_date"))[:10])
    except ValueError:
        raise UnusableError("its contest has no date") from None


def _method(row: Row) -> str:
    data = loaded(row.get("metadata") or {}, "metadata")
    return str(data.get("func_name") or "") if isinstance(data, dict) else ""


def _tests(value: Any) -> list[Row]:
    if not isinstance(value, list) or not all(
        isinstance(test, dict) and isinstance(test.get("input"), str) and isinstance(test.get("output"), str)
        for test in value
    ):
        raise UnusableError("its tests are no list of input and output")
    return value


def _form(tests: Sequence[Row], name: str) -> Any:
    """Return tests that read and print as a list, and those that call a method as one mapping."""
    kinds = {test.get("testtype", "stdin") for test in tests}
    if kinds <= {"stdin"}:
        return [{"input": test["input"], "output": test["output"], "testtype": "stdin"} for test in tests]
    if kinds != {"functional"} or not name:
        raise UnusableError("its tests are of kinds that do not go together, or name no method")
    return {
        "fn_name": name,
        "inputs": [test["input"] for test in tests],
        "outputs": [test["output"] for test in tests],
    }


# --- the packed form of hidden tests


def hidden_tests(value: Any) -> Any:
    """Return hidden tests from their published text, packed or not.

    Raises:
        UnusableError: The text is neither; or it unpacks to more than `MOST_BYTES`; or the pickle in it holds anything
            but one text.
    """
    if not isinstance(value, str):
        return value
    if value.lstrip()[:1] in {"[", "{"}:
        return loaded(value, "private_test_cases")
    try:
        return json.loads(_pickled_text(_inflated(base64.b64decode(value, validate=True))))
    except (binascii.Error, zlib.error, ValueError, RecursionError) as error:
        raise UnusableError("its hidden tests cannot be unpacked") from error


def _inflated(data: bytes) -> bytes:
    stream = zlib.decompressobj()
    found = stream.decompress(data, MOST_BYTES)
    if stream.unconsumed_tail or not stream.eof:
        raise UnusableError(f"its hidden tests unpack to more than {MOST_BYTES / 1e6:g} MB, or are cut off")
    return found


def _pickled_text(data: bytes) -> str:
    """Return the text of a pickle that holds one text; its codes are read, none is executed."""
    found = []
    for code, value, _ in pickletools.genops(io.BytesIO(data)):
        if code.name in TEXTS:
            found.append(value)
        elif code.name not in PASSED_OVER:
            raise UnusableError("the pickle of its hidden tests holds more than a text")
    if len(found) != 1:
        raise UnusableError("the pickle of its hidden tests holds more than a text")
    return str(found[0])
