"""ChatDev over HTTP on models and embeddings that a script plays; programs really run. Figures are worked out in comments."""

from __future__ import annotations

import math

import pytest

from tests.scripted_server import Played, Reply, play, rules

CODE, REVIEW, MEND = (
    "Write a program for this requirement.",
    "Review this program",
    "This program fails when it is run.",
)
TIDE, SEED, BELL, PACK, MARBLE = (
    "high and low water",
    "who swap seeds",
    "change ringing",
    "packing lists",
    "marble game",
)


def files(**texts: str) -> str:
    """Return a reply with files; `main` stands for main.py."""
    return "\n\n".join(f"{name}.py\n```python\n{text}\n```" for name, text in texts.items())


TWO_FILES = files(main="import tide\n\nprint(tide.NEXT)", tide="NEXT = 'high water at noon'")
HALF_DONE = files(main="def ledger():\n    pass\n\n\nledger()")
WHOLE = files(main="def ledger():\n    return ['beans']\n\n\nprint(ledger())")
BROKEN = files(main="print(1 / 0)")
MENDED = files(main="print('1 2 3 4')")

SCRIPT = rules(
    # Two files that run together; the review changes nothing.
    ([CODE, TIDE], TWO_FILES),
    ([REVIEW, TIDE], TWO_FILES),
    # A placeholder, which the check tells and the review fills.
    ([CODE, SEED], HALF_DONE),
    ([REVIEW, SEED], WHOLE),
    # Fails when it runs, before and after the review; mended in the end.
    ([CODE, BELL], BROKEN),
    ([REVIEW, BELL], BROKEN),
    ([MEND, BELL], MENDED),
    # Fails, and the mending fails too.
    ([CODE, PACK], BROKEN),
    ([REVIEW, PACK], BROKEN),
    ([MEND, PACK], BROKEN),
    # No program at all, ever.
    ([CODE, MARBLE], "I cannot write games."),
    ([REVIEW, MARBLE], "There is no program."),
    ([MEND, MARBLE], "There is no program."),
    (CODE, Reply("no", status=400)),
)  # fmt: skip


def embed(text: str) -> list[float]:
    """Return [1, 1] for descriptions and for a program [1, n], n the number of its prints and returns."""
    if text.startswith(("A ", "An ")):
        return [1.0, 1.0]
    return [1.0, float(text.count("print(") + text.count("return "))]


@pytest.fixture(scope="module")
def played() -> Played:
    choices = [
        ("code", "llama3.2-3b", 1, "first"),
        ("static_repair", "llama3.1-70b", 1, "first"),
        ("dynamic_repair", "llama3.2-3b", 1, "fusion", 1.0),
    ]
    return play("chatdev", SCRIPT, choices, embed=embed)


def test_programs_are_scored_by_their_likeness_to_the_description(played: Played) -> None:
    # cos([1, 1], [1, n]) = (1 + n) / sqrt(2 (1 + n n)); n is 1, 2, 1 and 1. Without a program the score is 0.
    assert played.scores == {
        "Tide_Table": pytest.approx(1.0),
        "Seed_Swap_Ledger": pytest.approx(3 / math.sqrt(10)),
        "Bell_Ringing_Trainer": pytest.approx(1.0),
        "Packing_List_Maker": pytest.approx(1.0),
        "Marble_Run_Score": 0.0,
    }


def test_programs_are_really_run(played: Played) -> None:
    assert played.evaluation.measures["executability"] == {
        "Tide_Table": 1.0,
        "Seed_Swap_Ledger": 1.0,
        "Bell_Ringing_Trainer": 1.0,
        "Packing_List_Maker": 0.0,
        "Marble_Run_Score": 0.0,
    }
    assert "ZeroDivisionError" in played.answers("dynamic_check")["Bell_Ringing_Trainer"]["feedback"]


def test_placeholders_are_told_to_the_review(played: Played) -> None:
    checks = played.answers("static_check")
    assert (checks["Tide_Table"]["passed"], checks["Seed_Swap_Ledger"]["passed"]) == (True, False)
    (prompt,) = [text for text in played.server.prompts(SEED) if REVIEW in text]
    assert f"Found by a check: {checks['Seed_Swap_Ledger']['feedback']}" in prompt
    assert played.evaluation.measures["completeness"]["Seed_Swap_Ledger"] == 1.0


def test_only_programs_that_fail_are_mended(played: Played) -> None:
    mended = played.server.prompts(MEND)
    assert sorted(sum(words in text for text in mended) for words in (TIDE, SEED, BELL, PACK, MARBLE)) == [
        0,
        0,
        1,
        1,
        1,
    ]
    # Three of the five that were run to the end pay 100 + 10 tokens.
    assert played.evaluation.costs["dynamic_repair"].prefill_tokens == pytest.approx(100 * 3 / 5)


def test_a_program_that_runs_stands_as_it_is(played: Played) -> None:
    answers = played.answers("dynamic_repair")
    assert answers["Tide_Table"] == played.answers("static_repair")["Tide_Table"]
    assert set(answers["Tide_Table"]) == {"main.py", "tide.py"}


def test_a_fault_of_the_provider_is_told_and_no_score(played: Played) -> None:
    assert list(played.failures) == ["Library_Late_Fees"]


def test_embeddings_that_cannot_be_had_leave_a_problem_unscored() -> None:
    def refusing(text: str) -> list[float]:
        return [0.0, 0.0] if text.startswith(("A ", "An ")) else [1.0, 1.0]

    choices = [(stage, "llama3.2-3b", 1, "first") for stage in ("code", "static_repair")]
    played = play(
        "chatdev",
        SCRIPT,
        [*choices, ("dynamic_repair", "llama3.2-3b", 1, "fusion", 1.0)],
        embed=refusing,
        only=["Tide_Table"],
    )
    assert played.scores == {}
    assert played.failures["Tide_Table"].cause == "Unscored"
