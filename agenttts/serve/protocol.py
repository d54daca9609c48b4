"""Chat completions as a plan answers them: reading requests, writing replies and their parts. Pure.

What a reply is made of (sampling, length, stops) is the plan's: such parameters are ignored, and the reply names them in
`agenttts.ignored`; `seed` alone counts. What would change the form of a reply (several choices, tools, other formats) is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from agenttts.models.base import Message, Role
from agenttts.serve.refused import Refused

__all__ = ["ChatRequest", "Written", "chunks", "read_request", "reply"]

ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
}
REFUSED = (
    "audio",
    "function_call",
    "functions",
    "logprobs",
    "modalities",
    "prediction",
    "tool_choice",
    "tools",
    "top_logprobs",
    "web_search_options",
)
"""Parameters that change the form of the reply: refused unless empty, false or 0."""
KNOWN = frozenset(
    {
        "messages",
        "metadata",
        "model",
        "n",
        "problem",
        "prompt_cache_key",
        "response_format",
        "safety_identifier",
        "seed",
        "service_tier",
        "store",
        "stream",
        "stream_options",
        "user",
        *REFUSED,
    }
)
"""Parameters that are read, or that change nothing; all others are ignored, and the reply says so."""
MOST_MESSAGES = 1000
MOST_IGNORED = 50
PIECE = re.compile(r"\s*\S{1,40}|\s+")
"""A part of a streamed reply: a word with the space before it."""


@dataclass(frozen=True)
class ChatRequest:
    """A request as it was understood."""

    messages: tuple[Message, ...]
    problem: Mapping[str, Any] | None
    """Fields of the problem, where the request names them itself (`problem`)."""
    metadata: Mapping[str, Any]
    stream: bool
    stream_usage: bool
    ignored: tuple[str, ...]
    """Parameters that have no effect, sorted."""
    seed: int = 0
    """Another one gives other draws of the same law; the same one the same draws."""


@dataclass(frozen=True)
class Written:
    """What is sent back, in either form."""

    id: str
    created: int
    """Seconds since 1970."""
    model: str
    text: str
    finish_reason: str
    usage: Mapping[str, Any]
    agenttts: Mapping[str, Any]
    """Cost, stages and the rest."""


def read_request(data: Any, models: Sequence[str]) -> ChatRequest:
    """Return what the JSON of a request asks for.

    Args:
        data: The body.
        models: Names that the plan goes by, the one that is told first.

    Raises:
        Refused: Unknown model, or a parameter that cannot be used; names it.
    """
    if not isinstance(data, dict):
        raise Refused("the body must be a JSON object")
    _check_model(data.get("model"), models)
    _check_form(data)
    options = data.get("stream_options")
    return ChatRequest(
        messages=_messages(data.get("messages")),
        problem=_object(data, "problem"),
        metadata=_object(data, "metadata") or {},
        stream=_flag(data, "stream"),
        stream_usage=isinstance(options, Mapping) and options.get("include_usage") is True,
        ignored=tuple(sorted(name[:80] for name in data.keys() - KNOWN if data[name] is not None))[
            :MOST_IGNORED
        ],
        seed=_seed(data.get("seed")),
    )


def _check_model(name: Any, models: Sequence[str]) -> None:
    if name in models:
        return
    shown = name[:200] if isinstance(name, str) else "(none)"
    raise Refused(
        f"the model {shown!r} does not exist; served is {models[0]!r}",
        status=404,
        code="model_not_found",
        param="model",
    )


def _check_form(data: Mapping[str, Any]) -> None:
    n = data.get("n")
    if n is not None and (isinstance(n, bool) or n != 1):
        raise Refused("n: a plan gives one answer; it draws its samples itself. Leave `n` out", param="n")
    for name in REFUSED:
        if data.get(name) and not (name == "modalities" and data[name] == ["text"]):
            raise Refused(f"{name}: a plan answers with plain text; leave `{name}` out", param=name)
    form = data.get("response_format")
    if form and not (isinstance(form, Mapping) and form.get("type") == "text"):
        raise Refused(
            "response_format: the form of an answer is that of the plan's last stage; leave it out",
            param="response_format",
        )


def _messages(messages: Any) -> tuple[Message, ...]:
    if not isinstance(messages, list) or not 0 < len(messages) <= MOST_MESSAGES:
        raise Refused(f"messages: expected a list of 1 to {MOST_MESSAGES} messages", param="messages")
    return tuple(_message(number, message) for number, message in enumerate(messages))


def _message(number: int, message: Any) -> Message:
    place = f"messages[{number}]"
    role = message.get("role") if isinstance(message, Mapping) else None
    if not isinstance(role, str) or role not in ROLES:
        raise Refused(f"{place}.role: expected one of {', '.join(ROLES)}", param="messages")
    content = message.get("content")
    if isinstance(content, list) and all(_is_text(part) for part in content):
        content = "".join(part["text"] for part in content)
    if not isinstance(content, str):
        raise Refused(f"{place}.content: expected text; a plan reads nothing else", param="messages")
    return Message(ROLES[role], content)


def _is_text(part: Any) -> bool:
    return isinstance(part, Mapping) and part.get("type") == "text" and isinstance(part.get("text"), str)


def _object(data: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    value = data.get(name)
    if value is not None and not isinstance(value, dict):
        raise Refused(f"{name}: expected an object", param=name)
    return cast("Mapping[str, Any] | None", value)


def _seed(value: Any) -> int:
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise Refused("seed: expected a whole number of at least 0, below 2**63", param="seed")
    return value


def _flag(data: Mapping[str, Any], name: str) -> bool:
    value = data.get(name)
    if value is not None and not isinstance(value, bool):
        raise Refused(f"{name}: expected true or false", param=name)
    return bool(value)


# --- replies


def reply(written: Written) -> dict[str, Any]:
    """Return the reply to a request that is not streamed."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": written.text, "refusal": None},
        "logprobs": None,
        "finish_reason": written.finish_reason,
    }
    return {
        **_head(written, "chat.completion"),
        "choices": [choice],
        "usage": dict(written.usage),
        "agenttts": dict(written.agenttts),
    }


def chunks(written: Written, *, with_usage: bool) -> Iterator[dict[str, Any]]:
    """Yield the parts of a streamed reply, word by word; `agenttts` comes with the end, usage after it if wanted."""
    head = _head(written, "chat.completion.chunk") | ({"usage": None} if with_usage else {})
    yield {**head, "choices": [_part({"role": "assistant", "content": ""})]}
    for piece in PIECE.findall(written.text):
        yield {**head, "choices": [_part({"content": piece})]}
    end = _part({}, written.finish_reason)
    yield {**head, "choices": [end], "agenttts": dict(written.agenttts)}
    if with_usage:
        yield {**head, "choices": [], "usage": dict(written.usage)}


def _head(written: Written, kind: str) -> dict[str, Any]:
    return {"id": written.id, "object": kind, "created": written.created, "model": written.model}


def _part(delta: Mapping[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": dict(delta), "logprobs": None, "finish_reason": finish_reason}
