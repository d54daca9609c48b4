"""Embedding models behind `/embeddings` of an OpenAI-compatible endpoint, with the limits, retries and bills of chat.

The request's one message is the text. The one sample is its vector (see `vectors`); it costs the reading of the text and
decodes nothing. A model gives a text the same vector each time, so one call serves all draws, and the store keeps it for
whoever asks about the same text again. A reply without a usable vector is a sample, too, with an empty text and its cause
in `details["unscored"]`: it is billed and kept, because asking again would give the same.

Shapes: https://platform.openai.com/docs/api-reference/embeddings; vLLM and text-embeddings-inference follow it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from agenttts.budgets.cards import EmbeddingBlock, ModelCard
from agenttts.errors import CardError
from agenttts.models.base import CallUsage, Reply, Request
from agenttts.models.batching import Batching
from agenttts.models.chat import MalformedReply, bare_usage
from agenttts.models.limits import Endpoint
from agenttts.models.openai_client import OpenAITransport, base_url_of
from agenttts.models.provider import ProviderClient
from agenttts.models.retry import ClientEvent
from agenttts.models.tokens import TOKENS_AROUND_MESSAGE, counter, prompt_text
from agenttts.models.vectors import NoVectorError, packed, vector_of

__all__ = ["PATH", "Embedding", "address_of", "embedding_client", "embedding_of", "shortened"]

PATH = "/embeddings"


def embedding_of(card: ModelCard) -> EmbeddingBlock:
    """Return how a card's embedding model is asked.

    Raises:
        CardError: It is none.
    """
    if card.source != "embedding":
        raise CardError(f"model {card.name} is no embedding model: its card has another `source`")
    return card.embedding or EmbeddingBlock()


def address_of(card: ModelCard) -> str:
    """Return where an embedding model is asked."""
    return base_url_of(card) + PATH


def shortened(text: str, most: int, count: Callable[[str], int]) -> str:
    """Return as much of the beginning of a text as a model reads that reads `most` tokens."""
    if len(text.encode()) <= most:  # no tokenizer makes more tokens than there are bytes
        return text
    while (n := count(text)) > most:
        text = text[: len(text) * most // n]
    return text


@dataclass(frozen=True)
class Embedding:
    """How a card's embedding model is spoken to; see `provider.Dialect`."""

    card: ModelCard
    most_n: int = sys.maxsize

    def body(self, request: Request, first: int, n: int) -> dict[str, Any]:
        """Return the request; see `Dialect.body`."""
        block = embedding_of(self.card)
        dimensions = {} if block.dimensions is None else {"dimensions": block.dimensions}
        asked = {"model": self.card.served_as, "input": [self._sent(request)], "encoding_format": "float"}
        return asked | dimensions | block.extra

    def read(self, data: Any, request: Request, first: int, n: int) -> Reply:
        """Return n equal samples and the bill of the one call; see `Dialect.read`."""
        usage = self._usage(data, request)
        try:
            text = packed(vector_of(_vector_in(data)))
        except MalformedReply as error:
            raise MalformedReply(str(error), usage) from error
        except NoVectorError as error:
            text, details = "", {"unscored": str(error)}
        else:
            details = self._cut(request, usage)
        ending = "stop" if text else "unscored"
        return Reply.of_equals(text, ending, details, usage, range(first, first + n))

    def worst(self, request: Request, n: int) -> CallUsage:
        """Return the most that a call may read: one token per byte, and what a model puts around a text."""
        return CallUsage(len(self._sent(request).encode()) + TOKENS_AROUND_MESSAGE, ())

    def unread(self, request: Request) -> CallUsage:
        """Return what was read for a reply that nobody can read, by the card's token counter."""
        name = self.card.token_counter
        return CallUsage(max(1, counter(name)(self._sent(request))), (), 0, name)

    def _usage(self, data: Any, request: Request) -> CallUsage:
        told = bare_usage(data.get("usage")) if isinstance(data, Mapping) else None
        if told is None:
            return self.unread(request)
        counted_by = data.get("counted_by", "server")  # of `Batching`
        return CallUsage(told.prefill_tokens, (), told.cached_prefill_tokens, counted_by)

    def _sent(self, request: Request) -> str:
        text, most = _whole(request), embedding_of(self.card).max_input_tokens
        return text if most is None else shortened(text, most, counter(self.card.token_counter))

    def _cut(self, request: Request, usage: CallUsage) -> dict[str, Any]:
        """Return as details of the sample what the model has not read of the text; empty: it has read it all."""
        most = embedding_of(self.card).max_input_tokens
        n_sent, n_whole = len(self._sent(request)), len(_whole(request))
        if n_sent < n_whole:
            return {"cut": f"only the first {n_sent} of {n_whole} characters were read"}
        if most is not None and usage.prefill_tokens >= most:
            return {"cut": f"it fills the {most} tokens that the model reads; more was not read"}
        return {}


def _whole(request: Request) -> str:
    """Return the text of a request, without half characters, which have no UTF-8 form."""
    return prompt_text(request.messages).encode("utf-8", "replace").decode()


def _vector_in(data: Any) -> Any:
    rows = data.get("data") if isinstance(data, Mapping) else None
    row = rows[0] if isinstance(rows, list) and len(rows) == 1 else None
    if not isinstance(row, Mapping) or "embedding" not in row:
        raise MalformedReply("the reply does not hold one embedding for each text")
    return row["embedding"]


def embedding_client(
    card: ModelCard, endpoint: Endpoint, on_event: Callable[[ClientEvent], None] | None = None
) -> ProviderClient:
    """Return the client of an embedding model.

    Raises:
        AuthenticationError: It needs a key that the environment lacks.
    """
    transport = OpenAITransport(card, card.max_concurrency, address_of(card))
    batching = Batching(transport, embedding_of(card).batch, card.token_counter)
    return ProviderClient(card, batching, endpoint, on_event, Embedding(card))
