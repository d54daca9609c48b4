"""LiveCodeBench over HTTP on models that a script plays; programs really run. Expected figures stand in the comments."""

from __future__ import annotations

import pytest

from tests.scripted_server import Played, Reply, play, rules

MEND = "A program for this problem fails a test."
LANTERNS, FERRY, WORDS, PATH = (
    "Lanterns hang in a row",
    "A ferry takes",
    "Read a line of lower-case",
    "A garden path",
)


def program(text: str) -> str:
    return f"A word of thought.\n\n```python\n{text}\n```\n"


LANTERNS_RIGHT = """n = int(input())
a = list(map(int, input().split()))
print(sum(a[i] > a[i - 1] and a[i] > a[i + 1] for i in range(1, n - 1)))"""
FERRY_PAIRS = """n, w = map(int, input().split())
print((n + 1) // 2)"""
FERRY_RIGHT = """n, w = map(int, input().split())
a = sorted(map(int, input().split()))
count = 0
while a:
    heavy = a.pop()
    if a and a[0] + heavy <= w:
        a.pop(0)
    count += 1
print(count)"""
WORDS_BY_LETTER = "print(*sorted(input().split(), key=lambda word: (word[-1], word)))"
WORDS_RIGHT = "print(*sorted(input().split(), key=lambda word: word[-1]))"
PATH_LOOPS = "n = int(input())\nprint(3)"

SCRIPT = rules(
    ([MEND, FERRY], program(FERRY_RIGHT)),
    ([MEND, PATH], "I would rather not."),
    (LANTERNS, program(LANTERNS_RIGHT)),
    (FERRY, [program(FERRY_PAIRS), program("print(3)")]),
    (WORDS, [program(WORDS_BY_LETTER), program(WORDS_RIGHT)]),
    (PATH, ["There is no program here.", program(PATH_LOOPS)]),
)


@pytest.fixture(scope="module")
def played() -> Played:
    """One sample of each stage."""
    return play(
        "livecodebench",
        SCRIPT,
        [("generate", "qwen3-4b", 1, "first"), ("repair", "qwen3-8b", 1, "first", 1.0)],
    )


def test_hidden_tests_score_what_stands_in_the_end(played: Played) -> None:
    # s1 right at once. s2 fails the public test (2 instead of 3) and is mended. s3 passes the public test, whose words end
    # in four letters, and all hidden ones but `zed cod end`, which must keep its order. s4: no program, and the repair
    # has none either.
    assert played.scores == {"lcb-s1": 1.0, "lcb-s2": 1.0, "lcb-s3": 0.0, "lcb-s4": 0.0}


def test_public_tests_say_what_failed(played: Played) -> None:
    verdicts = played.answers("public_tests")
    assert {name: verdict["passed"] for name, verdict in verdicts.items()} == {
        "lcb-s1": True,
        "lcb-s2": False,
        "lcb-s3": True,
        "lcb-s4": False,
    }
    assert "4 100" in verdicts["lcb-s2"]["feedback"]
    assert verdicts["lcb-s4"]["feedback"] == "There is no code in the answer."


def test_only_what_fails_is_mended(played: Played) -> None:
    asked = played.server.prompts(MEND)
    assert sum(FERRY in text for text in asked) == 1
    assert sum(PATH in text for text in asked) == 1
    assert len(asked) == 2
    # Mean over the four problems: half of them pay for one sample of the repair, 100 read and 10 written.
    assert played.evaluation.costs["repair"].prefill_tokens == pytest.approx(50)
    assert played.evaluation.costs["repair"].decode_tokens == pytest.approx(5)


def test_the_repair_reads_the_program_and_what_failed(played: Played) -> None:
    (prompt,) = played.server.prompts(f"{MEND} Find the mistake and write the program anew.\n\n{FERRY}")
    assert FERRY_PAIRS in prompt
    assert "Test 1 of 1 failed." in prompt


def test_public_tests_choose_among_samples_and_hidden_ones_do_not() -> None:
    # s3: both samples pass the public test, so the first stands, which the hidden tests refuse. s4: the second sample
    # prints 3, which is right for the public test and wrong for the hidden ones.
    choices = [("generate", "qwen3-4b", 2, "best_of_n(code)"), ("repair", "qwen3-8b", 1, "first", 1.0)]
    played = play("livecodebench", SCRIPT, choices)
    assert played.scores == {"lcb-s1": 1.0, "lcb-s2": 0.0, "lcb-s3": 0.0, "lcb-s4": 0.0}
    assert played.evaluation.sample_scores["generate"]["lcb-s3"] == (0.0, 1.0)


def test_a_provider_that_refuses_one_problem_leaves_it_unscored() -> None:
    script = rules((WORDS, Reply("no", status=400)), (LANTERNS, program(LANTERNS_RIGHT)))
    choices = [("generate", "qwen3-4b", 1, "first"), ("repair", "qwen3-8b", 1, "first", 1.0)]
    played = play("livecodebench", script, choices, only=["lcb-s1", "lcb-s3"])
    assert played.scores == {"lcb-s1": 1.0}
    assert played.failures["lcb-s3"].stage == "generate"
