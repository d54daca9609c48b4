"""Requests of TaskBench."""

from __future__ import annotations

import json

import pytest

from agenttts.errors import DataError
from agenttts.preparation.base import Tables, Wish
from agenttts.preparation.tools import prepare_requests
from tests.preparation.published import TOOLS, request


def made(rows, tools=None, wish=None):
    return prepare_requests(
        Tables(rows, rows, {"tools": [{"nodes": TOOLS}] if tools is None else tools}),
        wish or Wish(4, 3),
        lambda line: None,
    )


def test_json_texts_become_lists_and_every_row_carries_the_tools():
    done = made([request(n) for n in range(10)])
    assert (len(done.search), len(done.test), dict(done.left_out)) == (4, 3, {})
    assert not {row["id"] for row in done.search} & {row["id"] for row in done.test}
    row = done.search[0]
    assert row == {
        "id": row["id"],
        "user_request": f"Water the plants in room {row['id']}.",
        "type": "single",
        "tools": TOOLS,
        "task_steps": [f"Step 1: Water the plants in room {row['id']}"],
        "task_nodes": [
            {"task": "water_plants", "arguments": [{"name": "room", "value": f"room {row['id']}"}]}
        ],
        "task_links": [],
    }


def test_the_shape_of_the_repository_gives_the_same_problems():
    names = {
        "instruction": "user_request",
        "tool_steps": "task_steps",
        "tool_nodes": "task_nodes",
        "tool_links": "task_links",
    }
    lists = [
        {
            names.get(key, key): json.loads(value) if key.startswith("tool_") else value
            for key, value in request(n).items()
        }
        for n in range(10)
    ]
    assert made(lists, tools=TOOLS) == made([request(n) for n in range(10)])


def test_what_cannot_be_scored_is_counted_by_its_reason():
    rows = [
        request(1, tool_nodes="[]"),
        request(2, tool_nodes='[{"task": "fly", "arguments": []}]'),
        request(3, tool_steps="[1]"),
        request(4, tool_links="not json"),
        request(5, tool_nodes='[{"task": "set_timer", "arguments": ["5"]}]'),
        request(6),
    ]
    done = made(rows, wish=Wish(9, 0))
    assert [row["id"] for row in done.search] == ["6"]
    assert done.left_out == {
        "there are no gold steps or no gold nodes": 1,
        "a gold node names a tool that is not described": 1,
        "`steps` holds no texts": 1,
        "`tool_links` is not valid JSON": 1,
        "a gold node has no list of arguments with name and value": 1,
    }


def test_without_descriptions_of_tools_nothing_is_made():
    with pytest.raises(DataError, match=r"`tool_desc.json` or `graph_desc.json` should lie beside the data"):
        made([request(1)], tools=[])
