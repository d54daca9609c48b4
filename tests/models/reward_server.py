"""A real HTTP server that speaks the reward APIs of vLLM, with their request and reply shapes.

Shapes: vllm-project/vllm:vllm/entrypoints/pooling/{pooling,classify,scoring}/protocol.py and the example replies in
docs/models/pooling_models/{classify,scoring}.md. `/pooling` acts as Qwen2.5-Math-PRM does there (pooling type STEP, step
tag `<extra_0>`, docs/models/pooling_models/reward.md): one row `[p_bad, p_good]` at each tag, wherever it stands.
`/classify` acts as a model with one label: its logit, or with `use_activation` the sigmoid of it.

A step that says "right" is good with 0.9, any other with 0.2; an answer that says it has logit 2, any other -1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

from tests.models.local_server import Body, LocalServer, Script, local_server

TAG = "<extra_0>"


def n_words(body: Body) -> int:
    """Tokens of this server: words, and tags as words of their own."""
    return len(_text(body).replace(TAG, f" {TAG} ").split())


def pooling(body: Body) -> Body:
    """Return one row per tag."""
    steps = _text(body).split(TAG)[:-1]
    rows = [[0.1, 0.9] if "right" in step else [0.8, 0.2] for step in steps]
    return rows_reply(body, rows)


def rows_reply(body: Body, rows: object) -> Body:
    """Return the reply of `/pooling` with these rows."""
    return _reply(body, "pool-1", {"index": 0, "object": "pooling", "data": rows})


def classify(body: Body) -> Body:
    """Return the one column of a model with one label."""
    logit = 2.0 if "right" in body["messages"][-1]["content"] else -1.0
    value = 1 / (1 + math.exp(-logit)) if body.get("use_activation", True) else logit
    return _reply(body, "classify-1", {"index": 0, "label": "LABEL_0", "probs": [value], "num_classes": 1})


def score(body: Body) -> Body:
    """Return the score of a pair; as in the documentation, without usage."""
    value = 0.75 if "right" in body["text_2"] else 0.125
    return _reply(body, "score-1", {"index": 0, "object": "score", "score": value}) | {"usage": {}}


def _reply(body: Body, name: str, data: Body) -> Body:
    n = n_words(body)
    usage = {"prompt_tokens": n, "total_tokens": n, "completion_tokens": 0, "prompt_tokens_details": None}
    made = {"id": name, "object": "list", "created": 1745383213, "model": body["model"]}
    return made | {"data": [data], "usage": usage}


def _text(body: Body) -> str:
    if "messages" in body:
        return "\n".join(message["content"] for message in body["messages"])
    return f"{body['text_1']}\n{body['text_2']}"


ROUTES: dict[str, Script] = {"/pooling": pooling, "/classify": classify, "/score": score}


@contextmanager
def reward_server() -> Iterator[LocalServer]:
    """Run a server for the length of a with block; its `url` is the root, as that of vLLM's reward APIs."""
    with local_server() as server:
        server.routes = dict(ROUTES)
        server.url = server.url.removesuffix("/v1")
        yield server
