"""Models that make vectors of texts, where a task names them, and models that make none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from agenttts.errors import TaskFileError
from agenttts.task.task import Task

CARDS = """\
models:
  vectors:
    source: embedding
    parameters: 3e8
  judge-steps:
    source: reward
    parameters: 7e9
    reward: {api: pooling, scores: steps, tag: <extra_0>}
  small:"""
LIKE = "{kind: similarity, model: vectors, field: question}"
BEST = f"[{{kind: best_of_n, verifier: {LIKE}}}]"

Project = Callable[..., Path]


def written(project: Project, select: str, *more: tuple[str, str]) -> Path:
    changes = [
        ("models:\n  small:", CARDS),
        ("n_samples: [1, 4]", f"n_samples: [1, 4]\n    select: {select}"),
    ]
    return project(*changes, *more)


def mistakes(project: Project, select: str, *more: tuple[str, str]) -> list[str]:
    with pytest.raises(TaskFileError) as caught:
        Task.load(written(project, select, *more))
    return [f"{one.key}: {one.message} {one.hint}" for one in caught.value.mistakes]


FINAL = ("score:\n  verifier: numeric\n  gold: answer", f"score:\n  verifier: {LIKE}")
OF_STAGE = ("score: {verifier: numeric, gold: answer}", f"score: {{verifier: {LIKE}}}")


@pytest.mark.parametrize(
    ("select", "more"), [(BEST, ()), ("[majority]", (FINAL,)), ("[majority]", (OF_STAGE,))]
)
def test_it_selects_and_scores_without_gold(
    project: Project, select: str, more: tuple[tuple[str, str], ...]
) -> None:
    assert set(Task.load(written(project, select, *more)).cards) == {"small", "vectors"}


def test_it_may_be_a_measure(project: Project) -> None:
    measures = ("budget: {unit", f"measures: {{like: {{verifier: {LIKE}}}}}\nbudget: {{unit")
    assert set(Task.load(written(project, "[majority]", measures)).cards) == {"small", "vectors"}


def test_a_stage_cannot_draw_from_it(project: Project) -> None:
    models = ("models: [small]\n    n_samples", "models: [small, vectors]\n    n_samples")
    assert mistakes(project, "[majority]", models) == [
        "stages.draft.models.1: `vectors` makes vectors of texts and cannot write any. Name it in `select`, e.g. "
        "{kind: best_of_n, verifier: {kind: similarity, model: vectors, field: FIELD}}."
    ]


@pytest.mark.parametrize(
    ("select", "key"),
    [
        ("[{kind: llm_select, model: vectors}]", "model"),
        ("[{kind: cascade, to: vectors}]", "to"),
        ("[{kind: refine, critic: {model: vectors}}]", "critic.model"),
        ("[{kind: best_of_n, verifier: {kind: judge, model: vectors}}]", "verifier.model"),
        ("[{kind: best_of_n, verifier: {kind: gen_prm, model: vectors}}]", "verifier.model"),
    ],
)
def test_nothing_else_that_writes_may_be_one(project: Project, select: str, key: str) -> None:
    (found,) = mistakes(project, select)
    assert found.startswith(f"stages.draft.select.0.{key}: `vectors` makes vectors of texts and cannot write")


@pytest.mark.parametrize("kind", ["orm", "prm"])
def test_verifiers_of_reward_models_cannot_ask_it(project: Project, kind: str) -> None:
    (found,) = mistakes(project, f"[{{kind: best_of_n, verifier: {{kind: {kind}, model: vectors}}}}]")
    assert found == (
        "stages.draft.select.0.verifier.model: `vectors` makes vectors of texts and is no reward model. "
        "Use `kind: similarity` with its `field`."
    )


@pytest.mark.parametrize("model", ["small", "judge-steps"])
def test_a_model_of_another_kind_makes_no_vectors(project: Project, model: str) -> None:
    (found,) = mistakes(project, BEST.replace("model: vectors", f"model: {model}"))
    assert found == (
        f"stages.draft.select.0.verifier.model: `{model}` is no embedding model. "
        "Name a card with `source: embedding`, such as text-embedding-3-small."
    )


def test_the_field_must_be_there(project: Project) -> None:
    (found,) = mistakes(project, BEST.replace("field: question", "field: questio"))
    assert found.startswith("stages.draft.select.0.verifier.field: the data has no field `questio`.")
    assert "question" in found.partition("`questio`")[2]


@pytest.mark.parametrize(
    ("block", "told"),
    [
        ("{kind: similarity, model: vectors}", "needs `field`"),
        ("{kind: similarity, field: question}", "needs `model`"),
        ("{kind: judge, model: small, field: question}", "`field` is read by similarity"),
    ],
)
def test_the_block_is_complete(project: Project, block: str, told: str) -> None:
    assert told in "".join(mistakes(project, f"[{{kind: best_of_n, verifier: {block}}}]"))


def test_a_test_stage_cannot_ask_it(project: Project) -> None:
    stage = (
        "  check:\n",
        f"  like:\n    needs: [draft]\n    test: {{stage: draft, verifier: {LIKE}}}\n  check:\n",
    )
    assert "similarity asks a model" in "".join(mistakes(project, "[majority]", stage))


def test_contexts_are_not_selected_by_what_differs_between_their_problems(project: Project) -> None:
    shared = ("  draft:\n    prompt", "  draft:\n    shared_by: {field: hard}\n    prompt")
    assert "similarity may score samples by what differs" in "".join(mistakes(project, BEST, shared))


def test_what_changes_vectors_makes_another_task(project: Project) -> None:
    def digest(embedding: str) -> str:
        more = ("parameters: 3e8", f"parameters: 3e8\n    embedding: {embedding}")
        return Task.load(written(project, BEST, more)).digest

    plain = digest("{}")
    assert digest("{batch: 8}") == plain
    assert len({plain, digest("{dimensions: 2}"), digest("{max_input_tokens: 9}")}) == 3


UNKNOWN_SIZE = (
    "  vectors:\n    source: embedding\n    parameters: 3e8\n",
    "  vectors:\n    source: embedding\n",
)


def test_a_model_that_only_scores_need_not_be_billable(project: Project) -> None:
    task = Task.load(written(project, "[majority]", FINAL, UNKNOWN_SIZE))
    assert task.charged_models == {"small"}


def test_a_model_that_selects_must_be_billable(project: Project) -> None:
    assert mistakes(project, BEST, FINAL, UNKNOWN_SIZE) == [
        "models.vectors: a budget in gflops needs `parameters` on this card. "
        "Add `parameters: <number>` (the model's size), or give the budget in another unit, e.g. --budget 0.01usd."
    ]
