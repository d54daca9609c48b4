"""A verifier as a scorer of inspect_ai.

The problem that it sees are the metadata of the sample, with `input` and `target`. A verifier that asks models asks them
as in a pipeline, and what it cost stands in the metadata of the score. Unscored stays unscored: NaN, which metrics and
reducers of inspect_ai leave out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inspect_ai._util.error import PrerequisiteError
from inspect_ai.scorer import Score, Scorer, Target
from inspect_ai.solver import TaskState
from pydantic import ValidationError

from agenttts.budgets.cards import ModelCard
from agenttts.budgets.cost_model import CostModel, stage_costs
from agenttts.budgets.loading import load_cards, override_endpoint
from agenttts.errors import InputError, TrustError
from agenttts.harness.loops import PerLoop
from agenttts.models.clients import Clients
from agenttts.models.tiny_reward import TINY_PRM
from agenttts.pipeline.base import Charge, Problem
from agenttts.pipeline.bill import cost_to_json
from agenttts.pipeline.driver import World, verify
from agenttts.pipeline.opened import fresh_sampler
from agenttts.pipeline.parsing import Parser, make_parser
from agenttts.task.schema import ParseBlock
from agenttts.task.task import import_function
from agenttts.task.verifier_cards import KINDS
from agenttts.task.ways import ASKS_MODEL, NEEDS_GOLD, VerifierBlock
from agenttts.verifiers.base import Candidate, Verifier
from agenttts.verifiers.base import Score as Scored
from agenttts.verifiers.build import build

__all__ = ["verifier_scorer"]

KEY = "agenttts"
PARSED: Mapping[str, tuple[str, ...]] = {
    "code": ("code_block", "text"),
    "executable": ("code_block", "text"),
    "math": ("boxed", "text"),
    "numeric": ("last_number",),
}
"""Kind -> how answers are found in completions of other models, the first rule that finds one; else the whole text."""
ABOUT_SAMPLES = frozenset({"agreement", "recorded", "self_certainty"})
"""Kinds that judge how samples were drawn, which outputs of a harness do not tell."""


@dataclass(frozen=True)
class _Origin:
    """Where a verifier's model and functions are found: cards of the project and the catalogue, the working folder."""

    cards: Mapping[str, ModelCard]
    trusted: bool
    folder: Path = field(default_factory=Path.cwd)

    def function(self, reference: str) -> Callable[..., Any]:
        """Return the function of that name.

        Raises:
            TrustError: Python code is not to be run.
        """
        if not self.trusted:
            raise TrustError(f"the verifier names Python code ({reference}); allow it with trust=true")
        return import_function(reference, self.folder)


def verifier_scorer(
    settings: Mapping[str, Any],
    gold: str,
    parse: str | Mapping[str, Any] | None,
    endpoint: str | None,
    *,
    trust: bool,
) -> Scorer:
    """Return the scorer; see `agenttts.harness.inspect.verifier`."""
    try:
        block = _block(settings)
        origin = _Origin(_cards(block, endpoint), trust)
        scoring = build(block, origin, gold if block.kind in NEEDS_GOLD else None)
        parsers = _parsers(block.kind, parse, origin)
    except (InputError, ValueError) as error:
        raise PrerequisiteError(f"agenttts/verifier: {_said(error)}") from error
    clients = PerLoop(lambda: Clients(origin.cards))

    async def score(state: TaskState, target: Target) -> Score:
        candidate = _candidate(state, parsers, as_told=parse is None)
        problem = Problem(str(state.sample_id), _fields(state, target))
        charges: list[Charge] = []
        made = await _score(scoring, problem, candidate, await clients.get(), origin.cards, charges)
        return _told(made, candidate, block.kind, charges, CostModel(origin.cards))

    return score


async def _score(
    scoring: Verifier,
    problem: Problem,
    candidate: Candidate,
    clients: Clients,
    cards: Mapping[str, ModelCard],
    charges: list[Charge],
) -> Scored:
    world = World(clients, fresh_sampler(clients, cards), problem, "score")
    return (await verify(scoring, [candidate], world, charges))[0]


def _block(settings: Mapping[str, Any]) -> VerifierBlock:
    """Return the block of a kind, or of the verifier card of that name, with its settings."""
    kind = str(settings["kind"])
    if kind in ABOUT_SAMPLES:
        raise InputError(f"{kind} judges how samples were drawn, which an output does not tell")
    if kind not in KINDS:
        settings = {**_card(kind), **{key: value for key, value in settings.items() if key != "kind"}}
    block = VerifierBlock.model_validate(settings)
    if several := block.knobs:
        raise InputError(f"`{several[0]}` takes one value here")
    return block


def _card(name: str) -> dict[str, Any]:
    from agenttts.catalogue import verifier_card_files
    from agenttts.task.reading import nearest
    from agenttts.task.verifier_cards import verifier_card

    files = verifier_card_files()
    if name not in files:
        raise InputError(
            f"there is no kind and no card `{name}`.\n{nearest(name, [*KINDS, *files], listed='Verifiers')}"
        )
    return verifier_card(files[name])


def _cards(block: VerifierBlock, endpoint: str | None) -> dict[str, ModelCard]:
    if block.kind not in ASKS_MODEL:
        return {}
    book = load_cards()
    name = TINY_PRM if block.kind == "tiny_prm" else block.model or ""
    card = book.lookup(name)
    if endpoint is None or card.source == "tiny":
        return {name: card}
    if card.source in {"reward", "embedding"}:  # asked in ways of their own, wherever they are
        return {name: card.model_copy(update={"base_url": endpoint})}
    return {name: override_endpoint(card, endpoint)}


def _parsers(kind: str, parse: str | Mapping[str, Any] | None, origin: _Origin) -> list[Parser]:
    if parse is None:
        return [make_parser(ParseBlock.model_validate(rule)) for rule in PARSED.get(kind, ("text",))]
    block = ParseBlock.model_validate(parse)
    return [make_parser(block, origin.function(block.function) if block.function else None)]


def _candidate(state: TaskState, parsers: Sequence[Parser], *, as_told: bool) -> Candidate:
    """Return the output as a sample. With `as_told`, the answer of a plan is the one that it found itself."""
    text = state.output.completion
    told = (state.output.metadata or {}).get(KEY)
    if as_told and isinstance(told, Mapping) and "answer" in told:
        answer = told["answer"]
    else:
        answer = next((found for one in parsers if (found := one.parse(text).answer) is not None), None)
    return Candidate(prompt=state.input_text, text=text, answer=answer)


def _fields(state: TaskState, target: Target) -> dict[str, Any]:
    wanted: Any = list(target) if len(target) > 1 else target.text
    return {**state.metadata, "input": state.input_text, "target": wanted or None}


def _told(
    made: Scored, candidate: Candidate, kind: str, charges: list[Charge], cost_model: CostModel
) -> Score:
    metadata: dict[str, Any] = {"kind": kind}
    if made.steps:
        metadata["steps"] = list(made.steps)
    if charges:
        metadata["cost"] = cost_to_json(stage_costs(cost_model, {kind: charges})[kind])
    if made.value is None:
        metadata["unscored_because"] = made.unscored_because
    return Score(
        value=math.nan if made.value is None else made.value,
        answer=None if candidate.answer is None else str(candidate.answer),
        explanation=made.unscored_because or made.feedback or None,
        metadata=metadata,
    )


def _said(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    return "; ".join(
        f"{'.'.join(map(str, one['loc'])) or 'settings'}: {one['msg']}" for one in error.errors()
    )
