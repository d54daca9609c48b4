"""Similarity in whole tasks, over HTTP: as the score, as a measure, and as what selects, with the bills of each."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from tests.scripted_server import PREFILL_TOKENS, Played, play, rules

TASK = """
format: 1
name: like
data: {path: problems.jsonl, id: id}
splits: {search: {n: 1}, test: {n: 1}}
models:
  small: {source: openai, parameters: 1.0e+9}
  vectors: {source: embedding, parameters: 1.0e+8, embedding: {batch: 8}}
stages:
  write:
    prompt: {user: "write {{ problem.title }}"}
    models: [small]
    n_samples: [1, 3]
    select: [first, {kind: best_of_n, verifier: &like {kind: similarity, model: vectors, field: wanted}}]
score: {verifier: *like}
measures:
  same: {verifier: {kind: similarity, model: vectors, field: title}}
"""
DRAWS = rules(("write", ["b", "a", "ab"]))
"""Beside the wanted "aab", which is (2, 1), they are (0, 1), (1, 0) and (1, 1)."""


@pytest.fixture
def task(tmp_path: Path) -> Path:
    rows = [{"id": f"{n}", "title": "a", "wanted": "aab"} for n in range(2)]
    (tmp_path / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "task.yaml").write_text(TASK)
    return tmp_path / "task.yaml"


def run(task: Path, way: str) -> Played:
    return play(task, DRAWS, [("write", "small", 3, way)], data=None)


def billed(played: Played) -> list[tuple[str, str, int]]:
    """Return model, purpose and tokens read of everything that the stage costs in production."""
    (rollout,) = played.rollouts.values()
    return [(one.model, one.purpose, one.usage.prefill_tokens) for one in rollout.outputs["write"].charges]


def test_as_the_score_it_costs_production_nothing(task: Path) -> None:
    played = run(task, "first")
    assert list(played.scores.values()) == [pytest.approx(1 / math.sqrt(5), abs=1e-6)]
    assert billed(played) == [("small", "draw", PREFILL_TOKENS)]


def test_it_selects_the_answer_most_like_the_field_and_is_billed(task: Path) -> None:
    played = run(task, "best_of_n(similarity)")
    assert list(played.answers("write").values()) == ["ab"]
    assert list(played.scores.values()) == [pytest.approx(3 / math.sqrt(10), abs=1e-6)]
    # the field and three answers, each a text of 100 tokens
    assert billed(played) == [("small", "draw", PREFILL_TOKENS)] + [("vectors", "verify", PREFILL_TOKENS)] * 4


def test_as_a_measure_it_stands_beside_the_score(task: Path) -> None:
    (rollout,) = run(task, "first").rollouts.values()
    assert rollout.measures == {"same": 0}  # "b" beside the title "a"


def test_what_selecting_asked_is_not_asked_again_for_the_score(task: Path) -> None:
    texts = [
        text
        for body in run(task, "best_of_n(similarity)").server.http.bodies
        for text in body.get("input", [])
    ]
    assert sorted(texts) == ["a", "aab", "ab", "b"]
