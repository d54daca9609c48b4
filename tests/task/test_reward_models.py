"""Models that score and cannot write, where a task names them, and models that cannot score."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from agenttts.errors import TaskFileError
from agenttts.task.task import Task

CARDS = """\
models:
  judge-steps:
    source: reward
    parameters: 7e9
    reward: {api: pooling, scores: steps, tag: <extra_0>}
  judge-answers:
    source: reward
    parameters: 7e9
    reward: {api: classify}
  small:"""


def mistakes(project: Callable[..., Path], select: str, *more: tuple[str, str]) -> list[str]:
    changes = [
        ("models:\n  small:", CARDS),
        ("n_samples: [1, 4]", f"n_samples: [1, 4]\n    select: {select}"),
    ]
    with pytest.raises(TaskFileError) as caught:
        Task.load(project(*changes, *more))
    return [f"{one.key}: {one.message} {one.hint}" for one in caught.value.mistakes]


def loaded(project: Callable[..., Path], select: str, cards: str = CARDS) -> Task:
    changes = [
        ("models:\n  small:", cards),
        ("n_samples: [1, 4]", f"n_samples: [1, 4]\n    select: {select}"),
    ]
    return Task.load(project(*changes))


@pytest.mark.parametrize(
    ("kind", "model"), [("prm", "judge-steps"), ("orm", "judge-answers"), ("prm", "tiny/prm")]
)
def test_a_reward_model_is_among_the_cards_of_its_task(
    project: Callable[..., Path], kind: str, model: str
) -> None:
    task = loaded(project, f"[{{kind: best_of_n, verifier: {{kind: {kind}, model: {model}}}}}]")
    assert set(task.cards) == {"small", model}


def test_what_changes_scores_makes_another_task(project: Callable[..., Path]) -> None:
    select = "[{kind: best_of_n, verifier: {kind: prm, model: judge-steps}}]"
    before = loaded(project, select)
    after = loaded(project, select, CARDS.replace("tag: <extra_0>", "tag: <step>"))
    same = loaded(project, select, CARDS.replace("tag: <extra_0>", 'tag: <extra_0>, between: ""'))
    assert before.digest != after.digest
    assert before.digest == same.digest


@pytest.mark.parametrize(("model", "kind"), [("judge-steps", "prm"), ("judge-answers", "orm")])
def test_a_stage_cannot_draw_from_a_reward_model(project: Callable[..., Path], model: str, kind: str) -> None:
    found = mistakes(
        project, "[majority]", ("models: [small]\n    n_samples", f"models: [small, {model}]\n    n_samples")
    )
    assert found == [
        f"stages.draft.models.1: `{model}` scores samples and cannot write any. "
        f"Name it in `select`, e.g. {{kind: best_of_n, verifier: {{kind: {kind}, model: {model}}}}}."
    ]


@pytest.mark.parametrize(
    ("select", "key"),
    [
        ("[{kind: llm_select, model: judge-steps}]", "model"),
        ("[{kind: cascade, to: judge-steps}]", "to"),
        ("[{kind: refine, critic: {model: judge-steps}}]", "critic.model"),
        ("[{kind: best_of_n, verifier: {kind: judge, model: judge-steps}}]", "verifier.model"),
        ("[{kind: best_of_n, verifier: {kind: gen_prm, model: judge-steps}}]", "verifier.model"),
    ],
)
def test_nothing_else_that_writes_may_be_a_reward_model(
    project: Callable[..., Path], select: str, key: str
) -> None:
    (found,) = mistakes(project, select)
    assert found.startswith(
        f"stages.draft.select.0.{key}: `judge-steps` scores samples and cannot write any."
    )


@pytest.mark.parametrize("kind", ["orm", "prm"])
def test_a_model_that_writes_cannot_score(project: Callable[..., Path], kind: str) -> None:
    (found,) = mistakes(project, f"[{{kind: best_of_n, verifier: {{kind: {kind}, model: small}}}}]")
    assert found.startswith("stages.draft.select.0.verifier.model: `small` is no reward model.")
    assert "kind: judge" in found


@pytest.mark.parametrize(
    ("kind", "model", "message"),
    [
        (
            "orm",
            "judge-steps",
            "gives scores of the steps, and orm needs those of the answer. Use `kind: prm`.",
        ),
        (
            "prm",
            "judge-answers",
            "gives scores of the answer, and prm needs those of the steps. Use `kind: orm`.",
        ),
    ],
)
def test_a_reward_model_is_asked_for_what_it_judges(
    project: Callable[..., Path], kind: str, model: str, message: str
) -> None:
    found = mistakes(project, f"[{{kind: best_of_n, verifier: {{kind: {kind}, model: {model}}}}}]")
    assert found == [f"stages.draft.select.0.verifier.model: `{model}` {message}"]


def test_an_unknown_reward_model_is_told_once(project: Callable[..., Path]) -> None:
    found = mistakes(project, "[{kind: best_of_n, verifier: {kind: prm, model: judge-step}}]")
    assert len(found) == 1
    assert "there is no model card `judge-step`" in found[0]
