"""Whatever a file holds: what is written passes `agenttts check`, or nothing is written and the reason is an input error."""

from __future__ import annotations

import csv
import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from agenttts.cli import app

ODD = (
    "question", "Answer", "a b", "x.y", 'say "hi"', "}}", "{% if %}", "{{", "naïve", "質問", "id", "yes", "null", "1", "\\d",
    "#", ": ", "items", "_private", "\n", "\t", " ", "", "😀", "'", "choices", "tests", "test", "context", "label",
    "~", "- a", "&a", "*a", "!x", "\ufeff", "\u2028", "\x85", "\x00",
)  # fmt: skip
NAMES = st.one_of(st.sampled_from(ODD), st.text(max_size=8))
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-1000, 1000),
    st.floats(),
    st.sampled_from(
        ["", " ", "A", "b)", "42", "3/4", "$x^2$", "\\boxed{3}", "so #### 7", "{}", "[1]", "assert f(1)", "~"]
    ),
    st.text(max_size=30),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=5,
)
SAME = {
    "numbers": st.integers(-50, 50),
    "letters": st.sampled_from("ABCD"),
    "labels": st.sampled_from(["yes", "no", "may{{be"]),
    "lists": st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=3),
    "nested": st.fixed_dictionaries({"value": st.text(max_size=5), "aliases": st.lists(st.text(max_size=3))}),
    "texts": st.text(max_size=40),
    "huge": st.just("word " * 5_000),
    "json": st.just('{"a": [1]}'),
    "any": VALUES,
}


@st.composite
def sheets(draw: Any) -> list[dict[str, Any]]:
    """Rows of the same fields, in part of the same kind, or of fields of their own."""
    usual = draw(
        st.sampled_from([[], ["question", "answer"], ["prompt", "test"], ["質問 text", "gold.answer"]])
    )
    names = list(dict.fromkeys([*usual, *draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))]))
    kinds = [SAME[draw(st.sampled_from(sorted(SAME)))] for _ in names]
    like = st.fixed_dictionaries(dict(zip(names, kinds, strict=True)))
    row = draw(st.sampled_from([like, like, like, st.dictionaries(NAMES, VALUES, max_size=4)]))
    return draw(st.lists(row, min_size=draw(st.sampled_from([0, 5, 5, 5])), max_size=9))


def init_and_check(file: Path, *options: str) -> bool:
    """Return whether a task was written; it passes then, and the same command finds it unchanged."""
    folder = file.parent / "task"
    arguments = ["init", str(file), "--out", str(folder), "--yes", *options]
    done = CliRunner().invoke(app, arguments)
    if done.exit_code != 0:
        assert done.exit_code == 2, done.output
        assert not folder.exists()
        assert sorted(entry.name for entry in file.parent.iterdir()) == [file.name]
        return False
    checked = CliRunner().invoke(app, ["check", str(folder)])
    assert checked.exit_code == 0, checked.output + (folder / "task.yaml").read_text()
    again = CliRunner().invoke(app, arguments)
    assert "unchanged" in again.output, again.output
    return True


@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(sheets(), st.sampled_from([(), ("--stages", "plan,solve"), ("--copy",)]))
@example([{"question": "1 + 1", "answer": 2}], ())
@example([{"q{{": f"{i}", "}}": "{%"} for i in range(9)], ("--stages", "plan,solve"))
def test_any_jsonl_gives_a_task_that_passes_or_a_reason(
    rows: list[dict[str, Any]], options: tuple[str, ...]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        event("written" if init_and_check(file, *options) else "refused")


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(NAMES.filter(lambda name: "\x00" not in name), min_size=2, max_size=3, unique=True),
    st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20), min_size=0, max_size=18
    ),
)
def test_any_csv_gives_a_task_that_passes_or_a_reason(names: list[str], cells: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.csv"
        with file.open("w", newline="", encoding="utf-8", errors="replace") as opened:
            writer = csv.writer(opened)
            writer.writerow(names)
            width = len(names)
            writer.writerows(cells[i : i + width] for i in range(0, len(cells) - width + 1, width))
        event("written" if init_and_check(file) else "refused")


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(sorted(SAME)), NAMES, NAMES, st.data())
def test_named_fields_are_taken_whatever_their_names(
    kind: str, asked: str, gold: str, data: st.DataObject
) -> None:
    if asked == gold or asked.startswith("-") or gold.startswith("-"):
        return
    golds = data.draw(st.lists(SAME[kind], min_size=8, max_size=8))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.jsonl"
        rows = [{asked: f"What is {i}?", gold: value} for i, value in enumerate(golds)]
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        written = init_and_check(file, f"--question={asked}", f"--gold={gold}")
        event(f"{kind} {written}")
        usable = [value for value in golds if value not in (None, "", [], {}) and str(value).strip()]
        surrogates = any("\ud800" <= sign <= "\udfff" for sign in asked + gold)
        if kind in {"numbers", "letters", "labels", "lists", "huge", "json"} and not surrogates:
            assert written or len(usable) < 2
