"""What is guessed of files of known shapes, most of them those of published sets."""

from __future__ import annotations

from typing import Any

import pytest

from agenttts.errors import InputError
from agenttts.starting.columns import Columns, guess_columns
from agenttts.starting.kinds import Kind, guess_kind

Rows = list[dict[str, Any]]


def guessed(rows: Rows, wanted: str | None = None, **given: str) -> tuple[Columns, Kind]:
    fields = list(dict.fromkeys(name for row in rows for name in row))
    columns = guess_columns(rows, fields, **given)
    return columns, guess_kind(rows, columns, wanted)


GSM8K = [
    {"question": f"What is 6 * {i}?", "answer": f"6 * {i} is <<6*{i}={6 * i}>>{6 * i}.\n#### {6 * i}"}
    for i in range(6)
]
MATH = [
    {"problem": f"Solve x = {i}/3", "solution": f"So \\boxed{{\\frac{{{i}}}{{3}}}}.", "level": "Level 1"}
    for i in range(6)
]
MMLU = [{"question": f"Which is {i}?", "choices": ["0", "1", "2", "3"], "answer": i % 4} for i in range(8)]
ARC = [
    {
        "id": f"arc-{i}",
        "question": f"Which is it, {i}?",
        "choices": {"text": ["this", "that"], "label": ["A", "B"]},
        "answerKey": "AB"[i % 2],
    }
    for i in range(8)
]
TRIVIA = [
    {
        "question_id": f"t{i}",
        "question": f"Who was {i}?",
        "answer": {"value": f"King {i}", "aliases": [f"K{i}"]},
    }
    for i in range(6)
]
SQUAD = [
    {
        "id": f"s{i}",
        "context": f"The tower of {i} metres.",
        "question": "How high?",
        "answers": {"text": [f"{i} metres", f"about {i} metres"], "answer_start": [13, 13]},
    }
    for i in range(6)
]
MBPP = [
    {
        "task_id": i,
        "text": f"Write f that adds {i}.",
        "code": "def f(x): ...",
        "test_list": [f"assert f(1) == {1 + i}"],
    }
    for i in range(6)
]
HUMANEVAL = [
    {
        "task_id": f"HumanEval/{i}",
        "prompt": f"def f{i}(x):\n    '''Add {i}.'''\n",
        "canonical_solution": f"    return x + {i}",
        "test": f"def check(candidate):\n    assert candidate(1) == {1 + i}\n",
        "entry_point": f"f{i}",
    }
    for i in range(6)
]
SENTIMENT = [{"text": f"It was {i}.", "label": ["positive", "negative"][i % 2]} for i in range(10)]
TOOLS = [{"instruction": f"Book {i}.", "output": {"tool": "book", "args": {"n": i}}} for i in range(6)]
TOOLS_TEXT = [{"instruction": f"Book {i}.", "output": f'{{"tool": "book", "n": {i}}}'} for i in range(6)]
NAMES_LIST = [
    {"question": f"Which towns begin with {c}?", "gold": [f"{c}town", f"{c}ville"]} for c in "ABCDEF"
]
SUMMARIES = [
    {"document": f"Long {i}. " * 40, "summary": f"All that is said of {i} in words. " * 5} for i in range(6)
]
LETTERS = [{"question": f"(A) one (B) two? {i}", "answer": "AB"[i % 2]} for i in range(4)]


@pytest.mark.parametrize(
    ("rows", "question", "judged", "kind", "parse", "verifier"),
    [
        (GSM8K, "question", "answer", "number", "last_number", "numeric"),
        (MATH, "problem", "solution", "math", "boxed", "math"),
        (MMLU, "question", "answer", "choice", "choice", "choice"),
        (ARC, "question", "answerKey", "choice", "choice", "choice"),
        (TRIVIA, "question", "answer.value", "text", "short_answer", "exact"),
        (SQUAD, "question", "answers.text", "text", "short_answer", "exact"),
        (MBPP, "text", "test_list", "code", "code_block", "code"),
        (HUMANEVAL, "prompt", "test", "code", "code_block", "code"),
        (SENTIMENT, "text", "label", "choice", "choice", "choice"),
        (TOOLS, "instruction", "output", "json", "json", "exact"),
        (TOOLS_TEXT, "instruction", "output", "json", "json", "exact"),
        (NAMES_LIST, "question", "gold", "list", "lines", "set_f1"),
        (SUMMARIES, "document", "summary", "long", "text", "rouge_l"),
        (LETTERS, "question", "answer", "choice", "choice", "choice"),
    ],
    ids=[
        "gsm8k",
        "math",
        "mmlu",
        "arc",
        "trivia",
        "squad",
        "mbpp",
        "humaneval",
        "sentiment",
        "tools",
        "tools-text",
        "list",
        "summaries",
        "letters",
    ],
)
def test_files_of_published_shapes(
    rows: Rows, question: str, judged: str, kind: str, parse: str, verifier: str
) -> None:
    columns, found = guessed(rows)
    answer = columns.tests or columns.gold
    assert answer is not None
    assert (columns.question.field, answer.field, found.name) == (question, judged, kind)
    assert parse == (found.parse if isinstance(found.parse, str) else found.parse["rule"])
    assert verifier == (found.verifier if isinstance(found.verifier, str) else found.verifier["kind"])


def test_gold_behind_four_hashes_is_read_from_its_text() -> None:
    _, kind = guessed(GSM8K)
    assert kind.gold == "gold"
    assert kind.made["gold"] == {"from": "answer", "parse": {"rule": "regex", "pattern": r"####\s*(.+)"}}


def test_a_made_field_takes_no_name_that_is_there() -> None:
    _, kind = guessed([{**row, "gold": None, "gold_answer": 1} for row in GSM8K], gold="answer")
    assert kind.gold == "gold_answer_answer"


def test_places_in_a_list_are_labels_that_count_from_0_or_from_1() -> None:
    _, from_0 = guessed(MMLU)
    _, from_1 = guessed([{**row, "answer": row["answer"] + 1} for row in MMLU])
    _, letters = guessed([{**row, "answer": "ABCD"[row["answer"]]} for row in MMLU])
    assert [kind.options and kind.options.labels for kind in (from_0, from_1, letters)] == [
        ("0", "1", "2", "3"),
        ("1", "2", "3", "4"),
        ("A", "B", "C", "D"),
    ]


def test_an_id_tells_every_row_apart_or_is_none() -> None:
    columns, _ = guessed(ARC)
    assert columns.id is not None
    assert columns.id.field == "id"
    twice, _ = guessed([{**row, "id": "same"} for row in ARC])
    assert twice.id is None


def test_the_text_that_a_question_is_about_is_shown_with_it() -> None:
    assert guessed(SQUAD)[0].contexts == ("context",)
    without = [*SQUAD[:-1], {key: value for key, value in SQUAD[-1].items() if key != "context"}]
    assert guessed(without)[0].contexts == (), "a prompt reads only what every row has"


def test_public_tests_select_and_hidden_tests_score() -> None:
    rows = [{**row, "public_tests": ["assert f(0) == 0"]} for row in MBPP]
    _, kind = guessed(rows)
    assert kind.select == ({"kind": "best_of_n", "verifier": {"kind": "code", "tests": "public_tests"}},)
    assert kind.verifier == {"kind": "code", "tests": "test_list"}


def test_a_kind_that_is_named_is_taken_where_it_fits() -> None:
    assert guessed(LETTERS, "text")[1].name == "text"
    with pytest.raises(InputError, match=r"--answer number: .*'A'"):
        guessed(LETTERS, "number")
    with pytest.raises(InputError, match="no field holds tests"):
        guessed(LETTERS, "code")
    with pytest.raises(InputError, match="expected one of number"):
        guessed(LETTERS, "poem")


def test_a_file_without_a_right_answer_is_refused_with_its_fields() -> None:
    with pytest.raises(InputError, match=r"needs one to score by.\nName it with --gold. .*colour"):
        guessed([{"question": "?", "colour": "red", "size": 1} for _ in range(3)])


def test_a_field_that_is_named_and_not_there_gets_the_nearest_name() -> None:
    with pytest.raises(InputError, match="Did you mean `question`"):
        guessed(LETTERS, question="questoin")


def test_two_fields_of_strange_names_are_told_apart_by_their_length() -> None:
    columns, kind = guessed([{"ü": f"A long text about {i}", "ö": str(i)} for i in range(4)])
    assert columns.gold is not None
    assert (columns.question.field, columns.gold.field, kind.name) == ("ü", "ö", "number")


def test_the_question_cannot_be_the_answer() -> None:
    with pytest.raises(InputError, match="the right answer stands there, too"):
        guessed(LETTERS, question="question", gold="question")


def test_what_the_prompt_asks_for_is_what_the_rule_reads() -> None:
    from agenttts.pipeline.parsing import make_parser
    from agenttts.task.schema import ParseBlock

    replies = {"text": "I think so.\nAnswer: King 3", "number": "So it is\n42", "choice": "Hence\nAnswer: B"}
    for rows, wanted in ((TRIVIA, "King 3"), (GSM8K, "42"), (LETTERS, "B")):
        kind = guessed(rows)[1]
        assert make_parser(ParseBlock.model_validate(kind.parse)).parse(replies[kind.name]).answer == wanted


def test_a_few_small_letters_are_texts_and_many_are_choices() -> None:
    few = [{"question": f"Which variable, {i}?", "answer": "ab"[i % 2]} for i in range(2)]
    assert guessed(few)[1].name == "text"
    assert guessed(few * 3)[1].name == "choice"
    capitals = [{**row, "answer": row["answer"].upper()} for row in few]
    assert guessed(capitals)[1].name == "choice"
    assert "the question must" in guessed(capitals)[1].why
