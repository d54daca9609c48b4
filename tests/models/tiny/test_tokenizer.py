"""The tokenizer: nothing is lost from the family's texts, nothing foreign is refused."""

import itertools

from agenttts.models.tiny.problems import problems
from agenttts.models.tiny.tokenizer import (
    BAD,
    PROMPT_END,
    UNKNOWN,
    decode,
    encode,
    encode_prompt,
    vocabulary,
)


def test_texts_of_the_family_come_back_unchanged() -> None:
    for problem in itertools.islice(problems("a test"), 300):
        for text in (f"translate: {problem.text}", problem.plan, f"solve: {problem.plan}", problem.trace):
            tokens = encode(text)
            assert UNKNOWN not in tokens
            assert decode(tokens) == text


def test_tokens_are_words_syllables_and_digits() -> None:
    assert [vocabulary()[t] for t in encode("Mia has 24 coins. Mon: plays daki.")] == [
        "Mia",
        " has ",
        "2",
        "4",
        " coins.",
        " Mon",
        ": plays",
        " da",
        "ki",
        ".",
    ]


def test_texts_of_ordinary_tokens_are_distinct() -> None:
    ordinary = vocabulary()[BAD + 1 :]
    assert len(set(ordinary)) == len(ordinary)


def test_unknown_characters_become_one_unknown_each() -> None:
    assert encode("\u00fc\U0001f600\x00") == [UNKNOWN] * 3
    assert len(decode(encode("\u00fc\U0001f600"))) == 2


def test_a_lone_surrogate_is_not_refused() -> None:
    assert encode("\ud800") == [UNKNOWN]


def test_prompt_loses_outer_whitespace_and_ends_with_its_mark() -> None:
    assert encode_prompt("  solve: 12 Mon+30\n") == [*encode("solve: 12 Mon+30"), PROMPT_END]
