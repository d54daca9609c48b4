from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from agenttts.catalogue import catalogue_folder, verifier_card_files
from agenttts.errors import TaskFileError
from agenttts.task.task import Task
from agenttts.task.ways import VerifierBlock

Write = Callable[..., Path]
SELECT = "n_samples: [1, 4]"


@pytest.fixture
def with_card(project: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Return a writer of a task whose first stage selects by a verifier, beside a card `strict` of the project."""

    def write(verifier: str, card: str | None = None) -> Path:
        path = project((SELECT, f"{SELECT}\n    select: {{kind: best_of_n, verifier: {verifier}}}"))
        monkeypatch.chdir(path.parent)
        folder = path.parent / "verifiers"
        folder.mkdir()
        (folder / "strict.yaml").write_text(
            card
            or "format: 1\nverifier:\n  kind: judge\n  model: small\n  rubric: Be strict.\n  samples: 3\n"
        )
        return path

    return write


def block_of(task: Task) -> VerifierBlock:
    block = task.file.stages["draft"].select[0].verifier
    assert block is not None
    return block


def mistakes_of(path: Path) -> list[str]:
    with pytest.raises(TaskFileError) as caught:
        Task.load(path)
    return [str(mistake) for mistake in caught.value.mistakes]


def test_a_word_that_is_no_kind_is_a_card(with_card: Callable[..., Path]) -> None:
    task = Task.load(with_card("strict"))
    assert (block_of(task).kind, block_of(task).rubric, block_of(task).samples) == (
        "judge",
        "Be strict.",
        (3,),
    )
    assert "small" in task.cards


def test_keys_of_the_task_come_before_those_of_the_card(with_card: Callable[..., Path]) -> None:
    block = block_of(Task.load(with_card("{card: strict, samples: [1, 5], form: pairwise}")))
    assert (block.rubric, block.samples, block.form) == ("Be strict.", (1, 5), "pairwise")


def test_a_stored_task_needs_no_card(with_card: Callable[..., Path]) -> None:
    path = with_card("strict")
    task = Task.load(path)
    (path.parent / "verifiers" / "strict.yaml").unlink()
    again = Task.from_json(task.to_json())
    assert block_of(again) == block_of(task)
    assert again.digest == task.digest


def test_a_card_changes_the_identity_of_the_task(with_card: Callable[..., Path]) -> None:
    path = with_card("strict")
    before = Task.load(path).digest
    card = path.parent / "verifiers" / "strict.yaml"
    card.write_text(card.read_text().replace("Be strict.", "Be kind."))
    assert Task.load(path).digest != before


@pytest.mark.parametrize("name", ["helpful", "preference"])
def test_the_cards_of_the_catalogue_need_only_a_model(with_card: Callable[..., Path], name: str) -> None:
    block = block_of(Task.load(with_card(f"{{card: {name}, model: small}}")))
    assert block.kind == "judge"
    assert block.rubric
    (path,) = [file for card, file in verifier_card_files().items() if card == name]
    assert path.parent == catalogue_folder() / "verifiers"


def test_what_a_card_leaves_open_must_stand_in_the_task(with_card: Callable[..., Path]) -> None:
    (mistake,) = mistakes_of(with_card("helpful"))
    assert mistake.startswith("sums.yaml:16: stages.draft.select.verifier: verifier judge needs `model`")


def test_a_card_may_have_its_prompt_in_a_file(with_card: Callable[..., Path]) -> None:
    path = with_card(
        "strict", "verifier: {kind: judge, model: small, prompt: {user_file: ask.txt, system: Judge.}}\n"
    )
    (path.parent / "verifiers" / "ask.txt").write_text("Is {{ text }} right?")
    prompt = block_of(Task.load(path)).prompt
    assert prompt is not None
    assert (prompt.system, prompt.user, prompt.user_file) == ("Judge.", "Is {{ text }} right?", None)


def test_a_card_may_be_a_word(with_card: Callable[..., Path]) -> None:
    assert block_of(Task.load(with_card("strict", "verifier: tiny_prm\n"))).kind == "tiny_prm"


KINDS = (
    "exact, set_f1, token_f1, numeric, choice, math, rouge_l, node_f1, parameter_f1, regex, json_schema, function, "
    "recorded, tiny_prm, code, executable, completeness, judge, "
    "orm, prm, gen_prm, self_certainty, agreement, similarity"
)


@pytest.mark.parametrize(
    ("verifier", "expected"),
    [
        (
            "strictt",
            f"stages.draft.select.verifier: expected one of {KINDS}, or a card (helpful, preference, strict), got "
            "'strictt'.\nDid you mean `strict`?",
        ),
        (
            "agreemen",
            f"stages.draft.select.verifier: expected one of {KINDS}, or a card (helpful, preference, strict), got "
            "'agreemen'.\nDid you mean `agreement`?",
        ),
        (
            "{card: helpfull, model: small}",
            "stages.draft.select.verifier.card: there is no verifier card 'helpfull'.\nDid you mean `helpful`?",
        ),
        (
            "{kind: strict}",
            "stages.draft.select.verifier.kind: 'strict' is no kind, but a card.\nWrite `card: strict`.",
        ),
        (
            "{card: strict, kind: prm}",
            "stages.draft.select.verifier.kind: the card says the kind.\nLeave out `kind` or `card`.",
        ),
        (
            "{card: [strict]}",
            "stages.draft.select.verifier.card: there is no verifier card ['strict'].\n"
            "Did you mean `strict`?",
        ),
        (
            "{card: strict, sample: 2}",
            "stages.draft.select.verifier.sample: unknown key.\nDid you mean `samples`?",
        ),
    ],
)
def test_what_is_no_card_is_told_once_with_the_nearest_name(
    with_card: Callable[..., Path], verifier: str, expected: str
) -> None:
    assert mistakes_of(with_card(verifier)) == [f"sums.yaml:16: {expected}"]


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        (
            "verifier:\n  kind: juge\n",
            "verifiers/strict.yaml:2: verifier.kind: expected one of",
        ),
        ("verifier:\n  kind: judge\n  rubrik: x\n", "verifiers/strict.yaml:3: verifier.rubrik: unknown key."),
        ("format: 2\nverifier: tiny_prm\n", "verifiers/strict.yaml:1: format: written in format 2"),
        ("name: x\n", "verifiers/strict.yaml:1: verifier: missing; expected a block with keys"),
        ("- x\n", "verifiers/strict.yaml:1: expected keys with values at the top"),
        (
            "verifier:\n  kind: judge\n  prompt: {user: '{{ txt }}'}\n",
            "verifiers/strict.yaml:3: verifier.prompt.user: unknown variable `txt`.\nDid you mean `text`?",
        ),
        (
            "verifier:\n  kind: judge\n  prompt: {user: '{{ problem.answer }}'}\n",
            "verifiers/strict.yaml:3: verifier.prompt.user: unknown variable `problem`.",
        ),
        (
            "verifier:\n  kind: judge\n  prompt:\n    user_file: ask.txt\n",
            "verifiers/strict.yaml:4: verifier.prompt.user_file: no such file: ask.txt.",
        ),
    ],
)
def test_a_broken_card_is_told_at_its_own_place_and_nothing_else(
    with_card: Callable[..., Path], card: str, expected: str
) -> None:
    first, *others = mistakes_of(with_card("{card: strict, model: small}", card))
    assert first.startswith(expected)
    assert all(mistake.startswith("verifiers/strict.yaml") for mistake in others)


def test_a_misspelt_kind_is_told_as_it_was(with_card: Callable[..., Path]) -> None:
    (mistake,) = mistakes_of(with_card("{kind: agrement}"))
    place = "sums.yaml:16: stages.draft.select.verifier.kind"
    assert mistake == f"{place}: expected one of {KINDS}, got 'agrement'.\nDid you mean `agreement`?"


def test_a_card_hides_one_of_the_catalogue(with_card: Callable[..., Path]) -> None:
    path = with_card("{card: helpful, model: small}")
    (path.parent / "verifiers" / "helpful.yaml").write_text("verifier: {kind: judge, rubric: Own.}\n")
    assert block_of(Task.load(path)).rubric == "Own."


def test_words_elsewhere_are_left_alone(project: Write) -> None:
    path = project((SELECT, f"{SELECT}\n    sampling: {{extra: {{verifier: strict}}}}"))
    assert Task.load(path).file.stages["draft"].sampling.extra == {"verifier": "strict"}
