"""Model cards and keys: do all cards load, has a task what it needs of them, are keys set. A key is never shown."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from datetime import date

from agenttts.budgets.cards import ModelCard
from agenttts.budgets.cost import NEEDED_ON_CARD, Unit
from agenttts.checkup.base import Finding, Verdict
from agenttts.errors import AgentTTSError, AuthenticationError, TaskFileError

__all__ = ["KEYS", "catalogue", "figures", "keys_of", "usual_keys"]

KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "MISTRAL_API_KEY", "OPENROUTER_API_KEY")
"""Variables that the usual providers' keys stand in; looked for where no task says which are needed."""
ENDS_SOON_DAYS = 60


def catalogue() -> Iterator[Finding]:
    """Yield whether all card files load."""
    from agenttts.budgets.loading import load_cards

    try:
        book = load_cards()
    except TaskFileError as error:
        for mistake in error.mistakes:
            text, _, hint = str(mistake).partition("\n")
            yield Finding("cards", "card files", Verdict.MEND, text, hint or "Mend or remove the card.")
    else:
        yield Finding("cards", "card files", Verdict.FINE, f"all {len(book)} cards load")


def figures(cards: Mapping[str, ModelCard], unit: Unit, today: date) -> Iterator[Finding]:
    """Yield what the cards of a task lack: figures for its unit of budget, tables, a future."""
    for name, card in cards.items():
        yield from _figures(name, card, unit, today)


def _figures(name: str, card: ModelCard, unit: Unit, today: date) -> Iterator[Finding]:
    from agenttts.budgets.cost_model import CostModel
    from agenttts.budgets.prices import served_until

    lacking = CostModel({name: card}).lacking(unit, [name])
    if lacking:
        told = f"a budget in {unit.label} needs {NEEDED_ON_CARD[unit]}"
        yield Finding("cards", name, Verdict.MEND, told, f"Add it to the card: {EXAMPLES.get(unit, '')}")
        return
    fault = _draws_fault(card)
    if fault:
        yield Finding("cards", name, Verdict.MEND, fault, "Mend `table` on the card, or take another model.")
        return
    until = served_until(card.served_as) if card.source == "litellm" else None
    if until is not None and (until - today).days < ENDS_SOON_DAYS:
        told = f"its provider serves it until {until.isoformat()}, by litellm's map"
        yield Finding("cards", name, Verdict.NOTE, told, "Choose its successor for what is to run longer.")
        return
    yield Finding("cards", name, Verdict.FINE, _known(card))


EXAMPLES: Mapping[Unit, str] = {
    Unit.GFLOPS: "parameters: 7.6e+9",
    Unit.PAPER: "parameters: 7.6e+9",
    Unit.USD: "price: {input_per_million_usd: 0.1, output_per_million_usd: 0.4}",
    Unit.SECONDS: "speed: {prefill_tokens_per_s: 5000, decode_tokens_per_s: 50}",
}


def _draws_fault(card: ModelCard) -> str:
    """Return why a recorded card has no draws; empty where it has."""
    if card.source != "recorded":
        return ""
    from agenttts.models.recorded import load_recording

    try:
        load_recording(card.table or "")
    except (AgentTTSError, OSError) as error:
        return str(error)
    return ""


def _known(card: ModelCard) -> str:
    from agenttts.budgets.prices import price_of

    size = "size unknown" if card.n_active is None else f"{card.n_active:g} parameters a token"
    price = price_of(card)
    if price is None:
        return f"{size}, no price"
    dated = f" ({price.as_of})" if price.as_of else ""
    return f"{size}, {price.input_per_million_usd:g} and {price.output_per_million_usd:g} USD per million tokens{dated}"


def usual_keys() -> Iterator[Finding]:
    """Yield which of the usual variables hold a key; none of them is needed by itself."""
    held = [name for name in KEYS if os.environ.get(name, "").strip()]
    told = f"set: {', '.join(held)}" if held else f"none of {', '.join(KEYS)} is set"
    hint = "" if held else "Set the one of your provider; a server of your own rarely needs any."
    yield Finding("keys", "environment", Verdict.FINE if held else Verdict.NOTE, told, hint)


def keys_of(cards: Mapping[str, ModelCard]) -> Iterator[Finding]:
    """Yield for each variable that the cards take a key from whether it is set, once each."""
    seen: set[str] = set()
    for card in cards.values():
        finding = _key(card)
        if finding is not None and finding.name not in seen:
            seen.add(finding.name)
            yield finding


def _key(card: ModelCard) -> Finding | None:
    from agenttts.models.openai_client import api_key, key_variable

    if card.source in {"tiny", "recorded"}:
        return None
    if card.source == "litellm":
        return _litellm_key(card)
    if card.source == "reward" and card.api_key_env is None:
        return None
    variable = key_variable(card)
    try:
        api_key(card)
    except AuthenticationError as error:
        return Finding("keys", variable, Verdict.MEND, str(error), f"export {variable}=...")
    return _held(variable)


def _held(variable: str) -> Finding:
    value = os.environ.get(variable, "")
    if not value.strip():
        return Finding("keys", variable, Verdict.FINE, "is not set; this endpoint may do without one")
    if value != value.strip() or value[:1] in "\"'":
        told = "is set, and begins or ends with white space or a quote"
        return Finding(
            "keys", variable, Verdict.NOTE, told, "Set it again without: quotes of a file are part of it."
        )
    return Finding("keys", variable, Verdict.FINE, "is set")


def _litellm_key(card: ModelCard) -> Finding:
    """Return whether litellm would find a key. Its own test takes seconds to import, so the usual name is looked for."""
    provider = card.served_as.partition("/")[0] if "/" in card.served_as else "openai"
    variable = card.api_key_env or f"{provider.upper().replace('-', '_')}_API_KEY"
    if os.environ.get(variable, "").strip():
        return _held(variable)
    told = f"is not set; litellm may find the key of {card.served_as} elsewhere"
    return Finding("keys", variable, Verdict.NOTE, told, f"export {variable}=... unless it does.")
