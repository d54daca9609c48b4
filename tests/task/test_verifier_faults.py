from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from agenttts.errors import TaskFileError
from agenttts.task.task import Task

Write = Callable[..., Path]
SELECT = "n_samples: [1, 4]"
PLACE = "sums.yaml:16: stages.draft.select.verifier"


def mistakes_of(path: Path) -> list[str]:
    try:
        Task.load(path)
    except TaskFileError as error:
        return [str(mistake) for mistake in error.mistakes]
    return []


def selecting(project: Write, select: str, more: str = "") -> Path:
    return project((SELECT, f"{SELECT}{more}\n    select: {select}"))


CERTAIN = "{kind: best_of_n, verifier: self_certainty}"


def test_self_certainty_needs_log_probabilities_and_the_remedy_is_told(project: Write) -> None:
    assert mistakes_of(selecting(project, CERTAIN)) == [
        f"{PLACE}: self_certainty reads the probabilities of tokens, and stage `draft` does not ask for them.\n"
        "Add `sampling: {logprobs: true}` to stage `draft`."
    ]


def test_self_certainty_of_samples_with_log_probabilities_is_fine(project: Write) -> None:
    assert mistakes_of(selecting(project, CERTAIN, "\n    sampling: {logprobs: true}")) == []


def test_a_score_by_self_certainty_needs_those_of_the_scored_stage(project: Write) -> None:
    path = project(("score:\n  verifier: numeric\n  gold: answer", "score:\n  verifier: self_certainty"))
    assert mistakes_of(path) == [
        "sums.yaml:26: score.verifier: self_certainty reads the probabilities of tokens, and stage `check` does not "
        "ask for them.\nAdd `sampling: {logprobs: true}` to stage `check`."
    ]


def test_agreement_is_no_score_of_an_answer(project: Write) -> None:
    path = project(("score:\n  verifier: numeric\n  gold: answer", "score:\n  verifier: agreement"))
    assert mistakes_of(path) == [
        "sums.yaml:26: score.verifier: agreement compares the samples of a stage, and a score is of one answer.\n"
        "Use it in `select`."
    ]


@pytest.mark.parametrize("way", ["adaptive_best", "refine", "tree"])
@pytest.mark.parametrize(
    ("verifier", "what"),
    [("agreement", "agreement"), ("{kind: judge, model: small, form: pairwise}", "form pairwise")],
)
def test_what_compares_samples_cannot_score_them_one_by_one(
    project: Write, way: str, verifier: str, what: str
) -> None:
    (mistake,) = mistakes_of(selecting(project, f"{{kind: {way}, verifier: {verifier}}}"))
    assert mistake.startswith(f"{PLACE}: {what} compares samples, and {way} scores them one by one.")


@pytest.mark.parametrize("way", ["best_of_n", "weighted_vote"])
def test_what_compares_samples_may_score_them_together(project: Write, way: str) -> None:
    assert mistakes_of(selecting(project, f"{{kind: {way}, verifier: agreement}}")) == []


def test_probabilities_of_marks_are_for_the_form_that_has_one_mark(project: Write) -> None:
    judge = "{kind: judge, model: small, form: listwise, logprobs: true}"
    assert mistakes_of(selecting(project, f"{{kind: best_of_n, verifier: {judge}}}")) == [
        f"{PLACE}.logprobs: form listwise reads no probabilities; they are those of marks.\n"
        "Leave it out, or use `form: pointwise`."
    ]


@pytest.mark.parametrize(
    ("verifier", "expected"),
    [
        (
            "{kind: judge, model: small, prompt: {user: '{{ prompt }} {{ txt }}'}}",
            ".prompt.user: unknown variable `txt`.\nDid you mean `text`?",
        ),
        (
            "{kind: judge, model: small, prompt: {user: '{{ problem.answer }}'}}",
            ".prompt.user: unknown variable `problem`.\n",
        ),
        (
            "{kind: gen_prm, model: small, prompt: {user: '{{ steps }} {{ rubric }}'}}",
            ".prompt.user: unknown variable `rubric`.\nVariables here: ",
        ),
        (
            "{kind: judge, model: small, prompt: {user_file: ask.txt}}",
            ".prompt.user_file: no such file: ask.txt.",
        ),
    ],
)
def test_prompts_of_verifiers_are_checked_and_cannot_read_gold(
    project: Write, verifier: str, expected: str
) -> None:
    (mistake,) = mistakes_of(selecting(project, f"{{kind: best_of_n, verifier: {verifier}}}"))
    assert mistake.startswith(f"{PLACE}{expected}")


def test_a_prompt_file_of_a_verifier_is_read_into_the_task(project: Write, tmp_path: Path) -> None:
    verifier = "{kind: judge, model: small, prompt: {user_file: ask.txt}}"
    path = selecting(project, f"{{kind: best_of_n, verifier: {verifier}}}")
    (tmp_path / "ask.txt").write_text("Is {{ text }} right? {{ rubric }}")
    block = Task.load(path).file.stages["draft"].select[0].verifier
    assert block is not None
    assert block.prompt is not None
    assert block.prompt.user == "Is {{ text }} right? {{ rubric }}"
