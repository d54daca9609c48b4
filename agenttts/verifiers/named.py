"""The verifier that a user names: a kind, a card, the label of one of the task's ways to select, or a block in quotes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from agenttts.catalogue import verifier_card_files
from agenttts.errors import InputError
from agenttts.task.reading import nearest
from agenttts.task.verifier_cards import KINDS, verifier_card
from agenttts.task.ways import NEEDS_GOLD, SelectBlock, VerifierBlock

if TYPE_CHECKING:
    from agenttts.task.task import Task

__all__ = ["KINDS", "ORACLE", "NamedVerifier", "named_verifier"]

ORACLE = "oracle"
"""The word for gold itself as a verifier."""


@dataclass(frozen=True)
class NamedVerifier:
    """A verifier that somebody has named."""

    name: str
    """As it was named."""
    block: VerifierBlock | None
    """`None`: the oracle."""

    @property
    def compares_samples(self) -> bool:
        """Whether a sample's score depends on the other samples of its problem."""
        block = self.block
        return block is not None and (block.kind == "agreement" or block.form != "pointwise")


def named_verifier(task: Task, name: str) -> NamedVerifier:
    """Return the verifier that a kind, a card, the label of one of the task's ways, or a block in YAML or JSON means.

    Raises:
        InputError: There is none, or it cannot be used to select.
        TaskFileError: The file of the card holds mistakes.
    """
    if name == ORACLE:
        return NamedVerifier(name, None)
    labelled, cards = _labelled(task), verifier_card_files()
    if name in labelled:
        return NamedVerifier(name, _selecting(task, name, labelled[name]))
    if name.lstrip().startswith("{"):
        return NamedVerifier(name, _selecting(task, name, _with_card(_parsed(name), cards)))
    if name in KINDS:
        return NamedVerifier(name, _selecting(task, name, {"kind": name}))
    if name in cards:
        return NamedVerifier(name, _selecting(task, name, verifier_card(cards[name])))
    hint = nearest(name, [ORACLE, *KINDS, *cards, *labelled], listed="Verifiers")
    raise InputError(f"there is no verifier {name!r}.\n{hint}")


def _labelled(task: Task) -> dict[str, VerifierBlock]:
    """Return the verifiers of the task's ways to select, by the label of the way."""
    ways = (way for block in task.file.stages.values() for way in block.ways)
    return {way.name: way.verifier for way in ways if way.verifier is not None}


def _parsed(text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"the verifier {text!r} is not YAML or JSON: {error}") from error


def _with_card(given: Any, cards: Mapping[str, Path]) -> Any:
    """Return a block with the card in it that it names, if it does."""
    if not isinstance(given, dict) or "card" not in given:
        return given
    card = given["card"]
    if not isinstance(card, str) or card not in cards:
        raise InputError(f"there is no verifier card {card!r}.\n{nearest(card, cards, listed='Cards')}")
    return {**verifier_card(cards[card]), **{key: value for key, value in given.items() if key != "card"}}


def _selecting(task: Task, name: str, given: Any) -> VerifierBlock:
    """Return a block that one way to select can use."""
    try:
        block = given if isinstance(given, VerifierBlock) else VerifierBlock.model_validate(given)
        _must_not_know(task, block)
        (way,) = SelectBlock(kind="best_of_n", verifier=block).ways
    except ValidationError as error:
        faults = "; ".join(_fault(dict(entry)) for entry in error.errors())
        word = f"card: {name}" if name in verifier_card_files() else f"kind: {_kind(given)}"
        hint = f"Give it as a block in quotes, e.g. '{{{word}, model: CARD}}'."
        raise InputError(f"the verifier {name!r} cannot be used: {faults}.\n{hint}") from error
    except ValueError as error:  # several ways
        raise InputError(
            f"the verifier {name!r} has a setting with several values. Give each of them one value"
        ) from error
    assert way.verifier is not None  # noqa: S101 - it was given
    return way.verifier


def _must_not_know(task: Task, block: VerifierBlock) -> None:
    """Refuse a verifier that the labels of the check come from.

    Raises:
        InputError: It compares with gold, or runs the tests by which a stage or the task is scored.
    """
    oracle = f"To see what gold would select: `agenttts verifiers check {ORACLE}`"
    if block.kind in NEEDS_GOLD or block.kind == "recorded":
        raise InputError(f"verifier {block.kind} knows what is right, so there is nothing to check. {oracle}")
    if block.tests is not None and block.tests in _scoring_tests(task):
        raise InputError(
            f"the task is scored by the tests in `{block.tests}`, so verifier {block.kind} knows with them what is "
            "right, and there is nothing to check. Name a field with public tests, such as the examples of the "
            f"statement. {oracle}"
        )


def _scoring_tests(task: Task) -> set[str | None]:
    """Return the fields with the tests by which stages and the task are scored."""
    file = task.file
    scores = (file.score, *file.measures.values(), *(stage.score for stage in file.stages.values()))
    return {score.verifier.tests for score in scores if score is not None}


def _fault(entry: dict[str, Any]) -> str:
    """Return what is wrong with a setting."""
    key = ".".join(map(str, entry["loc"]))
    if entry["type"] == "extra_forbidden":
        hint = nearest(key, VerifierBlock.model_fields, listed="").rstrip(".")
        return f"{key}: unknown key. {hint}".rstrip(". ")
    message = str(entry["msg"]).removeprefix("Value error, ")
    return f"{key}: {message}" if key else message


def _kind(given: Any) -> str:
    return str(given.get("kind", "judge")) if isinstance(given, dict) else "judge"
