"""The tasks on rows of the published sets, where `AGENTTTS_TASK_DATA` names a folder that holds them.

An oracle that answers what gold says must score 1 on every row: else gold, prompt, parse rule and verifier do not agree.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from agenttts.models.tokens import counter
from agenttts.task.task import Task
from tests.scripted_server import Asked, Played, play, real_data

FOLDERS = {"2wikimultihopqa": "twowiki", "hotpotqa": "hotpotqa", "cwq": "cwq", "webqsp": "webqsp"}
CHOICES = [("retrieve", "qwen2.5-72b", 1, "list_vote"), ("answer", "llama3.1-70b", 1, "fusion")]
LABELS = {"2wikimultihopqa": "Passages", "hotpotqa": "Passages", "cwq": "Triples", "webqsp": "Triples"}


def rows_of(folder: Path, part: str) -> list[dict[str, Any]]:
    with gzip.open(folder / f"{part}.jsonl.gz", "rt") as file:
        return [json.loads(line) for line in file]


def prepared(name: str, tmp_path: Path) -> tuple[Path, list[dict[str, Any]]]:
    """Return a folder with the two files of a task, and the rows that search draws from."""
    source = real_data(FOLDERS[name])
    if source is None:
        pytest.skip(f"AGENTTTS_TASK_DATA names no folder with {FOLDERS[name]}")
    for split, part in (("search", "train"), ("test", "test")):
        (tmp_path / f"{split}.jsonl.gz").symlink_to(source / f"{part}.jsonl.gz")
    return tmp_path, rows_of(source, "train")


def oracle(name: str, rows: list[dict[str, Any]]) -> Any:
    """Return a script that answers what gold says; the longest question that a prompt holds is the one it is about."""
    known = sorted(rows, key=lambda row: -len(row["question"]))

    def script(asked: Asked) -> str:
        row = next(row for row in known if f"Question: {row['question']}\n" in asked.prompt)
        if "Do not answer the question." in asked.prompt:
            return f"{LABELS[name]}: " + ", ".join(f"[{place}]" for place in row["gold_candidates"])
        return f"It follows from these.\nAnswer: {row['answers'][0]}"

    return script


@pytest.mark.parametrize("name", FOLDERS)
def test_an_oracle_scores_1_on_real_rows(name: str, tmp_path: Path) -> None:
    folder, rows = prepared(name, tmp_path)
    played = play(name, oracle(name, rows), CHOICES, data=folder)
    assert len(played.scores) == min(50, len(rows))
    assert set(played.scores.values()) == {1.0}
    assert set(played.evaluation.stage_scores["retrieve"].values()) == {1.0}
    assert set(played.evaluation.measures["f1"].values()) == {1.0}


@pytest.mark.parametrize("name", FOLDERS)
def test_prompts_of_real_rows_fit_the_models(name: str, tmp_path: Path) -> None:
    folder, rows = prepared(name, tmp_path)
    played = play(name, oracle(name, rows), CHOICES, data=folder)
    lengths = prompt_lengths(played)
    # Well below the 8192 tokens that the smallest context of any of these endpoints holds.
    assert max(lengths["retrieve"]) < 6000
    assert max(lengths["answer"]) < 2000


def prompt_lengths(played: Played) -> dict[str, list[int]]:
    """Return the tokens of every prompt by stage, counted as a quarter of the characters."""
    prompts: dict[str, list[int]] = {stage: [] for stage in ("retrieve", "answer")}
    for text in played.server.prompts():
        stage = "retrieve" if "Do not answer the question." in text else "answer"
        prompts[stage].append(counter("chars/4")(text))
    return prompts


def test_published_answers_of_gsm8k_are_read_as_numbers(tmp_path: Path) -> None:
    source = real_data("gsm8k")
    if source is None:
        pytest.skip("AGENTTTS_TASK_DATA names no folder with gsm8k")
    for split, part in (("search", "train"), ("test", "test")):
        rows = rows_of(source, part)
        # As published: the worked solution, `#### 42` at its end, is the field `answer`.
        published = [{"question": row["question"], "answer": row["solution"]} for row in rows]
        text = "".join(json.dumps(row) + "\n" for row in published)
        (tmp_path / f"{split}.jsonl").write_text(text)
    task = Task.load("gsm8k", data=tmp_path)
    final = {row["question"]: row["answer"] for part in ("train", "test") for row in rows_of(source, part)}
    problems = (*task.search, *task.test())
    assert len(problems) == 300
    assert all(
        problem.fields["gold"].replace(",", "") == final[problem.fields["question"]].replace(",", "")
        for problem in problems
    )

    def script(asked: Asked) -> str:
        question = asked.prompt.partition("\n\n")[0]
        return "One step." if "Do not solve" in asked.prompt else f"Answer: {final[question]}"

    choices = [("plan", "qwen3-4b", 1, "fusion"), ("solve", "qwen3-4b", 1, "majority")]
    assert set(play("gsm8k", script, choices, data=tmp_path).scores.values()) == {1.0}
