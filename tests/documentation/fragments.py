"""Pieces of task.yaml on pages: each must fit into a whole task that loads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from agenttts.task.schema import DataBlock, StageBlock
from agenttts.task.task import Task

WHOLE: dict[str, Any] = {
    "name": "whole",
    "data": {"path": "rows.jsonl", "id": "id"},
    "stages": {
        "think": {
            "prompt": {"user": "Think about {{ problem.question }}"},
            "models": ["small"],
            "n_samples": [1, 4],
            "parse": "last_number",
        },
        "check": {
            "needs": ["think"],
            "prompt": {"user": "{{ problem.question }} {{ stages.think.answer }}"},
            "models": ["small", "large"],
            "n_samples": [1, 4],
            "parse": "last_number",
        },
    },
    "score": {"stage": "check", "verifier": "numeric", "gold": "answer"},
    "models": {
        name: {"source": "openai", "parameters": 1e9, "layers": 28, "width": 1536, "continues_replies": True}
        for name in ("small", "large")
    }
    | {
        "my-prm": {
            "source": "reward",
            "parameters": 7e9,
            "reward": {"api": "pooling", "scores": "steps", "tag": "<extra_0>"},
        }
    },
}
STEPS = "def merge(problem, answers):\n    return answers['check']\n"


def check_fragment(text: str, folder: Path) -> None:
    """Fail where a piece of a task, of a stage, or a file of cards does not fit.

    Which it is follows from its keys: those of a task replace the task's (models, stages and measures are added), those
    of a stage replace the last stage's.
    """
    data = yaml.safe_load(text)
    folder.mkdir(exist_ok=True)
    if "dataset" in data.get("data", {}):  # its rows are elsewhere
        DataBlock.model_validate(data["data"])
        return
    cards = isinstance(data.get("models"), dict)
    if set(data) <= set(StageBlock.model_fields) - {"score"} and not cards:
        data = {"stages": {"check": WHOLE["stages"]["check"] | data}}
    task = WHOLE | data
    for key in ("models", "stages"):
        task[key] = WHOLE[key] | data.get(key, {})
    rows = [{"id": str(i), "question": f"{i} + 1", "answer": i + 1} for i in range(20)]
    row_more = {"tests": [{"input": "1", "output": "1"}], "document_id": "d", "description": "what is wanted"}
    with (folder / "rows.jsonl").open("w") as file:
        file.writelines(json.dumps(row | row_more) + "\n" for row in rows)
    (folder / "steps.py").write_text(STEPS)
    (folder / "task.yaml").write_text(yaml.safe_dump(task, sort_keys=False))
    Task.load(folder / "task.yaml", trust=True)
