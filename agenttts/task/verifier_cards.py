"""Cards of verifiers: files that a task names in place of a whole `verifier` block.

A card is a YAML file `verifiers/NAME.yaml` of the user's project or the catalogue: `{format: 1, verifier: {...}}`. In a
task, `verifier: NAME` means the card of that name unless the word is a kind, and `verifier: {card: NAME, ...}` the same
with keys of its own, which come before the card's. What is looked up here is written into the task, so a stored one needs
no card files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import model_validator

from agenttts.catalogue import verifier_card_files
from agenttts.errors import Mistake, TaskFileError
from agenttts.task.options import Block
from agenttts.task.reading import Document, Loc, missing_file, nearest, read_document, read_text
from agenttts.task.templates import Known, faults
from agenttts.task.ways import VerifierBlock
from agenttts.task.wording import validated

__all__ = ["KINDS", "PROMPT_VARIABLES", "VerifierCard", "WithCards", "verifier_card", "with_cards"]

KINDS: tuple[str, ...] = get_args(VerifierBlock.model_fields["kind"].annotation)
PROMPT_VARIABLES: Mapping[str, tuple[str, ...]] = {
    "judge": ("prompt", "text", "answer", "candidates", "rubric", "mark", "best"),
    "gen_prm": ("prompt", "steps", "step", "number", "mark", "execute"),
}
"""What the prompts of verifiers may read, by kind. The fields of the problem are not among it: gold is one of them."""
_FREE = frozenset({"extra", "json_schema"})
"""Blocks that hold what the user likes, also keys called `verifier`."""


class _PartOfVerifier(VerifierBlock):
    """A verifier block that may lack what the task adds, such as the model."""

    @model_validator(mode="after")
    def _complete(self) -> _PartOfVerifier:
        return self


class VerifierCard(Block):
    """A whole card file."""

    format: Literal[1] = 1
    description: str = ""
    """For people who look for a card."""
    verifier: _PartOfVerifier


def verifier_card(path: Path) -> dict[str, Any]:
    """Return the keys of a card's verifier block as they stand in its file, files of its prompt read in.

    Raises:
        TaskFileError: The file holds mistakes; all of them are told.
    """
    document = read_document(path)
    card, _, mistakes = validated(document, VerifierCard)
    if card is not None:
        mistakes += _prompt_faults(document, card.verifier, path.parent)
    if card is None or mistakes:
        raise TaskFileError(mistakes)
    keys: dict[str, Any] = document.data["verifier"]
    if isinstance(keys, str):
        return {"kind": keys}
    if card.verifier.prompt is None:
        return dict(keys)
    return {**keys, "prompt": _texts(card.verifier, path.parent)}


def _texts(verifier: VerifierBlock, folder: Path) -> dict[str, str]:
    """Return the parts of a prompt; empty: there is none."""
    prompt = verifier.prompt
    if prompt is None:
        return {}
    texts = {"system": prompt.system, "user": prompt.user}
    for part, name in (("system", prompt.system_file), ("user", prompt.user_file)):
        if name is not None:
            texts[part] = read_text(folder / name)
    return {part: text for part, text in texts.items() if text is not None}


def _prompt_faults(document: Document, verifier: VerifierBlock, folder: Path) -> list[Mistake]:
    prompt = verifier.prompt
    names = {} if prompt is None else {"system_file": prompt.system_file, "user_file": prompt.user_file}
    missing = [
        document.mistake(("verifier", "prompt", key), f"no such file: {name}.", missing_file(folder / name))
        for key, name in names.items()
        if name is not None and not (folder / name).is_file()
    ]
    if missing:
        return missing
    known = Known(None, (), (), PROMPT_VARIABLES.get(verifier.kind, ()), own=())
    return [
        document.mistake(("verifier", "prompt", part), fault.message, fault.hint)
        for part, text in _texts(verifier, folder).items()
        for fault in faults(text, known)
    ]


@dataclass
class WithCards:
    """A task file with cards in place of their names."""

    document: Document
    mistakes: list[Mistake] = field(default_factory=list)
    _unresolved: set[str] = field(default_factory=set)

    def still_told(self, mistakes: list[Mistake]) -> list[Mistake]:
        """Return mistakes against the schema without those that come of a name which is no card."""
        return [one for one in mistakes if not self._is_of_unresolved(one)]

    def _is_of_unresolved(self, mistake: Mistake) -> bool:
        return mistake.file == self.document.file and any(
            mistake.key == key or mistake.key.startswith(f"{key}.") for key in self._unresolved
        )

    def resolve(self, value: Any, at: tuple[str | int, ...]) -> Any:
        """Return a value of the file with every card in it."""
        if isinstance(value, list):
            return [self.resolve(one, (*at, i)) for i, one in enumerate(value)]
        if not isinstance(value, dict):
            return value
        return {
            key: self._verifier(one, (*at, key))
            if key == "verifier"
            else one
            if key in _FREE
            else self.resolve(one, (*at, str(key)))
            for key, one in value.items()
        }

    def _verifier(self, value: Any, at: Loc) -> Any:
        if isinstance(value, str):
            return value if value in KINDS else self._card(value, {}, at) or value
        if not isinstance(value, dict):
            return value
        if "card" not in value:
            return self._kind(value, at)
        own = {key: one for key, one in value.items() if key != "card"}
        if "kind" in own:
            self._refuse((*at, "kind"), "the card says the kind.", "Leave out `kind` or `card`.")
            return value
        return self._card(value["card"], own, (*at, "card")) or value

    def _kind(self, value: dict[str, Any], at: Loc) -> dict[str, Any]:
        """Return a block as it is; one whose kind is the name of a card is told what it should say."""
        kind = value.get("kind")
        if isinstance(kind, str) and kind not in KINDS and kind in verifier_card_files():
            self._refuse((*at, "kind"), f"{kind!r} is no kind, but a card.", f"Write `card: {kind}`.")
        return value

    def _card(self, name: Any, own: Mapping[str, Any], at: Loc) -> dict[str, Any] | None:
        """Return the block that a card and the task's own keys make; `None`: there is no such card, or it is broken."""
        files = verifier_card_files()
        path = files.get(name) if isinstance(name, str) else None
        if path is None:
            self._refuse(at, *_unknown(name, list(files), bare=at[-1] == "verifier"))
            return None
        try:
            return {**verifier_card(path), **own}
        except TaskFileError as error:
            self.mistakes += error.mistakes
            self._unresolved.add(self._key_of_block(at))
            return None

    def _refuse(self, at: Loc, message: str, hint: str) -> None:
        self.mistakes.append(self.document.mistake(at, message, hint))
        self._unresolved.add(self._key_of_block(at))

    def _key_of_block(self, at: Loc) -> str:
        return self.document.mistake(at[: list(at).index("verifier") + 1], "").key


def _unknown(name: object, cards: list[str], *, bare: bool) -> tuple[str, str]:
    if not bare:
        return f"there is no verifier card {name!r}.", nearest(name, cards, listed="Cards")
    also = f", or a card ({', '.join(cards)})" if cards else ""
    return f"expected one of {', '.join(KINDS)}{also}, got {name!r}.", nearest(
        name, [*KINDS, *cards], listed=""
    )


def with_cards(document: Document) -> WithCards:
    """Return a task file with the cards of verifiers that it names written into it, and what is wrong with them."""
    found = WithCards(document)
    parts = {
        key: found.resolve({key: value}, ())[key] if key in {"stages", "score", "measures"} else value
        for key, value in document.data.items()
    }
    found.document = replace(document, data=parts)
    return found
