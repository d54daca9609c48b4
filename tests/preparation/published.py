"""Small rows in the shapes in which the sets are published, made by hand."""

from __future__ import annotations

import base64
import json
import pickle
import zlib
from pathlib import Path
from typing import Any

TOOLS = [
    {
        "id": "water_plants",
        "desc": "Water plants",
        "parameters": [{"name": "room", "type": "string", "desc": "Where"}],
    },
    {
        "id": "set_timer",
        "desc": "Start a timer",
        "parameters": [{"name": "minutes", "type": "number", "desc": "How long"}],
    },
]


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def question(number: int, *, as_pairs: bool = False) -> dict[str, Any]:
    """A question of two hops: which river flows through the town where a person was born."""
    paragraphs = [
        (
            f"Person {number}",
            [f"Person {number} is a baker.", f" Person {number} was born in Town {number}."],
        ),
        (f"Town {number}", [f"Town {number} lies on River {number}.", "It has a market."]),
        (f"Other {number}", [f"Mill {number} stands alone."]),
    ]
    facts = [(f"Person {number}", 1), (f"Town {number}", 0)]
    row: dict[str, Any] = {
        "question": f"On which river lies the town where Person {number} was born?",
        "answer": f"River {number}",
        "type": "bridge",
    }
    if as_pairs:  # the original files of both sets
        return row | {
            "_id": f"q{number}",
            "context": [list(p) for p in paragraphs],
            "supporting_facts": facts,
        }
    return row | {  # the columns of hotpotqa/hotpot_qa
        "id": f"q{number}",
        "level": "medium",
        "context": {"title": [p[0] for p in paragraphs], "sentences": [p[1] for p in paragraphs]},
        "supporting_facts": {"title": [f[0] for f in facts], "sent_id": [f[1] for f in facts]},
    }


def graph_question(number: int) -> dict[str, Any]:
    """A question whose answer is two steps away, by a node without a name."""
    country, node, language = f"Country {number}", f"m.0{number}", f"Language {number}"
    graph = [
        [country, "location.country.capital", f"Capital {number}"],
        [country, "location.country.spoken", node],
        [node, "language.use.language", language],
        [language, "language.family", f"Family {number}"],
        *[[country, "location.location.contains", f"Village {number}-{place}"] for place in range(150)],
    ]
    return {
        "id": f"g{number}",
        "question": f"which language is spoken in country {number}",
        "answer": [language],
        "q_entity": [country],
        "a_entity": [language],
        "graph": graph,
        "choices": [],
    }


def request(number: int, **changes: Any) -> dict[str, Any]:
    """A row of microsoft/Taskbench, lists as JSON texts."""
    nodes = [{"task": "water_plants", "arguments": [{"name": "room", "value": f"room {number}"}]}]
    return {
        "id": str(number),
        "seed": 1,
        "type": "single",
        "sampled_nodes": "[]",
        "sampled_links": "[]",
        "instruction": f"Water the plants in room {number}.",
        "tool_steps": json.dumps([f"Step 1: Water the plants in room {number}"]),
        "tool_nodes": json.dumps(nodes),
        "tool_links": "[]",
    } | changes


def packed(tests: list[dict[str, Any]]) -> str:
    """Hidden tests as livecodebench/code_generation_lite packs them."""
    return base64.b64encode(zlib.compress(pickle.dumps(json.dumps(tests)))).decode()


def contest(number: int, **changes: Any) -> dict[str, Any]:
    """A row of livecodebench/code_generation_lite."""
    hidden = [{"input": f"{n}\n", "output": f"{2 * n}\n", "testtype": "stdin"} for n in range(1, 4)]
    return {
        "question_title": f"Double {number}",
        "question_content": f"Print the double of a number. ({number})",
        "platform": "atcoder",
        "question_id": f"abc{number}",
        "contest_id": "abc",
        "contest_date": f"2024-{1 + number % 12:02d}-15T00:00:00",
        "starter_code": "",
        "difficulty": "easy",
        "public_test_cases": json.dumps([{"input": "4\n", "output": "8\n", "testtype": "stdin"}]),
        "private_test_cases": packed(hidden),
        "metadata": "{}",
    } | changes
