"""Which weights a name of the tiny family stands for, so that draws of other weights are never taken for theirs."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from importlib import resources

__all__ = ["weights_digest"]


@lru_cache(maxsize=16)
def weights_digest(name: str) -> str:
    """Return 12 hexadecimal digits of the SHA-256 of a model's weights; empty for a name that has none."""
    folder, stem = resources.files("agenttts.models.tiny") / "weights", name.removeprefix("tiny/")
    weights, config = folder / f"{stem}.safetensors", folder / f"{stem}.json"
    if weights.is_file():
        return hashlib.sha256(weights.read_bytes()).hexdigest()[:12]
    if not config.is_file():
        return ""
    text = config.read_text()  # the reward model has no weights of its own, but two curves over a generator's
    return hashlib.sha256(f"{text}{weights_digest(json.loads(text)['generator'])}".encode()).hexdigest()[:12]
