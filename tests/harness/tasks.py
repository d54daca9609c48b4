"""Small tasks of both harnesses on the problems of the tiny task."""

from __future__ import annotations

import json
from pathlib import Path

from agenttts.task.task import Task
from tests.snippets import ROOT, lines, texts

INSPECT_TASK = """
import json
from pathlib import Path
from inspect_ai import Task, task
from inspect_ai.dataset import json_dataset, FieldSpec
from agenttts.harness.inspect import verifier

@task
def fair():
    spec = FieldSpec(input="text", target="answer", id="id", metadata=["plan"])
    return Task(dataset=json_dataset(str(Path(__file__).parent / "fair.jsonl"), spec), scorer=verifier("numeric"))
"""
LM_EVAL_TASK = """
task: fair
dataset_path: json
dataset_kwargs: {data_files: {test: FILE}, cache_dir: CACHE}
test_split: test
output_type: generate_until
doc_to_text: "{{text}}"
doc_to_target: "{{answer}}"
generation_kwargs: {until: ["\\n\\n"]}
metric_list:
  - {metric: exact_match, aggregation: mean, higher_is_better: true}
filter_list:
  - name: last
    filter:
      - {function: regex, regex_pattern: "=(-?[0-9]+)$"}
      - {function: take_first}
"""


def readme_command(*beginning: str) -> list[str]:
    """Return the arguments of the README's command that begins so, on the run `x`."""
    blocks = texts((ROOT / "README.md").read_text(encoding="utf-8"), "console")
    found = [
        words for block in blocks for words in lines(block.replace("<run>", "x").replace("<log>", "LOG"))
    ]
    (words,) = [words for words in found if tuple(words[: len(beginning)]) == beginning]
    return words[len(beginning) :]


def rows(n: int) -> list[dict[str, object]]:
    """Return search problems of the tiny task, by id."""
    found = [dict(problem.fields) | {"id": problem.id} for problem in Task.load("tiny").search[:n]]
    return sorted(found, key=lambda row: str(row["id"]))


def write_tasks(folder: Path, n: int) -> None:
    """Write `fair.jsonl`, `fair.py` (inspect_ai) and `fair.yaml` (lm-evaluation-harness)."""
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / "fair.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows(n)))
    (folder / "fair.py").write_text(INSPECT_TASK)
    (folder / "fair.yaml").write_text(
        LM_EVAL_TASK.replace("FILE", str(data)).replace("CACHE", str(folder / "cache"))
    )
