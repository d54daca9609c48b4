from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenttts.pipeline.code_files import as_files, code_files, files_text, is_safe_name
from agenttts.pipeline.parsing import make_parser
from agenttts.task.schema import ParseBlock


def block(code: str, info: str = "python") -> str:
    return f"```{info}\n{code}\n```\n"


def test_chatdevs_format_gives_a_text_for_each_name() -> None:
    text = (
        "main.py\n```python\n'''\nStarts the game.\n'''\nimport board\n\nboard.show()\n```\n\n"
        "board.py\n```python\ndef show():\n    print(1)\n```\n"
    )
    parsed = make_parser(ParseBlock(rule="files")).parse(text)
    assert parsed.answer == {
        "main.py": "'''\nStarts the game.\n'''\nimport board\n\nboard.show()",
        "board.py": "def show():\n    print(1)",
    }


@pytest.mark.parametrize(
    "line",
    [
        "game/board.py",
        "./game/board.py",
        "**game/board.py**",
        "### `game/board.py`:",
        "2. game/board.py",
        "File: game/board.py",
        "FILENAME: game/board.py",
        "Here is the file `game/board.py`, which holds e.g. the board:",
    ],
)
def test_the_line_before_a_block_names_it(line: str) -> None:
    text = f"{line}\n\n" + block("x = 1") + "\nmain.py\n" + block("y = 1")
    assert code_files(text) == {"game/board.py": "x = 1", "main.py": "y = 1"}


@pytest.mark.parametrize(
    ("info", "first", "name"),
    [
        ("python board.py", "x = 1", "board.py"),
        ("python:board.py", "x = 1", "board.py"),
        ('python title="src/board.py"', "x = 1", "src/board.py"),
        ("board.py", "x = 1", "board.py"),
        ("python", "# board.py", "board.py"),
        ("python", "# file: src/board.py", "src/board.py"),
    ],
)
def test_a_name_may_stand_in_the_block(info: str, first: str, name: str) -> None:
    assert code_files(block(first, info)) == {name: first}


def test_a_lone_block_is_main() -> None:
    assert code_files("Sure:\n" + block("print(1)")) == {"main.py": "print(1)"}
    assert code_files("Sure:\n" + block("print(1)", "")) == {"main.py": "print(1)"}
    assert code_files("```python\nprint(1)") == {"main.py": "print(1)"}


def test_of_several_blocks_those_without_a_name_are_told_by_what_they_hold() -> None:
    text = (
        block("pip install x", "bash")
        + "Then:\n" + block("class Board:\n    pass")
        + "Then:\n" + block("if __name__ == '__main__':\n    print(1)")
        + "Then:\n" + block("x = 1")
    )  # fmt: skip
    assert code_files(text) == {
        "board.py": "class Board:\n    pass",
        "main.py": "if __name__ == '__main__':\n    print(1)",
    }


def test_of_files_of_one_name_the_last_counts_but_a_guess_replaces_nothing() -> None:
    text = "main.py\n" + block("x = 1") + "\nmain.py\n" + block("x = 2") + "\nOr:\n" + block("'__main__'")
    assert code_files(text) == {"main.py": "x = 2"}


@pytest.mark.parametrize(
    "text", ["", "no code", "```\n```", "main.py\n```python\n   \n```", block("ls", "bash")]
)
def test_a_text_without_files_holds_no_answer(text: str) -> None:
    assert code_files(text) is None
    assert make_parser(ParseBlock(rule="files")).parse(text).note == "rule files found no answer"


@pytest.mark.parametrize(
    "name",
    [
        "../evil.py",
        "a/../../evil.py",
        "/etc/evil.py",
        "C:\\evil.py",
        "~/evil.py",
        "..",
        ".hidden.py",
        "a//b.py",
    ],
)
def test_names_that_lead_out_name_nothing(name: str) -> None:
    assert not is_safe_name(name)
    text = f"{name}\n" + block("x = 1") + "\nmain.py\n" + block("y = 1")
    assert code_files(text) == {"main.py": "y = 1"}
    assert as_files({name: "x = 1", "main.py": "y = 1"}) == {"main.py": "y = 1"}


@pytest.mark.parametrize(
    "name", ["a\0.py", "a\n.py", "a b.py", "", 5, None, "x" * 200, "/".join("abcdefghijkl"), "a\\b.py"]
)
def test_odd_names_are_not_safe(name: object) -> None:
    assert not is_safe_name(name)


def test_there_are_no_more_than_100_files() -> None:
    text = "".join(f"f{i}.py\n{block('x = 1')}\n" for i in range(150))
    assert len(code_files(text) or {}) == 100
    assert len(as_files({f"f{i}.py": "x" for i in range(150)})) == 100


@given(st.text(alphabet="ab./`\n#: py*_-\\", max_size=200))
def test_whatever_a_text_holds_names_are_safe(text: str) -> None:
    assert all(is_safe_name(name) for name in code_files(text) or {})


@pytest.mark.parametrize(
    "part", ["a/", "#", "a.b", "```\n", "a.py ", "file:", "a-", "1.", "*_`", "./", "a.py\n```\n"]
)
def test_long_texts_are_read_in_time(part: str) -> None:
    started = time.monotonic()
    code_files(part * 50_000 + "\n" + block("x = 1"))
    assert time.monotonic() - started < 3


def test_files_are_written_as_they_are_read() -> None:
    files = {"main.py": "import a\n\nprint(1)", "data/notes.md": "# Notes", "a.json": "{}"}
    assert code_files(files_text(files)) == files
