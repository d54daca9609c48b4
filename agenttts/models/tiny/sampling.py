"""How the tiny family picks a token: one counted random stream per draw, inverse of the cumulative distribution.

A draw depends on its model, prompt, sampling parameters and seed alone: the stream is a hash of those, and the number
of the token selects the value in it, so neither order nor company of the draws matters.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from agenttts.models.tiny.network import Floats, Integers
from agenttts.models.tiny.tokenizer import END, vocabulary

Words = npt.NDArray[np.uint64]

_FORBIDDEN = [number for number in range(len(vocabulary())) if vocabulary()[number] == "" and number != END]


def stream_key(model: str, prompt: str, seed: int) -> int:
    """Return the 64-bit key of a draw's random stream."""
    digest = hashlib.sha256(f"{model}\0{seed}\0{prompt}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "little")


def uniform(keys: Words, step: int) -> Floats:
    """Return the value in [0, 1) of every stream for the token number `step`, shape (rows,).

    Source: SplitMix64 (Steele, Lea and Flood 2014) used as a counter-based generator.
    """
    with np.errstate(over="ignore"):
        z = keys + np.uint64(step + 1) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    values: Floats = (z >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return values


def log_probabilities(logits: Floats) -> Floats:
    """Return natural logarithms at temperature 1; tokens that are never written get minus infinity."""
    allowed = logits.copy()
    allowed[:, _FORBIDDEN] = -np.inf
    allowed -= allowed.max(axis=1, keepdims=True)
    normal: Floats = allowed - np.log(np.exp(allowed).sum(axis=1, keepdims=True))
    return normal


def choose(log_p: Floats, temperature: Floats, top_p: Floats, u: Floats) -> Integers:
    """Pick a token for every row; all arguments but `log_p` have shape (rows,). Temperature 0 takes the likeliest."""
    likeliest: Integers = log_p.argmax(axis=1)
    if not temperature.any():
        return likeliest
    p = np.exp(log_p / np.where(temperature > 0, temperature, 1.0)[:, None])
    if (top_p < 1).any():
        p = _nucleus(p / p.sum(axis=1, keepdims=True), top_p)
    cumulative = p.cumsum(axis=1)
    drawn = (cumulative <= u[:, None] * cumulative[:, -1:]).sum(axis=1)
    picked: Integers = np.where(temperature > 0, drawn, likeliest)
    return picked


def _nucleus(p: Floats, top_p: Floats) -> Floats:
    """Set to 0 what lies outside the fewest likeliest tokens that hold `top_p` together."""
    order = np.argsort(-p, axis=1, kind="stable")
    ranked = np.take_along_axis(p, order, axis=1)
    before = ranked.cumsum(axis=1) - ranked
    kept = np.zeros_like(p)
    np.put_along_axis(kept, order, np.where(before < top_p[:, None], ranked, 0.0), axis=1)
    return kept
