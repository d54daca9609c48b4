from __future__ import annotations

import time

import pytest

from agenttts.pipeline.numbered import numbers
from agenttts.pipeline.parsing import make_parser
from agenttts.task.schema import ParseBlock

WRITTEN = {
    "as asked": "Passages: [3], [17]",
    "after reasons": "The bridge is in [5], but its builder is in [3].\n\nPassages: [3], [17]",
    "bold": "**Passages:** [3], [17]",
    "bold without the colon": "**Passages**: [3], [17]",
    "in one pair of brackets": "Passages: [3, 17]",
    "bare": "passages: 3, 17.",
    "with and": "Passages needed: 3 and 17",
    "singular": "Passage: 3, 17",
    "with more words": "Relevant passages are as follows: [3] [17]",
    "one to a line": "Passages:\n- [3]\n- [17]\n\nThese hold 2 facts.",
    "a line each with its word": "Passages:\n[3] The bridge of 1902\n[17] Its builder",
    "bare with words": "Passages: 3 (the bridge of 1902), 17 (its builder)",
    "named again": "Passages: Passage 3, Passage 17",
    "numbers with signs": "Passages: #3, No. 17",
    "repeats": "Passages: [3], [17], [3]",
    "last declaration": "Passages: [1]\nWait, that is wrong.\nPassages: [3], [17]",
    "a remark after it": "Passages: [3], [17]\n\nNote on the passages: they are short.",
    "a sentence before the colon": "The passages needed to answer the question are: [3] and [17].",
    "JSON list": "[3, 17]",
    "JSON list of texts": '["3", "17"]',
    "fenced JSON": "```json\n[3, 17]\n```",
    "JSON object": '{"passages": [3, 17]}',
    "fenced JSON object": '```json\n{\n  "Passages": [\n    3,\n    17\n  ]\n}\n```',
    "nothing but numbers": "3, 17",
    "cut off": "Passages: [3], [17], [4",
}


@pytest.mark.parametrize("text", WRITTEN.values(), ids=WRITTEN)
def test_lists_are_read_as_models_write_them(text: str) -> None:
    assert numbers(text, "Passages") == [3, 17]


MALFORMED = {
    "empty": "",
    "no list": "The answer is in the text about the bridge.",
    "prose with numbers": "I read 100 passages and 3 of them help.",
    "none": "Passages: none of the 100",
    "an empty list": "Passages: []",
    "only the word": "Passages:",
    "a refusal": "I'm sorry, but I can't help with that.",
    "a fraction": "Passages: 3.5",
    "too long a number": "Passages: " + "9" * 5000,
    "other JSON": '{"answer": "Oslo", "year": 1902}',
}


@pytest.mark.parametrize("text", MALFORMED.values(), ids=MALFORMED)
def test_what_names_no_number_is_no_answer(text: str) -> None:
    assert numbers(text, "Passages") is None


def test_without_a_label_the_whole_completion_counts() -> None:
    assert numbers("the best are [4] and [2]") == [4, 2]


def test_the_label_is_no_pattern() -> None:
    assert numbers("a.b: [1]", "a.b") == [1]
    assert numbers("axb: [1]", "a.b") is None


@pytest.mark.parametrize(
    "text", ["Passages: " * 20_000, "[" * 100_000, "1," * 100_000, "passages a b" * 20_000, "# " * 90_000]
)
def test_hostile_texts_take_no_time(text: str) -> None:
    begun = time.perf_counter()
    numbers(text, "Passages")
    assert time.perf_counter() - begun < 2


def test_the_rule_is_called_by_its_name() -> None:
    parser = make_parser(ParseBlock(rule="numbers", label="Triples"))
    assert parser.parse("Triples: [0]").answer == [0]
    assert parser.parse("nothing").note == "rule numbers found no answer"


def test_a_label_before_brackets_needs_no_colon() -> None:
    assert numbers("Passages [4], [27]", "Passages") == [4, 27]
    assert numbers("Passages [1] and [2] name her.\n\nPassages: [4]", "Passages") == [4]
