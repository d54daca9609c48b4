"""The OpenAI protocol for the tiny family: reading requests, writing replies. Pure; `tiny_server` does the I/O."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agenttts.models.tiny.model import Generation, GenerationRequest

__all__ = ["Asked", "Refusal", "chunks", "read_request", "reply"]

MOST_CHOICES = 1024
MOST_STOPS = 16
DEFAULT_MAX_TOKENS = 256
_NO_EFFECT_OF = (
    "tools",
    "functions",
    "logit_bias",
    "frequency_penalty",
    "presence_penalty",
    "suffix",
    "echo",
)
"""Fields that would change the draws and that tiny models cannot follow: refused unless empty or 0."""


class Refusal(Exception):  # noqa: N818 - an answer to the caller
    """The request cannot be served; becomes an OpenAI-shaped error."""

    def __init__(
        self, message: str, *, status: int = 400, param: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.param = param
        self.code = code

    def body(self) -> dict[str, Any]:
        """Return the JSON of the error."""
        kind = "authentication_error" if self.status == 401 else "invalid_request_error"
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


@dataclass(frozen=True)
class Asked:
    """A request as it was understood."""

    model: str
    prompts: tuple[GenerationRequest, ...]
    """One, except for a list of prompts to /v1/completions."""
    logprobs: bool
    stream: bool
    stream_usage: bool
    is_chat: bool


def read_request(data: Any, models: Sequence[str], *, is_chat: bool, fresh_seed: int) -> Asked:
    """Return what the JSON of a request asks for.

    Choice j of a prompt is drawn with `seed` + j; without a `seed`, with `fresh_seed` + j.

    Raises:
        Refusal: Unknown model or a field that cannot be used; names the field.
    """
    if not isinstance(data, dict):
        raise Refusal("the body must be a JSON object")
    _refuse_unsupported(data)
    seed = _whole(data, "seed", None, -(2**63), 2**63 - 1)
    n = _whole(data, "n", 1, 1, MOST_CHOICES) or 1
    n_top, logprobs = _logprobs(data, is_chat)
    first = fresh_seed if seed is None else seed % 2**63
    options = data.get("stream_options")
    prompts = [_chat_prompt(data)] if is_chat else [(text, "") for text in _prompts(data)]
    return Asked(
        model=_model(data, models),
        prompts=tuple(
            GenerationRequest(
                prompt=prompt,
                prefix=prefix,
                seeds=tuple(range(first, first + n)),
                max_tokens=_max_tokens(data),
                temperature=_number(data, "temperature", 1.0, 0.0, 2.0),
                top_p=_number(data, "top_p", 1.0, 0.0, 1.0, open_below=True),
                stop=_stop(data),
                top_logprobs=n_top,
            )
            for prompt, prefix in prompts
        ),
        logprobs=logprobs,
        stream=_flag(data, "stream"),
        stream_usage=isinstance(options, Mapping) and options.get("include_usage") is True,
        is_chat=is_chat,
    )


def _refuse_unsupported(data: Mapping[str, Any]) -> None:
    for name in _NO_EFFECT_OF:
        if data.get(name):
            raise Refusal(f"tiny models do not support {name!r}", param=name)
    form = data.get("response_format")
    if form and not (isinstance(form, Mapping) and form.get("type") == "text"):
        raise Refusal("tiny models write plain text only", param="response_format")


def _model(data: Mapping[str, Any], models: Sequence[str]) -> str:
    name = data.get("model")
    if not isinstance(name, str):
        raise Refusal("expected the name of a model", param="model")
    if name in models:
        return name
    near = difflib.get_close_matches(name, models, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    message = f"the model {name!r} does not exist{hint} Served are: {', '.join(models)}"
    raise Refusal(message, status=404, param="model", code="model_not_found")


def _chat_prompt(data: Mapping[str, Any]) -> tuple[str, str]:
    """Return the prompt and the beginning of the reply.

    A last message of the assistant is one where `continue_final_message` says so, as vLLM knows it.
    """
    messages = data.get("messages")
    if not isinstance(messages, list) or not messages:
        raise Refusal("expected a list of messages", param="messages")
    contents = [_content(message) for message in messages]
    goes_on = _flag(data, "continue_final_message") and messages[-1].get("role") == "assistant"
    return ("\n".join(contents[:-1]), contents[-1]) if goes_on else ("\n".join(contents), "")


def _content(message: Any) -> str:
    content = message.get("content") if isinstance(message, Mapping) else None
    if isinstance(content, list) and all(
        isinstance(part, Mapping) and part.get("type") == "text" for part in content
    ):
        content = "".join(str(part.get("text", "")) for part in content)
    if not isinstance(content, str):
        raise Refusal("every message needs a text as `content`", param="messages")
    return content


def _prompts(data: Mapping[str, Any]) -> list[str]:
    prompt = data.get("prompt")
    prompts = [prompt] if isinstance(prompt, str) else prompt
    if not isinstance(prompts, list) or not prompts or not all(isinstance(text, str) for text in prompts):
        raise Refusal("expected a text or a list of texts", param="prompt")
    if len(prompts) > MOST_CHOICES:
        raise Refusal(f"expected at most {MOST_CHOICES} prompts", param="prompt")
    return prompts


def _stop(data: Mapping[str, Any]) -> tuple[str, ...]:
    stop = data.get("stop")
    stops = [] if stop is None else [stop] if isinstance(stop, str) else stop
    if (
        not isinstance(stops, list)
        or len(stops) > MOST_STOPS
        or not all(isinstance(s, str) and s for s in stops)
    ):
        raise Refusal(f"expected a text or a list of at most {MOST_STOPS} texts, none empty", param="stop")
    return tuple(stops)


def _max_tokens(data: Mapping[str, Any]) -> int:
    name = "max_completion_tokens" if data.get("max_completion_tokens") is not None else "max_tokens"
    return _whole(data, name, DEFAULT_MAX_TOKENS, 1, 2**31) or DEFAULT_MAX_TOKENS


def _logprobs(data: Mapping[str, Any], is_chat: bool) -> tuple[int, bool]:
    """Return how many likeliest tokens are wanted, and whether log-probabilities are wanted at all."""
    if not is_chat:
        n_top = _whole(data, "logprobs", None, 0, 20)
        return n_top or 0, n_top is not None
    wanted = _flag(data, "logprobs")
    n_top = _whole(data, "top_logprobs", 0, 0, 20) or 0
    if n_top and not wanted:
        raise Refusal("top_logprobs needs logprobs to be true", param="top_logprobs")
    return n_top, wanted


def _flag(data: Mapping[str, Any], name: str) -> bool:
    value = data.get(name)
    if value is not None and not isinstance(value, bool):
        raise Refusal(f"{name}: expected true or false", param=name)
    return bool(value)


def _whole(data: Mapping[str, Any], name: str, default: int | None, low: int, high: int) -> int | None:
    value = data.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise Refusal(f"{name}: expected a whole number from {low} to {high}", param=name)
    return value


def _number(
    data: Mapping[str, Any], name: str, default: float, low: float, high: float, *, open_below: bool = False
) -> float:
    value = data.get(name)
    if value is None:
        return default
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not low <= value <= high or (open_below and value == low):
        raise Refusal(
            f"{name}: expected a number {'above' if open_below else 'from'} {low} to {high}", param=name
        )
    return float(value)


def reply(asked: Asked, drawn: Sequence[Sequence[Generation]], head: Mapping[str, Any]) -> dict[str, Any]:
    """Return the reply to a request that is not streamed.

    Each choice also carries its own `usage`, which the protocol lacks and a bill by sample needs.
    """
    choices = [_choice(index, generation, asked) for index, generation in enumerate(itertools.chain(*drawn))]
    kind = "chat.completion" if asked.is_chat else "text_completion"
    return {**head, "object": kind, "model": asked.model, "choices": choices, "usage": _usage(drawn)}


def _usage(drawn: Sequence[Sequence[Generation]]) -> dict[str, int]:
    """Return the tokens of a reply: every prompt once, however many choices it has."""
    prefill = sum(generations[0].prompt_tokens for generations in drawn)
    decode = sum(generation.completion_tokens for generations in drawn for generation in generations)
    return {"prompt_tokens": prefill, "completion_tokens": decode, "total_tokens": prefill + decode}


def _choice(index: int, generation: Generation, asked: Asked) -> dict[str, Any]:
    said: dict[str, Any] = (
        {"message": {"role": "assistant", "content": generation.text}}
        if asked.is_chat
        else {"text": generation.text}
    )
    usage = {"completion_tokens": generation.completion_tokens}
    logprobs = _logprob_block(generation, asked) if asked.logprobs else None
    return {
        "index": index,
        **said,
        "finish_reason": generation.finish_reason,
        **_stop_reason(generation, asked),
        "logprobs": logprobs,
        "usage": usage,
    }


def _stop_reason(generation: Generation, asked: Asked) -> dict[str, str | None]:
    """Return the stop string that ended a choice, as vLLM tells it: `None` where the model did."""
    first = asked.prompts[
        0
    ]  # stops are the same for all prompts of a request, and a beginning has no other beside it
    stops = first.stop
    if not stops:
        return {}
    if generation.ended or generation.finish_reason != "stop":
        return {"stop_reason": None}
    written = "".join(generation.token_texts)
    start = len(generation.text) + (first.begins_with_space and written.startswith(" "))
    return {"stop_reason": next((stop for stop in stops if written.startswith(stop, start)), None)}


def _logprob_block(generation: Generation, asked: Asked) -> dict[str, Any]:
    tops = generation.top_logprobs or ((),) * len(generation.logprobs)
    rows = zip(generation.token_texts, generation.logprobs, tops, strict=False)
    if asked.is_chat:
        return {
            "content": [
                _token(text, value) | {"top_logprobs": [_token(*pair) for pair in top]}
                for text, value, top in rows
            ]
        }
    offsets = itertools.accumulate((len(text) for text in generation.token_texts), initial=0)
    return {
        "tokens": list(generation.token_texts),
        "token_logprobs": list(generation.logprobs),
        "top_logprobs": [dict(top) for top in tops],
        "text_offset": [offset for offset, _ in zip(offsets, generation.token_texts, strict=False)],
    }


def _token(text: str, logprob: float) -> dict[str, Any]:
    return {"token": text, "logprob": logprob, "bytes": list(text.encode())}


def chunks(
    asked: Asked, drawn: Sequence[Sequence[Generation]], head: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """Yield the parts of a streamed reply, token by token, choice after choice; the usage last where asked for."""
    kind = "chat.completion.chunk" if asked.is_chat else "text_completion"
    head = {**head, "object": kind, "model": asked.model}
    for index, generation in enumerate(itertools.chain(*drawn)):
        for piece in _pieces(generation):
            yield {**head, "choices": [_part(index, piece, None, asked)]}
        yield {**head, "choices": [_part(index, "", generation.finish_reason, asked)]}
    if asked.stream_usage:
        yield {**head, "choices": [], "usage": _usage(drawn)}


def _pieces(generation: Generation) -> Iterator[str]:
    """Yield the text by tokens, without what a stop string has cut off."""
    left = generation.text
    for text in generation.token_texts:
        if not left:
            return
        yield left[: len(text)]
        left = left[len(text) :]


def _part(index: int, piece: str, finish_reason: str | None, asked: Asked) -> dict[str, Any]:
    if not asked.is_chat:
        return {"index": index, "text": piece, "finish_reason": finish_reason, "logprobs": None}
    delta = {"role": "assistant", "content": piece} if finish_reason is None else {}
    return {"index": index, "delta": delta, "finish_reason": finish_reason, "logprobs": None}
