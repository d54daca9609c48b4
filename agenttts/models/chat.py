"""The JSON of a chat completion: building the request, reading the reply. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agenttts.budgets.cards import ModelCard
from agenttts.errors import InputError
from agenttts.models.base import CallUsage, Reply, Request, Sample
from agenttts.models.tokens import counter, most_prompt_tokens, prompt_text, split_total

__all__ = ["Chat", "MalformedReply", "bare_usage", "chat_body", "read_reply"]

_OURS = frozenset({"messages", "model", "n", "seed", "stream"})
"""Fields that make draws numbered; a task's `extra` may not set them."""


class MalformedReply(Exception):  # noqa: N818 - becomes a provider failure in `provider`
    """A reply that holds no usable sample; `usage` is what it cost all the same, where it says so."""

    def __init__(self, message: str, usage: CallUsage | None = None) -> None:
        super().__init__(message)
        self.usage = usage


@dataclass(frozen=True)
class Chat:
    """Chat completions of one card; see `provider.Dialect`."""

    card: ModelCard
    length_field: str = "max_tokens"

    @property
    def most_n(self) -> int:
        """Choices that one request may ask for."""
        return self.card.max_n

    def body(self, request: Request, first: int, n: int) -> dict[str, Any]:
        """Return the request for draws `first` to `first + n - 1`."""
        return chat_body(
            request,
            served_as=self.card.served_as,
            first=first,
            n=n,
            seeded=self.card.supports_seed,
            length_field=self.length_field,
        )

    def read(self, data: Any, request: Request, first: int, n: int) -> Reply:
        """Return samples and bill; see `read_reply`."""
        return read_reply(data, request, first=first, n=n, token_counter=self.card.token_counter)

    def worst(self, request: Request, n: int) -> CallUsage:
        """Return the most that a request for n draws may cost."""
        return CallUsage(most_prompt_tokens(request.messages), (request.sampling.max_tokens,) * n)

    def unread(self, request: Request) -> CallUsage | None:
        """Return nothing: who says no usage is not billed for a reply that holds no sample."""
        return None


def chat_body(
    request: Request, *, served_as: str, first: int, n: int, seeded: bool, length_field: str = "max_tokens"
) -> dict[str, Any]:
    """Return the request for draws `first` to `first + n - 1`: seed `base_seed + first`, choice j counts as seed + j.

    `extra` fields come last: one given as `null` takes a field out, and `max_completion_tokens` replaces `max_tokens`.

    Raises:
        InputError: `extra` sets a field that numbers the draws.
    """
    sampling = request.sampling
    body: dict[str, Any] = {
        "model": served_as,
        "messages": [{"role": message.role, "content": message.content} for message in request.messages],
        "temperature": sampling.temperature,
        length_field: sampling.max_tokens,
    }
    if sampling.top_p != 1.0:
        body["top_p"] = sampling.top_p
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    if n > 1:
        body["n"] = n
    if seeded:
        body["seed"] = request.base_seed + first
    if sampling.logprobs:
        body["logprobs"] = True
    if sampling.top_logprobs:
        body |= {"logprobs": True, "top_logprobs": sampling.top_logprobs}
    if request.messages[-1].role == "assistant":  # as vLLM and SGLang know it
        body |= {"continue_final_message": True, "add_generation_prompt": False}
    return _with_extra(body, sampling.extra) if sampling.extra else body


def _with_extra(body: dict[str, Any], extra: Sequence[tuple[str, str]]) -> dict[str, Any]:
    for name, text in extra:
        if name in _OURS:
            raise InputError(f"sampling.extra may not set {name!r}: agenttts sets it, to number the draws")
        value = json.loads(text)
        if name == "max_completion_tokens":
            body.pop("max_tokens", None)
        if value is None:
            body.pop(name, None)
        else:
            body[name] = value
    return body


def read_reply(data: Any, request: Request, *, first: int, n: int, token_counter: str) -> Reply:
    """Return the samples of a reply and its bill.

    Choices that hold nothing are left out, so that only their draws are asked for again. More choices than asked for
    are billed and not used. A choice cut off by its length while the model was still reasoning has an empty text: a
    real draw.

    Raises:
        MalformedReply: Nothing in it can be used.
    """
    if not isinstance(data, Mapping):
        raise MalformedReply("the reply is not a JSON object")
    choices = data.get("choices")
    if not isinstance(choices, list) or not choices:
        raise MalformedReply(f"the reply holds no choices{_error_in(data)}", bare_usage(data.get("usage")))
    choices = [choice if isinstance(choice, Mapping) else {} for choice in choices]
    usage = data.get("usage")
    usage = usage if isinstance(usage, Mapping) else {}
    texts = [_text(choice, usage) for choice in choices]
    bill = _bill(usage, choices, texts, request, token_counter)
    samples = tuple(
        _sample(choice, text, first + place, tokens, bill, request.sampling.top_logprobs)
        for place, choice, text, tokens in zip(
            _places(choices), choices, texts, bill.decode_tokens, strict=True
        )
        if text is not None and place < n
    )
    if not samples:
        raise MalformedReply(
            "the reply holds no content", bill if bill.counted_by.startswith("server") else None
        )
    if len(samples) > 1:
        samples = tuple(sorted(samples, key=lambda sample: sample.index))
    return Reply(samples, bill)


def _places(choices: Sequence[Mapping[str, Any]]) -> Sequence[int]:
    """Return which of the wanted draws each choice is: as its `index` says, or in order where that makes no sense."""
    given = [place for choice in choices if (place := _count(choice.get("index"))) is not None]
    in_order = range(len(choices))
    return given if sorted(given) == list(in_order) else in_order


def _text(choice: Mapping[str, Any], usage: Mapping[str, Any]) -> str | None:
    """Return the text of a choice; `None` where it holds none and none was meant."""
    message = choice.get("message")
    if not isinstance(message, Mapping):
        return None
    content = message.get("content")
    if isinstance(content, str):
        return content
    if isinstance(content, list):  # parts, as some servers write them
        return "".join(
            part["text"]
            for part in content
            if isinstance(part, Mapping) and isinstance(part.get("text"), str)
        )
    was_reasoning = bool(_reasoning(message)) or _reasoning_tokens(usage) > 0
    cut_off = choice.get("finish_reason") == "length" and was_reasoning
    refused = bool(message.get("refusal")) or choice.get("finish_reason") == "content_filter"
    return "" if cut_off or refused else None


def _reasoning(message: Mapping[str, Any]) -> Any:
    return message.get("reasoning_content") or message.get("reasoning")


def _reasoning_tokens(usage: Mapping[str, Any]) -> int:
    details = usage.get("completion_tokens_details")
    return _count(details.get("reasoning_tokens")) or 0 if isinstance(details, Mapping) else 0


def _sample(
    choice: Mapping[str, Any], text: str, index: int, tokens: int, bill: CallUsage, n_tops: int
) -> Sample:
    return Sample(
        index,
        text,
        str(choice.get("finish_reason") or "stop"),
        bill.prefill_tokens,
        tokens,
        bill.cached_prefill_tokens,
        bill.counted_by,
        _logprobs(choice),
        _details(choice["message"]) | _ending(choice) | (_tops(choice) if n_tops else {}),
    )


def _logprobs(choice: Mapping[str, Any]) -> tuple[float, ...] | None:
    block = choice.get("logprobs")
    content = block.get("content") if isinstance(block, Mapping) else None
    if not isinstance(content, list):
        return None
    try:
        return tuple(float(token["logprob"]) for token in content)
    except (KeyError, TypeError, ValueError):
        return None


def _tops(choice: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return each token drawn with the likeliest ones at its place (see `Sample.details`), where they are given."""
    content = _block(choice, "logprobs").get("content")
    if not isinstance(content, list):
        return {}
    try:
        return {
            "top_logprobs": [
                [
                    str(token["token"]),
                    [[str(top["token"]), float(top["logprob"])] for top in token["top_logprobs"]],
                ]
                for token in content
            ]
        }
    except (KeyError, TypeError, ValueError):
        return {}


def _ending(choice: Mapping[str, Any]) -> dict[str, bool]:
    """Return that the model ended the choice itself, and no stop string did, where the server tells the two apart."""
    ended = (
        choice.get("finish_reason") == "stop" and "stop_reason" in choice and choice["stop_reason"] is None
    )
    return {"ended": True} if ended else {}


def _details(message: Mapping[str, Any]) -> dict[str, Any]:
    details = {"reasoning": _reasoning(message), "refusal": message.get("refusal")}
    return {name: value for name, value in details.items() if isinstance(value, str) and value}


def _bill(
    usage: Mapping[str, Any],
    choices: Sequence[Mapping[str, Any]],
    texts: Sequence[str | None],
    request: Request,
    token_counter: str,
) -> CallUsage:
    prefill, total = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
    if not prefill or total is None:  # a prompt of no tokens is a server that does not count
        return _estimate(texts, request, token_counter)
    cached = _cached(usage, prefill)
    if len(choices) == 1:
        return CallUsage(prefill, (total,), cached)
    each = [_count(_block(choice, "usage").get("completion_tokens")) for choice in choices]
    known = [tokens for tokens in each if tokens is not None]
    if len(known) == len(choices) and sum(known) == total:
        return CallUsage(prefill, tuple(known), cached)
    counted = counter(token_counter)
    counts = [counted(text or "") for text in texts]
    stopped = [choice.get("finish_reason") == "stop" for choice in choices]
    return CallUsage(
        prefill, split_total(total, counts, stopped), cached, f"server, split by {token_counter}"
    )


def _estimate(texts: Sequence[str | None], request: Request, token_counter: str) -> CallUsage:
    counted = counter(token_counter)
    decode = tuple(counted(text or "") for text in texts)
    return CallUsage(counted(prompt_text(request.messages)), decode, 0, token_counter)


def bare_usage(usage: Any) -> CallUsage | None:
    """Return what a reply without choices says that it cost; `None` where it does not say it."""
    if not isinstance(usage, Mapping):
        return None
    prefill, total = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
    if not prefill:
        return None
    return CallUsage(prefill, (total,) if total else (), _cached(usage, prefill))


def _cached(usage: Mapping[str, Any], prefill: int) -> int:
    return min(prefill, _count(_block(usage, "prompt_tokens_details").get("cached_tokens")) or 0)


def _block(mapping: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = mapping.get(name)
    return value if isinstance(value, Mapping) else {}


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _error_in(data: Mapping[str, Any]) -> str:
    """Return the error that some servers send with status 200."""
    error = data.get("error")
    message = error.get("message") if isinstance(error, Mapping) else error
    return f": {message}" if isinstance(message, str) and message else ""
