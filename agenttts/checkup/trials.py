"""What a few tiny completions tell of a model: is it quick, does it grant `n=`, report usage, probabilities, JSON.

Each is a request of its own, a few tokens long, and costs what the provider asks; none is made without leave.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from agenttts.budgets.cards import ModelCard
from agenttts.checkup.base import Finding, Verdict
from agenttts.checkup.endpoints import mend_key
from agenttts.errors import AuthenticationError, ProviderError, ProviderUnavailableError, RateLimitedError
from agenttts.models.chat import MalformedReply
from agenttts.models.provider import Transport

__all__ = ["Needs", "try_model"]

ABOUT = "endpoints"
TOKENS, JSON_TOKENS = 8, 64
SCHEMA = {
    "type": "object",
    "properties": {"word": {"type": "string"}},
    "required": ["word"],
    "additionalProperties": False,
}


@dataclass(frozen=True)
class Needs:
    """What a task asks of a model's endpoint."""

    logprobs: bool = False


@dataclass
class _Tried:
    """Replies so far, and what they took."""

    replies: dict[str, Mapping[str, Any] | ProviderError] = field(default_factory=dict)
    took_s: dict[str, float] = field(default_factory=dict)
    n_tokens: int = 0


async def try_model(card: ModelCard, needs: Needs, timeout_s: float) -> list[Finding]:
    """Return what tiny completions of a model tell; the first one decides whether others are made."""
    try:
        transport = _transport(card)
    except AuthenticationError as error:
        return [Finding(ABOUT, card.name, Verdict.MEND, str(error), "See keys.")]
    tried = _Tried()
    try:
        await _ask(transport, card, "plain", {}, tried, timeout_s)
        failed = tried.replies["plain"]
        if isinstance(failed, ProviderError):
            return [_unusable(card, failed)]
        extra: dict[str, Mapping[str, Any]] = {
            "n": {"n": 2},
            "logprobs": {"logprobs": True},
            "json": {
                "max_tokens": JSON_TOKENS,
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "reply", "schema": SCHEMA, "strict": True},
                },
            },
        }
        await asyncio.gather(
            *(_ask(transport, card, name, more, tried, timeout_s) for name, more in extra.items())
        )
    finally:
        await transport.aclose()
    return list(_findings(card, needs, tried))


def _transport(card: ModelCard) -> Transport:
    if card.source == "litellm":
        from agenttts.models.litellm_client import LiteLLMTransport

        return LiteLLMTransport(card)
    from agenttts.models.openai_client import OpenAITransport

    return OpenAITransport(card, 4)


async def _ask(
    transport: Transport, card: ModelCard, name: str, more: Mapping[str, Any], tried: _Tried, timeout_s: float
) -> None:
    said = "Reply with the word yes." if name != "json" else 'Reply with the JSON {"word": "yes"}.'
    body = {
        "model": card.served_as,
        "messages": [{"role": "user", "content": said}],
        "max_tokens": TOKENS,
        **more,
    }
    if transport.length_field != "max_tokens":
        body[transport.length_field] = body.pop("max_tokens")
    before = time.monotonic()
    try:
        async with asyncio.timeout(timeout_s):
            reply: Mapping[str, Any] | ProviderError = await transport.send(body)
    except TimeoutError:
        reply = ProviderUnavailableError(f"no reply within {timeout_s:g} s")
    except MalformedReply as error:
        reply = ProviderUnavailableError(str(error))
    except Exception as error:
        reply = transport.failed(error).error
    tried.replies[name], tried.took_s[name] = reply, time.monotonic() - before
    tried.n_tokens += sum(_usage(reply) or (0, 0))


def _unusable(card: ModelCard, error: ProviderError) -> Finding:
    said = "; ".join(str(error).splitlines())
    if isinstance(error, RateLimitedError):
        return Finding(ABOUT, card.name, Verdict.NOTE, said, "Try again later, or raise your limit.")
    if isinstance(error, AuthenticationError):
        return Finding(ABOUT, card.name, Verdict.MEND, said, mend_key(card))
    if isinstance(error, ProviderUnavailableError):
        return Finding(ABOUT, card.name, Verdict.DOWN, said, "Look at the server, or try again later.")
    return Finding(ABOUT, card.name, Verdict.MEND, said, "Mend model_id or base_url of the card.")


def _findings(card: ModelCard, needs: Needs, tried: _Tried) -> Iterator[Finding]:
    plain = tried.replies["plain"]
    told = f"writes: {_latency_s(tried) * 1000:,.0f} ms for a reply; this cost {tried.n_tokens:,} tokens"
    yield Finding(ABOUT, card.name, Verdict.FINE, told)
    if _usage(plain) is None:
        told = f"reports no usage: tokens are estimated by {card.token_counter}, and so are costs"
        yield Finding(ABOUT, card.name, Verdict.NOTE, told, "Switch usage on in the server, if it can.")
    yield from _several(card, len(_choices(tried.replies["n"])) == 2)
    checks: tuple[
        tuple[str, Callable[[Any], bool], Callable[[ModelCard, Needs, bool], Iterator[Finding]]], ...
    ] = (
        ("logprobs", _has_logprobs, _logprobs),
        ("json", _keeps_schema, _json_schema),
    )
    for name, holds, words in checks:
        yield from words(card, needs, holds(tried.replies[name]))


def _latency_s(tried: _Tried) -> float:
    """Return the shorter time of two replies as long as each other: the first one also made the connection."""
    alike = ("plain", "logprobs")
    return min(tried.took_s[name] for name in alike if not isinstance(tried.replies[name], ProviderError))


def _several(card: ModelCard, granted: bool) -> Iterator[Finding]:
    if granted and card.max_n == 1:
        told = "grants n=, and the card asks for one sample a request"
        yield Finding(
            ABOUT, card.name, Verdict.NOTE, told, "Set `max_n: 16` on the card: prompts are then read once."
        )
    elif not granted and card.max_n > 1:
        told = f"does not grant n=, and the card says max_n {card.max_n}"
        yield Finding(
            ABOUT,
            card.name,
            Verdict.NOTE,
            told,
            "Set `max_n: 1` on the card; costs are else forecast too low.",
        )


def _logprobs(card: ModelCard, needs: Needs, granted: bool) -> Iterator[Finding]:
    if granted:
        yield Finding(ABOUT, card.name, Verdict.FINE, "gives log probabilities")
    elif needs.logprobs:
        told = "gives no log probabilities, and the task needs them"
        yield Finding(
            ABOUT, card.name, Verdict.MEND, told, "Take another verifier than self_certainty or logprobs."
        )
    else:
        told = "gives no log probabilities: self_certainty and judges with logprobs cannot be used"
        yield Finding(ABOUT, card.name, Verdict.NOTE, told)


def _json_schema(card: ModelCard, needs: Needs, granted: bool) -> Iterator[Finding]:
    if granted and not card.supports_json_schema:
        told = "keeps to a JSON schema, and the card does not say so"
        yield Finding(
            ABOUT, card.name, Verdict.NOTE, told, "Set `supports_json_schema: true` if it is a planner."
        )
    elif not granted and card.supports_json_schema:
        told = "did not keep to a JSON schema, and the card says it does"
        yield Finding(ABOUT, card.name, Verdict.NOTE, told, "Set `supports_json_schema: false` on the card.")


# --- reading replies, of which nothing is taken for granted


def _choices(reply: Any) -> list[Mapping[str, Any]]:
    found = reply.get("choices") if isinstance(reply, Mapping) else None
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def _usage(reply: Any) -> tuple[int, int] | None:
    found = reply.get("usage") if isinstance(reply, Mapping) else None
    if not isinstance(found, Mapping):
        return None
    counts = [found.get(name) for name in ("prompt_tokens", "completion_tokens")]
    prompt, written = (one if isinstance(one, int) and 0 <= one < 10**9 else None for one in counts)
    return None if prompt is None or written is None else (prompt, written)


def _has_logprobs(reply: Any) -> bool:
    for choice in _choices(reply)[:1]:
        found = choice.get("logprobs")
        return isinstance(found, Mapping) and bool(found.get("content"))
    return False


def _keeps_schema(reply: Any) -> bool:
    for choice in _choices(reply)[:1]:
        message = choice.get("message")
        text = message.get("content") if isinstance(message, Mapping) else None
        try:
            value = json.loads(text) if isinstance(text, str) else None
        except (ValueError, RecursionError):
            return False
        return isinstance(value, dict) and set(value) == {"word"} and isinstance(value["word"], str)
    return False
