"""Mistakes in test stages and measures are told with their places and remedies; what is right is read and stored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from agenttts.allocators.structure import Structure
from agenttts.errors import TaskFileError
from agenttts.task.task import Task

Write = Callable[..., Path]
TEST = "  probe:\n    needs: [draft]\n    test: {stage: draft, verifier: {kind: regex, pattern: '\\d+'}}\n"
WHEN = "    when: {stage: probe, measure: score, below: [0, 1]}\n"
MEASURES = "measures:\n  close: {verifier: token_f1, gold: answer}\n"


def staged(test: str = TEST, when: str = WHEN, needs: str = "[draft, probe]") -> tuple[str, str]:
    return "  check:\n    needs: [draft]\n", f"{test}  check:\n    needs: {needs}\n{when}"


def measured(text: str) -> tuple[str, str]:
    return "budget: {unit", f"measures:\n  close: {text}\nbudget: {{unit"


BROKEN = {
    "verifier with gold": (
        [staged(TEST.replace("{kind: regex, pattern: '\\d+'}", "exact"))],
        "stages.probe.test: exact compares with gold, which production has not: a test takes no such verifier.",
    ),
    "verifier that asks a model": (
        [staged(TEST.replace("{kind: regex, pattern: '\\d+'}", "{kind: judge, model: small}"))],
        "stages.probe.test: judge asks a model, and a test stage asks none: write a stage with a `prompt`, or let a "
        "`select` use this verifier.",
    ),
    "verifier that compares": (
        [staged(TEST.replace("{kind: regex, pattern: '\\d+'}", "agreement"))],
        "stages.probe.test: agreement judges samples by how they were drawn, and a test sees the answer alone.",
    ),
    "other keys": (
        [staged(TEST + "    n_samples: 2\n    parse: json\n")],
        "stages.probe: a test stage takes no n_samples, parse.",
    ),
    "unknown stage": (
        [staged(TEST.replace("stage: draft", "stage: draff"))],
        "stages.probe.test.stage: there is no stage `draff`.\nDid you mean `draft`?",
    ),
    "stage not needed": (
        [staged(TEST.replace("needs: [draft]", "needs: []"))],
        "stages.probe.test.stage: `draft` is tested and not among `needs`.\nAdd it: needs: [draft].",
    ),
    "test of a test": (
        [staged(TEST + TEST.replace("draft", "probe").replace("  probe:", "  again:"))],
        "stages.again.test.stage: `probe` is a test itself: its answer says how another one did.",
    ),
    "other measure": (
        [staged(when=WHEN.replace("measure: score, ", ""))],
        "stages.check.when.measure: `probe` is a test stage: it has no agreement, but a score.\nWrite `measure: score`.",
    ),
    "score of no test": (
        [staged(when=WHEN.replace("probe", "draft"))],
        "stages.check.when.measure: `draft` is no test stage, and `score` is measured of those alone.",
    ),
    "votes of a test": (
        [staged(when=WHEN + "    pool: true\n")],
        "stages.check.pool: `probe` is a test stage: there are no votes to pool with.",
    ),
    "tests that score": (
        [
            staged(TEST.replace("{kind: regex, pattern: '\\d+'}", "{kind: code, tests: question}")),
            (
                "    score: {verifier: numeric, gold: answer}",
                "    score: {verifier: {kind: code, tests: question}}",
            ),
        ],
        "stages.probe.test.verifier.tests: the task is scored by the tests in `question`, so nothing may be mended by "
        "them.",
    ),
    "measure of no stage": (
        [measured("{stage: drift, verifier: token_f1, gold: answer}")],
        "measures.close.stage: there is no stage `drift`.\nDid you mean `draft`?",
    ),
    "measure without gold": (
        [measured("{verifier: token_f1}")],
        "measures.close: verifier token_f1 needs `gold`",
    ),
    "measure with unknown gold": (
        [measured("{verifier: token_f1, gold: anser}")],
        "measures.close.gold: the data has no field `anser`.\nDid you mean `answer`?",
    ),
    "measure by an unknown model": (
        [measured("{verifier: {kind: judge, model: smal}}")],
        "measures.close.verifier.model: there is no model card `smal`.\nDid you mean `small`?",
    ),
    "measure by an unknown card": (
        [measured("{verifier: tokn_f1, gold: answer}")],
        "measures.close.verifier: expected one of ",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_mistake_is_told_with_its_place_and_remedy(project: Write, case: str) -> None:
    changes, expected = BROKEN[case]
    with pytest.raises(TaskFileError) as caught:
        Task.load(project(*changes))
    assert expected in str(caught.value)


def test_a_test_stage_is_no_choice_and_what_watches_it_hangs_on_the_model_before(project: Write) -> None:
    task = Task.load(project(staged()))
    structure = Structure.of(task)
    assert task.llm_stages == ("draft", "check")
    assert (dict(structure.when), dict(structure.measures)) == ({"check": "draft"}, {"check": "score"})
    assert structure.needs["check"] == ("draft",)
    assert task.file.passed_on("check") == "draft"


def test_a_later_repair_hangs_on_the_first_stage_that_always_runs(project: Write) -> None:
    second = TEST.replace("probe", "last_probe").replace("draft", "check") + (
        "  last:\n    needs: [check, last_probe]\n    when: {stage: last_probe, measure: score, below: 1}\n"
        "    prompt: {user: x}\n    models: [small]\n"
    )
    task = Task.load(project(staged(), ("score:\n  verifier", second + "score:\n  verifier")))
    assert task.file.watched == {"check": "draft", "last": "draft"}
    assert task.file.rated == {"check": "draft", "last": "draft"}
    assert task.file.passed_on("last") == "check"


def test_test_stages_and_measures_are_stored_with_the_task_and_are_part_of_what_it_is(project: Write) -> None:
    plain = Task.load(project())
    task = Task.load(project(staged(), ("budget: {unit", MEASURES + "budget: {unit")))
    stored = Task.from_json(task.to_json())
    assert stored.file.stages == task.file.stages
    assert stored.file.measures == task.file.measures
    assert stored.digest == task.digest
    assert len({plain.digest, task.digest, Task.load(project(staged())).digest}) == 3
    assert "measures" not in plain.to_json()["file"]


def test_a_model_that_only_a_measure_asks_has_its_card(project: Write) -> None:
    judge = (
        "  small:\n",
        "  judge: {source: openai, base_url: http://localhost:9/v1, parameters: 1e9}\n  small:\n",
    )
    task = Task.load(project(measured("{verifier: {kind: judge, model: judge}}"), judge))
    assert set(task.cards) == {"small", "judge"}
