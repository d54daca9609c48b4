"""Which model cards a task needs: of its stages and their modes, of the ways to select, of verifiers and critics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from agenttts.budgets.cards import ModelCard
from agenttts.budgets.loading import CardBook, override_endpoint
from agenttts.models.tiny_reward import TINY_PRM
from agenttts.task.reading import Loc
from agenttts.task.ways import SelectBlock, VerifierBlock

if TYPE_CHECKING:
    from agenttts.pipeline.base import Allocation
    from agenttts.task.drafts import Draft
    from agenttts.task.schema import TaskFile

__all__ = [
    "asked_models",
    "in_mode",
    "named_cards",
    "named_models",
    "only_scoring",
    "stage_models",
    "verifier_blocks",
]


def verifier_blocks(draft: Draft | TaskFile) -> Iterator[tuple[Loc, VerifierBlock]]:
    """Yield the place of every verifier block, and the block."""
    for name, stage in draft.stages.items():
        if stage.score is not None:
            yield ("stages", name, "score", "verifier"), stage.score.verifier
        for index, select in enumerate(stage.select):
            for key, verifier in _of_way(select):
                yield ("stages", name, "select", index, *key), verifier
        if stage.test is not None:
            yield ("stages", name, "test", "verifier"), stage.test.verifier
    if draft.score is not None:
        yield ("score", "verifier"), draft.score.verifier
    for name, measure in draft.measures.items():
        yield ("measures", name, "verifier"), measure.verifier


def _of_way(select: SelectBlock | None) -> Iterator[tuple[Loc, VerifierBlock]]:
    if select is not None and select.verifier is not None:
        yield ("verifier",), select.verifier
    if select is not None and select.critic is not None and select.critic.verifier is not None:
        yield ("critic", "verifier"), select.critic.verifier


def named_models(draft: Draft | TaskFile) -> Iterator[tuple[Loc, str]]:
    """Yield the place of every model that something other than a stage's `models` names, and its name."""
    for loc, verifier in verifier_blocks(draft):
        if verifier.model is not None:
            yield (*loc, "model"), verifier.model
    for name, stage in draft.stages.items():
        for index, select in enumerate(stage.select):
            if select is None:
                continue
            at: Loc = ("stages", name, "select", index)
            if select.model is not None:
                yield (*at, "model"), select.model
            if select.critic is not None and select.critic.model is not None:
                yield (*at, "critic", "model"), select.critic.model


def only_scoring(draft: Draft | TaskFile) -> frozenset[str]:
    """Return the models that score against gold or measure, and do nothing else: no problem is charged for them."""
    scoring = {name for at, name in named_models(draft) if _scores(at)}
    asked = {name for at, name in named_models(draft) if not _scores(at)}
    for stage in draft.stages.values():
        asked.update(stage.models, (name for way in stage.select if way is not None for name in way.to or ()))
    return frozenset(scoring - asked)


def _scores(at: Loc) -> bool:
    return at[0] in {"score", "measures"} or at[2] == "score"


def asked_models(file: TaskFile, allocation: Allocation) -> frozenset[str]:
    """Return the cards that are asked when problems take an allocation, and when their outputs are scored."""
    asked = {choice.model for choice in allocation.choices}
    asked |= {verifier.model or TINY_PRM for at, verifier in verifier_blocks(file) if at[2:3] != ("select",)}
    for choice in allocation.choices:
        ways = file.stages[choice.stage].ways if choice.n_samples > 1 else ()
        asked.update(*(_of_chosen(way) for way in ways if way.name == choice.select))
    return frozenset(asked)


def _of_chosen(way: SelectBlock) -> Iterator[str]:
    """Yield the cards that a way asks beside the stage's model."""
    yield from (verifier.model or TINY_PRM for _, verifier in _of_way(way))
    named = (way.model, None if way.critic is None else way.critic.model)
    yield from (model for model in (*named, *(way.to or ())) if model is not None)


def stage_models(file: TaskFile) -> frozenset[str]:
    """Return the cards of the models of stages, in their modes, and of those that they escalate to: what an endpoint moves."""
    named = {model for stage in file.stages.values() for model in stage.variants}
    ways = (way for stage in file.stages.values() for way in stage.select)
    return frozenset(named.union(*(way.to or () for way in ways)))


def in_mode(card: ModelCard, mode: str) -> ModelCard:
    """Return the card of a model in a mode: the same model at the same place, under a name of its own.

    A recorded card draws from its variant of that name.
    """
    served_as = f"{card.served_as}@{mode}" if card.source == "recorded" else card.served_as
    return card.model_copy(update={"name": f"{card.name}@{mode}", "model_id": served_as})


def named_cards(
    draft: Draft, book: CardBook, served_by: tuple[str | None, str | None]
) -> dict[str, ModelCard]:
    """Return the cards of all that a task asks, by the names that allocations use.

    Args:
        draft: The task.
        book: All cards.
        served_by: Endpoint and source that the models of stages come from in place of their cards'.
    """
    cards: dict[str, ModelCard] = {}
    for stage in draft.stages.values():
        for model in stage.models:
            if model in book:
                cards |= _variants(override_endpoint(book[model], *served_by), stage.modes)
        for model in (name for way in stage.select if way is not None for name in way.to or ()):
            card = _of_name(model, book, stage.modes)
            if card is not None:
                cards[model] = override_endpoint(card, *served_by)
    for _, model in named_models(draft):
        if model in book and model not in cards:
            cards[model] = book[model]
    if any(verifier.kind == "tiny_prm" for _, verifier in verifier_blocks(draft)):
        cards[TINY_PRM] = book.lookup(TINY_PRM)
    return cards


def _variants(card: ModelCard, modes: Sequence[str]) -> Mapping[str, ModelCard]:
    made = [in_mode(card, mode) for mode in modes] or [card]
    return {variant.name: variant for variant in made}


def _of_name(name: str, book: CardBook, modes: Sequence[str]) -> ModelCard | None:
    """Return the card of a model, or of a model in one of a stage's modes."""
    base, _, mode = name.rpartition("@")
    if name in book:
        return book[name]
    return in_mode(book[base], mode) if base in book and mode in modes else None
