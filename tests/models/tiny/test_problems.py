"""The generator of word problems: fixed by its seed, honest about its plans."""

import itertools
import json
import re
from pathlib import Path

import pytest

from agenttts.models.tiny.problems import (
    LARGEST_VALUE,
    N_STALLS,
    SMALLEST_VALUE,
    TinyProblem,
    answer_of,
    lexicon,
    problems,
    work_out,
)

HELD_OUT = Path(__file__).parents[3] / "tasks" / "tiny" / "problems.jsonl"


def first(count: int, seed: str = "a test") -> list[TinyProblem]:
    return list(itertools.islice(problems(seed), count))


def test_same_seed_gives_the_same_problems() -> None:
    assert first(50) == first(50)
    assert first(50) != first(50, "another")


def test_reference_plan_follows_from_the_text_and_the_lexicon() -> None:
    for problem in first(200):
        steps = []
        for day, words in re.findall(r" (\w{3}): ([^.]*)\.", problem.text):
            verb, last = words.rsplit(" ", 1)
            sign = "-" if verb in {"spends", "loses"} else "+"
            steps.append(f" {day}{f'{sign}{last}' if last.isdigit() else lexicon()[last]}")
        start = re.search(r"\d+", problem.text)
        assert start is not None
        assert problem.plan == start[0] + "".join(steps)


def test_reference_answer_is_what_the_plan_computes() -> None:
    for problem in first(200):
        value = 0
        for op, amount in re.findall(r"([+*-]?)(\d+)", problem.plan):
            value = {
                "": int(amount),
                "+": value + int(amount),
                "-": value - int(amount),
                "*": value * int(amount),
            }[op]
            assert SMALLEST_VALUE <= value <= LARGEST_VALUE
        assert value == problem.answer == answer_of(problem.trace)


def test_excluded_problems_do_not_occur() -> None:
    usual = first(20)
    excluded = frozenset({usual[3].plan, usual[7].text})
    fresh = list(itertools.islice(problems("a test", excluded), 18))
    assert fresh == [p for i, p in enumerate(usual) if i not in {3, 7}]


def test_lexicon_has_distinct_words_of_two_syllables() -> None:
    assert len(lexicon()) == N_STALLS
    assert {len(word) for word in lexicon()} == {4}


@pytest.mark.parametrize("plan", ["", "24", "24 Mon", "24 Mon/3", "Mon*3", "24Mon*3", "24 Mon*3 and more"])
def test_malformed_plan_has_no_trace(plan: str) -> None:
    assert work_out(plan) is None


def test_plan_is_worked_out_step_by_step() -> None:
    assert work_out("24 Mon*7 Tue+13 Wed-5") == "24 Mon*7=168 Tue+13=181 Wed-5=176"


@pytest.mark.parametrize(
    ("trace", "answer"), [("24 Mon*3=72", 72), ("24 Mon-30=-6\n", -6), ("24 Mon*3", None), ("", None)]
)
def test_answer_is_the_number_a_trace_ends_with(trace: str, answer: int | None) -> None:
    assert answer_of(trace) == answer


def test_held_out_problems_are_those_of_their_seeds_and_all_differ() -> None:
    rows = [json.loads(line) for line in HELD_OUT.read_text().splitlines()]
    assert [sum(row["split"] == split for row in rows) for split in ("search", "test")] == [200, 1000]
    assert (
        len({row["text"] for row in rows})
        == len({row["plan"] for row in rows})
        == len({row["id"] for row in rows})
    )
    made = {p.text: p for split in ("search", "test") for p in first(1100, f"held-out-{split}")}
    for row in rows:
        problem = made[row["text"]]
        assert (row["plan"], row["answer"], row["n_steps"]) == (problem.plan, problem.answer, problem.n_steps)
