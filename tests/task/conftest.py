from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

ROWS = [
    {
        "id": f"p{i:02d}",
        "question": f"What is {i} + {i}?",
        "answer": 2 * i,
        "hard": i % 2 == 0,
        "split": split,
    }
    for i, split in enumerate(["dev"] * 6 + ["final"] * 6)
]

TASK = """\
name: sums
data: {path: rows.jsonl, id: id}
splits:
  search: {where: {split: dev}}
  test: {where: {split: final}}
models:
  small:
    source: openai
    base_url: http://localhost:9/v1
    parameters: 1e9
stages:
  draft:
    prompt: {user: "{{ problem.question }}"}
    models: [small]
    n_samples: [1, 4]
  check:
    needs: [draft]
    prompt:
      user: |
        Question: {{ problem.question }}
        Draft: {{ stages.draft.answer }}
    models: [small]
    parse: last_number
    score: {verifier: numeric, gold: answer}
score:
  verifier: numeric
  gold: answer
budget: {unit: gflops, default: 10}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Write a task and its rows into an empty working folder; `changes` are (old text, new text) of the task file."""
    monkeypatch.chdir(tmp_path)

    def write(
        *changes: tuple[str, str], rows: list[dict[str, object]] | None = None, text: str = TASK
    ) -> Path:
        for old, new in changes:
            assert old in text, f"the task file of the tests has no {old!r}"
            text = text.replace(old, new, 1)
        lines = [json.dumps(row) for row in (ROWS if rows is None else rows)]
        (tmp_path / "rows.jsonl").write_text("\n".join(lines) + "\n")
        (tmp_path / "sums.yaml").write_text(text)
        return tmp_path / "sums.yaml"

    return write
