"""The tiny family's network in NumPy: a Llama-like decoder with a key-value cache, in double precision.

Apart from Llama: in front of attention and feed-forward net alike stands a short depthwise convolution over the last
tokens (Allen-Zhu 2025, "Canon" layers), without which nets this small did not learn to copy in the time there was.

Double precision is not for quality: it keeps the rounding that differs between batch sizes and machines so far below
the gaps between probabilities that the same draw is the same text everywhere. No sampling here, see `sampling`.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from importlib import resources
from typing import Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

REACH = 3
"""How many tokens back the convolutions look."""
LONGEST = 256
"""Most tokens of prompt and completion together."""


@dataclass(frozen=True)
class Block:
    """Weights of one layer; the gains of the norms are folded into the matrices that follow them."""

    qkv: Floats
    """Shape (width, 3 * width)."""
    out: Floats
    """Shape (width, width)."""
    gate_up: Floats
    """Shape (width, 2 * hidden)."""
    down: Floats
    """Shape (hidden, width)."""
    shifts: tuple[Floats, Floats]
    """Weights of the convolutions before attention and before the feed-forward net, shape (REACH, width) each."""


@dataclass
class Cache:
    """What the tokens read so far leave behind, a row per sequence."""

    kv: Floats
    """Keys and values, shape (layers, 2, rows, heads, capacity, head width)."""
    recent: Floats
    """Inputs of the convolutions, newest first, shape (layers, 2, REACH, rows, width)."""
    lengths: Integers
    """Tokens read, shape (rows,)."""

    def take(self, rows: Integers) -> Cache:
        """Return the cache of some rows, repeated where a row is named again."""
        return Cache(self.kv[:, :, rows], self.recent[:, :, :, rows], self.lengths[rows])

    def widened(self, extra: int) -> Cache:
        """Return the cache with room for `extra` more positions."""
        return Cache(np.pad(self.kv, [(0, 0)] * 4 + [(0, extra), (0, 0)]), self.recent, self.lengths)


class Network:
    """Token numbers to scores of the next token."""

    def __init__(self, embedding: Floats, output: Floats, blocks: tuple[Block, ...], heads: int) -> None:
        self.embedding, self.output, self.blocks, self.heads = embedding, output, blocks, heads
        self.width = embedding.shape[1]
        half = self.width // heads // 2
        angle = np.arange(LONGEST)[:, None] * 10_000.0 ** (-np.arange(half) / half)
        self._cos, self._sin = np.cos(angle), np.sin(angle)

    @classmethod
    def load(cls, name: str) -> Self:
        """Read `weights/<name>.safetensors` and `.json` of this package."""
        from safetensors.numpy import load  # not needed by those who never sample

        folder = resources.files("agenttts.models.tiny") / "weights"
        config = json.loads((folder / f"{name}.json").read_text())
        raw = load((folder / f"{name}.safetensors").read_bytes())
        tensors = {key: value.astype(np.float64) for key, value in raw.items()}
        embedding = tensors["embedding"]
        output = (embedding * tensors["final_norm"]).T / math.sqrt(embedding.shape[1])
        blocks = tuple(_block(tensors, f"blocks.{i}.") for i in range(config["layers"]))
        return cls(embedding, np.ascontiguousarray(output), blocks, config["heads"])

    def prefill(self, tokens: Integers, lengths: Integers) -> tuple[Floats, Cache]:
        """Read whole sequences, padded on the right.

        Args:
            tokens: Shape (rows, time).
            lengths: Tokens of each row that count, shape (rows,).

        Returns:
            Final hidden states, shape (rows, time, width), meaningless behind a row's length; and the cache.
        """
        rows, time = tokens.shape
        x = self.embedding[tokens]
        cos, sin = self._cos[:time], self._sin[:time]
        hidden_future = np.triu(np.full((time, time), -np.inf), 1)
        kept, recent = [], []
        for block in self.blocks:
            inputs = _normed(x)
            recent.append(_last(inputs, lengths))
            qkv = (
                (_shifted(inputs, block.shifts[0]) @ block.qkv)
                .reshape(rows, time, 3, self.heads, -1)
                .transpose(2, 0, 3, 1, 4)
            )
            q, k, v = _rotated(qkv[0], cos, sin), _rotated(qkv[1], cos, sin), qkv[2]
            kept.append(np.stack((k, v)))
            weights = _softmax(q @ k.swapaxes(-1, -2) / math.sqrt(q.shape[-1]) + hidden_future)
            mixed = (weights @ v).transpose(0, 2, 1, 3).reshape(rows, time, self.width)
            x = x + mixed @ block.out
            inputs = _normed(x)
            recent.append(_last(inputs, lengths))
            x = x + _feed_forward(_shifted(inputs, block.shifts[1]), block)
        states = np.stack(recent).reshape(len(self.blocks), 2, REACH, rows, self.width)
        return _normed(x), Cache(np.stack(kept), states, lengths)

    def step(self, tokens: Integers, cache: Cache) -> Floats:
        """Read one more token in every row, adding it to the cache (changed in place).

        Returns:
            Final hidden states, shape (rows, width).
        """
        rows = len(tokens)
        x = self.embedding[tokens]
        at = cache.lengths.copy()
        used = int(at.max()) + 1
        cos, sin = self._cos[at][:, None], self._sin[at][:, None]
        unread = np.where(np.arange(used) > at[:, None], -np.inf, 0.0)[:, None, None]
        every = np.arange(rows)
        for block, (keys, values), recent in zip(self.blocks, cache.kv, cache.recent, strict=True):
            qkv = (_advanced(_normed(x), block.shifts[0], recent[0]) @ block.qkv).reshape(
                rows, 3, self.heads, -1
            )
            q = _rotated(qkv[:, 0], cos, sin)[:, :, None]
            keys[every, :, at] = _rotated(qkv[:, 1], cos, sin)
            values[every, :, at] = qkv[:, 2]
            scores = q @ keys[:, :, :used].swapaxes(-1, -2) / math.sqrt(q.shape[-1])
            mixed = (_softmax(scores + unread) @ values[:, :, :used]).reshape(rows, self.width)
            x = x + mixed @ block.out
            x = x + _feed_forward(_advanced(_normed(x), block.shifts[1], recent[1]), block)
        cache.lengths += 1
        return _normed(x)

    def logits(self, hidden: Floats) -> Floats:
        """Return the score of every token, shape (..., vocabulary)."""
        return hidden @ self.output


def _block(tensors: dict[str, Floats], prefix: str) -> Block:
    def folded(name: str, gain: str) -> Floats:
        return np.ascontiguousarray((tensors[prefix + name] * tensors[prefix + gain]).T)

    return Block(
        qkv=folded("qkv", "attention_norm"),
        out=np.ascontiguousarray(tensors[prefix + "out"].T),
        gate_up=folded("gate_up", "ffn_norm"),
        down=np.ascontiguousarray(tensors[prefix + "down"].T),
        shifts=(tensors[prefix + "attention_shift"], tensors[prefix + "ffn_shift"]),
    )


def _normed(x: Floats) -> Floats:
    scaled: Floats = x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + 1e-6)
    return scaled


def _rotated(x: Floats, cos: Floats, sin: Floats) -> Floats:
    a, b = np.split(x, 2, axis=-1)
    return np.concatenate((a * cos - b * sin, a * sin + b * cos), axis=-1)


def _softmax(scores: Floats) -> Floats:
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    shares: Floats = weights / weights.sum(axis=-1, keepdims=True)
    return shares


def _shifted(x: Floats, weights: Floats) -> Floats:
    """Add to every position of (rows, time, width) the ones before it, times their weights."""
    total = x.copy()
    for back, weight in enumerate(weights, start=1):
        total[:, back:] += x[:, :-back] * weight
    return total


def _advanced(x: Floats, weights: Floats, recent: Floats) -> Floats:
    """Do the same for the newest position alone, shape (rows, width), and note it in `recent`."""
    total: Floats = x + (recent * weights[:, None]).sum(axis=0)
    recent[1:] = recent[:-1].copy()
    recent[0] = x
    return total


def _last(x: Floats, lengths: Integers) -> Floats:
    """Return the last positions of every row, newest first, zero before the beginning, shape (REACH, rows, width)."""
    at = lengths[None] - 1 - np.arange(REACH)[:, None]
    picked: Floats = np.where((at >= 0)[..., None], x[np.arange(len(lengths)), np.maximum(at, 0)], 0.0)
    return picked


def _feed_forward(x: Floats, block: Block) -> Floats:
    gate, up = np.split(x @ block.gate_up, 2, axis=-1)
    changed: Floats = (gate / (1 + np.exp(-gate)) * up) @ block.down
    return changed
