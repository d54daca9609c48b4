"""The tiny family's network and optimiser in PyTorch, for training only; the package runs `network.py` of its own.

Llama-like: RMSNorm before each block, rotary positions, SwiGLU, embeddings shared with the output; and a short
convolution over the last tokens in front of each block.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812  (as PyTorch itself calls it)
from torch import Tensor, nn

REACH = 3
"""How many positions back `shift` looks."""


@dataclass(frozen=True)
class Shape:
    """Size of a model."""

    width: int
    layers: int
    heads: int
    hidden: int
    vocabulary: int


class Block(nn.Module):
    """Attention and a gated feed-forward net, each added to the stream."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.attention_norm = nn.Parameter(torch.ones(shape.width))
        self.attention_shift = nn.Parameter(torch.zeros(REACH, shape.width))
        self.qkv = nn.Parameter(torch.empty(3 * shape.width, shape.width))
        self.out = nn.Parameter(torch.zeros(shape.width, shape.width))
        self.ffn_norm = nn.Parameter(torch.ones(shape.width))
        self.ffn_shift = nn.Parameter(torch.zeros(REACH, shape.width))
        self.gate_up = nn.Parameter(torch.empty(2 * shape.hidden, shape.width))
        self.down = nn.Parameter(torch.zeros(shape.width, shape.hidden))
        for weight in (self.qkv, self.gate_up):
            nn.init.normal_(weight, std=shape.width**-0.5)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Map the stream, shape (batch, time, width)."""
        batch, time, width = x.shape
        qkv = F.linear(shift(norm(x, self.attention_norm), self.attention_shift), self.qkv)
        q, k, v = qkv.view(batch, time, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(rotate(q, cos, sin), rotate(k, cos, sin), v, is_causal=True)
        x = x + F.linear(mixed.transpose(1, 2).reshape(batch, time, width), self.out)
        gate, up = F.linear(shift(norm(x, self.ffn_norm), self.ffn_shift), self.gate_up).chunk(2, dim=-1)
        return x + F.linear(F.silu(gate) * up, self.down)


class Network(nn.Module):
    """Token numbers to final hidden states; `logits` maps those to scores per token."""

    def __init__(self, shape: Shape, longest: int = 128) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Parameter(torch.randn(shape.vocabulary, shape.width) * 0.5)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.final_norm = nn.Parameter(torch.ones(shape.width))
        half = shape.width // shape.heads // 2
        angle = torch.arange(longest)[:, None] * 10_000 ** (-torch.arange(half) / half)
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return hidden states, shape (batch, time, width)."""
        x = self.embedding[tokens]
        time = tokens.shape[1]
        for block in self.blocks:
            x = block(x, self.cos[:time], self.sin[:time])
        return norm(x, self.final_norm)

    def logits(self, hidden: Tensor) -> Tensor:
        """Return scores, shape (..., vocabulary)."""
        return F.linear(hidden, self.embedding) * self.shape.width**-0.5


def norm(x: Tensor, gain: Tensor) -> Tensor:
    """Scale to root mean square 1, times the gain."""
    return F.rms_norm(x, gain.shape, gain, eps=1e-6)


def shift(x: Tensor, weights: Tensor) -> Tensor:
    """Add to every position what the ones just before it hold, times weights of shape (REACH, width).

    A depthwise causal convolution with a residual; it lets nets of two layers match and copy (Allen-Zhu 2025, "Canon").
    """
    shifted = x
    for back, weight in enumerate(weights, start=1):
        shifted = shifted + F.pad(x[:, :-back] * weight, (0, 0, back, 0))
    return shifted


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn halves of each head by the angle of its position."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, a * sin + b * cos), dim=-1)


class Muon:
    """Momentum whose update is made orthogonal (Jordan et al. 2024), matrices of one shape handled together."""

    def __init__(self, matrices: list[nn.Parameter], rate: float, momentum: float = 0.95) -> None:
        self.rate, self.momentum = rate, momentum
        shapes = sorted({tuple(m.shape) for m in matrices})
        self.groups = [[m for m in matrices if tuple(m.shape) == shape] for shape in shapes]
        self.buffers = [torch.zeros(len(group), *group[0].shape) for group in self.groups]

    @torch.no_grad()
    def step(self, scale: float) -> None:
        """Update with the rate times `scale`."""
        for group, buffer in zip(self.groups, self.buffers, strict=True):
            gradient = torch.stack([m.grad for m in group])
            buffer.lerp_(gradient, 1 - self.momentum)
            update = orthogonal(gradient.lerp_(buffer, self.momentum))
            rows, columns = buffer.shape[1:]
            rate = self.rate * scale * math.sqrt(max(1.0, rows / columns))
            for matrix, change in zip(group, update, strict=True):
                matrix.add_(change, alpha=-rate)


def orthogonal(matrices: Tensor) -> Tensor:
    """Return the nearest orthogonal matrices, roughly: five Newton-Schulz steps."""
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x
