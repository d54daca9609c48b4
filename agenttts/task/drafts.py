"""What can be made of a task file that may hold mistakes: every block that is right by itself.

So checks of one block run even where another one is wrong, and a user sees all mistakes at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from agenttts.budgets.cards import ModelCard
from agenttts.task.schema import (
    BudgetBlock,
    DataBlock,
    FinalScoreBlock,
    ParseBlock,
    PromptBlock,
    SamplingBlock,
    SelectBlock,
    SharedByBlock,
    SplitsBlock,
    StageScoreBlock,
    StageTestBlock,
    WhenBlock,
)

__all__ = ["Draft", "StageDraft"]

Model = TypeVar("Model", bound=BaseModel)


def _part(model: type[Model], raw: Any) -> Model | None:
    try:
        return None if raw is None else model.model_validate(raw)
    except ValidationError:
        return None


def _block(raw: Any, key: str) -> Mapping[Any, Any]:
    value = raw.get(key) if isinstance(raw, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def _words(raw: Any) -> tuple[str, ...]:
    """Return a list of words; entries that are none are kept as empty text, so that places stay right."""
    return tuple(entry if isinstance(entry, str) else "" for entry in raw) if isinstance(raw, list) else ()


def _sources(raw: Any) -> SplitsBlock | None:
    kept = {name: _block(raw, name) for name in ("search", "test")}
    return _part(
        SplitsBlock,
        {
            name: {key: block[key] for key in ("data", "where") if key in block}
            for name, block in kept.items()
        },
    )


def _measures(raw: Any) -> dict[str, FinalScoreBlock]:
    found = {str(name): _part(FinalScoreBlock, one) for name, one in _block(raw, "measures").items()}
    return {name: one for name, one in found.items() if one is not None}


@dataclass(frozen=True)
class StageDraft:
    """One stage; `None` for blocks that are missing or wrong."""

    needs: tuple[str, ...]
    prompt: PromptBlock | None
    models: tuple[str, ...]
    parse: ParseBlock | None
    select: tuple[SelectBlock | None, ...]
    score: StageScoreBlock | None
    function: str | None
    when: WhenBlock | None
    pool: bool
    modes: tuple[str, ...] = ()
    """Names of the modes."""
    sampling: SamplingBlock | None = None
    otherwise: str | None = None
    shared_by: SharedByBlock | None = None
    optional: bool = False
    test: StageTestBlock | None = None

    @property
    def asks_model(self) -> bool:
        """See `StageBlock.asks_model`."""
        return self.function is None and self.test is None

    @property
    def routed(self) -> bool:
        """See `StageBlock.routed`."""
        return self.otherwise is not None or (self.when is not None and self.when.measure == "answer")

    @classmethod
    def of(cls, raw: Any) -> StageDraft:
        """Read what is right in a stage."""
        raw = raw if isinstance(raw, Mapping) else {}
        select = raw.get("select")
        function = raw.get("function")
        return cls(
            needs=_words(raw.get("needs")),
            prompt=_part(PromptBlock, raw.get("prompt")),
            models=_words(raw.get("models")),
            parse=_part(ParseBlock, raw.get("parse")),
            select=tuple(
                _part(SelectBlock, one) for one in (select if isinstance(select, list) else [select])
            ),
            score=_part(StageScoreBlock, raw.get("score")),
            function=function if isinstance(function, str) else None,
            when=_part(WhenBlock, raw.get("when")),
            pool=raw.get("pool") is True,
            modes=tuple(map(str, _block(raw, "modes"))),
            sampling=SamplingBlock()
            if raw.get("sampling") is None
            else _part(SamplingBlock, raw["sampling"]),
            otherwise=raw["otherwise"] if isinstance(raw.get("otherwise"), str) else None,
            shared_by=_part(SharedByBlock, raw.get("shared_by")),
            optional=raw.get("optional") is True,
            test=_part(StageTestBlock, raw.get("test")),
        )


@dataclass(frozen=True)
class Draft:
    """A task file; `None` for blocks that are missing or wrong."""

    data: DataBlock | None
    splits: SplitsBlock | None
    sources: SplitsBlock | None
    """What tells which rows to read: of `splits` the `data` and `where`, also where the rest of it is wrong."""
    stages: Mapping[str, StageDraft]
    score: FinalScoreBlock | None
    budget: BudgetBlock | None
    cards: Mapping[str, ModelCard]
    card_names: tuple[str, ...]
    """Names of all inline cards, also of those that are wrong."""
    measures: Mapping[str, FinalScoreBlock] = field(default_factory=dict)

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Draft:
        """Read what is right in a task file."""
        inline = _block(raw, "models")
        cards = {
            str(name): _part(ModelCard, {**card, "name": str(name)}) if isinstance(card, Mapping) else None
            for name, card in inline.items()
        }
        return cls(
            data=_part(DataBlock, raw.get("data")),
            splits=SplitsBlock() if raw.get("splits") is None else _part(SplitsBlock, raw["splits"]),
            sources=_sources(raw.get("splits")),
            stages={str(name): StageDraft.of(stage) for name, stage in _block(raw, "stages").items()},
            score=_part(FinalScoreBlock, raw.get("score")),
            budget=_part(BudgetBlock, raw.get("budget")),
            cards={name: card for name, card in cards.items() if card is not None},
            card_names=tuple(cards),
            measures=_measures(raw),
        )
