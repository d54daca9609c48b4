from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from agenttts.pipeline.prompts import Prompt
from agenttts.starting.writing import comment, flow, reference, scalar
from agenttts.task.reading import read_document
from agenttts.task.schema import PromptBlock

PLAIN = st.one_of(
    st.text(), st.integers(), st.booleans(), st.none(), st.floats(allow_nan=False, allow_infinity=False)
)
VALUES = st.recursive(PLAIN, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)


def read_back(text: str) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "x.yaml").write_text(text, encoding="utf-8")
        return read_document(Path(folder) / "x.yaml").data


@settings(deadline=None, max_examples=200)
@given(VALUES, st.text())
def test_whatever_is_written_is_read_back_as_it_was(value: Any, remark: str) -> None:
    assert read_back(f"{comment(remark)}\nkey: {flow(value)}\n") == {"key": value}


@settings(deadline=None, max_examples=200)
@given(st.lists(st.text(st.characters(exclude_characters=".")), min_size=1, max_size=3))
def test_a_prompt_finds_any_path(parts: list[str]) -> None:
    # A part of digits alone counts within a list, which a mapping is not.
    if any(part.isascii() and part.isdigit() for part in parts[1:]):
        return
    value: Any = "found"
    for part in reversed(parts):
        value = {part: value}
    prompt = Prompt.compile(PromptBlock(user=f"{{{{ {reference('.'.join(parts))} }}}}"))
    (message,) = prompt.render({"problem": value})
    assert message.content == "found"


@given(st.text())
def test_a_field_whose_name_holds_dots_is_found(name: str) -> None:
    prompt = Prompt.compile(PromptBlock(user=f"{{{{ {reference(name, [name])} }}}}"))
    (message,) = prompt.render({"problem": {name: "found"}})
    assert message.content == "found"


def test_words_that_yaml_would_take_for_something_else_stand_in_quotes() -> None:
    assert [scalar(word) for word in ("yes", "null", "1e3", "a: b", "gold", "7")] == [
        '"yes"',
        '"null"',
        '"1e3"',
        '"a: b"',
        "gold",
        '"7"',
    ]
    assert [scalar(number) for number in (7.61e9, 32672.0, 0.125, 123456789.5)] == [
        "7.61e+09",
        "32672",
        "0.125",
        "123456789.5",
    ]
