"""A real HTTP server that speaks `/v1/embeddings` of the OpenAI API, with its request and reply shapes.

Shapes: https://platform.openai.com/docs/api-reference/embeddings/create. The vector of a text counts its words red, green
and blue, so that cosines can be worked out by hand; `dimensions` cuts it. A token is a word. A request with a text of more
than `MOST_TOKENS` words is refused as a whole, as OpenAI's and vLLM's servers do.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.models.local_server import Answer, Body, LocalServer, error, local_server

WORDS = ("red", "green", "blue")
MOST_TOKENS = 100
PATH = "/v1/embeddings"


def vector(text: str) -> list[float]:
    """Return how often each word stands in a text."""
    return [float(text.split().count(word)) for word in WORDS]


def n_tokens(body: Body) -> int:
    """Tokens of all texts of a request."""
    return sum(len(text.split()) for text in body["input"])


def embeddings(body: Body) -> Body | Answer:
    """Return the vectors of the texts of a request."""
    if max(len(text.split()) for text in body["input"]) > MOST_TOKENS:
        return error(400, f"This model's maximum context length is {MOST_TOKENS} tokens")
    if any(not text.strip() for text in body["input"]):
        return error(400, "Input cannot be an empty string.")
    return reply(body, [vector(text)[: body.get("dimensions", 3)] for text in body["input"]])


def reply(body: Body, vectors: list[Any]) -> Body:
    """Return the reply that holds these vectors."""
    data = [{"object": "embedding", "index": i, "embedding": one} for i, one in enumerate(vectors)]
    n = n_tokens(body)
    return {
        "object": "list",
        "data": data,
        "model": body["model"],
        "usage": {"prompt_tokens": n, "total_tokens": n},
    }


@contextmanager
def embedding_server() -> Iterator[LocalServer]:
    """Run a server for the length of a with block; its `url` ends in /v1."""
    with local_server() as server:
        server.routes = {PATH: embeddings}
        yield server
