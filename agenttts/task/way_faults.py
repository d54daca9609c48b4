"""What types cannot tell about ways to spend samples: models that they go to, modes, and what endpoints can do."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from agenttts.budgets.cards import ModelCard
from agenttts.errors import Mistake
from agenttts.task.drafts import Draft, StageDraft
from agenttts.task.reading import Document, Loc

__all__ = ["cascade_faults", "continuing_faults", "mode_faults"]

STEPWISE_WAYS = ("beam", "dvts")


def mode_faults(
    document: Document, at: Loc, stage: StageDraft, models: Collection[str] | None
) -> Iterator[Mistake]:
    """Yield modes of a stage whose `model@mode` would mean two things.

    Args:
        document: The task file.
        at: Place of the stage.
        stage: The stage.
        models: Names of all cards; `None`: not known.
    """
    named = [*stage.models, *(name for way in stage.select if way is not None for name in way.to or ())]
    known = {*(models or ()), *stage.models}
    for mode in stage.modes:
        place, hint = (*at, "modes", mode), f"Call the mode something else than `{mode}`."
        taken = [f"{model}@{mode}" for model in stage.models if f"{model}@{mode}" in known]
        taken += [name for name in named if name in known and name.endswith(f"@{mode}")]
        for name in dict.fromkeys(taken):
            message = f"`{name}` is a model card, so it cannot be told from a model in this mode."
            yield document.mistake(place, message, hint)


def cascade_faults(document: Document, at: Loc, stage: StageDraft) -> Iterator[Mistake]:
    """Yield cascades that have nowhere to escalate to but where they come from."""
    models = {f"{model}@{mode}" for model in stage.models for mode in stage.modes} or set(stage.models)
    for index, way in enumerate(stage.select):
        if way is not None and way.kind == "cascade" and len(models) == 1 and set(way.to or ()) == models:
            message = f"the cascade goes from `{next(iter(models))}` to itself."
            hint = "Name a stronger model, or use adaptive_vote, which draws more where votes disagree."
            yield document.mistake((*at, "select", index, "to"), message, hint)


def continuing_faults(document: Document, draft: Draft, cards: Mapping[str, ModelCard]) -> Iterator[Mistake]:
    """Yield searches over steps on models whose endpoints are not known to go on from the beginning of a reply."""
    for name, stage in draft.stages.items():
        variants = [f"{model}@{mode}" for model in stage.models for mode in stage.modes] or stage.models
        unable = [model for model in variants if model in cards and not cards[model].continues_replies]
        for index, way in enumerate(stage.select):
            if way is not None and way.kind in STEPWISE_WAYS and unable:
                yield _unable(document, ("stages", name, "select", index), way.kind, unable[0], cards)


def _unable(document: Document, at: Loc, kind: str, variant: str, cards: Mapping[str, ModelCard]) -> Mistake:
    card = cards[variant]
    model = variant.rpartition("@")[0] or variant
    if card.source == "recorded":
        message = (
            f"{kind} goes on from the beginning of a reply, which the recorded draws of `{model}` cannot."
        )
        return document.mistake(at, message, f"Leave {kind} out, or the model.")
    message = f"{kind} goes on from the beginning of a reply; the card `{model}` does not say that its endpoint can."
    hint = (
        f"Add `continues_replies: true` to the card if the endpoint knows `continue_final_message`, as vLLM and SGLang "
        f"do; else leave {kind} out, or the model."
    )
    return document.mistake(at, message, hint)
