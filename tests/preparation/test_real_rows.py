"""What recipes make has the columns and types of the real rows, where these are there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agenttts.preparation.base import Tables, Wish
from agenttts.preparation.passages import prepare_questions
from agenttts.preparation.software import prepare_requirements
from agenttts.preparation.sources import Files
from agenttts.preparation.tools import prepare_requests
from agenttts.preparation.triplets import prepare_graphs
from tests.preparation.published import graph_question, question, request

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "tasks"
pytestmark = pytest.mark.skipif(not REAL.is_dir(), reason="the real rows are not there")

SHAPES: list[tuple[str, Any, list[dict[str, Any]], set[str]]] = [
    ("twowiki", prepare_questions, [question(1)], {"type", "level"}),
    ("hotpotqa", prepare_questions, [question(1)], set()),
    ("cwq", prepare_graphs, [graph_question(1)], set()),
    ("webqsp", prepare_graphs, [graph_question(1)], set()),
    ("srdd", prepare_requirements, [{"Name": "A", "Description": "Does a.", "Category": "Art"}], set()),
]


def types(value: Any) -> Any:
    """Return the type of a value, down to the first item of lists."""
    return [types(value[0])] if isinstance(value, list) and value else type(value)


@pytest.mark.parametrize(("folder", "make", "rows", "further"), SHAPES)
def test_made_rows_have_the_columns_of_the_real_ones(
    folder: str, make: Any, rows: list[dict[str, Any]], further: set[str]
) -> None:
    (made,) = make(Tables(rows, rows), Wish(1, 0), lambda line: None).search
    for split in ("train", "test"):
        for real in Files((REAL / folder / f"{split}.jsonl.gz",)):
            for name in set(made) - further:
                assert types(made[name]) == types(real[name]), name


def test_the_real_tools_of_taskbench_are_read() -> None:
    rows = [request(1, tool_nodes=json.dumps([{"task": "get_weather", "arguments": []}]))]
    beside = {"tools": Files((REAL / "taskbench_dailylife" / "tools.json.gz",))}
    (made,) = prepare_requests(Tables(rows, rows, beside), Wish(1, 0), lambda line: None).search
    assert len(made["tools"]) == 40
    assert made["tools"][0]["parameters"][0] == {
        "name": "location",
        "type": "string",
        "desc": "The location to get the weather for",
    }
