"""Text generation with one model of the tiny family.

Prompts are read once and shared by their draws; all draws are written together in one batch, from which finished ones
drop out.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from itertools import groupby
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from agenttts.models.tiny.network import LONGEST, Cache, Floats, Network
from agenttts.models.tiny.sampling import choose, log_probabilities, stream_key, uniform
from agenttts.models.tiny.threads import one_thread
from agenttts.models.tiny.tokenizer import END, encode, encode_prompt, vocabulary

GENERATORS = ("tiny/xs", "tiny/s", "tiny/m", "tiny/l")
ROWS_AT_ONCE = 256
ROOM_AHEAD = 24
"""Positions by which a full cache grows: most draws need no more, few reach their limit."""


class UnknownTinyModelError(ValueError):
    """No model of this name is in the tiny family."""


class TinyContextError(ValueError):
    """A prompt leaves no room for a completion."""


@dataclass(frozen=True)
class GenerationRequest:
    """One prompt and the draws wanted from it."""

    prompt: str
    seeds: tuple[int, ...]
    """One per draw."""
    max_tokens: int
    temperature: float
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    """A completion ends before the first of these."""
    top_logprobs: int = 0
    """How many likeliest tokens to report at each position."""
    prefix: str = ""
    """Beginning of the completion, to go on from. A space at its end is written by the model itself, with the word after
    it as one token, and does not come again in the text; a stop string at the very beginning ends nothing."""

    @property
    def tokens(self) -> list[int]:
        """Tokens that are read before the first one is written."""
        return [*encode_prompt(self.prompt), *encode(self.prefix.removesuffix(" "))]

    @property
    def begins_with_space(self) -> bool:
        """Whether the first token must be one that begins with a space, or the end."""
        return self.prefix.endswith(" ")


@dataclass(frozen=True)
class Generation:
    """One draw."""

    text: str
    prompt_tokens: int
    completion_tokens: int
    """Tokens computed: the end token and those of a stop string count, though the text lacks them."""
    finish_reason: Literal["stop", "length"]
    token_texts: tuple[str, ...]
    """Without the end token."""
    logprobs: tuple[float, ...]
    """Natural logarithms at temperature 1 and without nucleus, whatever was asked for; one per token text."""
    top_logprobs: tuple[tuple[tuple[str, float], ...], ...]
    """Per position, likeliest first; the end token is the empty text. Empty unless asked for."""
    ended: bool = False
    """Whether the model ended it, and no stop string or limit did."""


@dataclass
class _Draw:
    """A draw that is being written."""

    request: int
    index: int
    limit: int
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    top: list[tuple[tuple[str, float], ...]] = field(default_factory=list)
    text: str = ""
    finish: Literal["stop", "length"] | None = None


@dataclass(frozen=True)
class TinyModel:
    """A language model that runs in this process. Holds nothing that changes: threads may share it."""

    name: str
    n_parameters: int
    n_layers: int
    width: int
    vocabulary: tuple[str, ...]
    network: Network = field(repr=False)

    @classmethod
    def load(cls, name: str) -> TinyModel:
        """Return the model, read from the package once per process.

        Args:
            name: One of `GENERATORS`.

        Raises:
            UnknownTinyModelError: No such model.
        """
        if name not in GENERATORS:
            raise UnknownTinyModelError(
                f"no tiny model is called {name!r}; there are {', '.join(GENERATORS)}"
            )
        return _load(name)

    def generate(self, requests: Sequence[GenerationRequest]) -> list[list[Generation]]:
        """Return the draws of every request, in the order of its seeds.

        A draw depends on the model, its prompt, its sampling parameters and its seed, not on the other draws.

        Raises:
            TinyContextError: A prompt has more than `LONGEST` - 1 tokens.
        """
        prompts = [request.tokens for request in requests]
        draws = [
            _Draw(number, index, _limit(request, len(prompts[number])))
            for number, request in enumerate(requests)
            for index in range(len(request.seeds))
        ]
        wanted = [draw for draw in draws if draw.limit > 0]
        with one_thread():
            for start in range(0, len(wanted), ROWS_AT_ONCE):
                _write(self, requests, prompts, wanted[start : start + ROWS_AT_ONCE])
        finished = {key: list(group) for key, group in groupby(draws, key=lambda draw: draw.request)}
        return [
            [_generation(draw, len(prompts[number]), requests[number]) for draw in finished.get(number, ())]
            for number in range(len(requests))
        ]


@lru_cache(maxsize=len(GENERATORS))
def _load(name: str) -> TinyModel:
    folder = resources.files("agenttts.models.tiny") / "weights"
    config = json.loads((folder / f"{name.removeprefix('tiny/')}.json").read_text())
    network = Network.load(name.removeprefix("tiny/"))
    return TinyModel(name, config["parameters"], config["layers"], config["width"], vocabulary(), network)


def _stream(request: GenerationRequest) -> str:
    """Return what tells the random streams of two prompts apart."""
    return f"{request.prompt}\0{request.prefix}" if request.prefix else request.prompt


@lru_cache(maxsize=1)
def _begins_with_space() -> NDArray[np.bool_]:
    """Return which tokens begin with a space; the end is counted among them."""
    return np.array([text.startswith(" ") or number == END for number, text in enumerate(vocabulary())])


def _limit(request: GenerationRequest, prompt_tokens: int) -> int:
    """Return how many tokens a draw may have."""
    if prompt_tokens >= LONGEST:
        raise TinyContextError(
            f"the prompt has {prompt_tokens} tokens; tiny models read at most {LONGEST - 1}"
        )
    return min(request.max_tokens, LONGEST - prompt_tokens)


def _write(
    model: TinyModel, requests: Sequence[GenerationRequest], prompts: Sequence[list[int]], draws: list[_Draw]
) -> None:
    """Write draws together until all are finished."""
    asked = [requests[draw.request] for draw in draws]
    keys = np.array(
        [stream_key(model.name, _stream(r), r.seeds[d.index]) for r, d in zip(asked, draws, strict=True)],
        dtype=np.uint64,
    )
    temperature = np.array([r.temperature for r in asked], dtype=np.float64)
    top_p = np.array([r.top_p for r in asked], dtype=np.float64)
    logits, cache = _prefill(model.network, prompts, draws)
    spaced = np.array([r.begins_with_space for r in asked])
    if spaced.any():
        logits[np.ix_(spaced, ~_begins_with_space())] = -np.inf
    for step in range(max(draw.limit for draw in draws)):
        log_p = log_probabilities(logits)
        tokens = choose(log_p, temperature, top_p, uniform(keys, step))
        for row, draw in enumerate(draws):
            _append(draw, int(tokens[row]), log_p[row], requests[draw.request])
        open_rows = np.array([row for row, draw in enumerate(draws) if draw.finish is None], dtype=np.int64)
        if not len(open_rows):
            return
        if len(open_rows) < len(draws):
            draws = [draws[row] for row in open_rows]
            keys, temperature, top_p = keys[open_rows], temperature[open_rows], top_p[open_rows]
            tokens, cache = tokens[open_rows], cache.take(open_rows)
        if cache.lengths.max() >= cache.kv.shape[4]:
            cache = cache.widened(ROOM_AHEAD)
        logits = model.network.logits(model.network.step(tokens, cache))


def _prefill(network: Network, prompts: Sequence[list[int]], draws: Sequence[_Draw]) -> tuple[Floats, Cache]:
    """Read every prompt once; return the scores of the first token and the cache, a row per draw."""
    numbers = sorted({draw.request for draw in draws})
    lengths = np.array([len(prompts[number]) for number in numbers], dtype=np.int64)
    tokens = np.zeros((len(numbers), int(lengths.max())), dtype=np.int64)
    for row, number in enumerate(numbers):
        tokens[row, : lengths[row]] = prompts[number]
    hidden, cache = network.prefill(tokens, lengths)
    logits = network.logits(hidden[np.arange(len(numbers)), lengths - 1])
    rows = np.array([numbers.index(draw.request) for draw in draws], dtype=np.int64)
    return logits[rows], cache.take(rows).widened(ROOM_AHEAD)


def _append(draw: _Draw, token: int, log_p: Floats, request: GenerationRequest) -> None:
    """Add a token to a draw and note whether it is finished."""
    draw.tokens.append(token)
    if token == END:
        draw.finish = "stop"
        return
    draw.logprobs.append(float(log_p[token]))
    draw.text += vocabulary()[token]
    if request.top_logprobs:
        draw.top.append(_likeliest(log_p, request.top_logprobs))
    start = int(request.begins_with_space)
    ends = [place for stop in request.stop if stop and (place := draw.text.find(stop, start)) >= 0]
    if ends:
        draw.text, draw.finish = draw.text[: min(ends)], "stop"
    elif len(draw.tokens) >= draw.limit:
        draw.finish = "length"


def _likeliest(log_p: Floats, count: int) -> tuple[tuple[str, float], ...]:
    order = np.argsort(-log_p, kind="stable")[:count]
    return tuple((vocabulary()[token], float(log_p[token])) for token in order)


def _generation(draw: _Draw, prompt_tokens: int, request: GenerationRequest) -> Generation:
    texts = tuple(vocabulary()[token] for token in draw.tokens if token != END)
    return Generation(
        text=draw.text.removeprefix(" ") if request.begins_with_space else draw.text,
        ended=END in draw.tokens,
        prompt_tokens=prompt_tokens,
        completion_tokens=len(draw.tokens),
        finish_reason=draw.finish or "length",
        token_texts=texts,
        logprobs=tuple(draw.logprobs),
        top_logprobs=tuple(draw.top),
    )
