"""The JSON of reward models: what is asked about a reply, and how the scores are read out of the answer. Pure.

Request and reply shapes are those of vLLM:

- `/pooling` and `/classify` take `{"model", "messages"}` (the server applies the chat template), `/score` takes
  `{"model", "text_1", "text_2"}`: vllm-project/vllm:vllm/entrypoints/pooling/{pooling,classify,scoring}/protocol.py.
- `/pooling` gives `{"data": [{"index", "object": "pooling", "data": rows}], "usage"}` with rows `[[float]]` or
  `[float]`; a process reward model with pooling type STEP gives one row per tag, e.g. Qwen2.5-Math-PRM
  `[p_bad, p_good]` at each `<extra_0>`: same repository, docs/models/pooling_models/reward.md; Qwen/Qwen2.5-Math-PRM-7B,
  README.md (Zhang et al. 2025, arXiv:2501.07301).
- `/classify` gives `{"data": [{"index", "label", "probs": [float], "num_classes"}], "usage"}` and `/score`
  `{"data": [{"index", "object": "score", "score": float}], "usage"}`, where `usage` may be empty: same folder,
  classify.md and scoring.md.

A server that gives one row per token cannot be read by steps, because only its tokenizer knows where a step ends; serve
such a model with `--pooler-config '{"pooling_type": "STEP", "step_tag_id": ...}'`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agenttts.budgets.cards import ModelCard, RewardBlock
from agenttts.models.base import CallUsage, Message, Request
from agenttts.models.chat import MalformedReply, bare_usage
from agenttts.models.tokens import prompt_text

__all__ = ["NoScoresError", "Scored", "read_scores", "read_usage", "request_body", "scored"]

PATHS: Mapping[str, str] = {"pooling": "/pooling", "classify": "/classify", "score": "/score", "json": ""}
SLACK = 1e-6
"""Servers compute in single precision: 1.0000001 is 1."""


class NoScoresError(Exception):
    """A reply that was read and gives no scores: asking again would not help."""


@dataclass(frozen=True)
class Scored:
    """What is to be scored, ready to be sent."""

    prompt: tuple[Message, ...]
    text: str
    """The answer, with the card's tags in it."""
    steps: tuple[str, ...]
    """Empty where the answer is judged as a whole."""


def scored(reward: RewardBlock, request: Request) -> Scored:
    """Return what a request asks to be scored.

    The answer is cut into steps by the separator that the request gives (`extra`), else the card's, and the tag is put
    after each. What looks like the tag in prompt and answer is broken up before: else a model could write a tag, and
    with it a score, of its own.
    """
    *asked, answer = request.messages
    prompt = tuple(Message(one.role, _harmless(one.content, reward.tag)) for one in asked)
    if reward.system is not None:
        prompt = (Message("system", reward.system), *prompt)
    text = _harmless(answer.content, reward.tag)
    if reward.scores == "answer":
        return Scored(prompt, text, ())
    steps = _steps(text, _separator(reward, request), keep_empty=reward.empty_steps == "keep")
    if reward.tag:
        text = reward.between.join(step + reward.tag for step in steps)
    return Scored(prompt, text, steps)


def _separator(reward: RewardBlock, request: Request) -> str:
    given = dict(request.sampling.extra).get("separator")
    return reward.separator if given is None else str(json.loads(given))


def _steps(text: str, separator: str, *, keep_empty: bool) -> tuple[str, ...]:
    steps = [step.strip() for step in text.split(separator)]
    return tuple(step for step in steps if step or keep_empty)


def _harmless(text: str, tag: str) -> str:
    """Return the text without the tag in it, and without half characters, which have no UTF-8 form."""
    bare = tag.strip()
    if bare:
        text = text.replace(bare, f"{bare[0]} {bare[1:]}" if len(bare) > 1 else "")
    return text.encode("utf-8", "replace").decode()


def request_body(card: ModelCard, reward: RewardBlock, what: Scored) -> dict[str, Any]:
    """Return the request as JSON.

    Raises:
        PromptRenderError: The template of a `json` card cannot be rendered.
        ValueError: It renders to something other than a JSON object.
    """
    if reward.api == "json":
        return _rendered(card, reward, what) | reward.extra
    if reward.api == "score":
        asked: dict[str, Any] = {"text_1": prompt_text(what.prompt), "text_2": what.text}
    else:
        messages = (*what.prompt, Message("assistant", what.text))
        asked = {"messages": [{"role": one.role, "content": one.content} for one in messages]}
    return {"model": card.served_as} | asked | reward.extra


def _rendered(card: ModelCard, reward: RewardBlock, what: Scored) -> dict[str, Any]:
    from agenttts.pipeline.prompts import json_template, rendered

    values = {
        "prompt": prompt_text(what.prompt),
        "text": what.text,
        "steps": list(what.steps),
        "model": card.served_as,
    }
    body = json.loads(rendered(json_template(reward.request or ""), values))
    if not isinstance(body, dict):
        raise ValueError("the request is not a JSON object")
    return body


def read_usage(reward: RewardBlock, data: Any) -> CallUsage | None:
    """Return the tokens that the server says it has read; `None` where it does not say it."""
    if reward.api == "json":
        usage: Any = {"prompt_tokens": next(_at(data, reward.tokens_at.split(".")), None)}
    else:
        usage = data.get("usage") if isinstance(data, Mapping) else None
    read = bare_usage(usage)
    return None if read is None else CallUsage(read.prefill_tokens, (), read.cached_prefill_tokens)


def read_scores(reward: RewardBlock, data: Any, n_steps: int) -> list[float]:
    """Return the scores in a reply, each in [0, 1]: one per step (and one of the whole, where the card says so), or one.

    Raises:
        MalformedReply: It is not of the shape that the API gives.
        NoScoresError: It is, and its scores are too few, too many, no numbers, or out of range.
    """
    rows = _rows(reward, data)
    wanted = n_steps + reward.judges_whole if reward.scores == "steps" else 1
    if len(rows) != wanted:
        per_token = ": does the server give one per token?" if len(rows) > wanted else ""
        raise NoScoresError(f"{len(rows)} scores for {n_steps} steps, expected {wanted}{per_token}")
    return [_score(reward, row, place) for place, row in enumerate(rows, 1)]


def _rows(reward: RewardBlock, data: Any) -> list[Any]:
    """Return the rows that hold the scores: of steps all of them, else the one of the answer."""
    found = _found(reward, data)
    if reward.scores == "steps":
        if not isinstance(found, list):
            raise MalformedReply("the reply holds no list of scores")
        if reward.api == "pooling" and not all(isinstance(row, list) for row in found):
            raise NoScoresError("one row for the whole answer, expected one for each step")
        return found
    if isinstance(found, list) and found and isinstance(found[-1], list):
        return [found[-1]]  # token reward models judge the whole at its last token
    return [found]


def _found(reward: RewardBlock, data: Any) -> Any:
    if reward.api == "json":
        path = (reward.scores_at or "").split(".")
        found = list(_at(data, path))
        value = found if "*" in path else next(iter(found), None)
    else:
        field = {"pooling": "data", "classify": "probs", "score": "score"}[reward.api]
        value = next(_at(data, ["data", "0", field]), None)
    if value is None or isinstance(value, str | Mapping):
        raise MalformedReply("the reply holds no scores where they were looked for")
    return value


def _at(value: Any, path: Sequence[str]) -> Iterator[Any]:
    """Yield what stands at a path: one value, none, or, below a `*`, any number."""
    if not path:
        yield value
        return
    first, *rest = path
    if isinstance(value, Mapping) and first in value:
        yield from _at(value[first], rest)
    elif isinstance(value, list) and first == "*":
        for item in value:
            yield from _at(item, rest)
    elif isinstance(value, list) and first.isdecimal() and int(first) < len(value):
        yield from _at(value[int(first)], rest)


def _score(reward: RewardBlock, row: Any, place: int) -> float:
    """Return the score that a row gives, after the card's activation."""
    numbers = [_number(value) for value in (row if isinstance(row, list) else [row])]
    column = len(numbers) - 1 if reward.good_column is None else reward.good_column
    if not 0 <= column < len(numbers):
        raise NoScoresError(f"score {place} has {len(numbers)} columns, and column {column} is wanted")
    if not all(math.isfinite(number) for number in numbers):
        raise NoScoresError(f"score {place} is not a finite number")
    value = _activated(reward.activation, numbers, column)
    if not -SLACK <= value <= 1 + SLACK:
        raise NoScoresError(f"score {place} is {value:g}, not in [0, 1]; does `activation` of the card fit?")
    return min(1.0, max(0.0, value))


def _number(value: Any) -> float:
    """Return a JSON number, or nan for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    try:
        return float(value)
    except OverflowError:  # an integer beyond all floats
        return math.inf


def _activated(activation: str, numbers: Sequence[float], column: int) -> float:
    if activation == "sigmoid":
        x = numbers[column]
        return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))
    if activation == "softmax":
        if len(numbers) == 1:
            raise NoScoresError("softmax needs two columns or more: of one it is always 1")
        top = max(numbers)
        return math.exp(numbers[column] - top) / math.fsum(math.exp(number - top) for number in numbers)
    return numbers[column]
