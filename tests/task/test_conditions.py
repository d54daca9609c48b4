"""Each mistake in `when` and `pool` is told with its place and its remedy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from agenttts.errors import TaskFileError
from agenttts.task.task import Task

Write = Callable[..., Path]
WHEN = "    when: {stage: draft, below: [0, 0.5, 1.01]}\n"
GOOD = ("    needs: [draft]\n", "    needs: [draft]\n" + WHEN)
DRAFT = ("n_samples: [1, 4]", "n_samples: [1, 4]\n    parse: last_number")


def when(text: str) -> tuple[str, str]:
    return "    needs: [draft]\n", f"    needs: [draft]\n    when: {text}\n"


BROKEN = {
    "unknown stage": (
        [when("{stage: drafft, below: 0.5}")],
        "sums.yaml:18: stages.check.when.stage: there is no stage `drafft`.\nDid you mean `draft`?",
    ),
    "not among needs": (
        [("    needs: [draft]\n", WHEN), ("\n        Draft: {{ stages.draft.answer }}", "")],
        "sums.yaml:17: stages.check.when.stage: `draft` is watched and not among `needs`.\nAdd it: needs: [draft].",
    ),
    "itself": (
        [when("{stage: check, below: 0.5}")],
        "sums.yaml:18: stages.check.when.stage: a stage cannot watch itself.",
    ),
    "threshold outside": (
        [when("{stage: draft, below: [0.5, 50]}")],
        "sums.yaml:18: stages.check.when.below.1: expected ",
    ),
    "no threshold": ([when("{stage: draft, below: []}")], "sums.yaml:18: stages.check.when.below: expected "),
    "misspelt measure": (
        [when("{stage: draft, measure: agrement, below: 0.5}")],
        "Did you mean `agreement`?",
    ),
    "agreement with an answer that no sample holds": (
        [GOOD, ("n_samples: [1, 4]", "n_samples: [1, 4]\n    select: [majority, fusion]")],
        "stages.check.when.measure: `draft` may select by fusion, whose answer need not be that of any sample.",
    ),
    "score without a verifier": (
        [when("{stage: draft, measure: verifier_score, below: 0.5}")],
        "sums.yaml:18: stages.check.when.measure: `draft` may select by majority, which asks no verifier.",
    ),
    "pool alone": (
        [("    needs: [draft]\n", "    needs: [draft]\n    pool: true\n")],
        "stages.check: `pool` needs `when`, which names the stage to vote together with.",
    ),
    "pool of other answers": (
        [when("{stage: draft, below: 0.5}\n    pool: true")],
        "stages.check.pool: votes cannot be pooled with `draft`, whose `parse` is another one.\n"
        "Give both stages the same `parse`.",
    ),
    "pool without votes": (
        [when("{stage: draft, below: 0.5}\n    pool: true\n    select: [majority, fusion]"), DRAFT],
        "stages.check.pool: votes cannot be pooled under fusion.\nLet `select` be majority alone.",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_mistake_is_told_with_its_place_and_remedy(project: Write, case: str) -> None:
    changes, expected = BROKEN[case]
    with pytest.raises(TaskFileError) as caught:
        Task.load(project(*changes))
    assert expected in str(caught.value)


def test_a_stage_that_runs_on_a_condition_cannot_be_watched(project: Write) -> None:
    third = "  last:\n    needs: [check]\n    when: {stage: check, below: 0.5}\n    prompt: {user: x}\n    models: [small]\n"
    with pytest.raises(TaskFileError) as caught:
        Task.load(project(GOOD, ("score:\n  verifier", third + "score:\n  verifier")))
    assert "`check` runs on a condition itself; such a stage cannot be watched.\nWatch `draft`." in str(
        caught.value
    )


def test_a_single_threshold_needs_no_list(project: Write) -> None:
    when_block = Task.load(project(when("{stage: draft, below: 0.5}"))).file.stages["check"].when
    assert when_block is not None
    assert (when_block.measure, when_block.thresholds) == ("agreement", (0.5,))


def test_a_condition_is_part_of_what_a_task_is(project: Write) -> None:
    plain, conditional = Task.load(project()), Task.load(project(GOOD))
    assert plain.digest != conditional.digest
    assert Task.from_json(conditional.to_json()).digest == conditional.digest


def test_a_task_that_runs_on_recordings_says_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(TaskFileError, match=r"agenttts record import TABLE\.\.\. --task aime --out DIR"):
        Task.load(Path(__file__).parents[2] / "tasks" / "aime" / "task.yaml")


@pytest.mark.parametrize(
    ("below", "told"),
    [
        ("[]", "expected at least one threshold, the list is empty"),
        (".nan", "expected a number of at least 0 and at most 1.01, got nan"),
        ("[0]", "the stage never runs: no measure is below 0."),
    ],
)
def test_thresholds_of_no_use_are_told_once(project: Write, below: str, told: str) -> None:
    with pytest.raises(TaskFileError) as caught:
        Task.load(project(when(f"{{stage: draft, below: {below}}}")))
    assert len(caught.value.mistakes) == 1
    assert told in str(caught.value)


RATED = "    when: {stage: draft, measure: answer, below: [0, 0.5]}\n"
LAST = (
    "  last:\n    needs: [draft, check]\n    otherwise: check\n    prompt: {user: x}\n    models: [small]\n"
)


def routed(last: str = LAST, rated: str = RATED) -> list[tuple[str, str]]:
    return [
        ("    needs: [draft]\n", "    needs: [draft]\n" + rated),
        ("score:\n  verifier", last + "score:\n  verifier"),
    ]


def test_settings_take_over_from_one_another(project: Write) -> None:
    task = Task.load(project(*routed()))
    assert task.file.watched == {"check": "draft", "last": "draft"}
    assert task.file.settings_before("last") == ("check",)
    assert Task.from_json(task.to_json()).digest == task.digest


@pytest.mark.parametrize(
    ("last", "rated", "told"),
    [
        (LAST.replace("otherwise: check", "otherwise: chek"), RATED, "there is no stage `chek`.\nDid you mean `check`?"),
        (LAST.replace("otherwise: check", "otherwise: last"), RATED, "a stage cannot take over from itself."),
        (LAST.replace("[draft, check]", "[draft]"), RATED, "`check` is not among `needs`.\nAdd it: needs: [draft, check]."),
        (LAST, "", "`check` never leaves a problem without an answer"),
        (LAST, RATED.replace("measure: answer, ", ""), "`check` never leaves a problem without an answer"),
        (LAST, RATED.replace("[0, 0.5]", "1.01"), "`check` runs on every problem, so this stage would never run."),
        (LAST + "    when: {stage: check, measure: answer, below: 0.5}\n", RATED, "such a stage cannot be watched."),
        (
            LAST + "    when: {stage: draft, below: 0.5}\n",
            RATED,
            "a stage that takes over from `check` must go by the same rating.\n"
            "Write {stage: draft, measure: answer, below: ...}.",
        ),
        (LAST, RATED + "    pool: true\n", "the answer of `draft` is a rating: there are no votes to pool with."),
        ("", RATED, "`check` has no answer on the problems that are not sent to it.\nScore a stage with `otherwise: check`."),
    ],
)  # fmt: skip
def test_mistakes_in_taking_over_are_told(project: Write, last: str, rated: str, told: str) -> None:
    with pytest.raises(TaskFileError) as caught:
        Task.load(project(*routed(last, rated)))
    assert told in str(caught.value)


@pytest.mark.parametrize("kind", ["fusion", "agreed_fusion", "list_vote"])
def test_agreement_cannot_be_measured_of_answers_that_no_sample_holds(project: Write, kind: str) -> None:
    with pytest.raises(TaskFileError, match=f"`draft` may select by {kind}, whose answer need not be that"):
        Task.load(project(GOOD, ("n_samples: [1, 4]", f"n_samples: [1, 4]\n    select: {kind}")))


@pytest.mark.parametrize(
    "way", ["majority", "adaptive_vote", "llm_select", "refine", "{kind: cascade, to: small@x}"]
)
def test_agreement_can_be_measured_of_every_way_that_takes_a_sample(project: Write, way: str) -> None:
    modes = "modes: {x: {}, y: {}}"
    changed = ("n_samples: [1, 4]", f"n_samples: [1, 4]\n    {modes}\n    select: [{way}]")
    assert Task.load(project(GOOD, changed)).file.stages["check"].when is not None


@pytest.mark.parametrize("kind", ["adaptive_best", "best_of_n", "refine", "tree", "weighted_vote"])
def test_a_score_can_be_measured_of_every_way_with_a_verifier(project: Write, kind: str) -> None:
    scored = when("{stage: draft, measure: verifier_score, below: 0.5}")
    select = f"n_samples: [1, 4]\n    select: {{kind: {kind}, verifier: tiny_prm}}"
    assert Task.load(project(scored, ("n_samples: [1, 4]", select))).file.stages["check"].when is not None


def test_a_score_cannot_be_measured_of_a_refinement_without_a_verifier(project: Write) -> None:
    scored = when("{stage: draft, measure: verifier_score, below: 0.5}")
    with pytest.raises(
        TaskFileError, match=r"may select by refine, which asks no verifier\.\nLet its `select` hold"
    ):
        Task.load(project(scored, ("n_samples: [1, 4]", "n_samples: [1, 4]\n    select: refine")))
